//! What an executor and its queues have done so far.

use std::time::Duration;

use super::queues::TaskQueueHandle;

/// Counters of an executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutorStats {
    pub(super) total_runtime: Duration,
    pub(super) executor_runtime: Duration,
    pub(super) scheduler_runs: u64,
    pub(super) tasks_executed: u64,
}

impl ExecutorStats {
    /// Time since the executor was made.
    pub fn total_runtime(&self) -> Duration {
        self.total_runtime
    }

    /// Time spent running tasks.
    pub fn executor_runtime(&self) -> Duration {
        self.executor_runtime
    }

    /// How many times the scheduler gave a queue its turn.
    pub fn scheduler_runs(&self) -> u64 {
        self.scheduler_runs
    }

    /// How many times a task was polled.
    pub fn tasks_executed(&self) -> u64 {
        self.tasks_executed
    }
}

/// Counters of a task queue.
#[derive(Clone, Copy, Debug)]
pub struct TaskQueueStats {
    pub(super) index: TaskQueueHandle,
    pub(super) shares: usize,
    pub(super) runtime: Duration,
    pub(super) queue_selected: u64,
}

impl TaskQueueStats {
    /// The queue.
    pub fn index(&self) -> TaskQueueHandle {
        self.index
    }

    /// The shares that the queue has now.
    pub fn current_shares(&self) -> usize {
        self.shares
    }

    /// Time spent running tasks of this queue.
    pub fn runtime(&self) -> Duration {
        self.runtime
    }

    /// How many times the queue was given its turn.
    pub fn queue_selected(&self) -> u64 {
        self.queue_selected
    }
}
