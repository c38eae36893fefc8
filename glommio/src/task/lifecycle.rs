//! The transitions of a task's life that more than one party can cause: cancelling and ending. For
//! waking see [`wake`](super::wake).
//!
//! All of them happen on the owner's thread. The picture is in [`state`](super::state).

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::PanicPayload;

use super::{
    context,
    header::{Awaiter, Polled, TaskPtr},
    payload::{Payload, discard},
    state::{CLOSED, COMPLETED, HANDLE, OUTPUT, PANICKED, RUNNING, SCHEDULED},
    wake::wake_task,
};

/// Asks a task to stop: its future is dropped when its executor comes by.
pub(super) fn request_cancel(task: TaskPtr) {
    let state = task.state.get();
    if state & (COMPLETED | CLOSED) != 0 {
        return;
    }
    task.state.set(state | CLOSED);
    if state & RUNNING == 0 {
        wake_task(task);
    }
}

/// Drops the future of a task that is not running, and ends it as cancelled.
///
/// If the future's destructor panics, the payload takes the place of an output; see [`finish`] for
/// when it is returned.
///
/// # Safety
///
/// Owner's thread; neither `RUNNING` nor `COMPLETED` is set. The task may be gone afterwards.
pub(super) unsafe fn drop_and_finish(task: TaskPtr) -> Option<Payload> {
    let state = task.state.get();
    debug_assert_eq!(state & (RUNNING | COMPLETED), 0);
    // RUNNING keeps the destructor from coming back to the future through wakes, cancellations or
    // handles. With CLOSED, a wake leaves SCHEDULED alone: it stands for a runnable and no more.
    task.state.set(state | RUNNING | CLOSED);
    // SAFETY: RUNNING was set above, and without COMPLETED the future is there.
    let end = match unsafe { (task.vtable.drop_future)(task) } {
        Ok(()) => CLOSED,
        Err(payload) => {
            // SAFETY: the future left the stage vacant.
            unsafe { task.stage::<Payload>().write(payload) };
            CLOSED | OUTPUT | PANICKED
        }
    };
    // SAFETY: owner's thread; the future is gone.
    unsafe { finish(task, end, HANDLE | SCHEDULED) }
}

/// Ends a task whose poll returned `polled`.
///
/// # Safety
///
/// As for [`finish`], and the stage holds what `polled` says.
#[inline(always)]
pub(super) unsafe fn finish_polled(task: TaskPtr, polled: Polled) -> Option<Payload> {
    let end = match polled {
        Polled::Panicked => OUTPUT | PANICKED,
        _ => OUTPUT,
    };
    // SAFETY: as the caller says. SCHEDULED can only be a wake during the poll, and is void now.
    unsafe { finish(task, end, HANDLE) }
}

/// Publishes the end of a task: `end` are the flags that describe it, `keep` masks the flags that
/// survive (`SCHEDULED` if it stands for a runnable).
///
/// An output without a handle is dropped. A payload without a handle is returned, and so is what an
/// output without a handle panicked with.
///
/// # Safety
///
/// Owner's thread; the frame that set `RUNNING` calls this once, after the future was dropped. The
/// task may be gone afterwards.
#[inline(always)]
unsafe fn finish(task: TaskPtr, end: u8, keep: u8) -> Option<Payload> {
    let kept = task.state.get() & keep;
    task.state.set(COMPLETED | end | kept);
    task.unlink();
    task.trace.end();
    if !task.shared.is_unique() {
        // Wakers are left. Spare them the way through the inbox.
        task.shared.kill();
    }
    let unobserved = if kept & HANDLE != 0 {
        wake_awaiter(task);
        None
    } else if end & OUTPUT != 0 {
        // SAFETY: just completed with an output, and nobody else could have taken it.
        unsafe { take_unobserved(task) }
    } else {
        None
    };
    // SAFETY: the owned list's reference, which a live task always has.
    unsafe { task.release_local() };
    unobserved
}

/// Tells who waits for a task that it has ended.
#[inline(always)]
fn wake_awaiter(task: TaskPtr) {
    match task.take_awaiting_task() {
        Some(link) => wake_task(link.task()),
        None => wake_other_awaiter(task),
    }
}

#[inline(never)]
fn wake_other_awaiter(task: TaskPtr) {
    match task.replace_awaiter(Awaiter::Nobody) {
        Awaiter::Nobody => {}
        Awaiter::Task(link) => wake_task(link.task()),
        Awaiter::Waker(waker) => {
            // The waker may be anyone's, and its panic is none of this task's.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                report_unobserved(task, payload);
            }
        }
    }
}

/// Drops an output that nobody will ask for; a payload is returned instead, and so is what the
/// output's destructor panics with.
///
/// # Safety
///
/// Owner's thread; `OUTPUT` is set. It is clear afterwards.
pub(super) unsafe fn take_unobserved(task: TaskPtr) -> Option<Payload> {
    debug_assert!(task.state.any(OUTPUT));
    task.state.remove(OUTPUT);
    if task.state.any(PANICKED) {
        // SAFETY: with both flags the stage holds a payload, ours since OUTPUT was cleared.
        return Some(unsafe { task.stage::<Payload>().read() });
    }
    // SAFETY: with OUTPUT alone the stage holds an output, ours since the flag was cleared.
    unsafe { (task.vtable.drop_output)(task) }.err()
}

/// Hands a panic that nobody saw to the task's executor, or logs it where that is out of reach.
#[cold]
pub(super) fn report_unobserved(task: TaskPtr, payload: Payload) {
    context::with_scheduler(task.executor, |scheduler| match scheduler {
        Some(scheduler) => scheduler.unobserved_panic(task.queue, payload),
        None => {
            let payload = PanicPayload::new(payload);
            tracing::error!(
                target: "glommio::task",
                executor = task.executor.as_usize(),
                queue = task.queue,
                panic = payload.message(),
                "a task panicked, and its handle was dropped where its executor does not run"
            );
            discard(payload.into_inner());
        }
    });
}

/// Gives up on a task for good: its future is never dropped, its memory never freed.
///
/// # Safety
///
/// Owner's thread; neither `RUNNING` nor `COMPLETED` is set.
#[cold]
pub(super) unsafe fn forget(task: TaskPtr) {
    let state = task.state.get();
    debug_assert_eq!(state & (RUNNING | COMPLETED), 0);
    task.state.set(state | COMPLETED | CLOSED);
    task.unlink();
    task.shared.kill();
    // The owned list's reference is not released: that is what keeps the future's memory.
    wake_awaiter(task);
}
