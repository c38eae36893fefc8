//! What tasks see of their executor.

use std::rc::Rc;

use super::{
    core::{Core, current, with_current},
    queue::TaskQueueHandle,
    shares::{Latency, Shares},
    stop::StopHandle,
    yields::{Yield, yield_now},
};
use crate::sys::buffers::DmaBuffer;

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

/// Yields if the running task has used up its time; see [`ExecutorProxy::yield_if_needed`].
///
/// # Panics
///
/// Outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, yield_if_needed};
///
/// LocalExecutor::default().run(async {
///     let mut sum = 0_u64;
///     for number in 0..10_000 {
///         sum += number;
///         yield_if_needed().await;
///     }
///     assert_eq!(sum, 49_995_000);
/// });
/// ```
pub async fn yield_if_needed() {
    executor().yield_if_needed().await
}

/// A buffer for direct I/O of at least the alignment that any device needs.
///
/// # Panics
///
/// Outside of an executor, and when the system is out of memory.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, allocate_dma_buffer};
///
/// LocalExecutor::default().run(async {
///     let buffer = allocate_dma_buffer(4096);
///     assert_eq!(buffer.len(), 4096);
///     assert_eq!(buffer.as_bytes().as_ptr() as usize % 512, 0);
/// });
/// ```
#[track_caller]
pub fn allocate_dma_buffer(size: usize) -> DmaBuffer {
    with_core(|core| match core.reactor.alloc_dma(size) {
        Ok(buffer) => buffer,
        Err(error) => panic!("{error}"),
    })
}

/// A buffer for direct I/O that belongs to no executor's I/O memory.
///
/// It can be had before there is an executor, and holds none of the memory that
/// [`io_memory`](crate::LocalExecutorBuilder::io_memory) bounds; in turn the kernel pins it anew for
/// each operation. Zeroed, with its own pages. Like any buffer it stays on its thread.
///
/// # Panics
///
/// When the system is out of memory.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, allocate_dma_buffer_global, io::DmaFile};
///
/// let mut buffer = allocate_dma_buffer_global(4096);
/// buffer.as_bytes_mut().fill(b'x');
///
/// let dir = tempfile::tempdir().unwrap();
/// LocalExecutor::default().run(async {
///     let file = DmaFile::create(dir.path().join("file")).await?;
///     assert_eq!(file.write_at(buffer, 0).await?, 4096);
///     file.close().await
/// })
/// # .unwrap();
/// ```
#[track_caller]
pub fn allocate_dma_buffer_global(size: usize) -> DmaBuffer {
    match DmaBuffer::standalone(size) {
        Ok(buffer) => buffer,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
pub(super) fn with_core<R>(f: impl FnOnce(&Rc<Core>) -> R) -> R {
    // A panic inside the closure would name this file.
    match with_current(|core| core.map(f)) {
        Some(result) => result,
        None => no_executor(),
    }
}

/// As [`with_core`], for those who would put a future into the closure.
#[track_caller]
#[inline]
pub(super) fn running_core() -> Rc<Core> {
    match current() {
        Some(core) => core,
        None => no_executor(),
    }
}

#[track_caller]
#[cold]
pub(super) fn no_executor() -> ! {
    panic!(
        "this needs a running glommio executor on the current thread; call it from a future that \
         LocalExecutor::run or LocalExecutorBuilder::spawn drives"
    )
}

/// The running executor, as [`executor`] gives it.
///
/// It refers to whatever executor runs on the thread that calls a method. All methods panic
/// outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor};
///
/// LocalExecutor::default().run(async {
///     println!("executor {}", executor().id());
///     let task = executor().spawn_local(async { 6 * 7 });
///     executor().yield_now().await;
///     assert_eq!(task.await, 42);
///     println!("{:?}", executor().executor_stats());
/// });
/// ```
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

    /// The handle by which this executor, or its pool, is asked to stop.
    ///
    /// A task that serves until it is asked to stop keeps the handle and awaits
    /// [`StopHandle::requested`], or hands what it waits for to [`StopHandle::run_until_stopped`].
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor, spawn_local, timer::sleep};
    /// use std::time::Duration;
    ///
    /// LocalExecutor::default().run(async {
    ///     let stop = executor().stop_handle();
    ///     let beats = spawn_local(async move {
    ///         let mut beats = 0;
    ///         while stop.run_until_stopped(sleep(Duration::from_millis(1))).await.is_some() {
    ///             beats += 1;
    ///         }
    ///         beats
    ///     });
    ///     sleep(Duration::from_millis(10)).await;
    ///     executor().stop_handle().request_stop();
    ///     println!("{} beats", beats.await);
    /// });
    /// ```
    #[track_caller]
    pub fn stop_handle(&self) -> StopHandle {
        with_core(|core| core.stop.clone())
    }

    /// Adds a task queue.
    ///
    /// While queues compete, CPU time is divided in the ratio of their `shares`. The name is for
    /// reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use glommio::{Latency, LocalExecutor, Shares, executor, spawn_local_into};
    ///
    /// LocalExecutor::default().run(async {
    ///     // Ten times as much of the CPU for requests as for the background, while both want it.
    ///     let latency = Latency::Matters(Duration::from_millis(1));
    ///     let requests = executor().create_task_queue(Shares::Static(100), latency, "requests");
    ///     let background =
    ///         executor().create_task_queue(Shares::Static(10), Latency::NotImportant, "background");
    ///     let first = spawn_local_into(async { "request" }, requests)?;
    ///     let second = spawn_local_into(async { "compaction" }, background)?;
    ///     assert_eq!((first.await, second.await), ("request", "compaction"));
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, TaskQueueHandle, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     assert_eq!(executor().current_task_queue(), TaskQueueHandle::default());
    /// });
    /// ```
    #[track_caller]
    pub fn current_task_queue(&self) -> TaskQueueHandle {
        with_core(|core| core.current_handle())
    }

    /// Whether the running task has used up the time of its queue and should yield.
    ///
    /// Cheap enough for inner loops: a few nanoseconds, no system call. The answer may come up to
    /// seven calls late while calls are less than a microsecond apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut left = 1_000_000_u32;
    ///     while left > 0 {
    ///         left -= 1;
    ///         if executor().need_preempt() {
    ///             executor().yield_now().await;
    ///         }
    ///     }
    /// });
    /// ```
    #[inline]
    #[track_caller]
    pub fn need_preempt(&self) -> bool {
        with_core(|core| core.need_preempt())
    }

    /// Yields if [`need_preempt`](Self::need_preempt) says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     for _ in 0..1_000 {
    ///         // A piece of work.
    ///         executor().yield_if_needed().await;
    ///     }
    /// });
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// use glommio::{Latency, LocalExecutor, Shares, executor, spawn_local_into};
    ///
    /// LocalExecutor::default().run(async {
    ///     let other = executor().create_task_queue(Shares::default(), Latency::NotImportant, "other");
    ///     let ran = Rc::new(Cell::new(false));
    ///     let theirs = ran.clone();
    ///     spawn_local_into(async move { theirs.set(true) }, other)?.detach();
    ///     executor().yield_task_queue_now().await;
    ///     assert!(ran.get());
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    pub async fn yield_task_queue_now(&self) {
        yield_now(Yield::Turn).await;
    }
}
