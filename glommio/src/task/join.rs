//! The handles of a task that users hold.

use core::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, Poll},
};

use super::handle::{Ended, Handle};

/// A spawned task.
///
/// Awaiting it gives the task's output. A task runs whether or not it is awaited; dropping this
/// handle cancels it: its future is dropped, on its executor, at its next scheduling point. Use
/// [`detach`](Self::detach) to let it run on without a handle, and [`cancel`](Self::cancel) to wait
/// until it has stopped.
///
/// # Panics
///
/// Awaiting resumes the panic of a task that panicked. It panics, too, if the executor ended before
/// the task did, and if it is polled again after it gave its output.
///
/// # Cancel safety
///
/// Polling borrows the handle. An output that is there stays until a poll returns it, so losing a
/// race in a `select` loses nothing as long as the handle is kept.
///
/// # Examples
///
/// ```
/// use std::future::pending;
///
/// use glommio::{LocalExecutor, spawn_local};
///
/// LocalExecutor::default().run(async {
///     assert_eq!(spawn_local(async { 6 * 7 }).await, 42);
///     // It runs on without a handle.
///     spawn_local(async { println!("in the background") }).detach();
///     // Cancelled before it was done.
///     assert_eq!(spawn_local(pending::<u8>()).cancel().await, None);
/// });
/// ```
#[must_use = "tasks are canceled when dropped, use `.detach()` to run them in the background"]
pub struct Task<T> {
    pub(super) handle: Handle<T>,
}

impl<T> Task<T> {
    #[inline(always)]
    pub(super) fn new(handle: Handle<T>) -> Task<T> {
        Task { handle }
    }

    /// The handle, without the cancellation that dropping a `Task` entails.
    #[inline]
    fn into_handle(self) -> Handle<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the field is moved out once; `this` is not used again, and not dropped.
        unsafe { ptr::read(&this.handle) }
    }

    /// Lets the task run on, and gives a handle that does not cancel it when dropped.
    ///
    /// The handle can be awaited for the output, or be dropped: the task does not mind.
    pub fn detach(self) -> JoinHandle<T> {
        JoinHandle {
            handle: self.into_handle(),
        }
    }

    /// Cancels the task and waits until its future is dropped.
    ///
    /// Gives the output if the task completed before the cancellation got through to it, otherwise
    /// `None`.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a task that panicked, be it in its future's destructor.
    ///
    /// # Cancel safety
    ///
    /// The task is cancelled in any case, also if the returned future is dropped at once; only the
    /// waiting is cut short.
    pub async fn cancel(self) -> Option<T> {
        let mut handle = self.into_handle();
        handle.cancel();
        match poll_fn(|context| handle.poll_end(context)).await {
            Ended::Output(output) => Some(output),
            Ended::Cancelled | Ended::Taken => None,
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        poll_output(&mut self.handle, context)
    }
}

impl<T> Drop for Task<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.handle.is_finished() {
            self.handle.cancel();
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.debug("Task", f)
    }
}

/// A spawned task that may borrow from the scope that spawned it.
///
/// It is a [`Task`] in most respects. The difference is in the drop: the future of a scoped task is
/// gone when the drop of its handle returns, so it cannot outlive what it borrows. That rests on the
/// handle being dropped at all, which is why making one is unsafe; and a future that drops its own
/// handle while it runs ends only when its poll returns.
///
/// A panic of the future's destructor does not pass through the drop of the handle. It is treated as
/// the panic of a task that nobody awaits.
///
/// # Panics
///
/// As for [`Task`].
///
/// # Examples
///
/// ```
/// use std::future::pending;
///
/// use glommio::{LocalExecutor, spawn_scoped_local};
///
/// LocalExecutor::default().run(async {
///     let text = String::from("borrowed");
///     // SAFETY: both handles are dropped, by awaiting and by cancelling them, before `text` goes.
///     let (length, never) = unsafe {
///         (spawn_scoped_local(async { text.len() }), spawn_scoped_local(pending::<u8>()))
///     };
///     assert_eq!(length.await, 8);
///     assert_eq!(never.cancel().await, None);
/// });
/// ```
#[must_use = "tasks are canceled when dropped, await the task to let it finish"]
pub struct ScopedTask<'a, T> {
    pub(super) handle: Handle<T>,
    scope: PhantomData<&'a ()>,
}

impl<'a, T> ScopedTask<'a, T> {
    #[inline(always)]
    pub(super) fn new(handle: Handle<T>) -> ScopedTask<'a, T> {
        ScopedTask {
            handle,
            scope: PhantomData,
        }
    }

    /// Cancels the task and waits until its future is dropped.
    ///
    /// Gives the output if the task completed before the cancellation got through to it, otherwise
    /// `None`.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a task that panicked, be it in its future's destructor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops the task, as dropping the handle would.
    pub async fn cancel(mut self) -> Option<T> {
        self.handle.cancel();
        match poll_fn(|context| self.handle.poll_end(context)).await {
            Ended::Output(output) => Some(output),
            Ended::Cancelled | Ended::Taken => None,
        }
    }
}

impl<T> Future for ScopedTask<'_, T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        poll_output(&mut self.handle, context)
    }
}

impl<T> Drop for ScopedTask<'_, T> {
    fn drop(&mut self) {
        self.handle.cancel_now();
    }
}

impl<T> fmt::Debug for ScopedTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.debug("ScopedTask", f)
    }
}

/// A handle of a detached task.
///
/// Awaiting it gives the task's output, or `None` if the task was cancelled: by
/// [`cancel`](Self::cancel), or because its executor ended. Dropping it changes nothing for the
/// task, which runs on.
///
/// # Panics
///
/// Awaiting resumes the panic of a task that panicked. The panic of a task whose handle is dropped
/// goes to the executor.
///
/// # Cancel safety
///
/// Polling borrows the handle; an output stays until a poll returns it. Once it did, further polls
/// give `None`.
///
/// # Examples
///
/// ```
/// use std::future::pending;
///
/// use glommio::{LocalExecutor, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let handle = spawn_local(async { 6 * 7 }).detach();
///     assert_eq!(handle.await, Some(42));
///
///     let handle = spawn_local(pending::<()>()).detach();
///     handle.cancel();
///     assert_eq!(handle.await, None);
/// });
/// ```
pub struct JoinHandle<R> {
    pub(super) handle: Handle<R>,
}

impl<R> JoinHandle<R> {
    /// Cancels the task: its future is dropped, on its executor, at its next scheduling point.
    ///
    /// This has no effect on a task that has completed. Await the handle to wait for the end.
    pub fn cancel(&self) {
        self.handle.cancel();
    }
}

impl<R> Future for JoinHandle<R> {
    type Output = Option<R>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<R>> {
        self.handle.poll_end(context).map(|ended| match ended {
            Ended::Output(output) => Some(output),
            Ended::Cancelled | Ended::Taken => None,
        })
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.debug("JoinHandle", f)
    }
}

#[inline]
fn poll_output<T>(handle: &mut Handle<T>, context: &Context<'_>) -> Poll<T> {
    match handle.poll_end(context) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ended::Output(output)) => Poll::Ready(output),
        Poll::Ready(Ended::Cancelled) => no_output("its executor ended before the task did"),
        Poll::Ready(Ended::Taken) => no_output("it was polled again after it gave its output"),
    }
}

#[cold]
#[inline(never)]
fn no_output(why: &str) -> ! {
    panic!("the awaited task has no output: {why}")
}
