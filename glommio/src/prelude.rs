//! What most programs need, for `use glommio::prelude::*`.
//!
//! # Examples
//!
//! ```
//! use glommio::prelude::*;
//!
//! let handle = LocalExecutorBuilder::new(Placement::Unbound)
//!     .name("worker")
//!     .spawn(|| async { spawn_local(async { executor().id() }).await })?;
//! assert!(handle.join()? > 0);
//! # Ok::<(), GlommioError<()>>(())
//! ```

pub use crate::{
    ByteSliceExt, ByteSliceMutExt, ExecutorProxy, GlommioError, IoStats, Latency, LocalExecutor,
    LocalExecutorBuilder, LocalExecutorPoolBuilder, Placement, PoolPlacement, PoolThreadHandles,
    RingIoStats, Shares, TaskQueueHandle, executor, spawn_local, spawn_local_into, yield_if_needed,
};
