//! Building one executor, here or on a thread of its own.

use std::{fmt, future::Future, sync::mpsc, thread, time::Duration};

use super::{
    core::{Config, forbid_inception},
    local::LocalExecutor,
    options::executor_options,
    panics::{PanicHandler, PanicPolicy, UnobservedPanic},
    placement::{CpuIter, Placement, PoolPlacement},
    stall::StallDetectionHandler,
    stop::StopHandle,
};
use crate::{
    error::{GlommioError, Result},
    reactor::flush_messages,
    sys::{affinity, signals, startup},
};

/// Makes executors.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, Placement};
///
/// let handle = LocalExecutorBuilder::new(Placement::Fixed(0))
///     .name("worker")
///     .spawn(|| async move { 42 })?;
/// assert_eq!(handle.join()?, 42);
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
///
/// Options have defaults that suit most programs. All of them:
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutorBuilder, PoolPlacement, StopHandle};
///
/// let stop = StopHandle::new()?;
/// let executor = LocalExecutorBuilder::default()
///     .name("tuned")
///     .io_memory(1 << 20)
///     .ring_depth(256)
///     .preempt_timer(Duration::from_millis(10))
///     .spin_before_park(Duration::from_micros(20))
///     .record_io_latencies(true)
///     .blocking_thread_pool_placement(PoolPlacement::Unbound(4))
///     .stop_handle(stop.clone())
///     .make()?;
/// executor.run(async {
///     glommio::executor().spawn_blocking(move || stop.request_stop()).await;
///     glommio::executor().stop_handle().requested().await;
/// });
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Debug)]
pub struct LocalExecutorBuilder {
    placement: Placement,
    config: Config,
    stall_handler: Option<Box<dyn StallDetectionHandler>>,
}

executor_options!(LocalExecutorBuilder);

impl LocalExecutorBuilder {
    /// A builder for executors placed as `placement` says, everything else at its default.
    pub fn new(placement: Placement) -> LocalExecutorBuilder {
        LocalExecutorBuilder {
            placement,
            config: Config::default(),
            stall_handler: None,
        }
    }

    /// The name of the executor, and of its thread. Default: `unnamed`.
    ///
    /// The operating system shows the first 15 bytes of it.
    #[must_use = "the builder must be built to be useful"]
    pub fn name(mut self, name: &str) -> LocalExecutorBuilder {
        name.clone_into(&mut self.config.name);
        self
    }

    /// Looks for tasks that run for too long without yielding, with the given handler. Default:
    /// `None`, which does not look and costs nothing.
    ///
    /// A [signal](StallDetectionHandler::signal) that cannot be used is an error of
    /// [`make`](Self::make) and [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use glommio::{DefaultStallDetectionHandler, LocalExecutorBuilder};
    ///
    /// let handler = DefaultStallDetectionHandler {};
    /// let executor = LocalExecutorBuilder::default()
    ///     .detect_stalls(Some(Box::new(handler)))
    ///     .make()?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[must_use = "the builder must be built to be useful"]
    pub fn detect_stalls(
        mut self,
        handler: Option<Box<dyn StallDetectionHandler + 'static>>,
    ) -> Self {
        self.stall_handler = handler;
        self
    }

    /// Makes an executor on the current thread, which is bound to its CPUs.
    ///
    /// # Errors
    ///
    /// When the placement names a CPU that does not exist, when io_uring cannot be used (the error
    /// names cause and cure), and when the signal to detect stalls with is taken.
    ///
    /// # Panics
    ///
    /// If an executor is running on this thread ("executor inception").
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::LocalExecutorBuilder;
    ///
    /// let executor = LocalExecutorBuilder::default().name("main").make()?;
    /// assert_eq!(executor.run(async { 6 * 7 }), 42);
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn make(self) -> Result<LocalExecutor, ()> {
        forbid_inception();
        let mut cpus = self.placement.generate_cpu_set()?;
        make_here(cpus.next(), self.config, self.stall_handler)
    }

    /// Starts a thread with an executor that runs the future of `fut_gen`.
    ///
    /// Returns once the executor is up. When the future completes, the executor is dropped and the
    /// thread ends; [`ExecutorJoinHandle::join`] gives the result.
    ///
    /// # Errors
    ///
    /// As for [`make`](Self::make), and when the thread cannot be started.
    #[must_use = "This spawns an executor on a thread, so you may need to call \
                  `JoinHandle::join()` to keep the main thread alive"]
    pub fn spawn<G, F, T>(mut self, fut_gen: G) -> Result<ExecutorJoinHandle<T>, ()>
    where
        G: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let stop = self.config.stop_handle()?;
        // The thread reports whether its executor is up before it runs the future.
        let (report, started) = mpsc::sync_channel::<Result<(), ()>>(1);
        let name = self.config.name.clone();
        let handle = start_thread(&name, move || {
            let executor = match self.make() {
                Ok(executor) => executor,
                Err(error) => {
                    // The receiver waits for exactly one report.
                    let _ = report.send(Err(error));
                    return None;
                }
            };
            let _ = report.send(Ok(()));
            Some(executor.run(async move { fut_gen().await }))
        })?;
        match started.recv() {
            Ok(Ok(())) => Ok(ExecutorJoinHandle {
                thread: handle,
                stop,
            }),
            Ok(Err(error)) => {
                let _ = handle.join();
                Err(error)
            }
            // The thread died before it could report.
            Err(_) => match handle.join() {
                Err(payload) => Err(GlommioError::thread_panic(payload)),
                Ok(_) => unreachable!("a thread that ends without panic has reported"),
            },
        }
    }
}

impl Default for LocalExecutorBuilder {
    /// An executor that is bound to no CPU.
    fn default() -> Self {
        LocalExecutorBuilder::new(Placement::Unbound)
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

impl Config {
    /// The handle by which the executor will be stopped; made now if none was given.
    pub(super) fn stop_handle(&mut self) -> Result<StopHandle, ()> {
        let stop = match &self.stop {
            Some(stop) => stop.clone(),
            None => StopHandle::new()?,
        };
        self.stop = Some(stop.clone());
        Ok(stop)
    }
}

/// Makes an executor on the current thread, which runs none and is bound to `cpus`.
pub(super) fn make_here(
    cpus: CpuIter,
    config: Config,
    stall_handler: Option<Box<dyn StallDetectionHandler>>,
) -> Result<LocalExecutor, ()> {
    if let Some(cpus) = cpus.cpu_binding() {
        affinity::bind_current_thread(&cpus.into_iter().collect::<Vec<_>>())?;
    }
    let executor = LocalExecutor::new(config)?;
    executor.detect_stalls(stall_handler)?;
    Ok(executor)
}

/// Starts the thread of the executor called `name`.
pub(super) fn start_thread<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, ()> {
    // Whoever starts an executor waits until it is up.
    flush_messages();
    // The operating system does not take names with a zero byte.
    let thread = thread::Builder::new().name(name.replace('\0', "?"));
    thread
        .spawn(|| {
            signals::block_held();
            f()
        })
        .map_err(|error| startup::thread_refused(name, error))
}

/// Waits for the thread of an executor.
///
/// Dropping it lets the thread run on.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, executor};
///
/// let handle = LocalExecutorBuilder::default().name("server").spawn(|| async {
///     executor().stop_handle().requested().await;
///     "stopped"
/// })?;
/// assert_eq!(handle.thread().name(), Some("server"));
/// handle.stop_handle().request_stop();
/// assert_eq!(handle.join()?, "stopped");
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[must_use = "the thread runs on by itself; join it to get its result"]
pub struct ExecutorJoinHandle<T: Send + 'static> {
    thread: thread::JoinHandle<Option<T>>,
    stop: StopHandle,
}

impl<T: Send + 'static> ExecutorJoinHandle<T> {
    /// The thread.
    #[must_use]
    pub fn thread(&self) -> &thread::Thread {
        self.thread.thread()
    }

    /// The handle by which the executor is asked to stop.
    #[must_use]
    pub fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }

    /// Waits until the executor has ended and gives the output of its future.
    ///
    /// # Errors
    ///
    /// `BuilderError` with `ThreadPanic` if the future panicked, or if the policy for
    /// [unobserved panics](LocalExecutorBuilder::on_unobserved_panic) ended the executor.
    pub fn join(self) -> Result<T, ()> {
        // The executor may wait for what this thread has to say.
        flush_messages();
        match self.thread.join() {
            Ok(Some(output)) => Ok(output),
            Ok(None) => unreachable!("an executor that failed to start has no handle"),
            Err(payload) => Err(GlommioError::thread_panic(payload)),
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ExecutorJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorJoinHandle")
            .field("thread", &self.thread)
            .field("stop", &self.stop)
            .finish()
    }
}
