//! What a task's header keeps for the task debugger.
//!
//! Without the cargo feature `debugging` a [`Trace`] has no size and its functions do nothing, so
//! that the rest of this layer can call them without asking.

#[cfg(not(feature = "debugging"))]
pub(super) use absent::Trace;
#[cfg(feature = "debugging")]
pub(super) use present::Trace;

#[cfg(not(feature = "debugging"))]
mod absent {
    pub(in crate::task) struct Trace;

    const _: () = assert!(size_of::<Trace>() == 0);

    impl Trace {
        #[inline(always)]
        pub(in crate::task) fn new() -> Trace {
            Trace
        }

        #[inline(always)]
        pub(in crate::task) fn note_wake(&self) {}

        #[inline(always)]
        pub(in crate::task) fn end(&self) {}
    }
}

#[cfg(feature = "debugging")]
mod present {
    use core::{
        cell::Cell,
        sync::atomic::{AtomicU64, Ordering},
    };
    use std::time::Instant;

    /// The owner's thread alone touches it. It is gone with the future, as far as it needs to be
    /// dropped: the last waker frees a header on whatever thread, and runs no destructor.
    pub(in crate::task) struct Trace {
        pub(in crate::task) id: u64,
        name: Cell<Option<Box<str>>>,
        pub(in crate::task) spawned: Instant,
        /// When the last poll began.
        pub(in crate::task) polled: Cell<Option<Instant>>,
        /// When it was last made runnable; being spawned counts.
        pub(in crate::task) woken: Cell<Instant>,
        pub(in crate::task) polls: Cell<u64>,
    }

    impl Trace {
        pub(in crate::task) fn new() -> Trace {
            static NEXT_ID: AtomicU64 = AtomicU64::new(1);
            let now = Instant::now();
            Trace {
                // Relaxed: the numbers only have to differ.
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                name: Cell::new(None),
                spawned: now,
                polled: Cell::new(None),
                woken: Cell::new(now),
                polls: Cell::new(0),
            }
        }

        pub(in crate::task) fn note_wake(&self) {
            self.woken.set(Instant::now());
        }

        /// The future is gone.
        pub(in crate::task) fn end(&self) {
            drop(self.name.take());
        }

        pub(in crate::task) fn set_name(&self, name: &str) {
            self.name.set(Some(name.into()));
        }

        pub(in crate::task) fn name(&self) -> Option<Box<str>> {
            let name = self.name.take();
            self.name.set(name.clone());
            name
        }
    }
}
