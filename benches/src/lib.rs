//! Benchmarks of the glommio runtime.
//!
//! Every workload is one function per contender: it does `n` operations inside that contender's
//! runtime and returns a [`Sample`]. The criterion benches under `benches/` and the comparison
//! program `compare` call the same functions, so a number means the same in both.
//!
//! | module | holds |
//! |---|---|
//! | [`workload`] | the list of workloads, their names and units |
//! | [`contender`] | who takes part, and which function answers for which workload |
//! | [`raw`] | io_uring by hand: the floor every runtime is compared with |
//! | [`client`] | the blocking-sockets load generator that drives every echo server |
//! | [`host`] | pinning, idle spinners, CPU time, test files |
//! | [`runner`] | one measurement in a fresh process |
//! | [`count`] | system calls per operation |
//! | [`report`], [`svg`] | medians, the table, the chart |
#![cfg(target_os = "linux")]

pub mod client;
pub mod contender;
pub mod count;
pub mod host;
pub mod raw;
pub mod report;
pub mod runner;
pub mod sample;
pub mod svg;
pub mod workload;

pub use contender::Contender;
pub use sample::{Sample, Stopwatch};
pub use workload::Workload;
