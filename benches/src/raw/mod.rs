//! io_uring by hand: the floor that every runtime is compared with.
//!
//! One thread, one ring with `SINGLE_ISSUER | DEFER_TASKRUN`, no abstraction between a completion and
//! what is done about it. Where a runtime has something the kernel has not (tasks, timers, channels),
//! the hand-made counterpart is the plainest data structure that does the job.

mod contenders;
mod echo;
mod executor;
mod file;
mod nop;
mod ping_pong;
mod provided;
mod ring;
mod tasks;
mod timers;

pub use contenders::{Raw, RawMsgRing, RawMultishot};
pub use echo::{Receive, serve};
pub use executor::make_and_drop;
pub use file::random_reads;
pub use nop::nops;
pub use ping_pong::{Wake, ping_pong};
pub use provided::ProvidedBuffers;
pub use ring::Ring;
pub use tasks::{local_channel, need_preempt, spawns, yields};
pub use timers::{arm_and_cancel, sleeps};
