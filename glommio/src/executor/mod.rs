//! Executors, their builders and their task queues.
//!
//! - [`local`] holds [`LocalExecutor`]
//! - [`builder`]: [`LocalExecutorBuilder`] and the handle of an executor's thread
//! - [`proxy`]: what tasks see of their executor
//! - [`core`](mod@core): the loop
//! - [`queues`], [`shares`], [`preempt`]: whose turn it is, and for how long
//! - [`yields`]: giving way
//! - [`placement`]: which CPUs
//! - [`stall`]: tasks that do not give way
//! - [`blocking`]: threads for what blocks
//! - [`stats`] holds the counters

mod blocking;
mod builder;
mod core;
mod local;
pub(crate) mod placement;
mod preempt;
mod proxy;
mod queues;
mod shares;
mod stall;
mod stats;
mod yields;

pub use builder::{ExecutorJoinHandle, LocalExecutorBuilder};
pub use local::LocalExecutor;
pub use proxy::{
    ExecutorProxy, allocate_dma_buffer, executor, spawn_local, spawn_local_into, yield_if_needed,
};
pub use queues::TaskQueueHandle;
pub use shares::{Latency, Shares, SharesManager};
pub use stall::{DefaultStallDetectionHandler, StallDetection, StallDetectionHandler};
pub use stats::{ExecutorStats, TaskQueueStats};
