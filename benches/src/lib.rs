//! Benchmarks of the glommio runtime.
//!
//! Every workload is one function per contender: it does `n` operations inside that contender's
//! runtime and returns a [`Sample`]. The criterion benches under `benches/` and the comparison
//! program `compare` call the same functions, so a number means the same in both.
//!
//! | module | holds |
//! |---|---|
//! | [`workload`] | the list of workloads, their names and units |
//! | [`contender`] | what it takes to take part |
//! | [`own`] | who takes part here |
//! | [`raw`] | io_uring by hand: the floor every runtime is compared with |
//! | [`ours`] | glommio |
//! | [`exchange`] | the numbers that two threads raise for each other in every ping-pong |
//! | [`client`] | the blocking-sockets load generator that drives every echo server |
//! | [`host`] | pinning, idle spinners, CPU time, test files |
//! | [`runner`] | one measurement in a fresh process |
//! | [`count`] | system calls per operation |
//! | [`cli`] | the comparison program |
//! | [`report`], [`svg`] | medians, the table, the chart |
#![cfg(target_os = "linux")]

// `ours/work.rs` names this crate as other packages do.
extern crate self as glommio_benches;

pub mod cli;
pub mod client;
pub mod contender;
pub mod count;
pub mod exchange;
pub mod host;
pub mod ours;
pub mod own;
pub mod raw;
pub mod report;
pub mod runner;
pub mod sample;
pub mod svg;
pub mod workload;

pub use contender::{Contender, Setting};
pub use sample::{Sample, Stopwatch};
pub use workload::Workload;
