//! The few plain system calls on sockets that a ring cannot save.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, RawFd},
};

/// `IOV_MAX`: the kernel takes no more buffers at a time.
const MAX_BUFFERS: usize = 1024;

/// `POLLOUT`: there is room to send.
pub(crate) const WRITABLE: i16 = libc::POLLOUT;

/// Sends without waiting and without SIGPIPE.
pub(crate) fn send_now(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: `data` is readable for its length.
        let n = unsafe {
            libc::send(
                fd,
                data.as_ptr().cast(),
                data.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if n >= 0 {
            return Ok(n as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// As [`send_now`], for the first of several buffers.
pub(crate) fn send_all_now(socket: &impl AsRawFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[..bufs.len().min(MAX_BUFFERS)];
    loop {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match borrow(socket).send_vectored_with_flags(bufs, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Looks at a descriptor as a socket without owning it.
pub(crate) fn borrow(fd: &impl AsRawFd) -> std::mem::ManuallyDrop<socket2::Socket> {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller keeps the descriptor open while it uses the result, which never closes it.
    std::mem::ManuallyDrop::new(unsafe { socket2::Socket::from_raw_fd(fd.as_raw_fd()) })
}

/// Makes a socket from elsewhere one that waits: not every kernel's ring waits for one that is
/// `O_NONBLOCK`. The others answer `EAGAIN`, and each wait costs a poll and another try.
pub(crate) fn let_wait(socket: &socket2::Socket) {
    if let Err(error) = socket.set_nonblocking(false) {
        tracing::debug!(target: "glommio::sys", %error, "a socket keeps its O_NONBLOCK");
    }
}
