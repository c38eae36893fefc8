//! Which executors are alive, and how to reach their inboxes.
//!
//! A task's header names its executor by number, so that a waker which outlives the executor holds
//! nothing of it. This table turns the number into an inbox without a lock: an [`ExecutorId`] carries
//! the index of a slot, slots live in segments that are allocated on first use and never freed, and
//! therefore a reference to a slot is valid for the rest of the process.
//!
//! Slots are reused, identifiers are not. A thread that looked an executor up may hence push to a
//! slot that meanwhile belongs to another one. That is harmless: the inbox is a queue of counted
//! references, and the new owner, finding a header with a foreign id, only gives the reference back.
//! The dead executor dropped all futures and outputs itself, so what is left is memory, which any
//! thread may free.
//!
//! Registering and leaving take a mutex: they happen once per executor.

use std::{
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    header::Header,
    id::{ExecutorId, SLOT_BITS},
    inbox::Inbox,
};

const SEGMENT_SLOTS: usize = 64;
const SEGMENTS: usize = (1 << SLOT_BITS) / SEGMENT_SLOTS;

/// What other threads see of one executor. Its own cache lines: neighbours belong to other cores.
#[repr(align(128))]
pub(super) struct Slot {
    /// The current owner's id, or 0.
    owner: AtomicU64,
    inbox: Inbox<Header>,
}

impl Slot {
    fn vacant() -> Slot {
        Slot {
            owner: AtomicU64::new(0),
            inbox: Inbox::new_closed(),
        }
    }

    #[inline(always)]
    pub(super) fn inbox(&self) -> &Inbox<Header> {
        &self.inbox
    }
}

type Segment = Box<[Slot]>;

static TABLE: [OnceLock<Segment>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];
static OCCUPANCY: Mutex<Occupancy> = Mutex::new(Occupancy {
    generation: 0,
    slots_made: 0,
    vacated: Vec::new(),
});
static NOTIFIER: OnceLock<fn(ExecutorId)> = OnceLock::new();

struct Occupancy {
    /// Executors registered so far. 48 bits: a million per second for nine years.
    generation: u64,
    /// Slots below this index have been used.
    slots_made: usize,
    /// Used slots that are free again.
    vacated: Vec<u16>,
}

/// 65,536 executors are alive; there is no room for another.
#[derive(Debug)]
pub(crate) struct TooManyExecutors;

impl fmt::Display for TooManyExecutors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} executors are alive in this process; drop one before making another",
            1 << SLOT_BITS
        )
    }
}

impl std::error::Error for TooManyExecutors {}

fn occupancy() -> std::sync::MutexGuard<'static, Occupancy> {
    // Nothing below panics half-way through a change, so a poisoned table is still a good one.
    OCCUPANCY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot(index: usize) -> Option<&'static Slot> {
    let segment = TABLE[index / SEGMENT_SLOTS].get()?;
    Some(&segment[index % SEGMENT_SLOTS])
}

/// Finds a slot for a new executor and opens its inbox.
pub(super) fn register() -> Result<(ExecutorId, &'static Slot), TooManyExecutors> {
    let mut occupancy = occupancy();
    let index = match occupancy.vacated.pop() {
        Some(index) => usize::from(index),
        None if occupancy.slots_made < 1 << SLOT_BITS => {
            occupancy.slots_made += 1;
            occupancy.slots_made - 1
        }
        None => return Err(TooManyExecutors),
    };
    let segment = TABLE[index / SEGMENT_SLOTS]
        .get_or_init(|| (0..SEGMENT_SLOTS).map(|_| Slot::vacant()).collect());
    let slot = &segment[index % SEGMENT_SLOTS];

    occupancy.generation += 1;
    let id = ExecutorId::new(occupancy.generation, index);
    slot.inbox.open();
    slot.owner.store(id.as_u64(), Ordering::Release);
    Ok((id, slot))
}

/// Frees the slot of an executor whose inbox is closed.
pub(super) fn unregister(id: ExecutorId) {
    let mut occupancy = occupancy();
    let slot = slot(id.slot()).expect("a registered executor has a slot");
    debug_assert_eq!(slot.owner.load(Ordering::Relaxed), id.as_u64());
    slot.owner.store(0, Ordering::Release);
    occupancy.vacated.push(id.slot() as u16);
}

/// The slot of an executor, or `None` if it is gone. It may be gone a moment later too.
pub(super) fn lookup(id: ExecutorId) -> Option<&'static Slot> {
    slot(id.slot()).filter(|slot| slot.owner.load(Ordering::Acquire) == id.as_u64())
}

/// Whether the executor is alive, as of now.
#[cfg(test)]
pub(crate) fn is_alive(id: ExecutorId) -> bool {
    lookup(id).is_some()
}

/// Installs the function that gets an executor out of its sleep after something was put into its
/// inbox. The first call counts; returns whether this was it.
///
/// The function is called on the waking thread, which may be any, for executors that may not have
/// gone to sleep, may be gone already, or may be unknown to the caller's layer: it must take each
/// of those for nothing to do, and must not panic.
pub(crate) fn set_notifier(notify: fn(ExecutorId)) -> bool {
    NOTIFIER.set(notify).is_ok()
}

/// Calls the installed notifier, if any.
pub(crate) fn notify(id: ExecutorId) {
    if let Some(notify) = NOTIFIER.get() {
        notify(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retire((id, slot): (ExecutorId, &'static Slot)) {
        assert!(slot.inbox().close().next().is_none());
        unregister(id);
    }

    #[test]
    fn ids_are_ordered_by_creation_and_never_reused() {
        let first = register().unwrap();
        let first_id = first.0;
        assert!(is_alive(first_id));
        retire(first);
        assert!(!is_alive(first_id));

        let second = register().unwrap();
        assert!(second.0 > first_id);
        assert!(second.0.as_usize() > first_id.as_usize());
        assert!(!is_alive(first_id));
        retire(second);
    }

    #[test]
    fn living_executors_have_distinct_slots() {
        let alive: Vec<_> = (0..3 * SEGMENT_SLOTS)
            .map(|_| register().unwrap())
            .collect();
        let mut slots: Vec<_> = alive.iter().map(|(id, _)| id.slot()).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), alive.len());
        alive.into_iter().for_each(retire);
    }

    #[test]
    fn registering_from_many_threads_yields_unique_ids() {
        let mut ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..200)
                            .map(|_| {
                                let registered = register().unwrap();
                                let id = registered.0;
                                retire(registered);
                                id
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 800);
    }
}
