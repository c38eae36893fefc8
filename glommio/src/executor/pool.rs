//! Several executors at once, each on a thread of its own.
//!
//! The threads start in two steps. Each makes its executor, reports how that went, and waits for the
//! verdict. When all have reported, the thread that builds the pool says *go*, or, if one executor
//! is missing, *give up*. So either every executor runs its future or none does.

use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use super::{
    builder::{make_here, start_thread},
    core::Config,
    options::executor_options,
    panics::{PanicHandler, PanicPolicy, UnobservedPanic},
    placement::{CpuIter, PoolPlacement},
    stall::StallDetectionHandler,
    stop::StopHandle,
};
use crate::{
    error::{GlommioError, Result},
    reactor::flush_messages,
};

type StallHandlers = Box<dyn Fn() -> Box<dyn StallDetectionHandler + 'static>>;

/// Makes pools of executors, one thread each.
///
/// Options apply to every executor of the pool.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorPoolBuilder, PoolPlacement, executor};
///
/// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(4))
///     .name("shard")
///     .on_all_shards(|| async move { executor().id() })?;
/// let ids = pool.join_all().into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(ids.len(), 4);
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
///
/// Options have defaults that suit most programs. All of them:
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutorPoolBuilder, PoolPlacement, StopHandle};
///
/// let stop = StopHandle::new()?;
/// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2))
///     .name("tuned")
///     .io_memory(1 << 20)
///     .ring_depth(256)
///     .preempt_timer(Duration::from_millis(10))
///     .spin_before_park(Duration::from_micros(20))
///     .record_io_latencies(true)
///     .blocking_thread_pool_placement(PoolPlacement::Unbound(4))
///     .stop_handle(stop.clone())
///     .on_all_shards(|| async { glommio::executor().stop_handle().requested().await })?;
/// stop.request_stop();
/// assert!(pool.join_all().iter().all(|shard| shard.is_ok()));
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
pub struct LocalExecutorPoolBuilder {
    placement: PoolPlacement,
    config: Config,
    stall_handlers: Option<StallHandlers>,
}

executor_options!(LocalExecutorPoolBuilder);

impl LocalExecutorPoolBuilder {
    /// A builder for as many executors as `placement` says, placed as it says, everything else at its
    /// default.
    pub fn new(placement: PoolPlacement) -> Self {
        LocalExecutorPoolBuilder {
            placement,
            config: Config::default(),
            stall_handlers: None,
        }
    }

    /// The name of the pool. Default: `unnamed`.
    ///
    /// Executors and their threads are named `<name>-<shard>`, where the shards count from 0 in the
    /// order of the placement. The operating system shows the first 15 bytes.
    #[must_use = "the builder must be built to be useful"]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.config.name);
        self
    }

    /// Looks for tasks that run for too long without yielding. Default: `None`, which does not look
    /// and costs nothing.
    ///
    /// `handler` is called once per executor, on the thread that builds the pool. A
    /// [signal](StallDetectionHandler::signal) that cannot be used is an error of
    /// [`on_all_shards`](Self::on_all_shards).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use glommio::{DefaultStallDetectionHandler, LocalExecutorPoolBuilder, PoolPlacement};
    ///
    /// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::MaxSpread(2, None))
    ///     .detect_stalls(Some(Box::new(|| Box::new(DefaultStallDetectionHandler {}))))
    ///     .on_all_shards(|| async { /* serve */ })?;
    /// pool.join_all();
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[must_use = "the builder must be built to be useful"]
    pub fn detect_stalls(
        mut self,
        handler: Option<Box<dyn Fn() -> Box<dyn StallDetectionHandler + 'static>>>,
    ) -> Self {
        self.stall_handlers = handler;
        self
    }

    /// Starts a thread per shard, each with an executor that runs the future of a clone of `fut_gen`.
    ///
    /// Returns once every executor is up; none of the futures is made before. When the future of a
    /// shard completes, its executor is dropped and its thread ends.
    ///
    /// # Errors
    ///
    /// `BuilderError` where the placement does not fit this host: see [`PoolPlacement`].
    ///
    /// If a thread or an executor cannot be started, no future runs: the other shards are given up,
    /// their threads have ended when this returns, and the error is the one that the first such
    /// shard reported. The errors of further ones are logged.
    ///
    /// # Examples
    ///
    /// A server that is stopped:
    ///
    /// ```
    /// use glommio::{LocalExecutorPoolBuilder, PoolPlacement, executor};
    ///
    /// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2)).on_all_shards(|| async {
    ///     // Accept connections meanwhile.
    ///     executor().stop_handle().requested().await;
    ///     "drained"
    /// })?;
    /// pool.stop_handle().request_stop();
    /// for shard in pool.join_all() {
    ///     assert_eq!(shard?, "drained");
    /// }
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[must_use = "This spawns executors on multiple threads; threads may fail to spawn or you may \
                  need to call `PoolThreadHandles::join_all()` to keep the main thread alive"]
    pub fn on_all_shards<G, F, T>(mut self, fut_gen: G) -> Result<PoolThreadHandles<T>, ()>
    where
        G: FnOnce() -> F + Clone + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let shards = self.placement.executor_count();
        let mut cpus = self.placement.clone().generate_cpu_set()?;
        let stop = self.config.stop_handle()?;
        let (report, reports) = mpsc::channel();
        // Also says no if this function unwinds.
        let judge = Judge::default();

        let mut errors = Vec::new();
        let mut handles = Vec::with_capacity(shards);
        for shard in 0..shards {
            let start = ShardStart {
                cpus: cpus.next(),
                config: Config {
                    name: format!("{}-{shard}", self.config.name),
                    ..self.config.clone()
                },
                stall_handler: self.stall_handlers.as_ref().map(|make| make()),
                report: Report {
                    shard,
                    to: report.clone(),
                },
                verdict: judge.0.clone(),
            };
            let (name, fut_gen) = (start.config.name.clone(), fut_gen.clone());
            match start_thread(&name, move || start.run(fut_gen)) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    errors.push((shard, error));
                    break;
                }
            }
        }
        // What is left are the senders of the threads: the reports end when each has reported or
        // died.
        drop(report);
        let mut up = 0;
        for (shard, result) in reports {
            match result {
                Ok(()) => up += 1,
                Err(error) => errors.push((shard, error)),
            }
        }
        if up == shards {
            judge.0.pronounce(true);
            return Ok(PoolThreadHandles { handles, stop });
        }
        drop(judge);
        Err(self.failure(handles, errors))
    }

    /// Waits for the threads of a pool that has failed to start, and gives the reason.
    fn failure<T>(
        &self,
        handles: Vec<JoinHandle<Result<T, ()>>>,
        mut errors: Vec<(usize, GlommioError<()>)>,
    ) -> GlommioError<()> {
        for (shard, handle) in handles.into_iter().enumerate() {
            if let Err(payload) = handle.join() {
                errors.push((shard, GlommioError::thread_panic(payload)));
            }
        }
        errors.sort_by_key(|(shard, _)| *shard);
        for (shard, error) in &errors {
            tracing::debug!(
                target: "glommio::executor",
                pool = self.config.name,
                shard,
                %error,
                "a shard cannot start, so its pool does not"
            );
        }
        match errors.into_iter().next() {
            Some((_, error)) => error,
            None => unreachable!("a shard that is not up has reported an error or panicked"),
        }
    }
}

impl fmt::Debug for LocalExecutorPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutorPoolBuilder")
            .field("placement", &self.placement)
            .field("config", &self.config)
            .field("detects_stalls", &self.stall_handlers.is_some())
            .finish()
    }
}

/// Everything that the thread of one shard starts with.
struct ShardStart {
    cpus: CpuIter,
    config: Config,
    stall_handler: Option<Box<dyn StallDetectionHandler>>,
    report: Report,
    verdict: Arc<Verdict>,
}

/// How a shard says whether its executor is up; at most once.
struct Report {
    shard: usize,
    to: mpsc::Sender<(usize, Result<(), ()>)>,
}

impl Report {
    fn send(self, result: Result<(), ()>) {
        // The receiver waits until every sender is gone.
        let _ = self.to.send((self.shard, result));
    }
}

impl ShardStart {
    fn run<G, F, T>(self, fut_gen: G) -> Result<T, ()>
    where
        G: FnOnce() -> F,
        F: Future<Output = T>,
    {
        let executor = match make_here(self.cpus, self.config, self.stall_handler) {
            Ok(executor) => executor,
            Err(error) => {
                self.report.send(Err(error));
                return Err(given_up());
            }
        };
        self.report.send(Ok(()));
        if !self.verdict.wait() {
            return Err(given_up());
        }
        Ok(executor.run(async move { fut_gen().await }))
    }
}

fn given_up() -> GlommioError<()> {
    GlommioError::IoError(io::Error::new(
        io::ErrorKind::Interrupted,
        "the pool was given up because one of its executors could not start",
    ))
}

/// Whether the pool runs; unknown at first.
#[derive(Default)]
struct Verdict {
    go: Mutex<Option<bool>>,
    pronounced: Condvar,
}

/// Whoever pronounces the verdict, which is no unless said otherwise.
#[derive(Default)]
struct Judge(Arc<Verdict>);

impl Drop for Judge {
    fn drop(&mut self) {
        self.0.pronounce(false);
    }
}

impl Verdict {
    /// The first word stands.
    fn pronounce(&self, go: bool) {
        self.go
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(go);
        self.pronounced.notify_all();
    }

    fn wait(&self) -> bool {
        let mut go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(go) = *go {
                return go;
            }
            go = self
                .pronounced
                .wait(go)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The threads of a pool of executors.
///
/// Dropping it lets the threads run on.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorPoolBuilder, PoolPlacement, executor};
///
/// let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2))
///     .name("shard")
///     .on_all_shards(|| async {
///         executor().stop_handle().requested().await;
///         executor().id()
///     })?;
/// let names: Vec<_> = pool.handles().iter().map(|handle| handle.thread().name()).collect();
/// assert_eq!(names, [Some("shard-0"), Some("shard-1")]);
///
/// pool.stop_handle().request_stop();
/// for shard in pool.join_all() {
///     println!("executor {} has stopped", shard?);
/// }
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Debug)]
#[must_use = "the threads run on by themselves; join them to get their results"]
pub struct PoolThreadHandles<T> {
    handles: Vec<JoinHandle<Result<T, ()>>>,
    stop: StopHandle,
}

impl<T> PoolThreadHandles<T> {
    /// The handles of the threads, in the order of the shards.
    pub fn handles(&self) -> &Vec<JoinHandle<Result<T, ()>>> {
        &self.handles
    }

    /// The handle by which all executors of the pool are asked to stop.
    #[must_use]
    pub fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }

    /// Waits until every executor of the pool has ended and gives the outputs of their futures, in
    /// the order of the shards.
    ///
    /// It does not ask them to end: see [`stop_handle`](Self::stop_handle).
    ///
    /// # Errors
    ///
    /// An item is `BuilderError` with `ThreadPanic` if the future of that shard panicked, or if the
    /// policy for [unobserved panics](LocalExecutorPoolBuilder::on_unobserved_panic) ended it; the other
    /// shards go on to their ends.
    pub fn join_all(self) -> Vec<Result<T, ()>> {
        // The shards may wait for what this thread has to say.
        flush_messages();
        let results = self.handles.into_iter().map(|handle| match handle.join() {
            Ok(result) => result,
            Err(payload) => Err(GlommioError::thread_panic(payload)),
        });
        results.collect()
    }
}
