//! The in-flight table: every operation that the kernel may still know, and the memory it owns.
//!
//! A slot is found by the `user_data` of its completions: index in the low half, generation above.
//! The generation changes when a slot is freed, so a late completion or a stale handle can never
//! touch the slot's next tenant.
//!
//! Operations of different types share the table: each is stored in place in its slot, up to
//! [`INLINE_BYTES`], or in a box beyond, behind a table of functions. Storing one allocates nothing
//! once the table has grown to the number of operations in flight at the same time. Its size is
//! bounded by the number of operations that the program keeps pending.

use std::{
    mem::{MaybeUninit, align_of, size_of},
    ptr,
    task::Waker,
};

use io_uring::squeue;

use super::op::{Class, Completion, Driven, Next, Operation};

/// Operations up to this size are stored in their slot.
pub(crate) const INLINE_BYTES: usize = 64;

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

#[repr(C, align(16))]
struct Storage(MaybeUninit<[u8; INLINE_BYTES]>);

impl Storage {
    const fn empty() -> Self {
        Storage(MaybeUninit::uninit())
    }
}

/// What the table can do with an operation whose type it has forgotten.
struct Functions {
    class: unsafe fn(*const Storage) -> Class,
    entry: unsafe fn(*mut Storage) -> squeue::Entry,
    /// `None` for plain operations.
    on_completion: Option<unsafe fn(*mut Storage, Completion) -> Next>,
    reclaim: unsafe fn(*mut Storage, Completion),
    drop: unsafe fn(*mut Storage),
}

const fn fits<O>() -> bool {
    size_of::<O>() <= INLINE_BYTES && align_of::<O>() <= align_of::<Storage>()
}

/// Where the operation of type `O` lives: the storage itself, or the box that it points to.
///
/// # Safety
///
/// `storage` holds an `O` written by [`Erased::new`].
unsafe fn place<O>(storage: *mut Storage) -> *mut O {
    if fits::<O>() {
        storage.cast::<O>()
    } else {
        // SAFETY: a larger operation is stored as the pointer of its box.
        unsafe { storage.cast::<*mut O>().read() }
    }
}

/// Moves the operation out of its storage.
///
/// # Safety
///
/// As [`place`]; the storage counts as empty afterwards.
unsafe fn take<O>(storage: *mut Storage) -> O {
    // SAFETY: the caller vouches for the storage; a box is taken back exactly once, here.
    unsafe {
        if fits::<O>() {
            storage.cast::<O>().read()
        } else {
            *Box::from_raw(place::<O>(storage))
        }
    }
}

struct Plain<O>(std::marker::PhantomData<O>);

impl<O: Operation> Plain<O> {
    const FUNCTIONS: Functions = Functions {
        // SAFETY (all four): the functions are only ever paired with a storage holding an `O`.
        class: |s| unsafe { (*place::<O>(s.cast_mut())).class() },
        entry: |s| unsafe { (*place::<O>(s)).entry() },
        on_completion: None,
        reclaim: |s, c| unsafe { take::<O>(s) }.reclaim(c),
        drop: |s| drop(unsafe { take::<O>(s) }),
    };
}

struct Many<O>(std::marker::PhantomData<O>);

impl<O: Operation + Driven> Many<O> {
    const FUNCTIONS: Functions = Functions {
        // SAFETY: as for the other functions, the storage holds an `O`.
        on_completion: Some(|s, c| unsafe { (*place::<O>(s)).on_completion(c) }),
        ..Plain::<O>::FUNCTIONS
    };
}

/// An operation of a forgotten type. Dropping it drops the operation.
pub(crate) struct Erased {
    functions: &'static Functions,
    storage: Storage,
}

impl Erased {
    pub(crate) fn plain<O: Operation>(op: O) -> Self {
        Self::new(op, &Plain::<O>::FUNCTIONS)
    }

    pub(crate) fn driven<O: Operation + Driven>(op: O) -> Self {
        Self::new(op, &Many::<O>::FUNCTIONS)
    }

    fn new<O>(op: O, functions: &'static Functions) -> Self {
        let mut storage = Storage::empty();
        let raw = ptr::from_mut(&mut storage);
        // SAFETY: `fits` checked size and alignment; a pointer always fits.
        unsafe {
            if fits::<O>() {
                raw.cast::<O>().write(op);
            } else {
                raw.cast::<*mut O>().write(Box::into_raw(Box::new(op)));
            }
        }
        Erased { functions, storage }
    }

    pub(crate) fn class(&self) -> Class {
        // SAFETY: functions and storage were paired by `new`.
        unsafe { (self.functions.class)(&self.storage) }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        // SAFETY: as above.
        unsafe { (self.functions.entry)(&mut self.storage) }
    }

    /// Ends the operation with a completion that nobody waits for.
    pub(crate) fn reclaim(self, completion: Completion) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: as above; `this` is not dropped, so the operation is taken once.
        unsafe { (this.functions.reclaim)(&mut this.storage, completion) }
    }

    /// Takes the operation back as its own type.
    ///
    /// # Safety
    ///
    /// It was made by [`Erased::plain`] or [`Erased::driven`] from an `O`.
    unsafe fn into_inner<O>(self) -> O {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the caller names the right type; `this` is not dropped.
        unsafe { take::<O>(&mut this.storage) }
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        // SAFETY: functions and storage were paired by `new`, and the operation was not taken:
        // taking goes through `ManuallyDrop`.
        unsafe { (self.functions.drop)(&mut self.storage) }
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
}

/// Generations stay below bit 31, which leaves bit 63 of `user_data` for [`INTERNAL_TAG`].
const GENERATION_MASK: u32 = (1 << 31) - 1;

impl InFlight {
    /// Takes an operation in. The kernel does not know it yet.
    pub(crate) fn insert(&mut self, op: Erased, orphaned: bool) -> Key {
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
                    tenant: None,
                });
                // Keeps `release` free of allocation.
                self.free.reserve(self.slots.len());
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.tenant = Some(tenant);
        Key {
            index,
            generation: slot.generation,
        }
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

    /// How many slots exist, used or free.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn class(&mut self, key: Key) -> Option<Class> {
        self.tenant(key).map(|t| t.op.class())
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

    /// Files a completion.
    pub(crate) fn complete(&mut self, key: Key, completion: Completion) -> Filed {
        let Some(tenant) = self.tenant(key) else {
            return Filed::Unknown;
        };
        if let Some(on_completion) = tenant.op.functions.on_completion {
            // SAFETY: the functions belong to this storage (paired by `Erased::new`).
            let next = unsafe { on_completion(&mut tenant.op.storage, completion) };
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
    /// The kernel still works on it: ask for cancellation; the memory stays until it answers.
    Cancel(Option<Waker>),
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

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
