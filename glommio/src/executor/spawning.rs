//! Spawning from inside an executor: tasks, and functions that block.

use std::future::Future;

use super::{
    proxy::{ExecutorProxy, no_executor, running_core, with_core},
    queue::TaskQueueHandle,
};
use crate::{
    error::Result,
    task::{
        self,
        join::{ScopedTask, Task},
    },
};

/// Spawns a task into the queue of the running one.
///
/// # Panics
///
/// Outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let task = spawn_local(async { 6 * 7 });
///     assert_eq!(task.await, 42);
/// });
/// ```
#[track_caller]
#[inline]
pub fn spawn_local<T>(future: impl Future<Output = T> + 'static) -> Task<T>
where
    T: 'static,
{
    if task::current_id().is_none() {
        no_executor();
    }
    task::spawn(future)
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
///
/// # Examples
///
/// ```
/// use glommio::{Latency, LocalExecutor, Shares, executor, spawn_local_into};
///
/// LocalExecutor::default().run(async {
///     let queue = executor().create_task_queue(Shares::Static(100), Latency::NotImportant, "batch");
///     let task = spawn_local_into(async { executor().current_task_queue() }, queue)?;
///     assert_eq!(task.await, queue);
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
#[track_caller]
pub fn spawn_local_into<T>(
    future: impl Future<Output = T> + 'static,
    handle: TaskQueueHandle,
) -> Result<Task<T>, ()>
where
    T: 'static,
{
    let core = running_core();
    let queue = core.queues.get(handle)?;
    Ok(core.spawn(queue.slot(), future))
}

/// Spawns a task that may borrow, into the queue of the running one.
///
/// The future may borrow from the scope that awaits the task, which spares reference counts and
/// clones. Dropping the handle drops the future at once.
///
/// # Safety
///
/// The handle is dropped before anything that the future borrows goes away. It must therefore not
/// be forgotten (`mem::forget`, a cycle of `Rc`s, a future that is itself leaked), and not be dropped
/// from inside the task.
///
/// # Panics
///
/// Outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, spawn_scoped_local};
///
/// LocalExecutor::default().run(async {
///     let mut sum = 0;
///     let numbers = vec![1, 2, 3];
///     // SAFETY: the handle is awaited, and so dropped, before `sum` and `numbers` go.
///     unsafe { spawn_scoped_local(async { sum = numbers.iter().sum() }) }.await;
///     assert_eq!(sum, 6);
/// });
/// ```
#[track_caller]
pub unsafe fn spawn_scoped_local<'a, T>(future: impl Future<Output = T> + 'a) -> ScopedTask<'a, T> {
    let core = running_core();
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { core.tasks.spawn_scoped(core.current_queue(), future) }
}

/// Spawns a task that may borrow, into a queue.
///
/// # Errors
///
/// `QueueError` with `NotFound` if there is no such queue.
///
/// # Safety
///
/// As for [`spawn_scoped_local`].
///
/// # Panics
///
/// Outside of an executor.
///
/// # Examples
///
/// ```
/// use glommio::{Latency, LocalExecutor, Shares, executor, spawn_scoped_local_into};
///
/// LocalExecutor::default().run(async {
///     let queue = executor().create_task_queue(Shares::default(), Latency::NotImportant, "side");
///     let text = String::from("borrowed");
///     // SAFETY: the handle is awaited, and so dropped, before `text` goes.
///     let task = unsafe { spawn_scoped_local_into(async { text.len() }, queue) };
///     assert_eq!(task?.await, 8);
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
#[track_caller]
pub unsafe fn spawn_scoped_local_into<'a, T>(
    future: impl Future<Output = T> + 'a,
    handle: TaskQueueHandle,
) -> Result<ScopedTask<'a, T>, ()> {
    let core = running_core();
    let queue = core.queues.get(handle)?;
    // SAFETY: the caller's promise is the one that is asked for.
    Ok(unsafe { core.tasks.spawn_scoped(queue.slot(), future) })
}

impl ExecutorProxy {
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
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{Latency, LocalExecutor, Shares, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue = executor().create_task_queue(Shares::Static(100), Latency::NotImportant, "batch");
    ///     let task = executor().spawn_local_into(async { 6 * 7 }, queue)?;
    ///     assert_eq!(task.await, 42);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
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

    /// Spawns a task that may borrow, into the queue of the running one; see
    /// [`spawn_scoped_local`].
    ///
    /// # Safety
    ///
    /// The handle is dropped, not forgotten, before anything that the future borrows goes away, and
    /// not from inside the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut count = 0;
    ///     // SAFETY: the handle is awaited, and so dropped, before `count` goes.
    ///     unsafe { executor().spawn_scoped_local(async { count += 1 }) }.await;
    ///     assert_eq!(count, 1);
    /// });
    /// ```
    #[track_caller]
    pub unsafe fn spawn_scoped_local<'a, T>(
        &self,
        future: impl Future<Output = T> + 'a,
    ) -> ScopedTask<'a, T> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { spawn_scoped_local(future) }
    }

    /// Spawns a task that may borrow, into a queue; see [`spawn_scoped_local_into`].
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Safety
    ///
    /// The handle is dropped, not forgotten, before anything that the future borrows goes away, and
    /// not from inside the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, TaskQueueHandle, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut count = 0;
    ///     let queue = TaskQueueHandle::default();
    ///     // SAFETY: the handle is awaited, and so dropped, before `count` goes.
    ///     unsafe { executor().spawn_scoped_local_into(async { count += 1 }, queue) }?.await;
    ///     assert_eq!(count, 1);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub unsafe fn spawn_scoped_local_into<'a, T>(
        &self,
        future: impl Future<Output = T> + 'a,
        handle: TaskQueueHandle,
    ) -> Result<ScopedTask<'a, T>, ()> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { spawn_scoped_local_into(future, handle) }
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
    /// Dropping the future loses the result; the function runs on. Its panic then goes to the
    /// [policy](crate::LocalExecutorBuilder::on_unobserved_panic) for panics that nobody awaits.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// let text = LocalExecutor::default().run(async {
    ///     executor().spawn_blocking(|| std::fs::read_to_string("/proc/self/comm")).await
    /// });
    /// assert!(!text.unwrap().is_empty());
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> impl Future<Output = R> + use<F, R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        with_core(|core| core.blocking.run(core.current_handle(), func))
    }

    /// As [`spawn_blocking`](Self::spawn_blocking), with a future that says it may move to another
    /// thread.
    ///
    /// # Panics
    ///
    /// As for [`spawn_blocking`](Self::spawn_blocking).
    ///
    /// # Cancel safety
    ///
    /// As for [`spawn_blocking`](Self::spawn_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let answer = executor().spawn_blocking_send(|| 6 * 7);
    ///     let elsewhere = std::thread::spawn(move || block_on(answer));
    ///     assert_eq!(elsewhere.join().unwrap(), 42);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_blocking_send<F, R>(&self, func: F) -> impl Future<Output = R> + Send + use<F, R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        with_core(|core| core.blocking.run(core.current_handle(), func))
    }
}
