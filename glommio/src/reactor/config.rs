//! What a reactor is made of.

use std::time::Duration;

/// What a reactor is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReactorConfig {
    /// Operations of class `Work` in flight at a time.
    pub(crate) ring_depth: usize,
    /// The limit of the DMA arena.
    pub(crate) io_memory_bytes: usize,
    /// How long an idle executor spins before it sleeps.
    pub(crate) spin_before_park: Duration,
    /// Whether the latencies of operations are recorded.
    pub(crate) record_io_latencies: bool,
}
