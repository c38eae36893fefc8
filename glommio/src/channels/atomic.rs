//! The primitives of the lock-free code in this folder, behind one name.
//!
//! The model checker in `tests/` compiles the same source files next to a module of this name
//! which offers loom's versions; hence the closures of [`UnsafeCell`], through which loom watches
//! every access.

pub(super) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// [`std::cell::UnsafeCell`] with the interface of loom's.
#[derive(Debug)]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Passes a pointer for reading to `access`.
    #[inline]
    pub(super) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    /// Passes a pointer for reading and writing to `access`.
    #[inline]
    pub(super) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
