//! The two words of a task that any thread may touch: its reference count and its mail flag.
//!
//! # The count
//!
//! `refs` counts the wakers, wherever they are, *plus one unit* for everything that lives on the
//! owner's thread: the owned list, the handle, the links of local awaiters, the run queue. Those
//! are counted by plain cells in the header; only when the last of them goes does the owner give
//! its unit back. A task that never handed out a waker clone therefore lives and dies without one
//! atomic read-modify-write.
//!
//! Dropping to zero follows the usual rule: every release is a `Release` operation and the one that
//! frees performs an `Acquire`, so all uses of the memory happen before it is given back. Seeing
//! `1` with an `Acquire` load while holding a reference proves that this reference is the only one:
//! nobody else exists who could clone or release, hence no read-modify-write is needed. The loaded
//! value was written by the last `Release` decrement, or by a later operation in its release
//! sequence, so the load synchronizes with every earlier holder.
//!
//! The count saturates. A count that passes [`LIMIT`] (two thousand million leaked wakers) is
//! pinned: the task is then never freed, which is a leak and not a use after free. No process is
//! aborted for it. Leaving the pinned range again would take 2^30 threads, each stopped between two
//! neighbouring instructions.
//!
//! # The mail flag
//!
//! `remote` carries two bits.
//!
//! - `INJECTED`: the header is in (or on its way to) its owner's inbox, which holds one reference.
//!   Whoever turns the bit on pushes the header; whoever finds it on is done.
//! - `DEAD`: the task wants no more wakes, because it completed or its executor is gone. Set once,
//!   never cleared.
//!
//! The owner turns `INJECTED` off *before* it looks at the task, with a read-modify-write. All
//! changes of one word are totally ordered, so a concurrent wake falls on one side or the other:
//! either its `fetch_or` precedes the clear, which then acquires what the waking thread wrote, and
//! the poll that follows sees it; or it comes later, finds the bit off, and pushes again. That is
//! why a wake always performs its `fetch_or`: to return after merely *reading* the bit would
//! order nothing, and the wake could be lost.

use super::atomic::{AtomicU32, Ordering, fence};

/// From here on the count no longer means anything, and the task is never freed.
const LIMIT: u32 = 1 << 31;

/// Where an overflowing count is put: as far as can be from both ends of its range.
const PINNED: u32 = 3 << 30;

const INJECTED: u32 = 1 << 0;
const DEAD: u32 = 1 << 1;

/// Reference count and mail flag of one task.
pub(crate) struct Shared {
    refs: AtomicU32,
    remote: AtomicU32,
}

impl Shared {
    /// One reference (the owner thread's unit), no mail.
    pub(crate) fn new() -> Shared {
        Shared {
            refs: AtomicU32::new(1),
            remote: AtomicU32::new(0),
        }
    }

    /// Adds a reference. The caller holds one already.
    #[inline]
    pub(crate) fn acquire(&self) {
        // Relaxed: a new reference comes from an existing one, which already orders everything.
        if self.refs.fetch_add(1, Ordering::Relaxed) >= LIMIT {
            self.pin();
        }
    }

    /// Gives a reference back; `true` means it was the last and the caller must free the task.
    #[inline]
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        if self.refs.load(Ordering::Acquire) == 1 {
            return true;
        }
        let before = self.refs.fetch_sub(1, Ordering::Release);
        if before >= LIMIT {
            self.pin();
            return false;
        }
        if before != 1 {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }

    #[cold]
    fn pin(&self) {
        self.refs.store(PINNED, Ordering::Relaxed);
    }

    /// Whether the caller's reference is the only one: no waker exists anywhere.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.refs.load(Ordering::Acquire) == 1
    }

    /// A wake from outside the owner's context. `true`: the caller must put the header, with one
    /// reference, into the owner's inbox. `false`: nothing is left to do.
    #[inline]
    #[must_use]
    pub(crate) fn begin_injection(&self) -> bool {
        // DEAD is final, so reading it needs no order and spares the write.
        if self.remote.load(Ordering::Relaxed) & DEAD != 0 {
            return false;
        }
        // Release publishes what the waking thread wrote to the poll that this wake causes.
        self.remote.fetch_or(INJECTED, Ordering::AcqRel) & (INJECTED | DEAD) == 0
    }

    /// The owner took the header out of its inbox. To be called before it decides anything about
    /// the task, and after it read the header's inbox link: from here on the header may be pushed
    /// again.
    #[inline]
    pub(crate) fn end_injection(&self) {
        // Acquire pairs with the Release of every wake that this delivery stands for.
        self.remote.fetch_and(!INJECTED, Ordering::AcqRel);
    }

    /// Makes all further wakes no-ops.
    #[inline]
    pub(crate) fn kill(&self) {
        self.remote.fetch_or(DEAD, Ordering::Relaxed);
    }

    /// Puts the count at the edge of its range, to test what happens there.
    #[cfg(test)]
    #[allow(dead_code)]
    pub(crate) fn set_count_for_test(&self, count: u32) {
        self.refs.store(count, Ordering::Relaxed);
    }

    /// The count, for tests.
    #[cfg(test)]
    #[allow(dead_code)]
    pub(crate) fn count_for_test(&self) -> u32 {
        self.refs.load(Ordering::Relaxed)
    }
}
