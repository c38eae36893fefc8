//! Wake-ups across threads: from "something is in your inbox" to a thread that runs again.
//!
//! Every executor has a [`WakeSlot`] in a static table, found by the slot index of its id. The slot
//! holds the park state ([`super::park`]) and, while the executor lives, the [`Target`] through
//! which the kernel can wake it. The table is never freed, so a waker that outlives its executor
//! finds a slot that is empty or belongs to a successor; a spurious wake-up of the successor does no
//! harm.
//!
//! Between executors a wake-up is a message from ring to ring (`IORING_OP_MSG_RING`), which leaves
//! with the sender's next enter: a ping-pong needs no system call of its own. From other threads,
//! and where the rung is missing, it is a write to the target's eventfd.
//!
//! # When a message does not arrive
//!
//! Whoever decided to wake a sleeper has taken that upon itself alone ([`super::park`]), so a message
//! that goes astray leaves it asleep. Two things can happen to it, and both end in a write to the
//! eventfd:
//!
//! - The kernel does not take it, being short of something. The [`Outbox`] sees that after the enter
//!   call. The message stays queued and wakes once too much, later.
//! - The kernel cannot deliver it. Its completion says so, and [`undelivered`] is told: by the turn, by
//!   the flush that sent it, which may be the last thing that the executor does for a while, or by the
//!   tear-down of the ring.
//!
//! # Who keeps a message waiting
//!
//! The poll of the task that sent it, and nothing else: the executor flushes before it polls another
//! task, of whatever queue, before it sleeps and before it returns. A task that blocks its thread after it
//! has woken a peer, to wait for that peer, would wait for ever; where this crate blocks (joining and
//! starting threads), it calls [`flush_messages`](super::flush_messages) first.

use std::{
    cell::RefCell,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::park::ParkState;
use crate::sys::eventfd::EventFd;

const SEGMENT_SLOTS: usize = 64;
const SEGMENTS: usize = 1024;

/// Through what the kernel wakes a sleeping executor.
pub(super) struct Target {
    pub(super) eventfd: Arc<EventFd>,
    /// A descriptor of the executor's ring, if it takes messages. A duplicate, so that a message
    /// that is queued while the executor goes away names this ring and nothing else.
    pub(super) ring: Option<OwnedFd>,
}

/// What other threads know of one executor. On its own cache lines.
#[repr(align(128))]
pub(super) struct WakeSlot {
    pub(super) park: ParkState,
    target: Mutex<Option<Arc<Target>>>,
}

impl WakeSlot {
    fn vacant() -> Self {
        WakeSlot {
            park: ParkState::new(),
            target: Mutex::new(None),
        }
    }

    /// Installs the target of the executor that has the slot now.
    pub(super) fn set_target(&self, target: Arc<Target>) {
        let old = self.lock().replace(target);
        drop(old);
    }

    /// Removes the target, if it is still this one: an executor leaves the registry before its
    /// reactor goes, so the slot may have a new owner already. Once a target is removed, nobody wakes
    /// through it any more but for messages already queued, which hold a share of it.
    pub(super) fn remove_target(&self, target: &Arc<Target>) {
        let mut slot = self.lock();
        if slot.as_ref().is_some_and(|t| Arc::ptr_eq(t, target)) {
            let old = slot.take();
            drop(slot);
            drop(old);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Target>>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn target(&self) -> Option<Arc<Target>> {
        self.lock().clone()
    }
}

static TABLE: [OnceLock<Box<[WakeSlot]>>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];

/// The slot of an index below 65,536.
pub(super) fn slot(index: usize) -> &'static WakeSlot {
    let segment = TABLE[index / SEGMENT_SLOTS]
        .get_or_init(|| (0..SEGMENT_SLOTS).map(|_| WakeSlot::vacant()).collect());
    &segment[index % SEGMENT_SLOTS]
}

/// A message could not be delivered (the target's ring takes none): wake through the eventfd.
pub(super) fn undelivered(index: u32) {
    if let Some(target) = slot(index as usize).target() {
        target.eventfd.notify();
    }
}

/// The targets that queued messages name: kept until the kernel has taken the messages, and with them
/// the descriptors.
#[derive(Default)]
pub(super) struct Outbox {
    /// Of messages that the kernel has not seen.
    fresh: RefCell<Vec<Arc<Target>>>,
    /// Of messages that it did not take. The targets are awake by other means.
    refused: RefCell<Vec<Arc<Target>>>,
}

impl Outbox {
    /// Returns the descriptor to send to.
    pub(super) fn hold(&self, target: &Arc<Target>) -> Option<i32> {
        let raw = target.ring.as_ref()?.as_raw_fd();
        self.fresh.borrow_mut().push(target.clone());
        Some(raw)
    }

    /// Whether a target waits for a message that has not left.
    #[inline]
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.borrow().is_empty()
    }

    /// Whether there is anything to be told of submissions.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        !self.has_fresh() && self.refused.borrow().is_empty()
    }

    /// Messages were submitted. Which of them the kernel took is known only if it took all.
    pub(super) fn submitted(&self, all_taken: bool) {
        let mut refused = self.refused.borrow_mut();
        let mut fresh = self.fresh.borrow_mut();
        if all_taken {
            fresh.clear();
            refused.clear();
            return;
        }
        for target in fresh.drain(..) {
            target.eventfd.notify();
            refused.push(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reactor::{Reactor, ReactorConfig},
        sys::{
            features::{Rung, features},
            ring::Fault,
        },
        task::Tasks,
    };
    use std::{os::unix::net::UnixStream, rc::Rc, time::Duration};

    /// A sleeping executor as far as others can tell: it has a place, and a target there. No message
    /// can be delivered to its "ring".
    struct Deaf {
        tasks: Tasks,
        target: Arc<Target>,
    }

    impl Deaf {
        fn new() -> Deaf {
            let (not_a_ring, _) = UnixStream::pair().unwrap();
            let target = Arc::new(Target {
                eventfd: Arc::new(EventFd::new().unwrap()),
                ring: Some(not_a_ring.into()),
            });
            let tasks = Tasks::new().unwrap();
            slot(tasks.id().slot()).set_target(target.clone());
            Deaf { tasks, target }
        }

        fn is_woken(&self) -> bool {
            self.target.eventfd.is_raised()
        }
    }

    impl Drop for Deaf {
        fn drop(&mut self) {
            slot(self.tasks.id().slot()).remove_target(&self.target);
        }
    }

    /// A reactor that has sent a message to a deaf executor, unless this kernel has no messages.
    fn sender(to: &Deaf) -> Option<(Tasks, Rc<Reactor>)> {
        if !features().unwrap().has(Rung::MsgRing) {
            return None;
        }
        let tasks = Tasks::new().unwrap();
        let config = ReactorConfig {
            ring_depth: 8,
            io_memory_bytes: 1 << 20,
            spin_before_park: Duration::ZERO,
            record_io_latencies: false,
        };
        let reactor = Reactor::new(tasks.id(), config).unwrap();
        // The watch of the eventfd is out of the way.
        reactor.flush();
        assert!(reactor.message(to.tasks.id().slot(), &to.target));
        assert!(reactor.has_messages() && !to.is_woken());
        Some((tasks, reactor))
    }

    #[test]
    fn a_message_that_cannot_be_delivered_wakes_by_the_flush_that_sends_it() {
        let deaf = Deaf::new();
        let Some((_tasks, reactor)) = sender(&deaf) else {
            return;
        };
        reactor.flush();
        assert!(deaf.is_woken() && !reactor.has_messages());
    }

    #[test]
    fn a_message_that_cannot_be_delivered_wakes_although_its_sender_ends() {
        let deaf = Deaf::new();
        let Some((_tasks, reactor)) = sender(&deaf) else {
            return;
        };
        reactor.shutdown();
        assert!(deaf.is_woken());
    }

    #[test]
    fn a_message_that_the_kernel_does_not_take_wakes_all_the_same() {
        for fault in [Fault::BUSY, Fault::TakeOnly(0)] {
            let deaf = Deaf::new();
            let Some((_tasks, reactor)) = sender(&deaf) else {
                return;
            };
            let held = Arc::strong_count(&deaf.target);
            reactor.ring().inject([fault]);
            reactor.flush();
            assert!(deaf.is_woken(), "{fault:?}");
            assert!(!reactor.has_messages(), "nobody waits for it any more");
            assert_eq!(
                Arc::strong_count(&deaf.target),
                held,
                "the queued message names a descriptor of the target"
            );
            reactor.flush();
            assert_eq!(Arc::strong_count(&deaf.target), held - 1);
        }
    }

    #[test]
    fn a_message_that_the_kernel_never_takes_wakes_when_its_sender_ends() {
        let deaf = Deaf::new();
        let Some((_tasks, reactor)) = sender(&deaf) else {
            return;
        };
        reactor.ring().inject([Fault::OUT_OF_MEMORY; 4]);
        reactor.shutdown();
        assert!(deaf.is_woken());
    }

    fn target() -> Arc<Target> {
        Arc::new(Target {
            eventfd: Arc::new(EventFd::new().unwrap()),
            ring: None,
        })
    }

    #[test]
    fn an_executor_that_goes_leaves_the_target_of_its_successor_in_place() {
        let slot = WakeSlot::vacant();
        let (former, successor) = (target(), target());
        slot.set_target(former.clone());
        slot.set_target(successor.clone());
        slot.remove_target(&former);
        assert!(Arc::ptr_eq(&slot.target().unwrap(), &successor));
        slot.remove_target(&successor);
        assert!(slot.target().is_none());
        assert_eq!(Arc::strong_count(&successor), 1);
    }
}
