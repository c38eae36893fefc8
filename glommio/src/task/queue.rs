//! Run queues: first in, first out, through a link in each task's header.

use core::{cell::Cell, fmt};

use super::{header::TaskPtr, runnable::Runnable};

/// An intrusive queue of scheduled tasks. Every operation is O(1) and allocates nothing.
pub(crate) struct RunQueue {
    head: Cell<Option<TaskPtr>>,
    /// Meaningless while `head` is `None`.
    tail: Cell<Option<TaskPtr>>,
    #[cfg(feature = "metrics")]
    len: Cell<usize>,
}

impl RunQueue {
    /// An empty queue.
    pub(crate) const fn new() -> RunQueue {
        RunQueue {
            head: Cell::new(None),
            tail: Cell::new(None),
            #[cfg(feature = "metrics")]
            len: Cell::new(0),
        }
    }

    /// Whether no task is in the queue.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// How many tasks are in the queue.
    #[cfg(feature = "metrics")]
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// Adds a task at the end.
    #[inline(always)]
    pub(crate) fn push_back(&self, task: Runnable) {
        let task = task.into_task();
        // The link is clear: `pop_front` leaves it so.
        debug_assert!(task.run_link.get().is_none());
        if self.head.get().is_none() {
            self.head.set(Some(task));
        } else if let Some(tail) = self.tail.get() {
            tail.run_link.set(Some(task));
        }
        self.tail.set(Some(task));
        #[cfg(feature = "metrics")]
        self.len.set(self.len.get() + 1);
    }

    /// Takes the task at the front.
    #[inline(always)]
    pub(crate) fn pop_front(&self) -> Option<Runnable> {
        let task = self.head.get()?;
        self.head.set(task.run_link.take());
        #[cfg(feature = "metrics")]
        self.len.set(self.len.get() - 1);
        // SAFETY: `push_back` took this runnable apart, and the queue has kept it to this thread
        // (it holds raw pointers, so it is not `Send`).
        Some(unsafe { Runnable::from_scheduled(task) })
    }
}

impl Drop for RunQueue {
    fn drop(&mut self) {
        while let Some(task) = self.pop_front() {
            drop(task);
        }
    }
}

impl Default for RunQueue {
    fn default() -> RunQueue {
        RunQueue::new()
    }
}

impl fmt::Debug for RunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue")
            .field("is_empty", &self.is_empty())
            .finish()
    }
}
