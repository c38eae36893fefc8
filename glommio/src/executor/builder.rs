//! Building executors, here or on a thread of their own.

use std::{fmt, future::Future, sync::mpsc, thread, time::Duration};

use super::{
    core::{Config, forbid_inception},
    local::LocalExecutor,
    placement::{Placement, PoolPlacement},
    stall::StallDetectionHandler,
};
use crate::{
    error::{GlommioError, Result},
    reactor::ReactorConfig,
    sys::affinity,
};

const DEFAULT_NAME: &str = "unnamed";
const DEFAULT_IO_MEMORY_BYTES: usize = 10 << 20;
const DEFAULT_RING_DEPTH: usize = 128;
const DEFAULT_PREEMPT_TIMER: Duration = Duration::from_millis(100);

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
#[derive(Debug)]
pub struct LocalExecutorBuilder {
    placement: Placement,
    name: String,
    io_memory_bytes: usize,
    ring_depth: usize,
    preempt_timer: Duration,
    spin_before_park: Duration,
    record_io_latencies: bool,
    blocking: PoolPlacement,
    stall_handler: Option<Box<dyn StallDetectionHandler>>,
}

impl LocalExecutorBuilder {
    /// A builder for executors placed as `placement` says, everything else at its default.
    pub fn new(placement: Placement) -> LocalExecutorBuilder {
        LocalExecutorBuilder {
            placement,
            name: DEFAULT_NAME.to_owned(),
            io_memory_bytes: DEFAULT_IO_MEMORY_BYTES,
            ring_depth: DEFAULT_RING_DEPTH,
            preempt_timer: DEFAULT_PREEMPT_TIMER,
            spin_before_park: Duration::ZERO,
            record_io_latencies: false,
            blocking: PoolPlacement::Unbound(1),
            stall_handler: None,
        }
    }

    /// The name of the executor, and of its thread. Default: `unnamed`.
    #[must_use = "the builder must be built to be useful"]
    pub fn name(mut self, name: &str) -> LocalExecutorBuilder {
        name.clone_into(&mut self.name);
        self
    }

    /// How many bytes of memory for direct I/O the executor may set aside. Default: 10 MiB.
    ///
    /// Memory is taken, and registered with the ring as far as `RLIMIT_MEMLOCK` allows, when it is
    /// first used. Buffers beyond the limit come from the heap.
    #[must_use = "the builder must be built to be useful"]
    pub fn io_memory(mut self, io_memory: usize) -> LocalExecutorBuilder {
        self.io_memory_bytes = io_memory;
        self
    }

    /// How many file operations the ring works on at a time. Default: 128.
    ///
    /// More of them wait their turn; that is never an error. Operations that wait for others
    /// (receive, accept, readiness) do not count.
    #[must_use = "the builder must be built to be useful"]
    pub fn ring_depth(mut self, ring_depth: usize) -> LocalExecutorBuilder {
        self.ring_depth = ring_depth;
        self
    }

    /// How long a task queue may run before [`need_preempt`] asks its task to yield. Default: 100 ms.
    ///
    /// [`need_preempt`]: crate::ExecutorProxy::need_preempt
    #[must_use = "the builder must be built to be useful"]
    pub fn preempt_timer(mut self, duration: Duration) -> LocalExecutorBuilder {
        self.preempt_timer = duration;
        self
    }

    /// How long an executor with nothing to do looks for work before it sleeps. Default: not at all.
    ///
    /// Spinning takes a CPU for itself and shortens the wait for completions and wake-ups that
    /// arrive within the time.
    #[must_use = "the builder must be built to be useful"]
    pub fn spin_before_park(mut self, spin: Duration) -> LocalExecutorBuilder {
        self.spin_before_park = spin;
        self
    }

    /// Whether to record the latency of every I/O operation. Default: no.
    #[must_use = "the builder must be built to be useful"]
    pub fn record_io_latencies(mut self, enabled: bool) -> LocalExecutorBuilder {
        self.record_io_latencies = enabled;
        self
    }

    /// How many threads [`spawn_blocking`] has, and where they run. Default: one, unbound.
    ///
    /// [`spawn_blocking`]: crate::ExecutorProxy::spawn_blocking
    #[must_use = "the builder must be built to be useful"]
    pub fn blocking_thread_pool_placement(
        mut self,
        placement: PoolPlacement,
    ) -> LocalExecutorBuilder {
        self.blocking = placement;
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

    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            reactor: ReactorConfig {
                ring_depth: self.ring_depth,
                io_memory_bytes: self.io_memory_bytes,
                spin_before_park: self.spin_before_park,
            },
            preempt_timer: self.preempt_timer,
            blocking: self.blocking.clone(),
            record_io_latencies: self.record_io_latencies,
        }
    }

    /// The CPUs to bind the executor's thread to; `None` for no binding.
    fn binding(&self) -> Result<Option<Vec<usize>>, ()> {
        let mut cpus = self.placement.clone().generate_cpu_set()?;
        Ok(cpus
            .next()
            .cpu_binding()
            .map(|cpus| cpus.into_iter().collect()))
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
    pub fn make(self) -> Result<LocalExecutor, ()> {
        forbid_inception();
        if let Some(cpus) = self.binding()? {
            affinity::bind_current_thread(&cpus)?;
        }
        let executor = LocalExecutor::new(self.config())?;
        executor.detect_stalls(self.stall_handler)?;
        Ok(executor)
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
    pub fn spawn<G, F, T>(self, fut_gen: G) -> Result<ExecutorJoinHandle<T>, ()>
    where
        G: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        // The thread reports whether its executor is up before it runs the future.
        let (report, started) = mpsc::sync_channel::<Result<(), ()>>(1);
        let thread = thread::Builder::new().name(self.name.clone());
        let handle = thread.spawn(move || {
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
            Ok(Ok(())) => Ok(ExecutorJoinHandle(handle)),
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

/// Waits for the thread of an executor.
///
/// Dropping it lets the thread run on.
#[must_use = "the thread runs on by itself; join it to get its result"]
pub struct ExecutorJoinHandle<T: Send + 'static>(thread::JoinHandle<Option<T>>);

impl<T: Send + 'static> ExecutorJoinHandle<T> {
    /// The thread.
    #[must_use]
    pub fn thread(&self) -> &thread::Thread {
        self.0.thread()
    }

    /// Waits until the executor has ended and gives the output of its future.
    ///
    /// # Errors
    ///
    /// `BuilderError` with `ThreadPanic` if the future panicked.
    pub fn join(self) -> Result<T, ()> {
        match self.0.join() {
            Ok(Some(output)) => Ok(output),
            Ok(None) => unreachable!("an executor that failed to start has no handle"),
            Err(payload) => Err(GlommioError::thread_panic(payload)),
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ExecutorJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecutorJoinHandle").field(&self.0).finish()
    }
}
