//! Waking a task, from inside of its executor and from anywhere else.

use super::{
    context,
    header::TaskPtr,
    registry,
    runnable::Runnable,
    state::{CLOSED, COMPLETED, RUNNING, SCHEDULED},
};

/// Wakes a task from inside its executor.
#[inline(always)]
pub(super) fn wake_local(task: TaskPtr) {
    if let Some(runnable) = mark_scheduled(task) {
        context::schedule(runnable);
    }
}

/// Notes that a task has something to do; the result is to be queued.
#[inline(always)]
pub(super) fn mark_scheduled(task: TaskPtr) -> Option<Runnable> {
    let state = task.state.get();
    if state & (SCHEDULED | COMPLETED) != 0 {
        return None;
    }
    task.trace.note_wake();
    if state & RUNNING != 0 {
        // Whoever runs it will see the flag. A future that is being dropped, or will be as soon as
        // its poll returns, needs no further turn.
        if state & CLOSED == 0 {
            task.state.set(state | SCHEDULED);
        }
        return None;
    }
    task.state.set(state | SCHEDULED);
    // SAFETY: the flag went from off to on outside of RUNNING, so this is the only runnable.
    Some(unsafe { Runnable::from_scheduled(task) })
}

/// Wakes a task, wherever the caller is.
#[inline(always)]
pub(super) fn wake_task(task: TaskPtr) {
    if context::is_current(task.executor) {
        wake_local(task);
    } else {
        wake_from_outside(task);
    }
}

#[inline(never)]
fn wake_from_outside(task: TaskPtr) {
    if task.shared.begin_injection() {
        task.shared.acquire();
        // SAFETY: the reference counted on the line above goes to the inbox.
        unsafe { inject(task) }
    }
}

/// Puts a task into its executor's inbox, or gives the reference back if the executor is gone.
///
/// # Safety
///
/// The caller turned the injection flag on and passes one unit of the atomic count.
#[cold]
pub(super) unsafe fn inject(task: TaskPtr) {
    let executor = task.executor;
    let delivered = registry::lookup(executor).is_some_and(|slot| {
        // SAFETY: whoever turns the flag on is the only one to push, and the unit passed to this
        // function keeps the task alive until the owner, or whoever comes to own the slot, has
        // taken it out and released that unit.
        unsafe { slot.inbox().push(task.as_non_null()) }.is_ok()
    });
    // From here on a delivered task may be gone already.
    if delivered {
        registry::notify(executor);
    } else {
        // SAFETY: the inbox did not take the unit.
        unsafe { task.release_shared() }
    }
}
