//! Tasks: futures that an executor polls on its own thread.
//!
//! Spawning makes a [`Task`](crate::Task); detaching that makes a [`JoinHandle`]. The rest of this
//! module is for the executor.
//!
//! This layer knows neither I/O nor time. It owns the memory of tasks, their states, their wakers
//! and the inboxes through which other threads wake them. What it needs from above it asks through
//! `Schedule`.
//!
//! | file | idea |
//! |---|---|
//! | `state` | the life of a task, as flags: **start here** |
//! | `shared` | the words that other threads touch: reference count, mail flag |
//! | `header` | what every reference to a task sees, and who keeps it alive |
//! | `blocks` | the memory of ended tasks, kept for the next ones |
//! | `payload` | what a panic leaves behind |
//! | `runnable`, `queue` | a task whose turn has come, and queues of them |
//! | `owned`, `live` | all live tasks of an executor |
//! | `id`, `registry`, `inbox` | executors by number, and their mail |
//! | `context` | which executor this thread is inside of, and which of its queues has its turn |
//! | `wake` | waking a task, from inside of its executor and from elsewhere |
//! | `waker` | the task as a `Waker` |
//! | `local_waker` | the same for those who never leave the thread, without atomics |
//! | `awaiter` | the link from a task to who waits for it |
//! | `raw` | the allocation, and the functions that know the future's type |
//! | `lifecycle` | cancelling, ending |
//! | `run` | running what is in a run queue |
//! | `handle`, `join` | the task as its awaiter sees it |
//! | `tasks` | spawning, and the end of all tasks of an executor |
//! | `trace`, `polling`, `debugging` | what the task debugger keeps and shows, with the feature `debugging` |
//! | `local` | values that a future and what it awaits reach by name |
//!
//! Imports go up in this table, never down.

mod atomic;
mod awaiter;
mod blocks;
mod context;
#[cfg(feature = "debugging")]
pub mod debugging;
mod handle;
mod header;
mod id;
mod inbox;
pub(crate) mod join;
mod lifecycle;
mod live;
mod local;
mod local_waker;
mod owned;
mod payload;
mod polling;
mod queue;
mod raw;
mod registry;
mod run;
mod runnable;
mod shared;
mod state;
mod tasks;
mod trace;
mod wake;
mod waker;

#[cfg(test)]
mod tests;

pub use join::JoinHandle;
#[doc(hidden)]
pub use local::LocalSlot;
pub use local::{AccessError, LocalKey, TaskLocalFuture};
/// A task whose turn to run has come, as an executor's run queue holds it.
pub use runnable::Runnable as Task;

pub(crate) use context::{Schedule, current_id, take_turn};
pub(crate) use id::ExecutorId;
pub(crate) use local_waker::LocalWaker;
pub(crate) use payload::{Payload, discard};
pub(crate) use queue::RunQueue;
pub(crate) use registry::{notify, set_notifier};
pub(crate) use run::RunOutcome;
pub(crate) use runnable::Runnable;
pub(crate) use tasks::{Tasks, spawn};
