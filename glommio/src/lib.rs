//! Thread-per-core asynchronous runtime for Linux, built on io_uring.
#![cfg(target_os = "linux")]
// The lower layers are complete ahead of the public items that will call the rest of them.
#![allow(dead_code, unused_imports)]

pub mod channels;
mod error;
mod executor;
#[doc(hidden)]
pub mod internals;
pub mod io;
pub mod net;
#[doc(hidden)]
pub mod nop;
mod reactor;
mod sys;
pub mod sysinfo;
pub mod task;
#[cfg(test)]
mod test_alloc;
pub mod timer;

pub use crate::error::{
    BuilderErrorKind, ExecutorErrorKind, GlommioError, PanicPayload, QueueErrorKind,
    ReactorErrorKind, ResourceType, Result, StartCause, StartError,
};

pub use crate::executor::{
    DefaultStallDetectionHandler, ExecutorJoinHandle, ExecutorProxy, ExecutorStats, Latency,
    LocalExecutor, LocalExecutorBuilder, Shares, SharesManager, StallDetection,
    StallDetectionHandler, TaskQueueHandle, TaskQueueStats, allocate_dma_buffer, executor,
    placement::{CpuIter, CpuLocation, CpuSet, CpuSetGenerator, Placement, PoolPlacement},
    spawn_local, spawn_local_into, yield_if_needed,
};

pub use crate::task::join::{ScopedTask, Task};
