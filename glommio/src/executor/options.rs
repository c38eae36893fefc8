//! The options that every builder of executors has, and their defaults.

use std::time::Duration;

use super::{core::Config, panics::PanicHandler, placement::PoolPlacement};
use crate::reactor::ReactorConfig;

const DEFAULT_NAME: &str = "unnamed";
const DEFAULT_IO_MEMORY_BYTES: usize = 10 << 20;
const DEFAULT_RING_DEPTH: usize = 128;
const DEFAULT_PREEMPT_TIMER: Duration = Duration::from_millis(100);

impl Default for Config {
    fn default() -> Self {
        Config {
            name: DEFAULT_NAME.to_owned(),
            reactor: ReactorConfig {
                ring_depth: DEFAULT_RING_DEPTH,
                io_memory_bytes: DEFAULT_IO_MEMORY_BYTES,
                spin_before_park: Duration::ZERO,
                record_io_latencies: false,
            },
            preempt_timer: DEFAULT_PREEMPT_TIMER,
            blocking: PoolPlacement::Unbound(1),
            panic_handler: PanicHandler::default(),
            stop: None,
        }
    }
}

/// The methods of a builder, which has a `config: Config`, that set options of its executors. In a
/// pool they apply to each executor.
macro_rules! executor_options {
    ($builder:ident) => {
        impl $builder {
            /// How many bytes of memory for direct I/O an executor may set aside. Default: 10 MiB.
            ///
            /// Memory is taken, and registered with the ring as far as `RLIMIT_MEMLOCK` allows, when
            /// it is first used: half of that limit at most in all executors of the process, unless
            /// it has `CAP_IPC_LOCK`. Buffers beyond the limit come from the heap.
            #[must_use = "the builder must be built to be useful"]
            pub fn io_memory(mut self, io_memory: usize) -> $builder {
                self.config.reactor.io_memory_bytes = io_memory;
                self
            }

            /// How many file operations the ring of an executor works on at a time. Default: 128.
            ///
            /// More of them wait their turn; that is never an error. Operations that wait for others
            /// (receive, accept, readiness) do not count.
            #[must_use = "the builder must be built to be useful"]
            pub fn ring_depth(mut self, ring_depth: usize) -> $builder {
                self.config.reactor.ring_depth = ring_depth;
                self
            }

            /// How long a task queue may run before [`need_preempt`] asks its task to yield. Default:
            /// 100 ms.
            ///
            /// [`need_preempt`]: crate::ExecutorProxy::need_preempt
            #[must_use = "the builder must be built to be useful"]
            pub fn preempt_timer(mut self, duration: Duration) -> $builder {
                self.config.preempt_timer = duration;
                self
            }

            /// How long an executor with nothing to do looks for work before it sleeps. Default: not
            /// at all.
            ///
            /// Spinning takes a CPU for itself and shortens the wait for completions and wake-ups
            /// that arrive within the time. It is honoured for every placement; with more executors
            /// than CPUs, those that spin take the CPU from those that work.
            #[must_use = "the builder must be built to be useful"]
            pub fn spin_before_park(mut self, spin: Duration) -> $builder {
                self.config.reactor.spin_before_park = spin;
                self
            }

            /// Whether to record the latencies of reads and writes of files, for
            /// [`ExecutorProxy::io_stats`]. Default: no, which costs nothing.
            ///
            /// Recording takes a few hundred nanoseconds per operation and a few kilobytes per task
            /// queue.
            ///
            /// [`ExecutorProxy::io_stats`]: crate::ExecutorProxy::io_stats
            #[must_use = "the builder must be built to be useful"]
            pub fn record_io_latencies(mut self, enabled: bool) -> $builder {
                self.config.reactor.record_io_latencies = enabled;
                self
            }

            /// How many threads [`spawn_blocking`] has on an executor, and where they run. Default:
            /// one, unbound.
            ///
            /// [`spawn_blocking`]: crate::ExecutorProxy::spawn_blocking
            #[must_use = "the builder must be built to be useful"]
            pub fn blocking_thread_pool_placement(mut self, placement: PoolPlacement) -> $builder {
                self.config.blocking = placement;
                self
            }

            /// Decides what happens after a panic that nobody awaits. Default:
            /// [`PanicPolicy::Continue`].
            ///
            /// That is the panic of a detached task, of a blocking job whose future was dropped, of a
            /// destructor that runs because the executor is dropped, and of anything else whose
            /// result nobody can ask for any more. It is logged in any case, as an error of
            /// `tracing`. The handler runs on the thread that notices the panic: that
            /// of the executor for tasks, any thread for blocking jobs, which may outlive the
            /// executor. It should not block. A handler that panics means
            /// [`PanicPolicy::EndExecutor`].
            ///
            /// To end the executor, [`LocalExecutor::run`] drops its future and resumes the panic;
            /// joining its thread then reports it. While the executor is being dropped, the verdict
            /// has no effect.
            ///
            /// [`LocalExecutor::run`]: crate::LocalExecutor::run
            ///
            /// # Examples
            ///
            /// ```
            /// use std::future::pending;
            ///
            /// use glommio::{LocalExecutorBuilder, PanicPolicy, spawn_local};
            ///
            /// let handle = LocalExecutorBuilder::default()
            ///     .on_unobserved_panic(|panicked| {
            ///         eprintln!("{panicked}");
            ///         PanicPolicy::EndExecutor
            ///     })
            ///     .spawn(|| async {
            ///         spawn_local(async { panic!("invariant broken") }).detach();
            ///         pending::<()>().await
            ///     })?;
            /// let error = handle.join().unwrap_err();
            /// assert!(error.to_string().contains("thread panicked"));
            /// # Ok::<(), glommio::GlommioError<()>>(())
            /// ```
            #[must_use = "the builder must be built to be useful"]
            pub fn on_unobserved_panic(
                mut self,
                handler: impl Fn(&UnobservedPanic<'_>) -> PanicPolicy + Send + Sync + 'static,
            ) -> $builder {
                self.config.panic_handler = PanicHandler::new(handler);
                self
            }

            /// The handle by which executors are asked to stop. Default: a new one, which
            /// [`ExecutorProxy::stop_handle`] and the handle of the thread or pool give out.
            ///
            /// Give clones of one handle to several builders to stop their executors together.
            ///
            /// [`ExecutorProxy::stop_handle`]: crate::ExecutorProxy::stop_handle
            #[must_use = "the builder must be built to be useful"]
            pub fn stop_handle(mut self, stop: StopHandle) -> $builder {
                self.config.stop = Some(stop);
                self
            }
        }
    };
}
pub(super) use executor_options;
