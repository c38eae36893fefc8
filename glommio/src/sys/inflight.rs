//! The in-flight table: every operation that the kernel may still know, and the memory it owns.
//!
//! A slot is found by the `user_data` of its completions: index in the low half, generation above.
//! The generation changes when a slot is freed, so a late completion or a stale handle can never
//! touch the slot's next tenant.
//!
//! Operations of different types share the table ([`Erased`]). Storing one allocates nothing once the
//! table has grown to the number of operations in flight at the same time, unless it is too large for
//! its slot. The table's size is bounded by the number of operations that the program keeps pending.

use std::task::Waker;

use io_uring::squeue;

use super::{
    ledger::{Ledger, Origin},
    op::{Class, Completion, Next},
};

pub(crate) use super::erased::{Erased, fits};

/// Bit 63 of `user_data` marks messages that belong to no slot.
pub(crate) const INTERNAL_TAG: u64 = 1 << 63;

/// Names an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_user_data(user_data: u64) -> Self {
        Key {
            index: user_data as u32,
            generation: (user_data >> 32) as u32,
        }
    }
}

/// Where a tenant stands in its life.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Waits in the backlog or the deferred list: the kernel has not seen it.
    Queued,
    /// The kernel knows it.
    Submitted,
    /// Its completion arrived and waits for the future to fetch it.
    Completed(Completion),
}

struct Tenant {
    op: Erased,
    stage: Stage,
    /// Nobody waits for the result any more.
    orphaned: bool,
    /// How it counts while the kernel works on it; `None` while it does not.
    class: Option<Class>,
    waker: Option<Waker>,
}

struct Slot {
    generation: u32,
    /// Whose operation the tenant is.
    origin: Origin,
    tenant: Option<Tenant>,
}

/// What is to be done after a completion was filed.
pub(crate) enum Filed {
    /// Wake this waker, if any; the tenant stays.
    Wake(Option<Waker>),
    /// The operation is over; end it outside the table's borrow, then wake.
    Over(Erased, Option<Completion>, Option<Waker>),
    /// Ask the kernel to stop this slot, then wake.
    Stop(Key, Option<Waker>),
    /// Submit this slot again, then wake.
    Again(Key, Option<Waker>),
    /// No such operation: a completion of something long forgotten.
    Unknown,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct InFlight {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Tenants that the kernel knows: these keep memory pinned at tear-down.
    submitted: usize,
    /// Of these, the ones of class [`Class::Work`].
    working: usize,
    /// Of these, the ones of class [`Class::Inline`].
    inline: usize,
    /// On whose account new operations go.
    pub(super) origin: Origin,
    pub(super) ledger: Ledger,
}

/// Generations stay below bit 31, which leaves bit 63 of `user_data` for [`INTERNAL_TAG`].
const GENERATION_MASK: u32 = (1 << 31) - 1;

impl InFlight {
    /// Takes an operation in. The kernel does not know it yet.
    pub(crate) fn insert(&mut self, op: Erased, orphaned: bool) -> Key {
        let kind = op.io();
        let tenant = Tenant {
            op,
            stage: Stage::Queued,
            orphaned,
            class: None,
            waker: None,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 operations");
                self.slots.push(Slot {
                    generation: 0,
                    origin: Origin::default(),
                    tenant: None,
                });
                // Keeps `release` free of allocation.
                self.free.reserve(self.slots.len());
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.tenant = Some(tenant);
        slot.origin = self.origin;
        let generation = slot.generation;
        if self.ledger.is_recording() {
            self.ledger.queued(kind, index);
        }
        Key { index, generation }
    }

    fn tenant(&mut self, key: Key) -> Option<&mut Tenant> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation {
            slot.tenant.as_mut()
        } else {
            None
        }
    }

    fn release(&mut self, key: Key) -> Option<Tenant> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let tenant = slot.tenant.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        self.uncount(tenant.class);
        Some(tenant)
    }

    fn count(&mut self, class: Class) {
        self.submitted += 1;
        self.working += usize::from(class == Class::Work);
        self.inline += usize::from(class == Class::Inline);
    }

    fn uncount(&mut self, class: Option<Class>) {
        if let Some(class) = class {
            self.submitted -= 1;
            self.working -= usize::from(class == Class::Work);
            self.inline -= usize::from(class == Class::Inline);
        }
    }

    /// How many operations the kernel knows.
    pub(crate) fn submitted(&self) -> usize {
        self.submitted
    }

    /// How many operations count against the ring's depth.
    pub(crate) fn working(&self) -> usize {
        self.working
    }

    /// How many completions are certain to be there when the next submission returns.
    pub(crate) fn inline(&self) -> usize {
        self.inline
    }

    /// Marks the operation as submitted and fills its entry.
    ///
    /// `None` if it is gone: an orphan that the kernel has not seen was released by [`Self::orphan`].
    pub(crate) fn submit(&mut self, key: Key) -> Option<(squeue::Entry, Class)> {
        let tenant = self.tenant(key)?;
        debug_assert!(matches!(tenant.stage, Stage::Queued));
        let class = tenant.op.class();
        let entry = tenant.op.entry().user_data(key.user_data());
        tenant.stage = Stage::Submitted;
        tenant.class = Some(class);
        self.count(class);
        Some((entry, class))
    }

    /// The entry of an operation is the last of `waiting` that the kernel has not taken.
    pub(super) fn waits(&mut self, key: Key, waiting: usize) {
        let kind = self.tenant(key).and_then(|tenant| tenant.op.io());
        self.ledger.waits(kind, key.index, waiting);
    }

    /// Files a completion.
    pub(crate) fn complete(&mut self, key: Key, completion: Completion) -> Filed {
        let slot = self.slots.get_mut(key.index as usize);
        let Some(slot) = slot.filter(|slot| slot.generation == key.generation) else {
            return Filed::Unknown;
        };
        let Some(tenant) = slot.tenant.as_mut() else {
            return Filed::Unknown;
        };
        let next = tenant.op.on_completion(completion);
        if let Some(kind) = tenant.op.io() {
            if completion.result >= 0 && !matches!(next, Some(Next::Retry)) {
                let ledger = &mut self.ledger;
                ledger.completed(slot.origin, kind, key.index, completion.result);
                if tenant.orphaned {
                    ledger.unwanted(slot.origin, kind);
                }
            }
        }
        if let Some(next) = next {
            return match next {
                Next::Keep(waker) => Filed::Wake(waker),
                Next::Stop(waker) => Filed::Stop(key, waker),
                Next::Done(waker) => match self.release(key) {
                    Some(tenant) => Filed::Over(tenant.op, None, waker),
                    None => Filed::Wake(waker),
                },
                Next::Resubmit(waker) => {
                    self.requeue(key);
                    Filed::Again(key, waker)
                }
                Next::Retry => {
                    self.requeue(key);
                    Filed::Again(key, None)
                }
            };
        }
        if tenant.orphaned {
            return match self.release(key) {
                Some(tenant) => Filed::Over(tenant.op, Some(completion), None),
                None => Filed::Unknown,
            };
        }
        tenant.stage = Stage::Completed(completion);
        let waker = tenant.waker.take();
        let class = tenant.class.take();
        self.uncount(class);
        Filed::Wake(waker)
    }

    fn requeue(&mut self, key: Key) {
        let Some(tenant) = self.tenant(key) else {
            return;
        };
        tenant.stage = Stage::Queued;
        let class = tenant.class.take();
        self.uncount(class);
    }

    /// Fetches the result of a plain operation, or leaves `waker` to be told and gives back the
    /// one that it replaces (to be dropped outside the table's borrow).
    ///
    /// # Safety
    ///
    /// The operation behind `key` was made from an `O`.
    pub(crate) unsafe fn poll<O>(
        &mut self,
        key: Key,
        waker: &Waker,
    ) -> Result<(O, Completion), Option<Waker>> {
        let tenant = self.tenant(key).ok_or(None)?;
        let Stage::Completed(completion) = tenant.stage else {
            return Err(match &mut tenant.waker {
                Some(old) if old.will_wake(waker) => None,
                slot => slot.replace(waker.clone()),
            });
        };
        let kind = tenant.op.io();
        if self.ledger.is_recording() {
            let origin = self.slots[key.index as usize].origin;
            let result = completion.result;
            self.ledger.fetched(origin, kind, key.index, result);
        }
        let tenant = self.release(key).ok_or(None)?;
        // SAFETY: the caller vouches for the type.
        Ok((unsafe { tenant.op.into_inner::<O>() }, completion))
    }

    /// Gives up on an operation whose future is dropped.
    pub(crate) fn orphan(&mut self, key: Key) -> Orphaned {
        let Some(tenant) = self.tenant(key) else {
            return Orphaned::Gone;
        };
        match tenant.stage {
            Stage::Queued | Stage::Completed(_) => {
                let completion = match tenant.stage {
                    Stage::Completed(completion) => Some(completion),
                    _ => None,
                };
                if let (Some(kind), Some(Completion { result: 0.., .. })) =
                    (tenant.op.io(), completion)
                {
                    let origin = self.slots[key.index as usize].origin;
                    self.ledger.unwanted(origin, kind);
                }
                match self.release(key) {
                    Some(tenant) => Orphaned::End(tenant.op, completion, tenant.waker),
                    None => Orphaned::Gone,
                }
            }
            Stage::Submitted => {
                tenant.orphaned = true;
                Orphaned::Cancel(tenant.waker.take())
            }
        }
    }

    /// The keys of everything that the kernel knows (tear-down only).
    pub(crate) fn submitted_keys(&self) -> Vec<Key> {
        self.keys(|t| matches!(t.stage, Stage::Submitted))
    }

    /// The keys of everything that the kernel does not know (tear-down only).
    pub(crate) fn idle_keys(&self) -> Vec<Key> {
        self.keys(|t| !matches!(t.stage, Stage::Submitted))
    }

    fn keys(&self, wanted: impl Fn(&Tenant) -> bool) -> Vec<Key> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.tenant.as_ref().is_some_and(&wanted))
            .map(|(index, slot)| Key {
                index: index as u32,
                generation: slot.generation,
            })
            .collect()
    }
}

/// What is left to do for an orphan.
pub(crate) enum Orphaned {
    /// Nothing: it was over already.
    Gone,
    /// The kernel does not know it (any more): end it outside the table's borrow.
    End(Erased, Option<Completion>, Option<Waker>),
    /// The kernel still works on it: ask for cancellation; the memory stays until it answers. The
    /// waker is only to be dropped outside the table's borrow.
    Cancel(#[allow(dead_code, reason = "carried out of the borrow to be dropped")] Option<Waker>),
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;
    use crate::sys::op::Operation;

    struct Probe<const N: usize> {
        events: Rc<RefCell<Vec<&'static str>>>,
        _bulk: [u8; N],
    }

    impl<const N: usize> Probe<N> {
        fn new(events: &Rc<RefCell<Vec<&'static str>>>) -> Self {
            Probe {
                events: events.clone(),
                _bulk: [7; N],
            }
        }
    }

    impl<const N: usize> Drop for Probe<N> {
        fn drop(&mut self) {
            self.events.borrow_mut().push("drop");
        }
    }

    // SAFETY: a NOP entry points to nothing.
    unsafe impl<const N: usize> Operation for Probe<N> {
        fn entry(&mut self) -> squeue::Entry {
            io_uring::opcode::Nop::new().build()
        }

        fn reclaim(self, _: Completion) {
            self.events.borrow_mut().push("reclaim");
        }
    }

    const OK: Completion = Completion {
        result: 0,
        flags: 0,
    };

    fn whole_life<const N: usize>() {
        let events = Rc::default();
        let mut table = InFlight::default();
        let key = table.insert(Erased::plain(Probe::<N>::new(&events)), false);
        assert!(table.submit(key).is_some());
        assert_eq!((table.submitted(), table.working()), (1, 1));
        let waker = Waker::noop();
        // SAFETY: the slot holds a `Probe<N>`.
        assert!(unsafe { table.poll::<Probe<N>>(key, waker) }.is_err());
        assert!(matches!(table.complete(key, OK), Filed::Wake(Some(_))));
        assert_eq!((table.submitted(), table.working()), (0, 0));
        // SAFETY: as above.
        let (op, completion) = unsafe { table.poll::<Probe<N>>(key, waker) }.ok().unwrap();
        assert_eq!(completion.result, 0);
        assert!(events.borrow().is_empty());
        drop(op);
        assert_eq!(*events.borrow(), ["drop"]);
    }

    #[test]
    fn an_operation_is_handed_back_inline_and_boxed() {
        whole_life::<8>();
        whole_life::<4096>();
    }

    #[test]
    fn an_orphan_in_the_kernel_keeps_its_memory_until_the_completion() {
        let events: Rc<RefCell<Vec<_>>> = Rc::default();
        let mut table = InFlight::default();
        let key = table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        assert!(table.submit(key).is_some());
        assert!(matches!(table.orphan(key), Orphaned::Cancel(None)));
        assert!(events.borrow().is_empty());
        match table.complete(key, OK) {
            Filed::Over(op, Some(c), None) => op.reclaim(c),
            _ => panic!("an orphan's completion ends it"),
        }
        assert_eq!(*events.borrow(), ["reclaim", "drop"]);
        assert_eq!((table.submitted(), table.working()), (0, 0));
    }

    #[test]
    fn an_orphan_before_submission_and_after_completion_ends_at_once() {
        let events = Rc::default();
        let mut table = InFlight::default();
        let early = table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        assert!(matches!(table.orphan(early), Orphaned::End(_, None, None)));
        let late = table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        assert!(table.submit(late).is_some());
        table.complete(late, OK);
        assert!(matches!(
            table.orphan(late),
            Orphaned::End(_, Some(_), None)
        ));
        assert!(matches!(table.orphan(late), Orphaned::Gone));
    }

    #[test]
    fn a_stale_key_never_reaches_the_next_tenant() {
        let events = Rc::default();
        let mut table = InFlight::default();
        let old = table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        drop(table.orphan(old));
        let new = table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        assert_eq!(old.index, new.index);
        assert!(matches!(table.complete(old, OK), Filed::Unknown));
        assert!(matches!(table.orphan(old), Orphaned::Gone));
        assert_eq!(Key::from_user_data(new.user_data()), new);
        assert_eq!(new.user_data() & INTERNAL_TAG, 0);
    }

    #[test]
    fn dropping_the_table_drops_what_is_in_it() {
        let events: Rc<RefCell<Vec<_>>> = Rc::default();
        let mut table = InFlight::default();
        table.insert(Erased::plain(Probe::<8>::new(&events)), false);
        table.insert(Erased::plain(Probe::<512>::new(&events)), false);
        drop(table);
        assert_eq!(*events.borrow(), ["drop", "drop"]);
    }
}
