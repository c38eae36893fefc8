//! A message to another thread and its answer, both threads asleep in their rings when idle.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;

use io_uring::{opcode, squeue, types};

use crate::raw::Ring;
use crate::{Sample, Stopwatch, host};

/// How one thread wakes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A write to an eventfd that the other thread's ring has a read on.
    Eventfd,
    /// A message from ring to ring, which carries the payload.
    MsgRing,
}

/// Exchanges `n` messages between a thread on the first of `cpus` and one on the last.
///
/// # Errors
///
/// If a ring or eventfd cannot be made, or an operation fails.
pub fn ping_pong(cpus: &[usize], wake: Wake, n: u64) -> io::Result<Sample> {
    let shared = [Mailbox::new()?, Mailbox::new()?];
    let met = Barrier::new(2);
    let (first, last) = (cpus.first().copied(), cpus.last().copied());
    thread::scope(|scope| {
        let (shared, met) = (&shared, &met);
        let pong = scope.spawn(move || {
            let mut side = Side::new(last, &shared[1], &shared[0], wake, met)?;
            for i in 1..=n {
                side.wait_for(i)?;
                side.tell(i)?;
            }
            side.flush()
        });
        let ping = scope.spawn(move || {
            let mut side = Side::new(first, &shared[0], &shared[1], wake, met)?;
            let watch = Stopwatch::start();
            for i in 1..=n {
                side.tell(i)?;
                side.wait_for(i)?;
            }
            Ok(watch.stop(n))
        });
        let sample = ping.join().expect("the pinging thread does not panic");
        pong.join().expect("the answering thread does not panic")?;
        sample
    })
}

struct Mailbox {
    message: AtomicU64,
    eventfd: OwnedFd,
    ring: AtomicI32,
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor that nobody else owns.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            message: AtomicU64::new(0),
            eventfd,
            ring: AtomicI32::new(-1),
        })
    }
}

struct Side<'a> {
    ring: Ring,
    mine: &'a Mailbox,
    peer: &'a Mailbox,
    peer_ring: RawFd,
    wake: Wake,
    // The eventfd's counter lands here. Boxed: its address is in the ring while `Side` moves.
    counter: Box<u64>,
}

impl<'a> Side<'a> {
    fn new(
        cpu: Option<usize>,
        mine: &'a Mailbox,
        peer: &'a Mailbox,
        wake: Wake,
        met: &Barrier,
    ) -> io::Result<Self> {
        // Reach the barrier even after a failure, or the other thread would wait forever.
        let ring = cpu.map_or(Ok(()), host::pin).and_then(|()| Ring::new(8));
        if let Ok(ring) = &ring {
            mine.ring.store(ring.as_raw_fd(), Ordering::Release);
        }
        met.wait();
        let peer_ring = peer.ring.load(Ordering::Acquire);
        let ring = ring?;
        if peer_ring < 0 {
            return Err(io::Error::other("the other thread has no ring"));
        }
        let mut side = Self {
            ring,
            mine,
            peer,
            peer_ring,
            wake,
            counter: Box::new(0),
        };
        if wake == Wake::Eventfd {
            side.arm()?;
        }
        Ok(side)
    }

    fn arm(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.mine.eventfd.as_raw_fd());
        let entry = opcode::Read::new(fd, (&raw mut *self.counter).cast(), 8).build();
        // SAFETY: the counter is boxed and dropped after the ring.
        unsafe { self.ring.push(&entry) }
    }

    fn tell(&mut self, message: u64) -> io::Result<()> {
        match self.wake {
            Wake::Eventfd => {
                self.peer.message.store(message, Ordering::Release);
                let one = 1u64;
                // SAFETY: eight live bytes are written to an open eventfd.
                let written = unsafe {
                    libc::write(self.peer.eventfd.as_raw_fd(), (&raw const one).cast(), 8)
                };
                if written == 8 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            }
            Wake::MsgRing => {
                // Goes out with the enter that waits for the answer.
                let entry = opcode::MsgRingData::new(types::Fd(self.peer_ring), 0, message, None)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS);
                // SAFETY: the entry points to no memory.
                unsafe { self.ring.push(&entry) }
            }
        }
    }

    fn wait_for(&mut self, message: u64) -> io::Result<()> {
        self.ring.enter(1)?;
        let completion = self
            .ring
            .take()
            .expect("the ring was entered to wait for one completion");
        if completion.result() < 0 {
            return Err(io::Error::from_raw_os_error(-completion.result()));
        }
        let got = match self.wake {
            Wake::Eventfd => {
                self.arm()?;
                self.mine.message.load(Ordering::Acquire)
            }
            Wake::MsgRing => completion.user_data(),
        };
        assert_eq!(got, message, "messages arrive one at a time and in order");
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ring.enter(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_answered() {
        let cpus = host::allowed_cpus();
        for wake in [Wake::Eventfd, Wake::MsgRing] {
            assert_eq!(ping_pong(&cpus, wake, 200).unwrap().ops, 200, "{wake:?}");
        }
    }
}
