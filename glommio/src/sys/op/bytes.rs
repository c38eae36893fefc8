//! What streams of bytes run over, and with which operations.

use io_uring::{opcode, squeue, types};

use crate::sys::ledger::IoKind;

/// `IORING_RECVSEND_POLL_FIRST`: wait for data before the first try.
const POLL_FIRST: u16 = 1;

/// For files that have no positions.
const NO_OFFSET: u64 = u64::MAX;

/// A kind of descriptor that bytes come out of, or go into. The pointers are the caller's concern.
pub(crate) trait Channel: 'static {
    /// As what reads and writes are counted.
    const READ: IoKind;
    const WRITE: IoKind;
    /// Whether it can be told not to wait, and how to receive many times: whether it is a socket.
    const IS_SOCKET: bool;

    /// Reads into `target`, or into a provided buffer. `poll_first` saves a try that would fail.
    fn read(
        fd: types::Fd,
        target: *mut u8,
        len: u32,
        poll_first: bool,
        group: Option<u16>,
    ) -> squeue::Entry;

    /// Writes; a channel that can be told so does not wait.
    fn write(fd: types::Fd, data: *const u8, len: u32, inline: bool) -> squeue::Entry;
}

/// A stream socket (IORING_OP_RECV and IORING_OP_SEND, 5.6).
pub(crate) enum Socket {}

impl Channel for Socket {
    const READ: IoKind = IoKind::SocketRead;
    const WRITE: IoKind = IoKind::SocketWrite;
    const IS_SOCKET: bool = true;

    fn read(
        fd: types::Fd,
        target: *mut u8,
        len: u32,
        poll_first: bool,
        group: Option<u16>,
    ) -> squeue::Entry {
        let ioprio = if poll_first { POLL_FIRST } else { 0 };
        let recv = opcode::Recv::new(fd, target, len).ioprio(ioprio);
        match group {
            Some(group) => recv
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            None => recv.build(),
        }
    }

    fn write(fd: types::Fd, data: *const u8, len: u32, inline: bool) -> squeue::Entry {
        let flags = libc::MSG_NOSIGNAL | if inline { libc::MSG_DONTWAIT } else { 0 };
        opcode::Send::new(fd, data, len).flags(flags).build()
    }
}

/// One end of a pipe (IORING_OP_READ and IORING_OP_WRITE, 5.6): the kernel waits for data and for
/// room; not every kernel does if somebody has set it to `O_NONBLOCK`.
pub(crate) enum Pipe {}

impl Channel for Pipe {
    const READ: IoKind = IoKind::PipeRead;
    const WRITE: IoKind = IoKind::PipeWrite;
    const IS_SOCKET: bool = false;

    fn read(
        fd: types::Fd,
        target: *mut u8,
        len: u32,
        _poll_first: bool,
        group: Option<u16>,
    ) -> squeue::Entry {
        let read = opcode::Read::new(fd, target, len).offset(NO_OFFSET);
        match group {
            Some(group) => read
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            None => read.build(),
        }
    }

    fn write(fd: types::Fd, data: *const u8, len: u32, _inline: bool) -> squeue::Entry {
        opcode::Write::new(fd, data, len).offset(NO_OFFSET).build()
    }
}
