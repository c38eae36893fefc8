//! The primitives of the lock-free code in this folder, behind one name.
//!
//! The model checker in `tests/` compiles the same source files next to a module of this name
//! which offers loom's versions; hence the closures of [`UnsafeCell`], through which loom watches
//! every access.

pub(super) use std::sync::{
    Arc, Mutex, MutexGuard,
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

/// A number that no other living thread has; never 0.
pub(super) fn thread_token() -> usize {
    thread_local! {
        // Its address is the number.
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}
