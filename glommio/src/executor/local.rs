//! An executor on the current thread.

use std::{fmt, future::Future, rc::Rc};

use super::{
    builder::LocalExecutorBuilder,
    core::{Config, Core},
    placement::Placement,
    queues::TaskQueueHandle,
    shares::{Latency, Shares},
    stall::StallDetectionHandler,
};
use crate::error::Result;

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
    /// With the panic of `future`, if it panics. If an executor is running on this thread already
    /// ("executor inception"). A panic of a spawned task does not get here; it resumes where the
    /// task is awaited.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.core.run(future)
    }

    /// The executor's number, unique within the process for all time.
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
    pub fn detect_stalls(
        &self,
        handler: Option<Box<dyn StallDetectionHandler + 'static>>,
    ) -> Result<(), ()> {
        self.core.detect_stalls(handler)
    }

    /// Adds a task queue, as [`ExecutorProxy::create_task_queue`] does for the running executor.
    ///
    /// [`ExecutorProxy::create_task_queue`]: crate::ExecutorProxy::create_task_queue
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
    pub fn remove_task_queue(&self, handle: TaskQueueHandle) -> Result<(), ()> {
        self.core
            .queues
            .remove(handle, |index| self.core.tasks.any_in_queue(index))
    }
}

impl Default for LocalExecutor {
    /// An executor that is bound to no CPU, with the defaults of [`LocalExecutorBuilder`].
    ///
    /// # Panics
    ///
    /// If io_uring cannot be used here; the message says why and what to do.
    /// [`LocalExecutorBuilder::make`] returns the error instead.
    fn default() -> Self {
        match LocalExecutorBuilder::new(Placement::Unbound).make() {
            Ok(executor) => executor,
            Err(error) => panic!("cannot make an executor: {error}"),
        }
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
