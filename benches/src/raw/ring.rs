//! A ring that one thread owns.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, Submitter, cqueue, squeue, types};

/// An io_uring instance with `SINGLE_ISSUER | DEFER_TASKRUN`, and a count of the times it was entered.
pub struct Ring {
    uring: IoUring,
    enters: u64,
}

impl Ring {
    /// Sets up a ring with room for `entries` submissions and four times as many completions.
    ///
    /// # Errors
    ///
    /// If the kernel is older than 6.1, or refuses for lack of memory or permission.
    pub fn new(entries: u32) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(entries * 4)
            .build(entries)?;
        Ok(Self { uring, enters: 0 })
    }

    /// Queues an operation; a full queue is flushed first.
    ///
    /// # Errors
    ///
    /// If the flush fails.
    ///
    /// # Safety
    ///
    /// Whatever `entry` points to stays valid until its completion has been taken from this ring, or
    /// the ring is dropped.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the caller vouches for the memory behind `entry`.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(0)?;
        }
    }

    /// Submits what is queued and waits for `want` completions, in one system call.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter` says, except interruption by a signal, which is repeated.
    pub fn enter(&mut self, want: usize) -> io::Result<()> {
        loop {
            self.enters += 1;
            match self.uring.submit_and_wait(want) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Submits what is queued and waits for one completion or until `timeout` is over.
    ///
    /// # Errors
    ///
    /// What `io_uring_enter` says, except expiry and interruption, after which the caller looks again.
    pub fn enter_for(&mut self, timeout: Duration) -> io::Result<()> {
        self.enters += 1;
        let timespec = types::Timespec::from(timeout);
        let args = types::SubmitArgs::new().timespec(&timespec);
        match self.uring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME) | Some(libc::EINTR)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the oldest completion.
    pub fn take(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    /// Moves every completion there is to the end of `into`.
    pub fn take_all(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.uring.completion());
    }

    /// How many times `io_uring_enter` has been called.
    pub fn enters(&self) -> u64 {
        self.enters
    }

    /// Registration calls.
    pub fn submitter(&self) -> Submitter<'_> {
        self.uring.submitter()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}
