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

use std::{
    cell::RefCell,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{current_reactor, park::ParkState};
use crate::{sys::eventfd::EventFd, task::ExecutorId};

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

    /// Installs or removes the target. Once it is removed, nobody wakes through it any more but for
    /// messages already queued, which hold a share of it.
    pub(super) fn set_target(&self, target: Option<Arc<Target>>) {
        let old = {
            let mut slot = self.target.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, target)
        };
        drop(old);
    }

    fn target(&self) -> Option<Arc<Target>> {
        self.target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

static TABLE: [OnceLock<Box<[WakeSlot]>>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];

/// The slot of an index below 65,536.
pub(super) fn slot(index: usize) -> &'static WakeSlot {
    let segment = TABLE[index / SEGMENT_SLOTS]
        .get_or_init(|| (0..SEGMENT_SLOTS).map(|_| WakeSlot::vacant()).collect());
    &segment[index % SEGMENT_SLOTS]
}

/// Gets `id` out of its sleep, if it sleeps. Called on any thread after something was put into the
/// executor's inbox.
pub(super) fn notify(id: ExecutorId) {
    let index = id.slot();
    let slot = slot(index);
    if !slot.park.should_notify() {
        return;
    }
    let Some(target) = slot.target() else {
        return;
    };
    if target.ring.is_some() && try_message(index, &target) {
        return;
    }
    target.eventfd.notify();
}

/// Wakes through the current thread's ring. Does nothing where there is none.
fn try_message(index: usize, target: &Arc<Target>) -> bool {
    current_reactor(|reactor| match reactor {
        Some(reactor) => reactor.message(index, target),
        None => false,
    })
}

/// A message could not be delivered (the target's ring takes none): wake through the eventfd.
pub(super) fn undelivered(index: u32) {
    if let Some(target) = slot(index as usize).target() {
        target.eventfd.notify();
    }
}

/// The targets that queued messages name: kept until the kernel has taken the messages.
#[derive(Default)]
pub(super) struct Outbox(RefCell<Vec<Arc<Target>>>);

impl Outbox {
    /// Returns the descriptor to send to.
    pub(super) fn hold(&self, target: &Arc<Target>) -> Option<i32> {
        let raw = target.ring.as_ref()?.as_raw_fd();
        self.0.borrow_mut().push(target.clone());
        Some(raw)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The kernel has looked up the descriptors of everything submitted so far.
    pub(super) fn submitted(&self) {
        if !self.is_empty() {
            self.0.borrow_mut().clear();
        }
    }
}
