//! Asking executors to stop.
//!
//! A request is a flag and a write to an eventfd, both of which a signal handler may do. The eventfd
//! is never read, so it stays readable: whoever looks later finds the request as well.
//!
//! Tasks do not each watch the eventfd. Per executor and handle there is one [`Watch`]: a poll of the
//! eventfd on the executor's ring, and the wakers of the tasks of this executor that wait. So waiting
//! costs no system call but for the first task, and executors share nothing but the flag. Threads
//! without an executor share one watch, which a helper thread looks after.
//!
//! ```text
//!  signal handler, thread, task ── request_stop ──► flag, eventfd
//!                                                     │ poll completes, once per executor
//!                                      ┌──────────────┴──────────────┐
//!                                 Watch of shard 0              Watch of shard 1
//!                                  wakes its tasks               wakes its tasks
//! ```
//!
//! # Why no wake-up is lost
//!
//! The flag is raised before the eventfd is written, and a watch fires, under its lock, after that.
//! A task that registers with a watch that has fired looks at the flag again and finds it raised;
//! one that registers before is woken by it.
//!
//! # Bounds
//!
//! One eventfd per handle; one watch per executor and handle, until the handle is dropped, which
//! writes to the eventfd too; one waker per waiting future, gone with the future.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::stop_watch::Watch;
use crate::{
    error::Result,
    sys::{eventfd::EventFd, signals, startup},
};

/// Asks executors to stop, from anywhere, and tells their tasks.
///
/// A request ends nothing by force. Tasks see it, by [`requested`](Self::requested),
/// [`run_until_stopped`](Self::run_until_stopped) or [`is_requested`](Self::is_requested), and end in
/// their own good time: an accept loop takes no further connection, connections answer what they have
/// read. When the future that an executor runs completes, the executor ends, and joining its thread
/// returns.
///
/// Every executor has a handle, all executors of a pool the same one. Tasks get it from
/// [`ExecutorProxy::stop_handle`], the outside from [`PoolThreadHandles::stop_handle`],
/// [`ExecutorJoinHandle::stop_handle`] or [`LocalExecutor::stop_handle`]. To have it before the
/// executors exist, as signal handlers may want, make one and give it to the builder.
///
/// Clones are the same handle. A request cannot be taken back.
///
/// [`ExecutorProxy::stop_handle`]: crate::ExecutorProxy::stop_handle
/// [`PoolThreadHandles::stop_handle`]: crate::PoolThreadHandles::stop_handle
/// [`ExecutorJoinHandle::stop_handle`]: crate::ExecutorJoinHandle::stop_handle
/// [`LocalExecutor::stop_handle`]: crate::LocalExecutor::stop_handle
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorPoolBuilder, PoolPlacement, StopHandle, executor, net::TcpListener};
///
/// let stop = StopHandle::new()?;
/// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2))
///     .stop_handle(stop.clone())
///     .on_all_shards(|| async {
///         let listener = TcpListener::bind("127.0.0.1:0")?;
///         let stop = executor().stop_handle();
///         while let Some(connection) = stop.run_until_stopped(listener.accept()).await {
///             // Serve the connection in a task.
///             drop(connection?);
///         }
///         Ok::<_, glommio::GlommioError<()>>(())
///     })?;
///
/// stop.request_stop();
/// for shard in pool.join_all() {
///     shard??;
/// }
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone)]
pub struct StopHandle(Arc<Shared>);

struct Shared {
    requested: AtomicBool,
    event: Arc<EventFd>,
    /// The watch for futures that are polled outside of executors, if there were any.
    outside: Mutex<Option<Arc<Watch>>>,
}

impl StopHandle {
    /// A handle, for the builders of the executors that it is to stop.
    ///
    /// # Errors
    ///
    /// When no file descriptor is left.
    pub fn new() -> Result<StopHandle, ()> {
        let event = EventFd::new()
            .map_err(|error| startup::resource_refused("the eventfd of a stop handle", error))?;
        Ok(StopHandle(Arc::new(Shared {
            requested: AtomicBool::new(false),
            event: Arc::new(event),
            outside: Mutex::new(None),
        })))
    }

    /// Asks the executors to stop. Only the first request does something.
    ///
    /// Returns at once; joining their threads tells when they have stopped. It may be called from any
    /// thread, inside and outside of executors, and after they have ended.
    ///
    /// # Signal safety
    ///
    /// It may be called from a signal handler: it is one atomic exchange and at most one `write(2)`,
    /// allocates nothing, takes no lock and keeps `errno`. Making, cloning and dropping a handle are
    /// not for signal handlers; keep one in a `static`.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use glommio::StopHandle;
    ///
    /// static STOP: OnceLock<StopHandle> = OnceLock::new();
    ///
    /// // To be installed by sigaction(2).
    /// extern "C" fn on_sigterm(_signal: i32) {
    ///     if let Some(stop) = STOP.get() {
    ///         stop.request_stop();
    ///     }
    /// }
    ///
    /// let stop = STOP.get_or_init(|| StopHandle::new().expect("a file descriptor"));
    /// # on_sigterm(15);
    /// # assert!(stop.is_requested());
    /// ```
    pub fn request_stop(&self) {
        if !self.0.requested.swap(true, Ordering::SeqCst) {
            self.0.event.notify_from_signal();
        }
    }

    /// Whether a stop has been requested. One load.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::StopHandle;
    ///
    /// let stop = StopHandle::new()?;
    /// assert!(!stop.is_requested());
    /// stop.request_stop();
    /// assert!(stop.is_requested());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[inline]
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// What is readable once a stop has been requested, or when the handle is gone.
    pub(super) fn event(&self) -> &Arc<EventFd> {
        &self.0.event
    }

    /// The watch for futures that are polled outside of executors.
    pub(super) fn outside_watch(&self) -> Arc<Watch> {
        let mut outside = self
            .0
            .outside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = &*outside {
            return watch.clone();
        }
        let watch = Arc::new(Watch::new(self.0.event.clone(), None));
        let theirs = watch.clone();
        let thread = thread::Builder::new().name("glommio-stop".to_owned());
        let started = thread.spawn(move || {
            signals::block_held();
            theirs.event.wait();
            theirs.fire();
        });
        if let Err(error) = started {
            drop(outside);
            panic!(
                "cannot start a thread to wait for a stop request outside of executors: {error}"
            );
        }
        outside.insert(watch).clone()
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle")
            .field("requested", &self.is_requested())
            .finish()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody waits any more: ends the watches.
        self.event.notify();
    }
}
