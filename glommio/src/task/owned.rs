//! The list of an executor's live tasks: doubly linked through their headers.
//!
//! The list is a ring that runs through a sentinel, so that a task can leave it without knowing
//! whose list it is in. Being in the list is one of the references that `local` counts, but the
//! list itself moves no count: that is for those who put tasks in and take them out.

use core::{alloc::Layout, mem, ptr::NonNull};

use super::{
    context::Payload,
    header::{Header, TaskPtr, VTable},
    raw::Polled,
    registry::ExecutorId,
    state::State,
};

/// The sentinel is a header without a future. Nothing ever runs it.
static SENTINEL: VTable = VTable {
    poll: |_| Polled::Pending,
    drop_future: |_| Ok::<(), Payload>(()),
    drop_output: |_| Ok::<(), Payload>(()),
    layout: Layout::new::<Header>(),
    stage_offset: mem::size_of::<Header>(),
};

/// A list of tasks, in the order in which they were added.
pub(super) struct OwnedList {
    sentinel: TaskPtr,
}

impl OwnedList {
    pub(super) fn new(executor: ExecutorId) -> OwnedList {
        let header = Header::new(&SENTINEL, executor, 0, State::newborn(), 1);
        // Kept as a raw pointer: the box may not be moved while tasks point to it.
        let header = NonNull::from(Box::leak(Box::new(header)));
        // SAFETY: the list owns the header, and only `Drop` frees it.
        let sentinel = unsafe { TaskPtr::new(header) };
        sentinel.owned_next.set(Some(sentinel));
        sentinel.owned_prev.set(Some(sentinel));
        OwnedList { sentinel }
    }

    /// Adds a task that is in no list. The caller keeps it alive until it leaves.
    #[inline]
    pub(super) fn push_back(&self, task: TaskPtr) {
        debug_assert!(task.owned_next.get().is_none());
        let last = self.sentinel.owned_prev.replace(Some(task));
        task.owned_prev.set(last);
        task.owned_next.set(Some(self.sentinel));
        if let Some(last) = last {
            last.owned_next.set(Some(task));
        }
    }

    /// The task that was added first.
    pub(super) fn front(&self) -> Option<TaskPtr> {
        self.iter().next()
    }

    /// All tasks, oldest first. The list must not change meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = TaskPtr> {
        let sentinel = self.sentinel;
        let next = move |task: TaskPtr| task.owned_next.get().filter(|next| *next != sentinel);
        core::iter::successors(next(sentinel), move |task| next(*task))
    }
}

impl Drop for OwnedList {
    fn drop(&mut self) {
        // A task still in here would be left with a dangling link. Letting go of it instead leaks
        // it, which `Tasks` has to prevent: it closes first.
        while let Some(task) = self.front() {
            debug_assert!(false, "the list of an executor is dropped with tasks in it");
            task.unlink();
        }
        // SAFETY: the header came from a box, and no task points to it any more.
        drop(unsafe { Box::from_raw(self.sentinel.as_non_null().as_ptr()) });
    }
}

impl TaskPtr {
    /// Leaves the owned list, if the task is in one.
    #[inline]
    pub(super) fn unlink(self) {
        if let (Some(next), Some(prev)) = (self.owned_next.take(), self.owned_prev.take()) {
            next.owned_prev.set(Some(prev));
            prev.owned_next.set(Some(next));
        }
    }
}
