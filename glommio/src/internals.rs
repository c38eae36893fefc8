//! Counters for tests and benchmarks of the runtime itself. No part of the public interface.

pub use crate::sys::ring::RingCounters;

use crate::reactor;

/// What the ring of the current executor has done so far.
///
/// # Panics
///
/// Outside of an executor.
pub fn ring_counters() -> RingCounters {
    reactor::current().counters()
}

/// What the ring of the current executor that polls devices has done so far; `None` if it has none.
///
/// # Panics
///
/// Outside of an executor.
pub fn polled_ring_counters() -> Option<RingCounters> {
    reactor::current().polled_counters()
}

/// How many of the current executor's shared receive buffers hold data that nobody has read.
///
/// # Panics
///
/// Outside of an executor.
pub fn receive_buffers_in_use() -> usize {
    reactor::current().sockets().in_use()
}
