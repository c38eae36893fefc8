//! Measurements: executors at work, their latencies and their throughput.
//!
//! A [`Step`] is one row of the result table. The steps are listed in `plan`, driven by `runner`
//! and implemented by the other files of this folder; none of them prints.

mod clock;
mod cpu;
mod echo;
mod executors;
mod files;
mod mailbox;
mod pattern;
mod ping_pong;
mod plan;
mod recorder;
mod runner;
mod scratch;

pub use plan::plan;
pub use runner::{StepObserver, run};
pub use scratch::Scratch;

/// Why a measurement failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
