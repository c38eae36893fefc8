//! How an executor learns that a child has ended.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::{
    reactor::Reactor,
    sys::{
        fd::Fd,
        features::Rung,
        op::{Completion, poll::PollOnce, process::WaitForExit},
        process::{self, ENDED, Process},
        ring::Ring,
        signals,
        submission::Submission,
    },
};

/// Tells when a child has ended, as often as it is asked. Takes nothing away: the status stays with the
/// kernel.
pub(super) struct ExitWatch {
    ring: Rc<Ring>,
    /// Kept from one wait to the next, where the kernel has no better.
    pidfd: Option<Fd>,
    /// Likewise, where it has no pidfds either.
    thread: Option<Arc<ThreadWatch>>,
}

impl ExitWatch {
    pub(super) fn new(reactor: &Reactor) -> ExitWatch {
        ExitWatch {
            ring: reactor.ring().clone(),
            pidfd: None,
            thread: None,
        }
    }

    /// Waits until the child may have ended. Returns without reason now and then.
    pub(super) async fn over(&mut self, process: &Process) -> io::Result<()> {
        if self.ring.features().has(Rung::Waitid) {
            let op = WaitForExit { pid: process.id() };
            let (_, completion) = Submission::new(self.ring.clone(), op).await;
            return self.outcome(completion);
        }
        if self.ring.features().has(Rung::Pidfd) {
            let fd = match &self.pidfd {
                Some(fd) => fd.clone(),
                None => {
                    let fd = Fd::new(process.descriptor()?, self.ring.clone());
                    self.pidfd.insert(fd).clone()
                }
            };
            let op = PollOnce { fd, events: ENDED };
            let (_, completion) = Submission::new(self.ring.clone(), op).await;
            return self.outcome(completion);
        }
        let watch = match &self.thread {
            Some(watch) => watch.clone(),
            None => self
                .thread
                .insert(ThreadWatch::start(process.id())?)
                .clone(),
        };
        poll_fn(|cx| watch.poll(cx)).await;
        // What it has told, it does not tell again.
        self.thread = None;
        Ok(())
    }

    fn outcome(&self, completion: Completion) -> io::Result<()> {
        match completion.count() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(_) if self.ring.is_closed() => Err(io::Error::other(
                "the executor that this child belongs to is gone",
            )),
            Err(error) => Err(error),
        }
    }
}

/// A thread that waits for one child.
struct ThreadWatch(Mutex<Watched>);

enum Watched {
    Running(Option<Waker>),
    Over,
}

impl ThreadWatch {
    fn start(pid: u32) -> io::Result<Arc<ThreadWatch>> {
        let watch = Arc::new(ThreadWatch(Mutex::new(Watched::Running(None))));
        let theirs = watch.clone();
        let thread = thread::Builder::new().name(format!("glommio-wait-{pid}"));
        thread.spawn(move || {
            signals::block_all();
            process::wait_blocking(pid);
            let before = std::mem::replace(&mut *theirs.lock(), Watched::Over);
            if let Watched::Running(Some(waker)) = before {
                waker.wake();
            }
        })?;
        Ok(watch)
    }

    /// The lock is held for moves and comparisons of wakers only.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let new = cx.waker().clone();
        let mut watched = self.lock();
        let Watched::Running(waker) = &mut *watched else {
            drop(watched);
            return Poll::Ready(());
        };
        let old = waker.replace(new);
        // A waker's destructor is foreign code: not under the lock.
        drop(watched);
        drop(old);
        Poll::Pending
    }
}
