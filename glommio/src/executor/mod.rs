//! Executors, their builders and their task queues.

mod blocking;
pub(crate) mod placement;
