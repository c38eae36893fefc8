//! What tasks see of their executor.

use std::{future::Future, rc::Rc, time::Duration};

use super::{
    core::{Core, with_current},
    queues::{TaskQueue, TaskQueueHandle},
    shares::{Latency, Shares},
    stats::{ExecutorStats, TaskQueueStats},
    yields::{Yield, yield_now},
};
use crate::{error::Result, sys::buffers::DmaBuffer, task::join::Task};

/// The executor that runs on the current thread.
///
/// # Panics
///
/// Outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor};
///
/// LocalExecutor::default().run(async {
///     let task = executor().spawn_local(async { 1 + 1 });
///     assert_eq!(task.await, 2);
/// });
/// ```
#[track_caller]
pub fn executor() -> ExecutorProxy {
    with_core(|_| ExecutorProxy { _private: () })
}

/// Spawns a task into the queue of the running one.
///
/// # Panics
///
/// Outside of an executor.
#[track_caller]
pub fn spawn_local<T>(future: impl Future<Output = T> + 'static) -> Task<T>
where
    T: 'static,
{
    with_core(|core| core.tasks.spawn(core.current_queue(), future))
}

/// Spawns a task into a queue.
///
/// # Errors
///
/// `QueueError` with `NotFound` if there is no such queue.
///
/// # Panics
///
/// Outside of an executor.
#[track_caller]
pub fn spawn_local_into<T>(
    future: impl Future<Output = T> + 'static,
    handle: TaskQueueHandle,
) -> Result<Task<T>, ()>
where
    T: 'static,
{
    with_core(|core| {
        let queue = core.queues.get(handle)?;
        Ok(core.tasks.spawn(queue.index, future))
    })
}

/// Yields if the running task has used up its time; see [`ExecutorProxy::yield_if_needed`].
///
/// # Panics
///
/// Outside of an executor.
pub async fn yield_if_needed() {
    executor().yield_if_needed().await
}

/// A buffer for direct I/O of at least the alignment that any device needs.
///
/// # Panics
///
/// Outside of an executor, and when the system is out of memory.
#[track_caller]
pub fn allocate_dma_buffer(size: usize) -> DmaBuffer {
    with_core(|core| match core.reactor.alloc_dma(size) {
        Ok(buffer) => buffer,
        Err(error) => panic!("cannot allocate a DMA buffer of {size} bytes: {error}"),
    })
}

#[track_caller]
fn with_core<R>(f: impl FnOnce(&Rc<Core>) -> R) -> R {
    // A panic inside the closure would name this file.
    match with_current(|core| core.map(f)) {
        Some(result) => result,
        None => panic!(
            "this needs a running glommio executor on the current thread; call it from a future \
             that LocalExecutor::run or LocalExecutorBuilder::spawn drives"
        ),
    }
}

/// The running executor, as [`executor`] gives it.
///
/// It refers to whatever executor runs on the thread that calls a method. All methods panic
/// outside of an executor.
#[derive(Debug)]
pub struct ExecutorProxy {
    _private: (),
}

impl ExecutorProxy {
    /// The executor's number, unique within the process for all time.
    #[track_caller]
    pub fn id(&self) -> usize {
        with_core(|core| core.id())
    }

    /// Spawns a task into the queue of the running one.
    #[track_caller]
    pub fn spawn_local<T>(&self, future: impl Future<Output = T> + 'static) -> Task<T>
    where
        T: 'static,
    {
        spawn_local(future)
    }

    /// Spawns a task into a queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    #[track_caller]
    pub fn spawn_local_into<T>(
        &self,
        future: impl Future<Output = T> + 'static,
        handle: TaskQueueHandle,
    ) -> Result<Task<T>, ()>
    where
        T: 'static,
    {
        spawn_local_into(future, handle)
    }

    /// Runs a function that blocks on a thread of the executor's blocking pool.
    ///
    /// The function runs whether or not the future is awaited, and to its end even if the executor
    /// ends first.
    ///
    /// # Panics
    ///
    /// The future panics with the panic of the function, and if the system refuses a thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the result; the function runs on.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> impl Future<Output = R> + use<F, R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        with_core(|core| core.blocking.run(func))
    }

    /// Adds a task queue.
    ///
    /// While queues compete, CPU time is divided in the ratio of their `shares`. The name is for
    /// reports.
    #[track_caller]
    pub fn create_task_queue(
        &self,
        shares: Shares,
        latency: Latency,
        name: &str,
    ) -> TaskQueueHandle {
        with_core(|core| core.queues.create(shares, latency, name))
    }

    /// The queue of the running task.
    #[track_caller]
    pub fn current_task_queue(&self) -> TaskQueueHandle {
        with_core(|core| TaskQueueHandle::new(core.current_queue() as usize))
    }

    /// Whether the running task has used up the time of its queue and should yield.
    ///
    /// Cheap enough for inner loops: a few nanoseconds, no system call. The answer may come up to
    /// seven calls late while calls are less than a microsecond apart.
    #[inline]
    #[track_caller]
    pub fn need_preempt(&self) -> bool {
        with_core(|core| core.need_preempt())
    }

    /// Yields if [`need_preempt`](Self::need_preempt) says so.
    pub async fn yield_if_needed(&self) {
        if self.need_preempt() {
            yield_now(Yield::Place).await;
        }
    }

    /// Lets the other runnable tasks of this queue run first.
    pub async fn yield_now(&self) {
        yield_now(Yield::Place).await;
    }

    /// Lets every other runnable queue, and I/O that is due, go first.
    pub async fn yield_task_queue_now(&self) {
        yield_now(Yield::Turn).await;
    }

    /// Counters of the executor.
    #[track_caller]
    pub fn executor_stats(&self) -> ExecutorStats {
        with_core(|core| ExecutorStats {
            total_runtime: core.started.elapsed(),
            executor_runtime: nanos(core, core.counts.busy.get()),
            scheduler_runs: core.counts.slices.get(),
            tasks_executed: core.counts.polls.get(),
        })
    }

    /// Counters of a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    #[track_caller]
    pub fn task_queue_stats(&self, handle: TaskQueueHandle) -> Result<TaskQueueStats, ()> {
        with_core(|core| Ok(queue_stats(core, &*core.queues.get(handle)?)))
    }

    /// Adds the counters of all task queues to a collection.
    #[track_caller]
    pub fn all_task_queue_stats<V>(&self, mut output: V) -> V
    where
        V: Extend<TaskQueueStats>,
    {
        with_core(|core| {
            let queues = core.queues.all();
            output.extend(queues.iter().map(|queue| queue_stats(core, queue)));
        });
        output
    }
}

fn nanos(core: &Core, ticks: u64) -> Duration {
    Duration::from_nanos(core.clock.nanos(ticks))
}

fn queue_stats(core: &Core, queue: &TaskQueue) -> TaskQueueStats {
    TaskQueueStats {
        index: TaskQueueHandle::new(queue.index as usize),
        shares: queue.current_shares(),
        runtime: nanos(core, queue.runtime.get()),
        queue_selected: queue.selected.get(),
    }
}
