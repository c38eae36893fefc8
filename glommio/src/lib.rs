//! Thread-per-core asynchronous runtime for Linux, built on io_uring.
//!
//! One executor per thread, one ring per executor: tasks stay on the thread that spawned them, so they
//! need neither `Send` nor locks. [`LocalExecutorBuilder`] makes one executor,
//! [`LocalExecutorPoolBuilder`] one per CPU, [`macro@main`] one around `main`. Tasks are in task queues, which
//! divide the CPU by their [`Shares`].
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use glommio::{select, spawn_local, timer::sleep};
//!
//! #[glommio::main]
//! async fn main() {
//!     let mut job = spawn_local(async { 6 * 7 });
//!     select! {
//!         answer = &mut job => assert_eq!(answer, 42),
//!         _ = sleep(Duration::from_secs(10)) => println!("still nothing"),
//!     }
//! }
//! ```
#![cfg(target_os = "linux")]

mod byte_slice;
pub mod channels;
pub mod controllers;
mod error;
mod executor;
pub mod future;
#[doc(hidden)]
pub mod internals;
pub mod io;
#[doc(hidden)]
pub mod macro_support;
mod macros;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod net;
#[doc(hidden)]
pub mod nop;
pub mod prelude;
pub mod process;
mod reactor;
pub mod signal;
pub mod sync;
mod sys;
pub mod sysinfo;
pub mod task;
#[cfg(test)]
mod test_alloc;
#[cfg(test)]
#[path = "../tests/support/cases.rs"]
mod test_cases;
pub mod timer;
mod waiters;

/// Runs an `async fn` on an executor of its own, on the thread that calls it.
///
/// For `main`, and for any other function without arguments. The function keeps its name, its
/// visibility and its return type, and is no longer `async`.
///
/// # Options
///
/// In parentheses, separated by commas:
///
/// - `placement = <expression>`: the [`Placement`] of the executor. Without it the executor is unbound.
/// - `cpu = <expression>`: short for `placement = Placement::Fixed(…)`.
/// - the options of [`LocalExecutorBuilder`] by their names, with what is passed to the method: `name`
///   (without it, the executor has the name of the function), `io_memory`, `ring_depth`,
///   `preempt_timer`, `spin_before_park`, `record_io_latencies`, `blocking_thread_pool_placement`,
///   `on_unobserved_panic`, `detect_stalls`, `stop_handle`.
/// - `crate = <path>`: where this crate is, if it is not `::glommio`.
///
/// # Panics
///
/// The function panics if the executor cannot be made; the message says why and what to do. Use
/// [`LocalExecutorBuilder::make`] to get an error instead.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, spawn_local};
///
/// #[glommio::main]
/// async fn main() -> Result<(), GlommioError<()>> {
///     assert_eq!(spawn_local(async { 6 * 7 }).await, 42);
///     Ok(())
/// }
/// ```
///
/// ```
/// use std::time::Duration;
///
/// use glommio::executor;
///
/// #[glommio::main(cpu = 0, name = "server", spin_before_park = Duration::from_micros(50))]
/// async fn main() {
///     println!("executor {} on CPU 0", executor().id());
/// }
/// ```
#[doc(inline)]
pub use glommio_macros::main;

/// Makes a test of an `async fn`, which runs on an executor of its own.
///
/// Options, return types and panics are as for [`main`](macro@main), on the thread of the test; what is
/// spawned and not awaited is dropped with the executor when the test ends. `#[should_panic]`,
/// `#[ignore]` and other attributes keep their meanings. Where the options bind the executor to CPUs,
/// the thread is free again after the test.
///
/// # Examples
///
/// ```
/// # #[allow(dead_code)]
/// mod tests {
///     use glommio::{GlommioError, Placement, spawn_local};
///
///     #[glommio::test]
///     async fn tasks_give_their_output() {
///         assert_eq!(spawn_local(async { 5 }).await, 5);
///     }
///
///     #[glommio::test(placement = Placement::Fixed(0), ring_depth = 4)]
///     async fn errors_fail_the_test() -> Result<(), GlommioError<()>> {
///         Ok(())
///     }
///
///     #[glommio::test]
///     #[should_panic(expected = "out of reach")]
///     async fn panics_may_be_expected() {
///         panic!("out of reach");
///     }
/// }
/// # fn main() {}
/// ```
#[doc(inline)]
pub use glommio_macros::test;

/// Clones what a closure takes along; of the crate [`enclose`](https://docs.rs/enclose).
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
///
/// use glommio::{LocalExecutor, enclose, spawn_local};
///
/// let shared = Rc::new(41);
/// let answer = LocalExecutor::default().run(enclose! { (shared) async move {
///     spawn_local(async move { *shared + 1 }).await
/// }});
/// // The task had a clone of its own.
/// assert_eq!((answer, *shared), (42, 41));
/// ```
#[doc(inline)]
pub use enclose::enclose;

/// Runs code at the end of the scope, also when it is left early or by a panic; of the crate
/// [`scopeguard`](https://docs.rs/scopeguard).
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// use glommio::defer;
///
/// let open = Cell::new(1);
/// {
///     defer! { open.set(0) }
///     assert_eq!(open.get(), 1);
/// }
/// assert_eq!(open.get(), 0);
/// ```
#[doc(inline)]
pub use scopeguard::defer;

pub use crate::byte_slice::{ByteSliceExt, ByteSliceMutExt};

pub use crate::error::{
    BuilderErrorKind, ExecutorErrorKind, GlommioError, PanicPayload, QueueErrorKind,
    ReactorErrorKind, ResourceType, Result, StartCause, StartError,
};

pub use crate::executor::{
    DefaultStallDetectionHandler, ExecutorJoinHandle, ExecutorProxy, ExecutorStats, IoStats,
    Latency, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, PanicOrigin,
    PanicPolicy, PoolThreadHandles, RingIoStats, Shares, SharesManager, StallDetection,
    StallDetectionHandler, StopHandle, StopRequested, TaskQueueHandle, TaskQueueStats,
    UnobservedPanic, allocate_dma_buffer, allocate_dma_buffer_global, early_init, executor,
    placement::{CpuIter, CpuLocation, CpuSet, CpuSetGenerator, Placement, PoolPlacement},
    spawn_local, spawn_local_into, spawn_scoped_local, spawn_scoped_local_into, yield_if_needed,
};

pub use crate::task::join::{ScopedTask, Task};
