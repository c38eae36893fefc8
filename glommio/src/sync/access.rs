//! Who may access a value: the part of [`RwLock`](super::RwLock) and [`Mutex`](super::Mutex) that
//! does not know the value.

use std::{
    cell::RefCell,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use crate::waiters::{Key, Verdict, WaiterCell, Waiters, poll_verdict, wake_settled};

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any number at a time.
    Shared,
    /// One, and nothing else.
    Exclusive,
}

/// Why there is no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    /// It would have to wait.
    Busy,
}

/// Keeps account of the accesses to a value.
///
/// First come, first served: a request waits while an incompatible access is out, and behind every
/// request that waits already. Shared requests next to each other in the queue are granted together.
///
/// The account covers the accesses that were granted and not yet released, also those of a waiter
/// that has not been polled since. Whoever holds one may therefore borrow the value from its
/// `RefCell` without checking.
pub(super) struct Access {
    state: RefCell<State>,
    _local: PhantomData<*const ()>,
}

struct State {
    shared: usize,
    exclusive: bool,
    closed: bool,
    waiters: Waiters<Kind, Verdict>,
}

impl State {
    /// Grants an access if it is compatible with those that are out.
    #[inline]
    fn grant(&mut self, kind: Kind) -> bool {
        match kind {
            _ if self.exclusive => false,
            Kind::Shared => {
                self.shared += 1;
                true
            }
            Kind::Exclusive if self.shared > 0 => false,
            Kind::Exclusive => {
                self.exclusive = true;
                true
            }
        }
    }

    fn give_back(&mut self, kind: Kind) {
        match kind {
            Kind::Shared => self.shared -= 1,
            Kind::Exclusive => self.exclusive = false,
        }
    }

    /// Grants what the waiters in front ask for, as far as it is compatible.
    #[inline]
    fn grant_waiters(&mut self) {
        while let Some(&kind) = self.waiters.front() {
            if !self.grant(kind) {
                return;
            }
            self.waiters.settle_front(Verdict::Granted);
        }
    }
}

impl WaiterCell for RefCell<State> {
    type Request = Kind;
    type Verdict = Verdict;

    #[inline]
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<Kind, Verdict>) -> R) -> R {
        f(&mut self.borrow_mut().waiters)
    }
}

impl Access {
    pub(super) const fn new() -> Self {
        Access {
            state: RefCell::new(State {
                shared: 0,
                exclusive: false,
                closed: false,
                waiters: Waiters::new(),
            }),
            _local: PhantomData,
        }
    }

    /// Gives access now or not at all.
    #[inline]
    pub(super) fn try_acquire(&self, kind: Kind) -> Result<(), Refusal> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.waiters.is_empty() && state.grant(kind) {
            return Ok(());
        }
        Err(Refusal::Busy)
    }

    /// Waits for access. What it grants is to be [released](Self::release).
    pub(super) fn acquire(&self, kind: Kind) -> Acquire<'_> {
        Acquire {
            access: self,
            kind,
            key: None,
        }
    }

    /// Ends an access. The value's borrow must have ended before.
    pub(super) fn release(&self, kind: Kind) {
        {
            let mut state = self.state.borrow_mut();
            state.give_back(kind);
            state.grant_waiters();
        }
        wake_settled(&self.state);
    }

    /// Refuses everyone who waits or comes later; `false` if that was so already.
    pub(super) fn close(&self) -> bool {
        let newly = {
            let mut state = self.state.borrow_mut();
            let newly = !std::mem::replace(&mut state.closed, true);
            state.waiters.settle_all(Verdict::Closed);
            newly
        };
        wake_settled(&self.state);
        newly
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.borrow().waiters.len()
    }
}

/// The wait of [`Access::acquire`]. Fails when the access is closed.
pub(super) struct Acquire<'a> {
    access: &'a Access,
    kind: Kind,
    key: Option<Key>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (access, kind) = (self.access, self.kind);
        let Some(key) = self.key else {
            match access.try_acquire(kind) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refusal::Closed) => return Poll::Ready(Err(())),
                Err(Refusal::Busy) => {}
            }
            let waker = context.waker().clone();
            // Cloning is foreign code; it may have ended an access, or closed this.
            match access.try_acquire(kind) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refusal::Closed) => return Poll::Ready(Err(())),
                Err(Refusal::Busy) => {}
            }
            self.key = Some(access.state.borrow_mut().waiters.push(kind, waker));
            return Poll::Pending;
        };
        let verdict = std::task::ready!(poll_verdict(&access.state, key, context));
        self.key = None;
        Poll::Ready(match verdict {
            Verdict::Granted => Ok(()),
            Verdict::Closed => Err(()),
        })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let removed = {
            let mut state = self.access.state.borrow_mut();
            let removed = state.waiters.remove(key);
            if removed
                .as_ref()
                .is_some_and(|removed| removed.verdict == Some(Verdict::Granted))
            {
                state.give_back(self.kind);
            }
            // Readers that stood behind a writer may go ahead without it.
            state.grant_waiters();
            removed
        };
        drop(removed);
        wake_settled(&self.access.state);
    }
}
