//! Channels within an executor and between executors.

mod atomic;
pub mod spsc_queue;
#[cfg(test)]
mod spsc_queue_tests;
