//! The kernel boundary: the only layer that names `io_uring`, `libc` or system calls.
//!
//! - [`features`]: what this kernel offers, probed once
//! - [`startup`]: why io_uring cannot be used here, as cause and cure
//! - [`ring`]: submission, the one enter call, completions, tear-down
//! - [`inflight`]: every operation that the kernel may still know, and its memory
//! - [`op`]: the operations
//! - [`submission`]: the future of one operation
//! - [`buffers`]: memory that the kernel reads and writes
//! - [`socket`]: plain system calls on sockets
//! - [`fd`], [`eventfd`]: descriptors and their owners
//! - [`clock`]: the cycle counter
//! - [`stall_timer`], [`signal_claim`]: finding where a thread is stuck
//! - [`affinity`], [`topology`], [`sysfs`]: CPUs
//! - [`kernel`], [`limits`], [`storage`]: facts about the host

pub(crate) mod affinity;
pub(crate) mod buffers;
pub(crate) mod clock;
pub(crate) mod eventfd;
pub(crate) mod fd;
pub(crate) mod features;
pub(crate) mod inflight;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod op;
pub(crate) mod ring;
mod signal_claim;
pub(crate) mod socket;
pub(crate) mod stall_timer;
pub(crate) mod startup;
pub(crate) mod storage;
pub(crate) mod submission;
pub(crate) mod sysfs;
pub(crate) mod topology;
