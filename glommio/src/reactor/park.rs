//! The agreement between an executor's thread, which sleeps in the kernel when idle, and the
//! threads that give it work.
//!
//! A *waker* puts work into the executor's inbox. If the owner is awake it will look there by
//! itself; only if it sleeps must the waker notify it, by a system call. The state below tells
//! which, such that no wake-up is lost and one sleep costs at most one notification.
//!
//! ```text
//!              prepare_park                    should_notify == true
//!    AWAKE ---------------------> SLEEPING ---------------------------> NOTIFIED
//!      ^                              |                                     |
//!      +------- unpark, or work found by prepare_park ----------------------+
//! ```
//!
//! # Protocol
//!
//! | owner                                            | waker                         |
//! |--------------------------------------------------|-------------------------------|
//! | 1. store `SLEEPING`                              | 1. put work into the inbox    |
//! | 2. fence                                         | 2. fence                      |
//! | 3. look into the inbox: not empty, back to awake | 3. load the state             |
//! | 4. wait in the kernel                            | 4. `SLEEPING`: change it to   |
//! | 5. store `AWAKE`, empty the inbox                | `NOTIFIED` and notify         |
//!
//! [`ParkState::prepare_park`] is steps 1 to 3, [`ParkState::should_notify`] is steps 2 to 4. Two
//! things are asked of the surroundings: the owner empties its inbox between sleeps, and a
//! notification is *sticky*: one that arrives before the owner enters the kernel ends the wait
//! that follows (a completion in the ring and the counter of an eventfd are).
//!
//! # Why no wake-up is lost
//!
//! Each side writes one location and then reads the one that the other writes; both fences are
//! sequentially consistent, so for every pair of a sleep and a wake one of them comes first.
//!
//! - *The waker's fence is first.* Then step 3 of the owner sees the work, and it stays awake.
//! - *The owner's fence is first.* Then step 3 of the waker sees the `SLEEPING` of this sleep or a
//!   later value. If `SLEEPING` and the exchange succeeds, it notifies. If `NOTIFIED`, another
//!   waker does, for this or a later sleep. If `AWAKE`, the owner has already left this sleep and
//!   empties its inbox, or checks it in its next sleep, to which the same argument applies: the
//!   waker did not see the `SLEEPING` of that one, so there its fence was the first.
//!
//! An exchange that fails found a value later than the `SLEEPING` it had loaded, which is one of
//! the last two cases.
//!
//! # Why one notification per sleep is the most
//!
//! Only a successful exchange from `SLEEPING` to `NOTIFIED` permits a notification, and only
//! `prepare_park` stores `SLEEPING`. When `prepare_park` finds work after all, a waker may already
//! have decided to notify; the owner then sees one wake-up too many, never one too few.
//!
//! # Memory orderings
//!
//! The fences carry the argument; the accesses to the state could all be relaxed, as the work
//! itself is published by the inbox. The state of an executor that is gone stays `AWAKE`, which
//! keeps late wakers quiet.

use super::atomic::{AtomicU32, Ordering, fence};

/// The owner runs, or is about to look into its inbox.
const AWAKE: u32 = 0;
/// The owner sleeps, or is about to, and nobody has notified it.
const SLEEPING: u32 = 1;
/// A waker has taken it upon itself to end this sleep.
const NOTIFIED: u32 = 2;

/// Whether an executor's thread sleeps; shared by its owner and all wakers.
#[derive(Debug)]
pub(crate) struct ParkState(AtomicU32);

impl ParkState {
    pub(crate) fn new() -> Self {
        ParkState(AtomicU32::new(AWAKE))
    }

    /// Owner only. Announces a sleep; `true` means that the thread may now wait in the kernel and
    /// must call [`unpark`](Self::unpark) afterwards, `false` that work arrived in the meantime.
    pub(crate) fn prepare_park(&self, inbox_is_empty: impl Fn() -> bool) -> bool {
        self.0.store(SLEEPING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if inbox_is_empty() {
            return true;
        }
        self.0.store(AWAKE, Ordering::Release);
        false
    }

    /// Owner only. Ends a sleep, whatever the reason; `true` if a waker has notified this thread
    /// or is about to.
    pub(crate) fn unpark(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    /// Any thread, after it has put work into the inbox. `true` tells the one caller that must
    /// notify the owner through the kernel. Costs a fence and a load while the owner is awake.
    pub(crate) fn should_notify(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) == SLEEPING
            && self
                .0
                .compare_exchange(SLEEPING, NOTIFIED, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}
