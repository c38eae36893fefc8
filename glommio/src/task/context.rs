//! Which executor the current thread is inside of.
//!
//! Wakers ask this on every wake, so the answer is two plain thread-local cells that need neither
//! initialization nor a destructor: reading them is a load relative to the thread pointer, and they
//! can be read while the thread's other locals are being torn down.

use core::{any::Any, cell::Cell, mem, ptr::NonNull};

use super::{blocks, registry::ExecutorId, runnable::Runnable};

/// What an unwound stack leaves behind.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// What a task asks of the executor above.
pub(crate) trait Schedule {
    /// Puts a task into its run queue.
    ///
    /// Called from any code that wakes, cancels or spawns, at any depth: it must not panic and must
    /// not run or drop other tasks.
    fn schedule(&self, task: Runnable);

    /// A task of `queue` panicked, and its handle was dropped without looking. Must not panic.
    fn unobserved_panic(&self, queue: u32, payload: Payload);

    /// The tasks of the executor, for the task debugger.
    #[cfg(feature = "debugging")]
    fn tasks(&self) -> Option<&super::tasks::Tasks> {
        None
    }

    /// The index by which users know a queue, for the task debugger.
    #[cfg(feature = "debugging")]
    fn queue_index(&self, queue: u32) -> usize {
        queue as usize
    }
}

struct Context {
    /// `ExecutorId` as an integer; 0 outside of any executor.
    executor: Cell<u64>,
    /// Valid whenever `executor` is not 0.
    scheduler: Cell<Option<NonNull<dyn Schedule>>>,
}

thread_local! {
    static CONTEXT: Context = const {
        Context { executor: Cell::new(0), scheduler: Cell::new(None) }
    };
}

/// Runs `f` inside the context of an executor.
///
/// Contexts nest: the former one is back when `f` returns or unwinds. Whether nesting is an error
/// is for the caller to decide, see [`current_id`].
pub(crate) fn enter<R>(id: ExecutorId, scheduler: &dyn Schedule, f: impl FnOnce() -> R) -> R {
    struct Restore(u64, Option<NonNull<dyn Schedule>>);

    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| {
                context.executor.set(self.0);
                context.scheduler.set(self.1);
            });
            if self.0 == 0 {
                blocks::close();
            }
        }
    }

    // SAFETY: only the lifetime changes. The pointer is in the cell no longer than this frame,
    // which borrows `scheduler`, exists: `Restore` takes it out again.
    let scheduler = unsafe {
        mem::transmute::<NonNull<dyn Schedule + '_>, NonNull<dyn Schedule + 'static>>(
            NonNull::from(scheduler),
        )
    };
    let _restore = CONTEXT.with(|context| {
        Restore(
            context.executor.replace(id.as_u64()),
            context.scheduler.replace(Some(scheduler)),
        )
    });
    blocks::open();
    f()
}

/// The executor that the current thread is inside of.
#[inline]
pub(crate) fn current_id() -> Option<ExecutorId> {
    ExecutorId::from_u64(CONTEXT.with(|context| context.executor.get()))
}

/// Whether the current thread is inside of this executor.
#[inline(always)]
pub(super) fn is_current(id: ExecutorId) -> bool {
    CONTEXT.with(|context| context.executor.get()) == id.as_u64()
}

/// Calls `f` with the scheduler of executor `id`, or with `None` if the current thread is not inside
/// of that executor.
#[inline(always)]
pub(super) fn with_scheduler<R>(id: ExecutorId, f: impl FnOnce(Option<&dyn Schedule>) -> R) -> R {
    CONTEXT.with(|context| {
        if context.executor.get() != id.as_u64() {
            return f(None);
        }
        let scheduler = context.scheduler.get();
        // SAFETY: a pointer in the cell belongs to a frame of `enter` further up this very stack
        // (inner frames have put theirs back), and that frame borrows the scheduler.
        f(scheduler.map(|scheduler| unsafe { scheduler.as_ref() }))
    })
}
