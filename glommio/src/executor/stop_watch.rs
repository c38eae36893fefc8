//! Who waits for a stop, per executor and handle.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

use crate::{reactor::Reactor, sys::eventfd::EventFd, task::ExecutorId};

/// The watches of one executor, one per handle that its tasks have waited for.
#[derive(Default)]
pub(super) struct Watches(RefCell<Vec<Arc<Watch>>>);

impl Watches {
    /// The watch of `event` of the executor `home`, which from now on is looked after by its reactor.
    pub(super) fn of(
        &self,
        event: &Arc<EventFd>,
        home: ExecutorId,
        reactor: &Reactor,
    ) -> Arc<Watch> {
        let mut watches = self.0.borrow_mut();
        // Those of handles that are gone, and any that the kernel has given up.
        watches.retain(|watch| !watch.has_fired());
        if let Some(watch) = watches
            .iter()
            .find(|watch| Arc::ptr_eq(&watch.event, event))
        {
            return watch.clone();
        }
        let watch = Arc::new(Watch::new(event.clone(), Some(home)));
        watches.push(watch.clone());
        drop(watches);
        reactor.watch(event.clone(), Waker::from(watch.clone()));
        watch
    }
}

/// Whoever waits for one eventfd on one executor.
pub(super) struct Watch {
    pub(super) event: Arc<EventFd>,
    /// The executor whose ring looks after it.
    pub(super) home: Option<ExecutorId>,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    fired: bool,
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

// Wakers are code of others: they are cloned, dropped and woken outside the lock.
impl Watch {
    pub(super) fn new(event: Arc<EventFd>, home: Option<ExecutorId>) -> Watch {
        Watch {
            event,
            home,
            waiters: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_fired(&self) -> bool {
        self.lock().fired
    }

    /// Keeps a waker under a number, or returns `None` if the watch has fired.
    pub(super) fn insert(&self, waker: &Waker) -> Option<u64> {
        let waker = waker.clone();
        let mut waiters = self.lock();
        if waiters.fired {
            drop(waiters);
            return None;
        }
        let id = waiters.next_id;
        waiters.next_id += 1;
        waiters.wakers.insert(id, waker);
        Some(id)
    }

    /// Replaces the waker of this number. Returns whether it is going to be woken.
    pub(super) fn set(&self, id: u64, waker: &Waker) -> bool {
        let mut waiters = self.lock();
        match waiters.wakers.get_mut(&id) {
            Some(known) if known.will_wake(waker) => return true,
            Some(_) => drop(waiters),
            None => return false,
        }
        let new = waker.clone();
        waiters = self.lock();
        let Some(known) = waiters.wakers.get_mut(&id) else {
            drop(waiters);
            return false;
        };
        let old = mem::replace(known, new);
        drop(waiters);
        drop(old);
        true
    }

    pub(super) fn remove(&self, id: u64) {
        let waker = self.lock().wakers.remove(&id);
        drop(waker);
    }

    pub(super) fn fire(&self) {
        let wakers = {
            let mut waiters = self.lock();
            waiters.fired = true;
            mem::take(&mut waiters.wakers)
        };
        for waker in wakers.into_values() {
            waker.wake();
        }
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.fire();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fire();
    }
}
