//! How much memory this process pins for I/O.
//!
//! What is pinned counts against `RLIMIT_MEMLOCK`, as do the rings themselves on kernels before 5.12 and
//! from 6.14 on; and the limit is that of all processes of a user. Buffers that took what there is
//! would keep the next executor from starting. They take half of it at most.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::limits::enforced_memlock_bytes;

/// The whole process's.
static PINNED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The right to pin a number of bytes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    of: &'static AtomicUsize,
    bytes: usize,
}

impl Pinned {
    /// # Errors
    ///
    /// `ENOMEM`, as the kernel's, if there would be too little left for rings.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Pinned> {
        Pinned::reserve_of(
            &PINNED_BYTES,
            bytes,
            allowed_bytes(enforced_memlock_bytes()),
        )
    }

    fn reserve_of(
        of: &'static AtomicUsize,
        bytes: usize,
        allowed_bytes: usize,
    ) -> io::Result<Pinned> {
        of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pinned| {
            pinned
                .checked_add(bytes)
                .filter(|&pinned| pinned <= allowed_bytes)
        })
        .map(|_| Pinned { of, bytes })
        .map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Half of what the kernel allows, if it enforces a limit.
fn allowed_bytes(enforced: Option<u64>) -> usize {
    enforced.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes / 2).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_limit_may_be_pinned_if_there_is_one() {
        assert_eq!(allowed_bytes(Some(8 << 20)), 4 << 20);
        assert_eq!(allowed_bytes(Some(0)), 0);
        assert_eq!(allowed_bytes(None), usize::MAX);
    }

    #[test]
    fn what_is_dropped_may_be_pinned_again() {
        static PINNED: AtomicUsize = AtomicUsize::new(0);
        let reserve = |bytes| Pinned::reserve_of(&PINNED, bytes, 100);
        let most = reserve(70).unwrap();
        let error = reserve(31).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        let rest = reserve(30).unwrap();
        assert!(reserve(1).is_err() && reserve(usize::MAX).is_err());
        drop(most);
        let again = reserve(70).unwrap();
        assert!(reserve(1).is_err());
        drop((again, rest));
        assert_eq!(PINNED.load(Ordering::Relaxed), 0);
    }
}
