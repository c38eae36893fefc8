//! An executor on the current thread.

use std::{fmt, future::Future, rc::Rc};

use super::{
    core::{Config, Core},
    queue::TaskQueueHandle,
    shares::{Latency, Shares},
    stall::StallDetectionHandler,
    stop::StopHandle,
};
use crate::{error::Result, task::join::Task};

/// A single-threaded executor with its own io_uring.
///
/// It belongs to the thread that made it. [`run`](Self::run) drives a future and all tasks that are
/// spawned meanwhile; dropping the executor drops every task that is left, in whatever state, and
/// waits until the kernel has let go of the memory of their operations.
///
/// # Examples
///
/// ```
/// use glommio::LocalExecutor;
///
/// let answer = LocalExecutor::default().run(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
pub struct LocalExecutor {
    core: Rc<Core>,
}

impl LocalExecutor {
    pub(super) fn new(config: Config) -> Result<LocalExecutor, ()> {
        Ok(LocalExecutor {
            core: Core::new(config)?,
        })
    }

    /// Runs `future` to its end, and tasks of this executor meanwhile.
    ///
    /// Tasks that are still pending when the future completes stay with the executor: another `run`
    /// goes on with them, dropping the executor drops them. The future need not be `'static`.
    ///
    /// # Panics
    ///
    /// With the panic of `future`, if it panics. With a panic that nobody awaits, if the
    /// [policy](crate::LocalExecutorBuilder::on_unobserved_panic) says so. If an executor is running on this thread already
    /// ("executor inception"). A panic of a spawned task does not get here; it resumes where the
    /// task is awaited.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.core.run(future)
    }

    /// Spawns a task, whether or not the executor runs yet.
    ///
    /// The task starts with the next [`run`](Self::run); if there is none, it is dropped with the
    /// executor. It goes into the queue of the running task if this executor is running, else into
    /// the default queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::LocalExecutor;
    ///
    /// let executor = LocalExecutor::default();
    /// let task = executor.spawn(async { 6 * 7 });
    /// assert_eq!(executor.run(task), 42);
    /// ```
    ///
    /// The task may outlive the caller's variables, so it cannot borrow them:
    ///
    /// ```compile_fail,E0597
    /// use glommio::LocalExecutor;
    ///
    /// let executor = LocalExecutor::default();
    /// {
    ///     let text = String::from("gone before the task runs");
    ///     executor.spawn(async { println!("{}", text) }).detach();
    /// }
    /// executor.run(async {});
    /// ```
    pub fn spawn<T>(&self, future: impl Future<Output = T> + 'static) -> Task<T>
    where
        T: 'static,
    {
        self.core.tasks.spawn(self.core.spawning_queue(), future)
    }

    /// The handle by which the executor is asked to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::LocalExecutor;
    ///
    /// let executor = LocalExecutor::default();
    /// let stop = executor.stop_handle();
    /// std::thread::spawn(move || stop.request_stop());
    /// executor.run(async { glommio::executor().stop_handle().requested().await });
    /// ```
    pub fn stop_handle(&self) -> StopHandle {
        self.core.stop.clone()
    }

    /// The executor's number, unique within the process for all time.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::LocalExecutor;
    ///
    /// let (first, second) = (LocalExecutor::default(), LocalExecutor::default());
    /// assert_ne!(first.id(), second.id());
    /// ```
    pub fn id(&self) -> usize {
        self.core.id()
    }

    /// Looks for tasks that run for too long without yielding, with the given handler, or stops
    /// looking.
    ///
    /// # Errors
    ///
    /// `IoError` with `InvalidInput` or `ResourceBusy` if the handler's
    /// [signal](StallDetectionHandler::signal) cannot be used, and with what the kernel says if it
    /// has no timer left. The executor goes on as before then.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{DefaultStallDetectionHandler, LocalExecutor};
    ///
    /// let executor = LocalExecutor::default();
    /// executor.detect_stalls(Some(Box::new(DefaultStallDetectionHandler {})))?;
    /// executor.run(async { /* what is suspected to stall */ });
    /// executor.detect_stalls(None)?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn detect_stalls(
        &self,
        handler: Option<Box<dyn StallDetectionHandler + 'static>>,
    ) -> Result<(), ()> {
        self.core.detect_stalls(handler)
    }

    /// Adds a task queue, as [`ExecutorProxy::create_task_queue`] does for the running executor.
    ///
    /// [`ExecutorProxy::create_task_queue`]: crate::ExecutorProxy::create_task_queue
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{Latency, LocalExecutor, Shares, spawn_local_into};
    ///
    /// let executor = LocalExecutor::default();
    /// let background = executor.create_task_queue(Shares::Static(10), Latency::NotImportant, "background");
    /// executor.run(async move { spawn_local_into(async { 1 + 1 }, background)?.await; Ok(()) })
    /// # .map_err(|error: glommio::GlommioError<()>| error)
    /// # .unwrap();
    /// ```
    pub fn create_task_queue(
        &self,
        shares: Shares,
        latency: Latency,
        name: &str,
    ) -> TaskQueueHandle {
        self.core.queues.create(shares, latency, name)
    }

    /// Removes a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue, with `StillActive` if it has tasks or
    /// is the one that every executor starts with.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{Latency, LocalExecutor, Shares};
    ///
    /// let executor = LocalExecutor::default();
    /// let queue = executor.create_task_queue(Shares::default(), Latency::NotImportant, "short-lived");
    /// executor.remove_task_queue(queue)?;
    /// assert!(executor.remove_task_queue(queue).is_err());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn remove_task_queue(&self, handle: TaskQueueHandle) -> Result<(), ()> {
        self.core.remove_queue(handle)
    }
}

impl Drop for LocalExecutor {
    fn drop(&mut self) {
        self.core.shutdown();
    }
}

impl fmt::Debug for LocalExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutor")
            .field("id", &self.id())
            .field("name", &self.core.name)
            .field("tasks", &self.core.tasks.len())
            .finish()
    }
}
