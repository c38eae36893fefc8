//! Operations whose types are forgotten, so that a table can hold all kinds of them.
//!
//! Each is stored in place, up to [`INLINE_BYTES`], or in a box beyond, behind a table of functions.

use std::{
    mem::{MaybeUninit, align_of, size_of},
    ptr,
};

use io_uring::squeue;

use super::{
    ledger::IoKind,
    op::{Class, Completion, Driven, Next, Operation},
};

/// Operations up to this size are stored in their slot. Enough for every operation of the hot paths,
/// which assert it next to their definitions.
pub(crate) const INLINE_BYTES: usize = 72;

#[repr(C, align(8))]
struct Storage(MaybeUninit<[u8; INLINE_BYTES]>);

impl Storage {
    const fn empty() -> Self {
        Storage(MaybeUninit::uninit())
    }
}

/// What the table can do with an operation whose type it has forgotten.
struct Functions {
    /// As what the operation is counted.
    io: Option<IoKind>,
    class: unsafe fn(*const Storage) -> Class,
    entry: unsafe fn(*mut Storage) -> squeue::Entry,
    /// `None` for plain operations.
    on_completion: Option<unsafe fn(*mut Storage, Completion) -> Next>,
    reclaim: unsafe fn(*mut Storage, Completion),
    drop: unsafe fn(*mut Storage),
}

/// Whether the operation is stored in its slot, without an allocation.
pub(crate) const fn fits<O>() -> bool {
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
        io: O::IO,
        // SAFETY: the functions are only ever paired with a storage holding an `O`.
        class: |s| unsafe { (*place::<O>(s.cast_mut())).class() },
        // SAFETY: as above, and whoever fills an entry has the storage for itself.
        entry: |s| unsafe { (*place::<O>(s)).entry() },
        on_completion: None,
        // SAFETY: as above; who reclaims an operation does not use its storage again.
        reclaim: |s, c| unsafe { take::<O>(s) }.reclaim(c),
        // SAFETY: as for `reclaim`.
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

    /// As what the operation is counted.
    pub(super) fn io(&self) -> Option<IoKind> {
        self.functions.io
    }

    pub(crate) fn class(&self) -> Class {
        // SAFETY: functions and storage were paired by `new`.
        unsafe { (self.functions.class)(&self.storage) }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        // SAFETY: as above.
        unsafe { (self.functions.entry)(&mut self.storage) }
    }

    /// Hands a completion to a driven operation and tells what it wants next; `None` for a plain one.
    pub(super) fn on_completion(&mut self, completion: Completion) -> Option<Next> {
        let on_completion = self.functions.on_completion?;
        // SAFETY: as above.
        Some(unsafe { on_completion(&mut self.storage, completion) })
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
    pub(super) unsafe fn into_inner<O>(self) -> O {
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
