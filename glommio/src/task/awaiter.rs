//! Who waits for a task: the links between a task and its awaiter.

use core::task::Waker;

use super::{
    header::{Awaiter, LocalRef, TaskPtr},
    state::COMPLETED,
    waker,
};

impl TaskPtr {
    /// Lets the task behind `waker` be woken when this one ends. Owner's thread only; demands that
    /// the task has not completed.
    ///
    /// A task of the same executor is linked directly, for which no atomic operation is needed. A
    /// poll with the same waker as before changes nothing.
    #[inline]
    pub(super) fn set_awaiter(self, waker: &Waker) {
        debug_assert!(!self.state.any(COMPLETED));
        let place = self.awaiter.get();
        // SAFETY: only the owner's thread accesses the cell, and the shared borrow ends before
        // anything could replace the value: comparing pointers runs no foreign code.
        let known = match unsafe { &*place } {
            Awaiter::Nobody => match self.link_to(waker) {
                None => false,
                Some(link) => {
                    // SAFETY: as above. There is nothing to drop in `Nobody`.
                    unsafe { place.write(Awaiter::Task(link)) };
                    true
                }
            },
            Awaiter::Task(link) => waker::is_of(waker, link.task()),
            Awaiter::Waker(known) => known.will_wake(waker),
        };
        if !known {
            self.change_awaiter(waker);
        }
    }

    /// A link to the task behind `waker`, if it is one of the same executor that can be woken.
    #[inline(always)]
    fn link_to(self, waker: &Waker) -> Option<LocalRef> {
        let task = waker::task_of(waker, self.executor)?;
        if task.state.any(COMPLETED) || task.local.get() >= 1 << 31 {
            return None;
        }
        task.acquire_local();
        // SAFETY: the reference was counted on the line above.
        Some(unsafe { LocalRef::from_counted(task) })
    }

    /// Replaces the awaiter by another task, or by a waker that is not a task's of this executor.
    #[inline(never)]
    fn change_awaiter(self, waker: &Waker) {
        let awaiter = match waker::task_of(waker, self.executor) {
            // Waking a completed task does nothing, now or later.
            Some(task) if task.state.any(COMPLETED) => Awaiter::Nobody,
            _ => match self.link_to(waker) {
                Some(link) => Awaiter::Task(link),
                None => Awaiter::Waker(waker.clone()),
            },
        };
        // Drops the former awaiter, which may run foreign code, after the new one is in place.
        drop(self.replace_awaiter(awaiter));
        if self.state.any(COMPLETED) {
            // Foreign code has ended the task meanwhile, and nobody was told.
            drop(self.replace_awaiter(Awaiter::Nobody));
            waker.wake_by_ref();
        }
    }
}
