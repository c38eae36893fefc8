//! A task whose turn has come.

use core::{
    fmt,
    mem::ManuallyDrop,
    panic::{RefUnwindSafe, UnwindSafe},
};

use super::{
    context::{self, Payload},
    header::TaskPtr,
    lifecycle::{drop_and_finish, finish_polled},
    raw::Polled,
    state::{CLOSED, COMPLETED, RUNNING, SCHEDULED},
    trace::Polling,
};

/// A scheduled task, for an executor's run queue.
///
/// At most one exists per task. Dropping it without running it takes the task off the run queue;
/// the next wake puts it back.
///
/// # Examples
///
/// It never leaves the executor; only its name is public:
///
/// ```
/// fn describe(task: &glommio::task::Task) -> String {
///     format!("{task:?}")
/// }
/// ```
pub struct Runnable(TaskPtr);

// As for the handles of a task.
impl UnwindSafe for Runnable {}
impl RefUnwindSafe for Runnable {}

/// What became of a task that was run.
#[derive(Debug)]
#[must_use]
pub(crate) enum RunOutcome {
    /// It waits to be woken.
    Pending,
    /// It woke itself while it ran: to be queued again.
    Yielded(Runnable),
    /// It completed, or panicked while a handle exists that will tell.
    Done,
    /// It had been cancelled, and its future is gone.
    Cancelled,
    /// It panicked (or a destructor of its future or output did) and nobody holds a handle.
    Panicked(Payload),
}

impl Runnable {
    /// # Safety
    ///
    /// Owner's thread; the caller turned [`SCHEDULED`] on, and passes on what it stands for.
    #[inline(always)]
    pub(super) unsafe fn from_scheduled(task: TaskPtr) -> Runnable {
        Runnable(task)
    }

    /// The pointer, with what [`SCHEDULED`] stands for.
    #[inline(always)]
    pub(super) fn into_task(self) -> TaskPtr {
        ManuallyDrop::new(self).0
    }

    /// The queue that the task was spawned into.
    #[inline(always)]
    pub(crate) fn queue(&self) -> u32 {
        self.0.queue
    }

    /// Polls the future, or drops it if the task was cancelled.
    ///
    /// To be called inside the context of the task's executor. Panics of the future do not get out.
    #[inline]
    pub(crate) fn run(self) -> RunOutcome {
        let task = self.into_task();
        debug_assert!(context::is_current(task.executor));
        let state = task.state.get();
        if state & (CLOSED | COMPLETED) != 0 {
            return run_closed(task);
        }
        task.state.set((state & !SCHEDULED) | RUNNING);
        let polled = {
            let _polling = Polling::begin(task);
            // SAFETY: RUNNING is set and COMPLETED is not, so the future is there and ours. The
            // owned list's reference stays until the task completes, which is up to this frame.
            unsafe { (task.vtable.poll)(task) }
        };
        match polled {
            Polled::Pending => {
                let state = task.state.get();
                task.state.set(state & !RUNNING);
                if state & (SCHEDULED | CLOSED) == 0 {
                    return RunOutcome::Pending;
                }
                if state & CLOSED != 0 {
                    return run_closed(task);
                }
                // SAFETY: the flag was set during RUNNING, when no runnable is made.
                RunOutcome::Yielded(unsafe { Runnable::from_scheduled(task) })
            }
            // SAFETY: this frame set RUNNING, and the poll dropped the future.
            polled => match unsafe { finish_polled(task, polled) } {
                None => RunOutcome::Done,
                Some(payload) => RunOutcome::Panicked(payload),
            },
        }
    }
}

/// Runs a task that must not be polled: cancelled, or a husk whose future is gone already.
#[cold]
fn run_closed(task: TaskPtr) -> RunOutcome {
    task.state.remove(SCHEDULED);
    if task.state.any(COMPLETED | RUNNING) {
        // RUNNING: a frame below is just dropping the future, and will end the task.
        // SAFETY: the runnable was ours, and the flag is cleared.
        unsafe { task.release_scheduled() };
        return RunOutcome::Cancelled;
    }
    // SAFETY: owner's thread, as the type is not `Send`; neither completed nor running.
    match unsafe { drop_and_finish(task) } {
        None => RunOutcome::Cancelled,
        Some(payload) => RunOutcome::Panicked(payload),
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        self.0.state.remove(SCHEDULED);
        // SAFETY: the runnable was ours, the type is not `Send`, and the flag is cleared.
        unsafe { self.0.release_scheduled() }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("executor", &self.0.executor.as_usize())
            .field("queue", &self.0.queue)
            .field("state", &self.0.state.describe())
            .finish()
    }
}
