//! How to open a file.

use std::path::Path;

use super::dma_file::DmaFile;
use crate::{error::Result, sys::op::open::OpenMode};

/// Options for opening files, like [`std::fs::OpenOptions`].
#[derive(Clone, Debug)]
pub struct OpenOptions {
    mode: OpenMode,
    permissions: u32,
}

impl OpenOptions {
    /// Options that ask for nothing; set [`read`](Self::read) or [`write`](Self::write).
    pub fn new() -> Self {
        OpenOptions {
            mode: OpenMode::default(),
            permissions: 0o644,
        }
    }

    /// Open to read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.mode.read = read;
        self
    }

    /// Open to write.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.mode.write = write;
        self
    }

    /// Open to write at the end.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.mode.append = append;
        self
    }

    /// Make an existing file empty.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.mode.truncate = truncate;
        self
    }

    /// Create the file if it does not exist.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.mode.create = create;
        self
    }

    /// Create the file; fail if it exists.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.mode.create_new = create_new;
        self
    }

    /// Further flags of open(2); the access mode among them is ignored.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.mode.custom_flags = flags;
        self
    }

    /// The permissions of a file that is created, before the umask. Default: 0o644.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.permissions = mode;
        self
    }

    /// Opens a file for direct I/O.
    ///
    /// # Errors
    ///
    /// Those of open(2), with the path; a directory is an error; `InvalidInput` if the options
    /// contradict themselves.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Cancel safety
    ///
    /// A file that is opened after the future was dropped is closed.
    pub async fn dma_open<P: AsRef<Path>>(&self, path: P) -> Result<DmaFile, ()> {
        DmaFile::open_with(path.as_ref(), self.mode, self.permissions, "Opening").await
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}
