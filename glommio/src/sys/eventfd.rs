//! The eventfd through which foreign threads wake an executor.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// A counter in the kernel; writing to it completes a read or poll on it.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// Creates a blocking eventfd: the ring reads it, so a read must wait for a write.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd(2) takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned a new descriptor that nobody else owns.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds one to the counter. Cannot block: the counter would have to reach 2^64 - 2 first.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        loop {
            // SAFETY: `one` is eight readable bytes, the size that eventfd(2) demands.
            let n = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
            if n >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }

    /// Adds one to the counter from anywhere, signal handlers included: async-signal-safe, and
    /// `errno` stays what it was.
    pub(crate) fn notify_from_signal(&self) {
        // SAFETY: the C library gives a valid pointer to the `errno` of the calling thread.
        let errno = unsafe { &mut *libc::__errno_location() };
        let before = *errno;
        self.notify();
        *errno = before;
    }

    /// Blocks the thread until the counter is not zero, and leaves it as it is.
    pub(crate) fn wait(&self) {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one structure, live during the call. The call fails for want of memory
        // or by a signal; it is made again then.
        while unsafe { libc::poll(&mut poll, 1, -1) } < 1 {}
    }

    /// Whether the counter is not zero.
    #[cfg(test)]
    pub(crate) fn is_raised(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one structure, live during the call.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    /// Sets the counter, which is not zero, to zero. To be called by the only one who does so.
    pub(crate) fn consume(&self) {
        let mut counter = [0u8; 8];
        // SAFETY: `counter` is eight writable bytes, the size that eventfd(2) demands. An interrupted
        // read leaves the counter to the next one.
        unsafe {
            libc::read(
                self.0.as_raw_fd(),
                counter.as_mut_ptr().cast(),
                counter.len(),
            )
        };
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
