//! Executors, their builders and their task queues.
//!
//! - [`local`] holds [`LocalExecutor`]
//! - [`builder`]: [`LocalExecutorBuilder`] and the handle of an executor's thread
//! - [`pool`]: [`LocalExecutorPoolBuilder`] and the handles of a pool's threads
//! - [`options`]: what can be set in both
//! - [`init`]: what is done once per process
//! - [`stop`]: asking executors to stop
//! - [`proxy`]: what tasks see of their executor; [`spawning`]: what they start in it
//! - [`core`](mod@core): the loop
//! - [`queue`], [`queues`]: task queues, and whose turn it is for how long; [`waiting`] (on
//!   [`slot_heap`]) is the order, [`shares`] what a queue is entitled to
//! - [`preempt`]: when a task should give way; [`stolen`]: time that the system took away
//! - [`yields`]: giving way
//! - [`placement`]: which CPUs
//! - [`stall`]: tasks that do not give way
//! - [`blocking`]: threads for what blocks; [`blocking_job`]: the result of what ran there
//! - [`panics`]: panics that nobody awaits
//! - [`stats`], [`io_stats`]: what executor and queues have done so far
//! - `export` (feature `metrics`): the same for the `metrics` façade
//! - [`spans`]: which of them runs, for subscribers of `tracing`

mod blocking;
mod blocking_job;
mod builder;
mod core;
#[cfg(feature = "metrics")]
mod export;
mod init;
mod io_stats;
mod local;
mod options;
mod panics;
pub(crate) mod placement;
mod pool;
mod preempt;
mod proxy;
mod queue;
mod queues;
mod shares;
mod slot_heap;
mod spans;
mod spawning;
mod stall;
mod stats;
mod stolen;
mod stop;
mod stop_requested;
mod stop_watch;
mod waiting;
mod yields;

pub use builder::{ExecutorJoinHandle, LocalExecutorBuilder};
pub(crate) use core::need_preempt;
pub use init::early_init;
pub use io_stats::{IoStats, RingIoStats};
pub use local::LocalExecutor;
pub use panics::{PanicOrigin, PanicPolicy, UnobservedPanic};
pub use pool::{LocalExecutorPoolBuilder, PoolThreadHandles};
pub use proxy::{
    ExecutorProxy, allocate_dma_buffer, allocate_dma_buffer_global, executor, yield_if_needed,
};
pub use queue::TaskQueueHandle;
pub use shares::{Latency, Shares, SharesManager};
pub use spawning::{spawn_local, spawn_local_into, spawn_scoped_local, spawn_scoped_local_into};
pub use stall::{DefaultStallDetectionHandler, StallDetection, StallDetectionHandler};
pub use stats::{ExecutorStats, TaskQueueStats};
pub use stop::StopHandle;
pub use stop_requested::StopRequested;
