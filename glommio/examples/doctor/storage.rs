//! Part (b): the filesystem and the device below a directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use glommio::sysinfo;
use nix::sys::statvfs::statvfs;

use crate::model::{Device, DirectIo, Storage};

/// Why a directory cannot be examined or used.
#[derive(Debug)]
pub struct BadDirectory {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    NotFound,
    NotADirectory,
    NotWritable(io::Error),
    Other(io::Error),
}

impl BadDirectory {
    /// No file could be made in the directory.
    pub fn not_writable(path: &Path, error: io::Error) -> BadDirectory {
        BadDirectory {
            path: path.to_path_buf(),
            reason: Reason::NotWritable(error),
        }
    }
}

impl fmt::Display for BadDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::NotFound => write!(
                f,
                "{path} does not exist: pass an existing directory to --dir"
            ),
            Reason::NotADirectory => write!(f, "{path} is not a directory: pass one to --dir"),
            Reason::NotWritable(error) => write!(
                f,
                "cannot make a file in {path} to measure with ({error}): pass a directory you may \
                 write to with --dir, or --no-bench to measure nothing"
            ),
            Reason::Other(error) => write!(f, "cannot examine {path}: {error}"),
        }
    }
}

impl std::error::Error for BadDirectory {}

/// Examines the storage of `directory`. Whether it takes direct I/O is not known yet: that takes
/// an executor and a file.
pub fn examine(directory: &Path) -> Result<Storage, BadDirectory> {
    let bad = |reason| BadDirectory {
        path: directory.to_path_buf(),
        reason,
    };
    let metadata = std::fs::metadata(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => bad(Reason::NotFound),
        _ => bad(Reason::Other(error)),
    })?;
    if !metadata.is_dir() {
        return Err(bad(Reason::NotADirectory));
    }
    let canonical = directory
        .canonicalize()
        .map_err(|error| bad(Reason::Other(error)))?;
    let found = sysinfo::storage(&canonical)
        .map_err(|error| bad(Reason::Other(io::Error::other(error))))?;
    Ok(Storage {
        directory: canonical.display().to_string(),
        filesystem: Some(found.file_system).filter(|name| !name.is_empty()),
        mount_point: found.mount_point.map(|path| path.display().to_string()),
        available_bytes: available_bytes(&canonical),
        device: found.device.map(device),
        direct_io: DirectIo {
            supported: None,
            alignment_bytes: None,
            error: None,
        },
    })
}

fn available_bytes(directory: &Path) -> Option<u64> {
    let space = statvfs(directory).ok()?;
    Some(space.blocks_available() as u64 * space.fragment_size() as u64)
}

fn device(device: sysinfo::BlockDevice) -> Device {
    Device {
        name: device.name,
        disk: device.disk,
        major: device.number.0,
        minor: device.number.1,
        logical_block_bytes: device.logical_block_size,
        physical_block_bytes: device.physical_block_size,
        max_transfer_bytes: device.max_transfer,
        polling: device.io_poll,
        poll_queues: device.poll_queues,
        rotational: device.rotational,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_examined() {
        let directory = tempfile::tempdir().unwrap();
        let storage = examine(directory.path()).unwrap();
        assert!(Path::new(&storage.directory).is_absolute());
        assert!(storage.filesystem.is_some());
        assert!(storage.available_bytes.is_some());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let error = examine(&missing).unwrap_err().to_string();
        assert!(error.contains("missing does not exist"), "{error}");
        assert!(error.contains("--dir"), "{error}");
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = examine(file.path()).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }

    #[test]
    fn an_unwritable_directory_has_two_cures() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = BadDirectory::not_writable(Path::new("/proc"), denied).to_string();
        assert!(
            error.contains("permission denied") && error.contains("/proc"),
            "{error}"
        );
        assert!(
            error.contains("--dir") && error.contains("--no-bench"),
            "{error}"
        );
    }
}
