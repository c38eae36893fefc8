//! What this host offers to a thread-per-core program, and what it denies.
//!
//! Everything here is read from the kernel when asked, changes nothing, and
//! needs no executor. Files that are missing or unreadable, as in some
//! containers, turn into the answer "not known" and never into a panic.
//!
//! ```
//! use glommio::sysinfo;
//!
//! let limits = sysinfo::limits();
//! if !limits.allows_locking(8 << 20) {
//!     println!("raise the limit of locked memory: {:?}", limits.memlock_bytes);
//! }
//! let topology = sysinfo::topology();
//! println!(
//!     "{} of {} CPUs on {} cores are ours",
//!     topology.usable().count(),
//!     topology.cpus.len(),
//!     topology.cores(),
//! );
//! ```

use std::path::Path;

use crate::error::{GlommioError, Result};
use crate::sys::features;
pub use crate::sys::{
    kernel::{Kernel, Seccomp},
    limits::{Limit, Limits},
    storage::{BlockDevice, Storage},
    topology::{LogicalCpu, Topology},
};

/// The limits of this process on locked memory and open files.
pub fn limits() -> Limits {
    Limits::host()
}

/// The running kernel and what it holds against io_uring.
pub fn kernel() -> Kernel {
    Kernel::host()
}

/// The CPUs that are online, and how they lie to each other.
pub fn topology() -> Topology {
    Topology::host()
}

/// The file system and the block device that a path lives on.
///
/// # Errors
///
/// When the path does not exist or may not be looked up.
pub fn storage(path: impl AsRef<Path>) -> Result<Storage, ()> {
    let path = path.as_ref();
    Storage::of(path).map_err(|source| {
        GlommioError::create_enhanced(source, "Looking up the storage", Some(path), None)
    })
}

/// One optional step of the kernel ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rung {
    /// The name, also for the environment variable `GLOMMIO_DISABLE`.
    pub name: &'static str,
    /// The Linux release that introduced it.
    pub since: &'static str,
    /// What it is used for.
    pub used_for: &'static str,
    /// What it costs to do without.
    pub cost_of_absence: &'static str,
    /// Whether this kernel offers it.
    pub available: bool,
    /// Whether `GLOMMIO_DISABLE` switches it off.
    pub disabled_by_knob: bool,
}

/// Every optional step of the kernel ladder, and whether it is there.
///
/// # Errors
///
/// When io_uring cannot be used here; the error says why and what to do.
pub fn ladder() -> Result<Vec<Rung>, ()> {
    let features = features::features()?;
    Ok(features::RUNGS
        .iter()
        .map(|facts| Rung {
            name: facts.name,
            since: facts.since,
            used_for: facts.used_for,
            cost_of_absence: facts.cost_of_absence,
            available: features.offered(facts.rung),
            disabled_by_knob: features.disabled(facts.rung),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_does_not_exist_is_named_in_the_error() {
        let error = storage("/no/such/path").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
        assert!(error.to_string().contains("/no/such/path"), "{error}");
    }
}
