//! How files are opened, and what an open file says about itself.

use std::os::fd::RawFd;

/// `AT_FDCWD`: paths are relative to the working directory.
pub(crate) const WORKING_DIRECTORY: RawFd = libc::AT_FDCWD;

/// What to open a file for, as flags of open(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenMode {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) custom_flags: i32,
}

impl OpenMode {
    /// The flags, or why the mode contradicts itself. With `direct`, the page cache is bypassed.
    pub(crate) fn flags(self, direct: bool) -> Result<i32, &'static str> {
        let write = self.write || self.append;
        if !self.read && !write {
            return Err("a file is opened to read, to write, or both: neither was asked for");
        }
        if (self.truncate || self.create || self.create_new) && !write {
            return Err("a file is created or truncated only when it is opened to write");
        }
        let mut flags = match (self.read, write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (_, false) => libc::O_RDONLY,
        };
        flags |= libc::O_CLOEXEC | (self.custom_flags & !libc::O_ACCMODE);
        for (wanted, flag) in [
            (self.append, libc::O_APPEND),
            (self.truncate && !self.create_new, libc::O_TRUNC),
            (self.create || self.create_new, libc::O_CREAT),
            (self.create_new, libc::O_EXCL),
            (direct, libc::O_DIRECT),
        ] {
            if wanted {
                flags |= flag;
            }
        }
        Ok(flags)
    }
}

/// What statx(2) tells about an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) is_directory: bool,
    pub(crate) size: u64,
    pub(crate) inode: u64,
    pub(crate) device: (u32, u32),
    /// The alignment of offsets and lengths of direct I/O; `None` before Linux 6.1 and where the
    /// file system does not say.
    pub(crate) direct_alignment: Option<u32>,
}

/// What [`FileFacts`] needs.
pub(crate) const FACTS_MASK: u32 = libc::STATX_BASIC_STATS | libc::STATX_DIOALIGN;

impl From<&libc::statx> for FileFacts {
    fn from(stat: &libc::statx) -> Self {
        let told = stat.stx_mask & libc::STATX_DIOALIGN != 0 && stat.stx_dio_offset_align != 0;
        FileFacts {
            is_directory: u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR,
            size: stat.stx_size,
            inode: stat.stx_ino,
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            direct_alignment: told.then(|| stat.stx_dio_offset_align.max(stat.stx_dio_mem_align)),
        }
    }
}

/// The error of a directory where a file was expected.
pub(crate) fn is_a_directory() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::EISDIR)
}

/// Whether an open was refused because the file system has no direct I/O.
pub(crate) fn refuses_direct(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_become_flags() {
        let read = OpenMode {
            read: true,
            ..OpenMode::default()
        };
        assert_eq!(read.flags(false), Ok(libc::O_RDONLY | libc::O_CLOEXEC));
        assert_eq!(
            read.flags(true),
            Ok(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECT)
        );
        let create = OpenMode {
            read: true,
            write: true,
            create: true,
            truncate: true,
            ..read
        };
        let flags = create.flags(false).unwrap();
        assert_eq!(
            flags,
            libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC
        );
    }

    #[test]
    fn modes_that_contradict_themselves_are_refused() {
        assert!(OpenMode::default().flags(true).is_err());
        let mode = OpenMode {
            read: true,
            create: true,
            ..OpenMode::default()
        };
        assert!(mode.flags(true).is_err());
    }
}
