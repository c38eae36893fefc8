//! Waiting for signals.
//!
//! - [`Signals`]: waits for any of some signals
//! - [`ctrl_c()`]: waits for the interrupt of the terminal
//! - [`block`]: what a program does first
//!
//! # What happens to a signal that is waited for
//!
//! A signal that is named in [`Signals::new`], [`block`] or [`ctrl_c()`] no longer interrupts the
//! program, or ends it, from then on and to the end of the process: it waits until it is received.
//! Nothing of that is taken back when a [`Signals`] is dropped. A signal that arrives while nobody
//! receives is there for the next who does.
//!
//! The kernel keeps a signal back in threads whose *mask* blocks it. New threads inherit the mask of the
//! thread that starts them. So a program names its signals first, before it starts threads:
//!
//! ```
//! use glommio::{LocalExecutorPoolBuilder, PoolPlacement, executor, signal};
//!
//! fn main() -> Result<(), glommio::GlommioError<()>> {
//!     let stopping = [libc::SIGTERM, libc::SIGINT];
//!     signal::block(&stopping)?;
//!
//!     let shards = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2)).on_all_shards(
//!         move || async move {
//!             let stop = executor().stop_handle();
//!             // One of the executors receives the signal and tells all of them.
//!             let signals = signal::Signals::new(&stopping)?;
//!             # unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
//!             if let Some(received) = stop.run_until_stopped(signals.recv()).await {
//!                 println!("stopping: signal {}", received?);
//!                 stop.request_stop();
//!             }
//!             Ok::<_, glommio::GlommioError<()>>(())
//!         },
//!     )?;
//!     for shard in shards.join_all() {
//!         shard??;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Threads that do not block the signal, because they were started before or by somebody else, do not
//! let it end the process either. The signal interrupts such a thread once (`EINTR`, as with any handler;
//! calls that can be restarted are), is blocked there from then on, and goes on to the next. The
//! threads of executors, and those of their blocking pools, block what was named when they start. A handler
//! that the program had installed itself before is left alone, and runs in threads that do not block its
//! signal.
//!
//! # Child processes
//!
//! A program that is executed inherits the mask of the thread that started it: it would not be ended by
//! a SIGTERM that its parent blocks. [`process::Command`](crate::process::Command) undoes that in the
//! child; [`std::process::Command`] does not.
//!
//! # Coalescing
//!
//! The kernel notes that a standard signal (1 to 31) is pending, not how often: two that arrive before
//! the first is received are received as one. Real-time signals (`libc::SIGRTMIN()` and up) are queued, each
//! with its place, up to `ulimit -i`.

mod ctrl_c;
mod signals;

pub use ctrl_c::ctrl_c;
pub use signals::{Signals, block};
