//! Accepting connections, for whatever address family.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::stream::Departed;
use crate::{
    error::Result,
    reactor,
    sys::{
        fd::Fd,
        op::accept::{self, AcceptQueue},
    },
    waiters::{Source, Turn, Turns, pass_on},
};

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: i32 = 4096;

/// A socket that listens. Any number of calls may wait at the same time.
pub(super) struct Listener {
    fd: Fd,
    queue: Rc<RefCell<AcceptQueue>>,
}

impl Listener {
    /// Takes over a socket that listens.
    pub(super) fn new(fd: OwnedFd) -> Listener {
        Listener {
            fd: Fd::new(fd, reactor::current().ring().clone()),
            queue: Rc::default(),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Waits for a connection. One that arrives for a dropped future waits for the next call.
    pub(super) async fn accept(&self) -> Result<Departed, ()> {
        Turn::of(self).await
    }

    /// As [`accept`](Self::accept), to be polled. Only the waker of the last call is woken, and when nobody
    /// waits in another way.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Departed, ()>> {
        if let Some(result) = self.look() {
            return Poll::Ready(result);
        }
        // Cloned and dropped outside of the borrow: a waker is code of others.
        let waker = cx.waker().clone();
        let _before = self.with_turns(|turns| turns.set_poller(Some(waker)));
        self.ask();
        Poll::Pending
    }

    /// The connections as they arrive, without end, each as `bind` makes it.
    pub(super) fn incoming<T>(&self, bind: fn(Departed) -> T) -> Incoming<'_, T> {
        Incoming {
            turn: Turn::of(self),
            bind,
        }
    }
}

impl Source for Listener {
    type News = Result<Departed, ()>;

    fn with_turns<R>(&self, f: impl FnOnce(&mut Turns) -> R) -> R {
        f(&mut self.queue.borrow_mut().turns)
    }

    fn is_over(&self) -> bool {
        self.fd.ring().is_closed()
    }

    fn has_news(&self) -> bool {
        self.queue.borrow().has_news()
    }

    fn look(&self) -> Option<Self::News> {
        let news = self.queue.borrow_mut().take();
        match news {
            Some(result) => {
                // The accept may have ended with this result.
                pass_on(self);
                Some(match result {
                    Ok(fd) => Ok(Departed::from(fd)),
                    Err(error) => Err(error.into()),
                })
            }
            None if self.is_over() => {
                let gone = io::Error::other("the executor that this listener belongs to is gone");
                Some(Err(gone.into()))
            }
            None => None,
        }
    }

    fn ask(&self) {
        accept::arm(&self.fd, &self.queue);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let armed = self.queue.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
        let _poller = self.with_turns(|turns| turns.set_poller(None));
    }
}

pub(super) struct Incoming<'a, T> {
    turn: Turn<'a, Listener>,
    bind: fn(Departed) -> T,
}

impl<T> Stream for Incoming<'_, T> {
    type Item = Result<T, ()>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = Pin::new(&mut self.turn).poll(cx);
        accepted.map(|accepted| Some(accepted.map(self.bind)))
    }
}
