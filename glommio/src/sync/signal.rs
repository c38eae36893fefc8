//! A cancellation that crosses threads: set once, waited for from anywhere.
//!
//! [`Signal::cancel`] stores the flag before it takes the lock, and a waiter looks at the flag again
//! after it has taken the lock. So if the waiter's section comes first, its waker is in the queue
//! when the cancellation empties it; if it comes second, the lock makes the flag visible to it. The
//! same holds for a child that is added. `tests/loom_cancellation.rs` has the model.
//!
//! Wakers are called, cloned and dropped outside of the lock.

use std::{
    sync::{Arc, PoisonError, Weak},
    task::{Context, Poll},
};

use super::{
    atomic::{AtomicBool, Mutex, MutexGuard, Ordering},
    weak_list::{Upgrade, WeakList},
};
use crate::waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};

/// The part of a foreign cancellation that threads share.
pub(super) struct Signal {
    cancelled: AtomicBool,
    shared: Mutex<Shared>,
}

struct Shared {
    waiters: Waiters<(), ()>,
    /// What is cancelled along.
    children: WeakList<Weak<Signal>>,
}

impl Upgrade for Weak<Signal> {
    type Strong = Arc<Signal>;

    fn strong(&self) -> Option<Arc<Signal>> {
        self.upgrade()
    }

    fn is_alive(&self) -> bool {
        self.strong_count() > 0
    }
}

impl WaiterCell for Signal {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        f(&mut self.lock().waiters)
    }
}

impl Signal {
    pub(super) fn new() -> Self {
        Signal {
            cancelled: AtomicBool::new(false),
            shared: Mutex::new(Shared {
                waiters: Waiters::new(),
                children: WeakList::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // No foreign code runs under the lock, so nothing in it is half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels this and everything below it.
    pub(super) fn cancel(self: &Arc<Self>) {
        let mut pending = vec![self.clone()];
        while let Some(signal) = pending.pop() {
            if signal.cancelled.swap(true, Ordering::AcqRel) {
                continue;
            }
            let children = {
                let mut shared = signal.lock();
                shared.waiters.settle_all(());
                shared.children.take()
            };
            pending.extend(children.iter().filter_map(Upgrade::strong));
            wake_settled(&*signal);
        }
    }

    /// Has `child` cancelled along with this one, now if this one is cancelled already.
    pub(super) fn add_child(&self, child: &Arc<Signal>) {
        {
            let mut shared = self.lock();
            if !self.is_cancelled() {
                shared.children.add(Arc::downgrade(child));
                return;
            }
        }
        child.cancel();
    }

    /// Waits for the cancellation. `key` is the waiter's place, to be
    /// [forgotten](Self::forget) when it stops waiting.
    pub(super) fn poll_cancelled(&self, key: &mut Option<Key>, context: &Context<'_>) -> Poll<()> {
        if let Some(queued) = *key {
            std::task::ready!(poll_verdict(self, queued, context));
            *key = None;
            return Poll::Ready(());
        }
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let mut shared = self.lock();
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        *key = Some(shared.waiters.push((), waker));
        Poll::Pending
    }

    /// Gives up a waiter's place.
    pub(super) fn forget(&self, key: &mut Option<Key>) {
        if let Some(key) = key.take() {
            let removed = self.lock().waiters.remove(key);
            drop(removed);
        }
    }
}
