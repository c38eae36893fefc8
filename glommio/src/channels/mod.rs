//! Channels within an executor and between executors.
//!
//! | module | from … to … |
//! |---|---|
//! | [`local_channel`] | tasks of an executor to each other |
//! | [`shared_channel`] | one task to another, on any two threads |
//! | [`channel_mesh`] | every executor of a group to every other |
//! | [`sharding`] | a message to the executor that it belongs to |
//! | [`spsc_queue`] | one thread to another, without waiting |
//! | [`oneshot`] | one value, once; within an executor or between threads |
//! | [`watch`] | the latest value to everyone who looks; likewise |
//! | [`broadcast`] | every message to everyone who listens; likewise |
//!
//! # Waking an executor that sleeps
//!
//! Between executors a wake-up travels through the kernel rings, and leaves when the poll of the task
//! that sent it ends: with the enter call that the executor makes anyway. Until then a peer that sleeps
//! sleeps on. So a task must not block its thread (in a `std::sync` lock or channel, in the join of a
//! foreign thread) to wait for what it has just asked of another executor: both would wait for ever.
//! Await the answer instead; or let the wake-up go before, with
//! [`yield_now`](crate::ExecutorProxy::yield_now); or block on a thread of
//! [`spawn_blocking`](crate::ExecutorProxy::spawn_blocking). Joining and starting executors is looked
//! after, as are threads without an executor: what they wake is awake when the call returns.
//!
//! ```
//! use std::sync::mpsc;
//! use glommio::{LocalExecutor, LocalExecutorBuilder, channels::shared_channel, executor};
//!
//! let (questions, theirs) = shared_channel::new_bounded(1);
//! let (answer, answers) = mpsc::channel();
//! let other = LocalExecutorBuilder::default().spawn(move || async move {
//!     let questions = theirs.connect().await;
//!     let question: u32 = questions.recv().await.unwrap();
//!     answer.send(question + 1).unwrap();
//! })?;
//! LocalExecutor::default().run(async {
//!     questions.connect().await.send(41).await.unwrap();
//!     // The question leaves with this; only then may the thread block.
//!     executor().yield_now().await;
//!     assert_eq!(answers.recv(), Ok(42));
//! });
//! other.join()?;
//! # Ok::<(), glommio::GlommioError<()>>(())
//! ```

#[cfg(test)]
mod alloc_tests;
mod atomic;
pub mod broadcast;
pub mod channel_mesh;
mod link;
pub mod local_channel;
pub mod oneshot;
mod pace;
pub mod sharding;
pub mod shared_channel;
#[cfg(test)]
mod shared_channel_tests;
pub mod spsc_queue;
#[cfg(test)]
mod spsc_queue_tests;
mod storage;
mod turns;
pub mod watch;
