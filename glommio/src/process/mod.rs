//! Running other programs.
//!
//! [`Command`] is [`std::process::Command`] with futures: it has the same methods, its streams are
//! asynchronous, and waiting for a [`Child`] does not block the executor.
//!
//! - A program is started on a thread of the executor's blocking pool: it takes the kernel 150 µs and
//!   more, and milliseconds on a busy machine. A change of user or group, and what a
//!   [`std::process::Command`] was told to do before it executes, takes a fork(2), which takes longer the more
//!   memory this process uses.
//! - The end of a child is waited for on the ring (Linux 6.7), else through a pidfd on the ring; where seccomp
//!   allows neither, each child that is waited for takes a thread.
//! - The streams are pipes that are read and written on the ring.
//! - A [`Child`] that is dropped runs on, unless [`Command::kill_on_drop`] says otherwise. It leaves no
//!   zombie, whatever becomes of the executor: a thread called `glommio-reaper` waits for all of them and
//!   ends with the last one.
//! - A child does not inherit that signals are blocked by [`signal`](crate::signal).
//!
//! # Examples
//!
//! ```
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use glommio::{LocalExecutor, process::Command};
//! use std::process::Stdio;
//!
//! LocalExecutor::default().run(async {
//!     let mut sort = Command::new("sort")
//!         .stdin(Stdio::piped())
//!         .stdout(Stdio::piped())
//!         .spawn()
//!         .await?;
//!     let mut input = sort.stdin.take().unwrap();
//!     input.write_all(b"pear\napple\n").await?;
//!     input.close().await?;
//!     let mut sorted = String::new();
//!     sort.stdout.take().unwrap().read_to_string(&mut sorted).await?;
//!     assert_eq!(sorted, "apple\npear\n");
//!     assert!(sort.wait().await?.success());
//!     Ok::<(), glommio::GlommioError<()>>(())
//! })
//! # .unwrap();
//! ```

mod child;
mod command;
mod exit;
mod pipes;

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
