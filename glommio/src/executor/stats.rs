//! What an executor and its queues have done so far.

use std::time::Duration;

use super::{
    core::Core,
    io_stats::IoStats,
    proxy::{ExecutorProxy, with_core},
    queue::{TaskQueue, TaskQueueHandle},
};
use crate::error::Result;

/// Counters of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor, spawn_local};
///
/// LocalExecutor::default().run(async {
///     spawn_local(async {}).await;
///     // Counters move on when a queue's turn ends.
///     executor().yield_task_queue_now().await;
///     let stats = executor().executor_stats();
///     assert!(stats.tasks_executed() >= 2);
///     assert!(stats.scheduler_runs() >= 1);
///     assert!(stats.executor_runtime() <= stats.total_runtime());
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutorStats {
    total_runtime: Duration,
    executor_runtime: Duration,
    scheduler_runs: u64,
    tasks_executed: u64,
}

impl ExecutorStats {
    pub(super) fn of(core: &Core) -> ExecutorStats {
        ExecutorStats {
            total_runtime: core.started.elapsed(),
            executor_runtime: Duration::from_nanos(core.clock.nanos(core.counts.busy.get())),
            scheduler_runs: core.counts.slices.get(),
            tasks_executed: core.counts.polls.get(),
        }
    }

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
///
/// # Examples
///
/// ```
/// use glommio::{Latency, LocalExecutor, Shares, executor, spawn_local_into};
///
/// LocalExecutor::default().run(async {
///     let queue = executor().create_task_queue(Shares::Static(7), Latency::NotImportant, "side");
///     spawn_local_into(async {}, queue)?.await;
///     let stats = executor().task_queue_stats(queue)?;
///     assert_eq!((stats.index(), stats.current_shares()), (queue, 7));
///     println!("selected {} times, ran {:?}", stats.queue_selected(), stats.runtime());
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TaskQueueStats {
    index: TaskQueueHandle,
    shares: usize,
    runtime: Duration,
    queue_selected: u64,
}

impl TaskQueueStats {
    pub(super) fn of(core: &Core, queue: &TaskQueue) -> TaskQueueStats {
        TaskQueueStats {
            index: queue.handle,
            shares: queue.current_shares(),
            runtime: Duration::from_nanos(core.clock.nanos(queue.runtime.get())),
            queue_selected: queue.selected.get(),
        }
    }

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

impl ExecutorProxy {
    /// Counters of the executor.
    #[track_caller]
    pub fn executor_stats(&self) -> ExecutorStats {
        with_core(|core| ExecutorStats::of(core))
    }

    /// Counters of a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, TaskQueueHandle, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let stats = executor().task_queue_stats(TaskQueueHandle::default())?;
    ///     assert_eq!(stats.current_shares(), 1);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn task_queue_stats(&self, handle: TaskQueueHandle) -> Result<TaskQueueStats, ()> {
        with_core(|core| Ok(TaskQueueStats::of(core, &*core.queues.get(handle)?)))
    }

    /// What I/O the tasks of this executor have done so far.
    ///
    /// Reading resets nothing. Takes time in proportion to the number of task queues.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let io = executor().io_stats();
    ///     assert_eq!(io.all_rings().file_reads(), (0, 0));
    /// });
    /// ```
    #[track_caller]
    pub fn io_stats(&self) -> IoStats {
        with_core(|core| {
            let (main, polled) = core.reactor.io_totals();
            IoStats::of_executor(&main, &polled)
        })
    }

    /// What I/O the tasks of a queue have done so far.
    ///
    /// What is polled for stands in [`IoStats::poll_ring`], everything else in
    /// [`IoStats::latency_ring`] if the queue's latency matters, else in [`IoStats::main_ring`]. An
    /// operation counts for the queue whose task issued it. Reading
    /// resets nothing.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use glommio::{Latency, LocalExecutor, Shares, executor, io::DmaFile, spawn_local_into};
    ///
    /// let dir = tempfile::tempdir().unwrap();
    /// LocalExecutor::default().run(async {
    ///     let latency = Latency::Matters(Duration::from_millis(1));
    ///     let queue = executor().create_task_queue(Shares::Static(100), latency, "log");
    ///     let create = DmaFile::create(dir.path().join("log"));
    ///     let file = spawn_local_into(create, queue)?.await?;
    ///
    ///     let io = executor().task_queue_io_stats(queue)?;
    ///     assert_eq!(io.latency_ring.files_opened(), 1);
    ///     file.close().await
    /// })?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[track_caller]
    pub fn task_queue_io_stats(&self, handle: TaskQueueHandle) -> Result<IoStats, ()> {
        with_core(|core| {
            let origin = core.queues.get(handle)?.origin();
            let (main, polled) = core.reactor.io_of_queue(origin);
            Ok(IoStats::of_queue(&main, &polled, origin.latency_matters))
        })
    }

    /// Adds the counters of all task queues to a collection.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     for queue in executor().all_task_queue_stats(Vec::new()) {
    ///         println!("queue {} ran for {:?}", queue.index(), queue.runtime());
    ///     }
    /// });
    /// ```
    #[track_caller]
    pub fn all_task_queue_stats<V>(&self, mut output: V) -> V
    where
        V: Extend<TaskQueueStats>,
    {
        with_core(|core| {
            let queues = core.queues.all();
            output.extend(queues.iter().map(|queue| TaskQueueStats::of(core, queue)));
        });
        output
    }
}
