//! The kernel boundary: the only layer that names `io_uring`, `libc` or system calls.
//!
//! - [`features`]: what this kernel offers, probed once
//! - [`startup`]: why io_uring cannot be used here, as cause and cure
//! - [`ring`]: submission, the one enter call, completions, tear-down
//! - [`inflight`]: every operation that the kernel may still know, and its memory
//! - [`op`]: the operations
//! - [`erased`]: operations of forgotten types, as the table holds them
//! - [`ledger`]: how many of them each task queue had, and how long they took
//! - [`submission`]: the future of one operation
//! - [`buffers`]: memory that the kernel reads and writes; [`pinned`]: how much of it is locked
//! - [`stream`], [`datagram`]: streams of bytes, and datagrams, over a descriptor; [`waiting`]: who
//!   waits for a stream
//! - [`socket`]: plain system calls on sockets
//! - [`fd`], [`eventfd`]: descriptors and their owners
//! - [`clock`]: the cycle counter
//! - [`recent`]: the time, with few readings of the clock
//! - [`stall_timer`], [`signal_claim`]: finding where a thread is stuck
//! - [`signals`]: signals to be read
//! - [`process`], [`reaper`]: children, and those that nobody waits for; [`pidfd`]: their descriptors
//! - [`affinity`], [`topology`], [`sysfs`]: CPUs
//! - [`kernel`], [`limits`], [`storage`]: facts about the host

pub(crate) mod affinity;
pub(crate) mod buffers;
pub(crate) mod clock;
pub(crate) mod datagram;
mod erased;
pub(crate) mod eventfd;
pub(crate) mod fd;
pub(crate) mod features;
pub(crate) mod inflight;
pub(crate) mod kernel;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod op;
mod pidfd;
mod pinned;
pub(crate) mod process;
mod reaper;
pub(crate) mod recent;
pub(crate) mod ring;
mod signal_claim;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stall_timer;
pub(crate) mod startup;
pub(crate) mod storage;
pub(crate) mod stream;
pub(crate) mod submission;
pub(crate) mod sysfs;
pub(crate) mod topology;
mod waiting;
