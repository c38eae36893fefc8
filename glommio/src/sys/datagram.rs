//! Datagrams over a descriptor, for whatever address family.
//!
//! The kernel never sees the caller's memory: what is sent is copied, what is received is copied
//! out, so that calls can be given up at any time.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use socket2::SockAddr;

pub(crate) use super::buffers::message::{Message, too_long};
use super::{
    buffers::socket::SocketBuffers,
    fd::Fd,
    op::{
        accept::Connect,
        datagram::{self, Inbox, Send},
        poll::PollOnce,
    },
    socket::WRITABLE,
    submission::Submission,
};
use crate::waiters::{Source, Turn, Turns, pass_on};

/// Receives are given room for this much until somebody asks for another size.
pub(crate) const DEFAULT_ROOM_BYTES: usize = 8 << 10;

/// Whether a call takes the datagram that it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Take,
    Peek,
}

/// A socket for datagrams. Any number of calls may wait at the same time.
pub(crate) struct Datagrams {
    fd: Fd,
    buffers: Rc<SocketBuffers>,
    inbox: Rc<RefCell<Inbox>>,
    room_bytes: Cell<usize>,
}

impl Datagrams {
    pub(crate) fn new(fd: Fd, buffers: Rc<SocketBuffers>) -> Self {
        Datagrams {
            fd,
            buffers,
            inbox: Rc::default(),
            room_bytes: Cell::new(DEFAULT_ROOM_BYTES),
        }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Gives receives room for `bytes` from now on.
    pub(crate) fn set_room_bytes(&self, bytes: usize) {
        if self.room_bytes.replace(bytes) != bytes {
            self.stop_receive();
        }
    }

    /// Waits for a datagram and shows it to `look_at`.
    pub(crate) async fn receive<R>(
        &self,
        look: Look,
        look_at: impl FnOnce(&Message) -> R,
    ) -> io::Result<R> {
        Turn::of(self).await?;
        let (result, taken) = {
            let mut inbox = self.inbox.borrow_mut();
            match (inbox.take_error(), look) {
                (Some(error), _) => (Err(error), None),
                (None, Look::Peek) => {
                    let front = inbox.arrived.front();
                    let message = front.and_then(|front| front.as_deref().ok());
                    (message.map(look_at).ok_or_else(nothing), None)
                }
                (None, Look::Take) => match inbox.arrived.pop_front() {
                    Some(Ok(message)) => (Ok(look_at(&message)), Some(message)),
                    _ => (Err(nothing()), None),
                },
            }
        };
        if let Some(message) = taken {
            self.buffers.put_back_message(message);
        }
        pass_on(self);
        result
    }

    /// Sends a datagram, and waits until the kernel has it.
    pub(crate) async fn send(&self, data: &[u8], to: Option<&SockAddr>) -> io::Result<usize> {
        self.check_ring()?;
        let mut message = self.buffers.message();
        message.fill(data, to);
        let mut op = Send {
            fd: self.fd.clone(),
            message,
        };
        let (op, completion) = loop {
            let (back, completion) = Submission::new(self.fd.ring().clone(), op).await;
            if completion.result != -libc::EAGAIN {
                break (back, completion);
            }
            // Somebody has set `O_NONBLOCK`, and the ring did not wait for room.
            let room = PollOnce {
                fd: self.fd.clone(),
                events: WRITABLE,
            };
            Submission::new(self.fd.ring().clone(), room).await;
            op = back;
        };
        self.buffers.put_back_message(op.message);
        if completion.result < 0 {
            // A ring that went down meanwhile has cancelled it.
            self.check_ring()?;
        }
        completion.count()
    }

    /// Sets the peer, which takes no waiting.
    pub(crate) async fn connect(&self, peer: SockAddr) -> io::Result<()> {
        self.check_ring()?;
        let op = Connect {
            fd: self.fd.clone(),
            address: Box::new(peer),
        };
        let (_op, completion) = Submission::new(self.fd.ring().clone(), op).await;
        completion.count().map(drop)
    }

    /// Stops the receive in flight. Whoever waits starts another.
    fn stop_receive(&self) {
        let armed = self.inbox.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
    }

    fn check_ring(&self) -> io::Result<()> {
        if self.fd.ring().is_closed() {
            return Err(io::Error::other(
                "the executor that this socket belongs to is gone",
            ));
        }
        Ok(())
    }
}

fn nothing() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // A receive has nobody to receive for.
        self.stop_receive();
    }
}

/// To look means to learn whether something stands in the inbox. It is there until the next await.
impl Source for Datagrams {
    type News = io::Result<()>;

    fn with_turns<R>(&self, f: impl FnOnce(&mut Turns) -> R) -> R {
        f(&mut self.inbox.borrow_mut().turns)
    }

    fn is_over(&self) -> bool {
        self.fd.ring().is_closed()
    }

    fn has_news(&self) -> bool {
        !self.inbox.borrow().arrived.is_empty()
    }

    fn look(&self) -> Option<io::Result<()>> {
        if self.has_news() {
            return Some(Ok(()));
        }
        self.check_ring().err().map(Err)
    }

    fn ask(&self) {
        datagram::arm(&self.fd, &self.inbox, &self.buffers, self.room_bytes.get());
    }
}
