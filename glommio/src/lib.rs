//! Thread-per-core asynchronous runtime for Linux, built on io_uring.
#![cfg(target_os = "linux")]

pub mod channels;
mod error;
mod executor;
pub mod io;
pub mod net;
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

pub use crate::executor::placement::{
    CpuIter, CpuLocation, CpuSet, CpuSetGenerator, Placement, PoolPlacement,
};

pub use crate::task::join::{ScopedTask, Task};
