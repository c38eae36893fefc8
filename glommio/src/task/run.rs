//! Running tasks: from the front of a run queue to what became of each.

use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{
    context,
    header::{Polled, TaskPtr},
    lifecycle::{drop_and_finish, finish_polled},
    payload::Payload,
    polling::Polling,
    queue::RunQueue,
    raw::bury,
    runnable::Runnable,
    state::{CLOSED, COMPLETED, RUNNING, SCHEDULED},
};

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

impl RunQueue {
    /// Runs tasks from the front until none is left, or `more`, which is told what became of each,
    /// returns `false`, or a future panics: then the outcome of that task is returned. Running a task
    /// polls its future, or drops it if the task was cancelled.
    ///
    /// To be called inside the context of the executor whose tasks these are. Panics of futures do not
    /// get out. They are caught here, and not around each poll, because the compiler cannot look through
    /// a catch.
    #[inline]
    pub(crate) fn run(&self, mut more: impl FnMut(RunOutcome) -> bool) -> Option<RunOutcome> {
        // The task whose future is being polled.
        let polled = Cell::new(None);
        let batch = catch_unwind(AssertUnwindSafe(|| {
            while let Some(task) = self.pop_front() {
                if !more(run(task.into_task(), &polled)) {
                    return;
                }
            }
        }));
        let payload = batch.err()?;
        let Some(task) = polled.take() else {
            // No panic of a future's: the caller's.
            resume_unwind(payload);
        };
        // SAFETY: `run` was unwound by the poll of this task.
        Some(unsafe { end_panicked(task, payload) })
    }
}

/// Runs a task that was taken out of its queue, and notes it in `polled` while its future is polled.
///
/// Unwinds if the future's poll does.
#[inline(always)]
fn run(task: TaskPtr, polled: &Cell<Option<TaskPtr>>) -> RunOutcome {
    debug_assert!(context::is_current(task.executor));
    let state = task.state.get();
    if state & (CLOSED | COMPLETED) != 0 {
        return run_closed(task);
    }
    task.state.set((state & !SCHEDULED) | RUNNING);
    let end = {
        let _polling = Polling::begin(task);
        polled.set(Some(task));
        // SAFETY: RUNNING is set and COMPLETED is not, so the future is there and ours. The owned
        // list's reference stays until the task completes, which is up to this frame, or to the one
        // that catches what unwinds it.
        let end = unsafe { (task.vtable.poll)(task) };
        polled.set(None);
        end
    };
    if end != Polled::Pending {
        // SAFETY: this frame set RUNNING, and the poll dropped the future.
        return match unsafe { finish_polled(task, end) } {
            None => RunOutcome::Done,
            Some(payload) => RunOutcome::Panicked(payload),
        };
    }
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

/// Ends a task whose poll panicked.
///
/// # Safety
///
/// Owner's thread; the poll that [`run`] began was unwound, and nothing was done with the task since.
#[cold]
unsafe fn end_panicked(task: TaskPtr, payload: Payload) -> RunOutcome {
    // SAFETY: RUNNING is still set, and a poll that unwinds leaves the future where it is.
    let end = unsafe { bury(task, payload) };
    // SAFETY: in place of the frame that set RUNNING; the future was dropped.
    match unsafe { finish_polled(task, end) } {
        None => RunOutcome::Done,
        Some(payload) => RunOutcome::Panicked(payload),
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
