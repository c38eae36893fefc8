//! Waiting until a stop is requested.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{core::with_current, stop::StopHandle, stop_watch::Watch};
use crate::task;

impl StopHandle {
    /// Waits until a stop is requested.
    ///
    /// It may be awaited by any number of tasks of any number of executors, of this crate or of others.
    /// The first time that it has to wait outside of glommio's executors, it starts a helper thread,
    /// which ends with the request or with the handle.
    ///
    /// # Panics
    ///
    /// The future panics outside of glommio's executors if that thread cannot be started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, StopHandle, spawn_local};
    ///
    /// let stop = StopHandle::new()?;
    /// LocalExecutor::default().run(async {
    ///     let theirs = stop.clone();
    ///     let task = spawn_local(async move { theirs.requested().await });
    ///     stop.request_stop();
    ///     task.await;
    ///     assert!(stop.is_requested());
    /// });
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn requested(&self) -> StopRequested<'_> {
        StopRequested {
            stop: self,
            registered: None,
        }
    }

    /// Runs `future` until it completes or a stop is requested, and then drops it and gives `None`.
    ///
    /// The request is looked for first, each time: a loop around a future that is always ready ends
    /// too, and a request made before gives `None` without polling `future`.
    ///
    /// # Cancel safety
    ///
    /// That of `future`, which a request drops wherever it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, StopHandle};
    ///
    /// let stop = StopHandle::new()?;
    /// LocalExecutor::default().run(async {
    ///     assert_eq!(stop.run_until_stopped(async { 1 }).await, Some(1));
    ///     stop.request_stop();
    ///     assert_eq!(stop.run_until_stopped(async { 1 }).await, None);
    /// });
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub async fn run_until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut requested = self.requested();
        std::future::poll_fn(move |cx| {
            if Pin::new(&mut requested).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// The watch for whoever polls on this thread.
    fn watch(&self) -> Arc<Watch> {
        with_current(|core| match core {
            Some(core) => {
                let home = core.tasks.id();
                core.stop_watches.of(self.event(), home, &core.reactor)
            }
            None => self.outside_watch(),
        })
    }
}

/// The future of [`StopHandle::requested`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutor, StopHandle, select, timer::sleep};
///
/// let stop = StopHandle::new()?;
/// stop.request_stop();
/// LocalExecutor::default().run(async {
///     let mut requested = stop.requested();
///     select! {
///         () = &mut requested => println!("asked to stop"),
///         _ = sleep(Duration::from_secs(60)) => unreachable!(),
///     }
/// });
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[must_use = "futures do nothing unless they are polled"]
pub struct StopRequested<'a> {
    stop: &'a StopHandle,
    registered: Option<(Arc<Watch>, u64)>,
}

impl StopRequested<'_> {
    fn deregister(&mut self) {
        if let Some((watch, id)) = self.registered.take() {
            watch.remove(id);
        }
    }

    /// Leaves the waker with the watch of this executor. Returns whether it will be woken.
    fn register(&mut self, waker: &Waker) -> bool {
        if let Some((watch, id)) = &self.registered {
            // Polled elsewhere than before, nobody might look after the former watch.
            if watch.home == task::current_id() && watch.set(*id, waker) {
                return true;
            }
            self.deregister();
        }
        let watch = self.stop.watch();
        let Some(id) = watch.insert(waker) else {
            return false;
        };
        self.registered = Some((watch, id));
        true
    }
}

impl Future for StopRequested<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A watch fires after the request.
        if self.stop.is_requested() || (!self.register(cx.waker()) && self.stop.is_requested()) {
            self.deregister();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for StopRequested<'_> {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl fmt::Debug for StopRequested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopRequested")
            .field("stop", self.stop)
            .finish_non_exhaustive()
    }
}
