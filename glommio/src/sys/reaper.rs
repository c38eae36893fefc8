//! Waits for children that nobody waits for any more: without that the kernel would keep their
//! statuses, as zombies, until this process ends.
//!
//! One thread for all of them, which is started with the first and ends with the last. It sleeps in
//! poll(2) on a pidfd per child. Where there is none to be had, it looks every [`LOOK_MS`].
//!
//! Not on a ring: children outlive executors.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{eventfd::EventFd, pidfd::pidfd, signals};

/// How often children without a pidfd are looked after.
const LOOK_MS: i32 = 50;

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans {
    arrived: Vec::new(),
    reaper: None,
});

struct Orphans {
    /// Not taken by the thread yet.
    arrived: Vec<Child>,
    /// How the thread is told of them, while there is one.
    reaper: Option<Arc<EventFd>>,
}

fn orphans() -> MutexGuard<'static, Orphans> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `child` over until it has ended.
///
/// If no thread can be had, it stays with us until the next one comes.
pub(super) fn reap(child: Child) {
    let mut orphans = orphans();
    orphans.arrived.push(child);
    if let Some(event) = &orphans.reaper {
        event.notify();
        return;
    }
    match start() {
        Ok(event) => orphans.reaper = Some(event),
        Err(error) => {
            orphans.arrived.retain_mut(is_running);
            tracing::debug!(
                target: "glommio::process", %error, waiting = orphans.arrived.len(),
                "no thread to wait for dropped children"
            );
        }
    }
}

fn start() -> io::Result<Arc<EventFd>> {
    let event = Arc::new(EventFd::new()?);
    let theirs = event.clone();
    let thread = thread::Builder::new().name("glommio-reaper".to_owned());
    thread.spawn(move || run(&theirs))?;
    Ok(event)
}

fn is_running(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

struct Orphan {
    child: Child,
    pidfd: Option<OwnedFd>,
}

fn run(event: &EventFd) {
    signals::block_all();
    let mut waited_for: Vec<Orphan> = Vec::new();
    loop {
        {
            let mut orphans = orphans();
            if orphans.arrived.is_empty() && waited_for.is_empty() {
                orphans.reaper = None;
                return;
            }
            for child in orphans.arrived.drain(..) {
                let pidfd = pidfd(child.id()).ok();
                waited_for.push(Orphan { child, pidfd });
            }
        }
        let ended = wait(event, &waited_for);
        let mut ended = ended.into_iter();
        waited_for
            .retain_mut(|orphan| !ended.next().unwrap_or(true) || is_running(&mut orphan.child));
    }
}

/// Waits until a child has ended or another one arrives. Says of each whether it may have ended.
fn wait(event: &EventFd, orphans: &[Orphan]) -> Vec<bool> {
    let readable = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // A negative descriptor is passed over.
    let pidfds = orphans
        .iter()
        .map(|orphan| readable(orphan.pidfd.as_ref().map_or(-1, AsRawFd::as_raw_fd)));
    let mut polls: Vec<libc::pollfd> = std::iter::once(readable(event.raw()))
        .chain(pidfds)
        .collect();
    let blind = orphans.iter().any(|orphan| orphan.pidfd.is_none());
    let timeout = if blind { LOOK_MS } else { -1 };
    let ready = loop {
        // SAFETY: `polls` is live and as long as said.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout) };
        if ready >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break ready;
        }
    };
    if ready < 0 {
        // For want of memory: look at all of them, a little later.
        thread::sleep(std::time::Duration::from_millis(LOOK_MS as u64));
        return vec![true; orphans.len()];
    }
    if polls[0].revents != 0 {
        event.consume();
    }
    polls[1..]
        .iter()
        .map(|poll| poll.fd < 0 || poll.revents != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_without_a_pidfd_is_looked_after_now_and_then() {
        let child = std::process::Command::new("true").spawn().unwrap();
        let mut orphans = [Orphan { child, pidfd: None }];
        let event = EventFd::new().unwrap();
        event.notify();
        assert_eq!(wait(&event, &orphans), [true]);
        while is_running(&mut orphans[0].child) {
            // The event was consumed: this is the time that runs out.
            assert_eq!(wait(&event, &orphans), [true]);
        }
    }

    #[test]
    fn a_pidfd_tells_of_its_child_alone() {
        let sleep = || {
            std::process::Command::new("sleep")
                .arg("1000")
                .spawn()
                .unwrap()
        };
        let event = EventFd::new().unwrap();
        let mut orphans = [sleep(), sleep()].map(|child| Orphan {
            pidfd: Some(pidfd(child.id()).unwrap()),
            child,
        });
        event.notify();
        assert_eq!(wait(&event, &orphans), [false, false]);
        orphans[1].child.kill().unwrap();
        assert_eq!(wait(&event, &orphans), [false, true]);
        assert!(is_running(&mut orphans[0].child));
        orphans[0].child.kill().unwrap();
        for orphan in &mut orphans {
            orphan.child.wait().unwrap();
        }
    }
}
