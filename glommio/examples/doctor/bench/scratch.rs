//! The file that the storage measurements work on.

use std::io;
use std::path::Path;

use tempfile::TempPath;

use super::files::REQUEST_BYTES;
use crate::interrupt::Interrupt;

/// Size of the file where there is room.
const PREFERRED_BYTES: u64 = 64 << 20;
/// The file takes no more than this part of the free space.
const SHARE_OF_FREE_SPACE: u64 = 8;
/// With a smaller file, the measurement would tell more about caches than about the disk.
const MINIMUM_BYTES: u64 = 1 << 20;

/// An empty file under a name of its own, removed when this is dropped.
pub struct Scratch {
    path: TempPath,
    size_bytes: Option<u64>,
}

impl Scratch {
    /// Makes the file. `available_bytes` is the free space, where it is known.
    pub fn create(
        directory: &Path,
        available_bytes: Option<u64>,
        interrupt: &Interrupt,
    ) -> io::Result<Scratch> {
        let mut builder = tempfile::Builder::new();
        let file = builder
            .prefix(".glommio-doctor-")
            .suffix(".tmp")
            .tempfile_in(directory)?;
        let path = file.into_temp_path();
        interrupt.watch_file(path.to_path_buf());
        Ok(Scratch {
            path,
            size_bytes: affordable_size(available_bytes),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How large the file shall become; `None`: the disk is too full.
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

fn affordable_size(available_bytes: Option<u64>) -> Option<u64> {
    let share = available_bytes.map_or(PREFERRED_BYTES, |bytes| bytes / SHARE_OF_FREE_SPACE);
    let size = share.min(PREFERRED_BYTES) / REQUEST_BYTES as u64 * REQUEST_BYTES as u64;
    (size >= MINIMUM_BYTES).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_gone_once_the_guard_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let scratch = Scratch::create(directory.path(), None, &interrupt).unwrap();
        let path = scratch.path().to_path_buf();
        assert!(path.starts_with(directory.path()) && path.exists());
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let created = Scratch::create(&missing, None, &Interrupt::default());
        assert_eq!(
            created.err().map(|e| e.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn the_file_shrinks_with_the_free_space() {
        let cases = [
            (None, Some(64 << 20)),
            (Some(80 << 30), Some(64 << 20)),
            (Some(80 << 20), Some(10 << 20)),
            (Some((80 << 20) + 12_345), Some(10 << 20)),
            (Some(8 << 20), Some(1 << 20)),
            (Some((8 << 20) - 1), None),
            (Some(0), None),
        ];
        for (available, size) in cases {
            assert_eq!(affordable_size(available), size, "{available:?} bytes free");
        }
    }
}
