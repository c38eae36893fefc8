//! What is done once per process.

use crate::sys::{affinity, features::features, recent, topology::Topology};

/// Does once what the first executor of the process does otherwise: probes the features of the
/// kernel, reads the topology of the CPUs, remembers the CPUs that the process may use, and
/// calibrates the clock.
///
/// A program need not call it. It is worth a call at the start of `main`
///
/// - where the first executor starts while somebody waits for it: the work takes up to a few
///   milliseconds;
/// - before the program binds its threads to CPUs: placements then still know of all the others;
/// - before a sandbox closes `/sys` and `/proc`, or forbids `io_uring_setup` for a moment.
///
/// Calling it again does nothing, from any thread. It does not fail: where io_uring cannot be used,
/// the builders of executors say so, each time.
///
/// # Examples
///
/// ```
/// use glommio::LocalExecutorBuilder;
///
/// glommio::early_init();
/// let executor = LocalExecutorBuilder::default().make()?;
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
pub fn early_init() {
    affinity::process();
    Topology::host();
    // Calibrates the cycle counter, and asks whether the kernel trusts it.
    recent::now_ns();
    if let Err(error) = features() {
        tracing::debug!(target: "glommio::executor", %error, "no executor can start here");
    }
}
