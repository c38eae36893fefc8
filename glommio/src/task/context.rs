//! Which executor the current thread is inside of.
//!
//! Wakers ask this on every wake, so the answer is in plain thread-local cells that need neither
//! initialization nor a destructor: reading them is a load relative to the thread pointer, and they
//! can be read while the thread's other locals are being torn down.
//!
//! While a task queue has its [turn](take_turn), what its tasks wake and spawn is mostly of the same queue.
//! Such a task is pushed to the run queue right here; the executor need not be asked where it is.

use core::{cell::Cell, mem, ptr::NonNull};

use super::{
    blocks, id::ExecutorId, live::LiveTasks, payload::Payload, queue::RunQueue, runnable::Runnable,
};

/// What a task asks of the executor above.
pub(crate) trait Schedule {
    /// Puts a task into its run queue, unless that queue has its [turn](take_turn).
    ///
    /// Called from any code that wakes, cancels or spawns, at any depth: it must not panic and must
    /// not run or drop other tasks.
    fn schedule(&self, task: Runnable);

    /// A task of `queue` panicked, and its handle was dropped without looking. Must not panic.
    fn unobserved_panic(&self, queue: u32, payload: Payload);

    /// The index by which users know a queue, for the task debugger.
    #[cfg(feature = "debugging")]
    fn queue_index(&self, queue: u32) -> usize {
        queue as usize
    }
}

/// An executor that the thread is inside of.
#[derive(Clone, Copy)]
struct Inside {
    tasks: NonNull<LiveTasks>,
    scheduler: NonNull<dyn Schedule>,
}

struct Context {
    /// `ExecutorId` as an integer; 0 outside of any executor.
    executor: Cell<u64>,
    /// `Some` whenever `executor` is not 0.
    inside: Cell<Option<Inside>>,
    /// The run queue that has its turn.
    turn: Cell<Option<NonNull<RunQueue>>>,
    /// The number of that queue, or of the one that had the last turn.
    queue: Cell<u32>,
}

impl Context {
    const fn outside() -> Context {
        Context {
            executor: Cell::new(0),
            inside: Cell::new(None),
            turn: Cell::new(None),
            queue: Cell::new(0),
        }
    }

    fn swap(&self, other: &Context) {
        self.executor.swap(&other.executor);
        self.inside.swap(&other.inside);
        self.turn.swap(&other.turn);
        self.queue.swap(&other.queue);
    }
}

thread_local! {
    static CONTEXT: Context = const { Context::outside() };
}

/// Runs `f` inside the context of an executor.
///
/// Contexts nest: the former one is back when `f` returns or unwinds. Whether nesting is an error
/// is for the caller to decide, see [`current_id`].
pub(super) fn enter<R>(tasks: &LiveTasks, scheduler: &dyn Schedule, f: impl FnOnce() -> R) -> R {
    struct Restore(Context);

    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.swap(&self.0));
            if current_id().is_none() {
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
    let tasks_of = NonNull::from(tasks);
    let restore = Restore(Context::outside());
    restore.0.executor.set(tasks.executor.as_u64());
    restore.0.inside.set(Some(Inside {
        tasks: tasks_of,
        scheduler,
    }));
    CONTEXT.with(|context| context.swap(&restore.0));
    blocks::open();
    f()
}

/// Runs `f`, the turn of a queue: tasks of that number that are woken or spawned meanwhile go
/// straight to `run`.
///
/// To be called inside the context of the executor whose run queue this is, and not from inside
/// another turn of it.
pub(crate) fn take_turn<R>(queue: u32, run: &RunQueue, f: impl FnOnce() -> R) -> R {
    struct End;

    impl Drop for End {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.turn.set(None));
        }
    }

    let _end = End;
    CONTEXT.with(|context| {
        debug_assert!(context.inside.get().is_some() && context.turn.get().is_none());
        context.queue.set(queue);
        context.turn.set(Some(NonNull::from(run)));
    });
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

/// The current executor, and the queue whose task is running: where a new task belongs.
#[inline(always)]
pub(super) fn here() -> Option<(ExecutorId, u32)> {
    CONTEXT.with(|context| {
        let executor = ExecutorId::from_u64(context.executor.get())?;
        Some((executor, context.queue.get()))
    })
}

/// Puts a task of the current executor into its run queue.
#[inline(always)]
pub(super) fn schedule(task: Runnable) {
    let (turn, queue) = CONTEXT.with(|context| (context.turn.get(), context.queue.get()));
    match turn {
        Some(run) if queue == task.queue() => {
            // SAFETY: a pointer in the cell belongs to a frame of `take_turn` further up this very
            // stack (inner contexts have theirs elsewhere), and that frame borrows the queue.
            unsafe { run.as_ref() }.push_back(task);
        }
        _ => schedule_out_of_turn(task),
    }
}

#[inline(never)]
fn schedule_out_of_turn(task: Runnable) {
    with_inside(|inside| match inside {
        Some((_, scheduler)) => scheduler.schedule(task),
        None => debug_assert!(false, "scheduled outside of any executor"),
    });
}

/// Calls `f` with the tasks and the scheduler of the current executor.
#[inline(always)]
pub(super) fn with_inside<R>(f: impl FnOnce(Option<(&LiveTasks, &dyn Schedule)>) -> R) -> R {
    let inside = CONTEXT.with(|context| context.inside.get());
    f(inside.map(|inside| {
        // SAFETY: pointers in the cell belong to a frame of `enter` further up this very stack
        // (inner frames have put theirs back), and that frame borrows both.
        unsafe { (inside.tasks.as_ref(), inside.scheduler.as_ref()) }
    }))
}

/// Calls `f` with the scheduler of executor `id`, or with `None` if the current thread is not inside
/// of that executor.
pub(super) fn with_scheduler<R>(id: ExecutorId, f: impl FnOnce(Option<&dyn Schedule>) -> R) -> R {
    with_inside(|inside| {
        let scheduler = inside.map(|(_, scheduler)| scheduler);
        f(scheduler.filter(|_| is_current(id)))
    })
}
