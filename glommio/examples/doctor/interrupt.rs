//! Ctrl-C, SIGTERM and SIGHUP: stop measuring, remove the scratch file, leave.
//!
//! The first signal sets a flag that every measurement looks at; they end, and their scope guards
//! clean up. A second signal leaves at once: it removes the scratch files itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Outcome;

/// Whether the user wants to leave, shared by everything that runs for long.
#[derive(Clone, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    files_to_remove: Mutex<Vec<PathBuf>>,
}

impl Interrupt {
    /// Has signals delivered to this object. Works once per process.
    pub fn install(&self) -> Result<(), ctrlc::Error> {
        let interrupt = self.clone();
        ctrlc::set_handler(move || {
            if interrupt.request() {
                interrupt.remove_files();
                std::process::exit(Outcome::Interrupted as i32);
            }
        })
    }

    /// Whether a signal has arrived.
    pub fn is_requested(&self) -> bool {
        // Relaxed: the flag carries no data with it.
        self.shared.requested.load(Ordering::Relaxed)
    }

    /// Asks everybody to stop; says whether that had been asked before.
    pub fn request(&self) -> bool {
        self.shared.requested.swap(true, Ordering::Relaxed)
    }

    /// Notes a file that must not outlive the process.
    pub fn watch_file(&self, path: PathBuf) {
        self.files().push(path);
    }

    fn remove_files(&self) {
        for path in self.files().drain(..) {
            // Gone already is what we want; nothing else can be done about it now.
            let _ = std::fs::remove_file(path);
        }
    }

    fn files(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.shared
            .files_to_remove
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reaches_every_clone_and_the_second_one_is_told_apart() {
        let interrupt = Interrupt::default();
        let clone = interrupt.clone();
        assert!(!clone.is_requested());
        assert!(!interrupt.request());
        assert!(clone.is_requested());
        assert!(clone.request());
    }

    #[test]
    fn leaving_at_once_removes_the_watched_files() {
        let directory = tempfile::tempdir().unwrap();
        let [present, gone] = ["present", "gone"].map(|name| directory.path().join(name));
        std::fs::write(&present, "x").unwrap();
        let interrupt = Interrupt::default();
        interrupt.watch_file(present.clone());
        interrupt.watch_file(gone);
        interrupt.remove_files();
        assert!(!present.exists());
    }
}
