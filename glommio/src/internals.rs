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
