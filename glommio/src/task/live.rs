//! The live tasks of one executor, while it lives, ends and has ended.

use core::cell::Cell;

use super::{header::TaskPtr, id::ExecutorId, owned::OwnedLists};

/// The life of an executor, as far as its tasks are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Futures are being dropped; what their destructors spawn joins the list.
    Closing,
    /// The list is empty and stays so.
    Closed,
}

/// The tasks of an executor whose futures exist.
pub(crate) struct LiveTasks {
    pub(super) executor: ExecutorId,
    pub(super) lists: OwnedLists,
    pub(super) phase: Cell<Phase>,
    /// How deep the destructors nest that spawn after the end.
    pub(super) late_spawns: Cell<u32>,
}

impl LiveTasks {
    pub(super) fn new(executor: ExecutorId) -> LiveTasks {
        LiveTasks {
            executor,
            lists: OwnedLists::new(executor),
            phase: Cell::new(Phase::Open),
            late_spawns: Cell::new(0),
        }
    }

    /// Puts a new task into its list; `false` after the end, when there is none.
    #[inline]
    pub(super) fn push_back(&self, task: TaskPtr) -> bool {
        match self.phase.get() {
            Phase::Open => self.lists.push_back(task),
            Phase::Closing => self.lists.first().push_back(task),
            Phase::Closed => return false,
        }
        true
    }

    /// Frees what is kept for a queue that has no tasks and gets no more. `false`, and nothing is done,
    /// if a task of it still has a future.
    pub(super) fn forget_queue(&self, queue: u32) -> bool {
        match self.phase.get() {
            Phase::Open => self.lists.forget_queue(queue),
            Phase::Closing => !self.iter().any(|task| task.queue == queue),
            Phase::Closed => true,
        }
    }

    /// All of them: queue by queue, the oldest of each first. None may be spawned or end meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = TaskPtr> {
        self.lists.iter()
    }
}
