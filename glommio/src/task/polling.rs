//! Which task is being polled on this thread, for the task debugger.
//!
//! Without the cargo feature `debugging` a [`Polling`] has no size and does nothing.

#[cfg(not(feature = "debugging"))]
pub(super) use absent::Polling;
#[cfg(feature = "debugging")]
pub(super) use present::{Polling, polling};

#[cfg(not(feature = "debugging"))]
mod absent {
    use crate::task::header::TaskPtr;

    pub(in crate::task) struct Polling;

    const _: () = assert!(size_of::<Polling>() == 0);

    impl Polling {
        #[inline(always)]
        pub(in crate::task) fn begin(_: TaskPtr) -> Polling {
            Polling
        }
    }
}

#[cfg(feature = "debugging")]
mod present {
    use core::cell::Cell;
    use std::time::Instant;

    use crate::task::header::TaskPtr;

    thread_local! {
        static POLLING: Cell<Option<TaskPtr>> = const { Cell::new(None) };
    }

    /// The task that is being polled on this thread. It is alive as long as its poll lasts.
    pub(in crate::task) fn polling() -> Option<TaskPtr> {
        POLLING.try_with(Cell::get).ok().flatten()
    }

    /// A poll that goes on.
    pub(in crate::task) struct Polling(Option<TaskPtr>);

    impl Polling {
        pub(in crate::task) fn begin(task: TaskPtr) -> Polling {
            task.trace.polled.set(Some(Instant::now()));
            task.trace.polls.set(task.trace.polls.get() + 1);
            Polling(POLLING.replace(Some(task)))
        }
    }

    impl Drop for Polling {
        fn drop(&mut self) {
            POLLING.set(self.0);
        }
    }
}
