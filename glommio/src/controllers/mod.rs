//! Task queues whose shares follow from what their work needs.
//!
//! - [`DeadlineQueue`]: work that is to be done by a deadline, with no more of the CPU than that takes
//!
//! Fixed shares say how much of the CPU a queue gets, not when its work is done: that depends on
//! what else there is to do. The controllers of this module measure instead, and adjust.

mod deadline_queue;
mod pace;

pub use deadline_queue::{ControllerStatus, DeadlineQueue, DeadlineSource, PriorityBump};
