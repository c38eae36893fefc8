//! Shared ownership of a descriptor: it is closed when neither an owner nor an operation needs it.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    rc::Rc,
};

use super::{ledger::IoKind, ring::Ring};

/// A descriptor that its owner and the operations on it hold together. Closed on the ring when the
/// last share is dropped, or at once where the ring is gone.
#[derive(Clone)]
pub(crate) struct Fd(Rc<Inner>);

struct Inner {
    raw: RawFd,
    ring: Rc<Ring>,
    /// As what closing it is counted.
    closing: Option<IoKind>,
}

impl Fd {
    /// Takes the descriptor over; operations on it will run on `ring`.
    pub(crate) fn new(fd: OwnedFd, ring: Rc<Ring>) -> Self {
        Fd::counted(fd, ring, None)
    }

    /// As [`new`](Self::new), for a file that an operation of `ring` opened: closing it is counted as
    /// opening it was.
    pub(crate) fn of_file(fd: OwnedFd, ring: Rc<Ring>) -> Self {
        Fd::counted(fd, ring, Some(IoKind::FileClose))
    }

    fn counted(fd: OwnedFd, ring: Rc<Ring>, closing: Option<IoKind>) -> Self {
        Fd(Rc::new(Inner {
            raw: fd.into_raw_fd(),
            ring,
            closing,
        }))
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.raw
    }

    pub(crate) fn ring(&self) -> &Rc<Ring> {
        &self.0.ring
    }

    /// Takes the descriptor out, if this is its only share.
    pub(crate) fn try_into_owned(self) -> Result<OwnedFd, Fd> {
        match Rc::try_unwrap(self.0) {
            Ok(inner) => {
                let raw = inner.raw;
                let mut inner = std::mem::ManuallyDrop::new(inner);
                // SAFETY: `inner` is never dropped as a whole, so its ring is dropped exactly once
                // (here) and its descriptor is not closed by `Inner::drop`.
                unsafe { std::ptr::drop_in_place(&mut inner.ring) };
                // SAFETY: this was the only share, so the descriptor is nobody else's.
                Ok(unsafe { OwnedFd::from_raw_fd(raw) })
            }
            Err(shared) => Err(Fd(shared)),
        }
    }

    /// A second descriptor for the same open file.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is open: `self` holds a share.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0.raw) }.try_clone_to_owned()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw
    }
}

impl std::os::fd::AsFd for Fd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as `self`.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0.raw) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ring.close_fd(self.raw, self.closing);
    }
}

/// Closes a descriptor without a ring.
pub(crate) fn close_now(fd: RawFd) {
    // SAFETY: callers own `fd` (the last share of an `Fd`, or what a late operation produced) and
    // do not use it afterwards.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// Takes over a descriptor that an operation produced.
pub(crate) fn adopt(result: i32) -> OwnedFd {
    debug_assert!(result >= 0);
    // SAFETY: a non-negative result of open, accept or socket is a new descriptor, and each
    // completion is looked at once.
    unsafe { OwnedFd::from_raw_fd(result) }
}
