//! An access to a value: the part of the guards of [`RwLock`](super::RwLock) and
//! [`Mutex`](super::Mutex) that is the same for all of them.

use std::{
    cell::{Ref, RefMut},
    fmt,
    ops::{Deref, DerefMut},
};

use super::access::{Access, Kind};

/// A borrow of the value, and the access that allows it, which is released when this is dropped.
pub(super) struct Held<'a, B> {
    /// Filled until this is dropped.
    value: Option<B>,
    access: &'a Access,
    kind: Kind,
}

/// For reading, beside others.
pub(super) type HeldShared<'a, T> = Held<'a, Ref<'a, T>>;

/// For writing, alone.
pub(super) type HeldExclusive<'a, T> = Held<'a, RefMut<'a, T>>;

impl<'a, T> HeldShared<'a, T> {
    /// The caller was given a shared access.
    pub(super) fn shared(value: Ref<'a, T>, access: &'a Access) -> Self {
        Held {
            value: Some(value),
            access,
            kind: Kind::Shared,
        }
    }
}

impl<'a, T> HeldExclusive<'a, T> {
    /// The caller was given an exclusive access.
    pub(super) fn exclusive(value: RefMut<'a, T>, access: &'a Access) -> Self {
        Held {
            value: Some(value),
            access,
            kind: Kind::Exclusive,
        }
    }
}

impl<B: Deref> Deref for Held<'_, B> {
    type Target = B::Target;

    #[inline]
    fn deref(&self) -> &B::Target {
        match &self.value {
            Some(value) => value,
            None => unreachable!("a guard has its value until it is dropped"),
        }
    }
}

impl<B: DerefMut> DerefMut for Held<'_, B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B::Target {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("a guard has its value until it is dropped"),
        }
    }
}

impl<B> Drop for Held<'_, B> {
    fn drop(&mut self) {
        // The borrow ends first: whoever is given access next borrows without checking.
        self.value = None;
        self.access.release(self.kind);
    }
}

/// A guard with its value.
pub(super) fn debug(
    name: &str,
    value: &impl fmt::Debug,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.debug_tuple(name).field(value).finish()
}
