//! Operations on files.

use std::{
    ffi::CString,
    os::fd::{IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use io_uring::{opcode, squeue, types};

use super::{Completion, Operation, Transfer};
use crate::sys::{
    buffers::DmaBuffer,
    fd::{self, Fd},
    inflight::fits,
    ledger::IoKind,
};

/// Reads and writes allocate nothing.
const _: () = assert!(fits::<ReadDma>() && fits::<WriteDma>() && fits::<Fsync>());

/// Opens a path (IORING_OP_OPENAT, 5.6).
pub(crate) struct OpenAt {
    pub(crate) dir: RawFd,
    pub(crate) path: CString,
    pub(crate) flags: i32,
    pub(crate) mode: libc::mode_t,
}

// SAFETY: the path's bytes are on the heap.
unsafe impl Operation for OpenAt {
    const IO: Option<IoKind> = Some(IoKind::FileOpen);

    fn entry(&mut self) -> squeue::Entry {
        opcode::OpenAt::new(types::Fd(self.dir), self.path.as_ptr())
            .flags(self.flags)
            .mode(self.mode)
            .build()
    }

    /// A file that was opened for a future that is gone is closed.
    fn reclaim(self, completion: Completion) {
        if completion.result >= 0 {
            drop(fd::adopt(completion.result));
        }
    }
}

/// Describes an open file (IORING_OP_STATX, 5.6).
pub(crate) struct Statx {
    pub(crate) fd: Fd,
    pub(crate) mask: u32,
    pub(crate) out: Box<libc::statx>,
}

impl Statx {
    pub(crate) fn new(fd: Fd, mask: u32) -> Self {
        // SAFETY: `statx` is plain old data, for which all zeroes is a value.
        let out = Box::new(unsafe { std::mem::zeroed() });
        Statx { fd, mask, out }
    }
}

// SAFETY: the result is boxed, the path is static.
unsafe impl Operation for Statx {
    fn entry(&mut self) -> squeue::Entry {
        let out: *mut libc::statx = &mut *self.out;
        opcode::Statx::new(types::Fd(self.fd.raw()), c"".as_ptr(), out.cast())
            .flags(libc::AT_EMPTY_PATH)
            .mask(self.mask)
            .build()
    }
}

/// Reads into a DMA buffer (IORING_OP_READ, 5.6; IORING_OP_READ_FIXED, 5.1, where the buffer is
/// registered).
pub(crate) struct ReadDma {
    pub(crate) fd: Fd,
    pub(crate) buffer: DmaBuffer,
    /// The slot of the buffer in the table of the ring that reads.
    pub(crate) fixed: Option<u16>,
    pub(crate) offset: u64,
    /// The part of the buffer to fill.
    pub(crate) start: usize,
    pub(crate) len: u32,
}

// SAFETY: the buffer's memory belongs to the arena or the heap, not to this struct.
unsafe impl Operation for ReadDma {
    const IO: Option<IoKind> = Some(IoKind::FileRead);

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        let ptr = self.buffer.as_bytes_mut()[self.start..][..self.len as usize].as_mut_ptr();
        match self.fixed {
            Some(index) => opcode::ReadFixed::new(fd, ptr, self.len, index)
                .offset(self.offset)
                .build(),
            None => opcode::Read::new(fd, ptr, self.len)
                .offset(self.offset)
                .build(),
        }
    }
}

impl Transfer for ReadDma {
    fn fixed(&mut self) -> &mut Option<u16> {
        &mut self.fixed
    }

    fn bytes(&self) -> u32 {
        self.len
    }
}

/// The buffer of a write: owned, or shared with the caller who promised not to change it.
pub(crate) enum WriteBuffer {
    Owned(DmaBuffer),
    Shared(Rc<DmaBuffer>),
}

impl WriteBuffer {
    pub(crate) fn get(&self) -> &DmaBuffer {
        match self {
            WriteBuffer::Owned(buffer) => buffer,
            WriteBuffer::Shared(buffer) => buffer,
        }
    }
}

/// Writes a DMA buffer (IORING_OP_WRITE, 5.6; IORING_OP_WRITE_FIXED, 5.1).
pub(crate) struct WriteDma {
    pub(crate) fd: Fd,
    pub(crate) buffer: WriteBuffer,
    /// The slot of the buffer in the table of the ring that writes; it may come from another one's.
    pub(crate) fixed: Option<u16>,
    pub(crate) offset: u64,
    /// The part of the buffer to write.
    pub(crate) start: usize,
    pub(crate) len: u32,
}

// SAFETY: the buffer's memory belongs to the arena or the heap, not to this struct; the kernel only
// reads it.
unsafe impl Operation for WriteDma {
    const IO: Option<IoKind> = Some(IoKind::FileWrite);

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        let buffer = self.buffer.get();
        debug_assert!(self.start + self.len as usize <= buffer.len());
        let ptr = buffer.as_bytes()[self.start..].as_ptr();
        match self.fixed {
            Some(index) => opcode::WriteFixed::new(fd, ptr, self.len, index)
                .offset(self.offset)
                .build(),
            None => opcode::Write::new(fd, ptr, self.len)
                .offset(self.offset)
                .build(),
        }
    }
}

impl Transfer for WriteDma {
    fn fixed(&mut self) -> &mut Option<u16> {
        &mut self.fixed
    }

    fn bytes(&self) -> u32 {
        self.len
    }
}

/// Flushes a file's data, or data and metadata, to its device (IORING_OP_FSYNC, 5.1).
pub(crate) struct Fsync {
    pub(crate) fd: Fd,
    pub(crate) data_only: bool,
}

// SAFETY: an fsync points to nothing.
unsafe impl Operation for Fsync {
    fn entry(&mut self) -> squeue::Entry {
        let flags = if self.data_only {
            types::FsyncFlags::DATASYNC
        } else {
            types::FsyncFlags::empty()
        };
        opcode::Fsync::new(types::Fd(self.fd.raw()))
            .flags(flags)
            .build()
    }
}

/// Closes a descriptor and reports errors (IORING_OP_CLOSE, 5.6).
pub(crate) struct Close {
    fd: Option<OwnedFd>,
}

impl Close {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Close { fd: Some(fd) }
    }
}

// SAFETY: a close points to nothing.
unsafe impl Operation for Close {
    const IO: Option<IoKind> = Some(IoKind::FileClose);

    /// From here on the kernel owns the descriptor's number; before, a dropped operation closes it.
    fn entry(&mut self) -> squeue::Entry {
        let raw = self.fd.take().map_or(-1, IntoRawFd::into_raw_fd);
        opcode::Close::new(types::Fd(raw)).build()
    }
}
