//! What all handles of a task have in common.

use core::{
    fmt,
    marker::PhantomData,
    panic::{RefUnwindSafe, UnwindSafe},
    task::{Context, Poll},
};
use std::{panic::resume_unwind, thread};

use super::{
    header::{Awaiter, LocalRef},
    lifecycle::{drop_and_finish, report_unobserved, request_cancel, take_unobserved},
    payload::Payload,
    state::{CLOSED, COMPLETED, HANDLE, OUTPUT, PANICKED, RUNNING},
};

/// How a task ended.
pub(super) enum Ended<T> {
    Output(T),
    /// It was cancelled before it produced an output.
    Cancelled,
    /// An earlier poll of this handle took the output.
    Taken,
}

/// The one handle of a task whose output is a `T`.
pub(super) struct Handle<T> {
    task: LocalRef,
    output: PhantomData<T>,
}

// The pointer inside is to cells, for which the compiler assumes the worst. A task is consistent
// whenever foreign code runs, so a panic there leaves nothing half done; what counts is the output.
impl<T: UnwindSafe> UnwindSafe for Handle<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Handle<T> {}

// Nothing is ever pinned in a handle: outputs are moved out.
impl<T> Unpin for Handle<T> {}

impl<T> Handle<T> {
    /// # Safety
    ///
    /// The task's output is a `T`, its `HANDLE` flag is set, and no other handle exists.
    #[inline(always)]
    pub(super) unsafe fn new(task: LocalRef) -> Handle<T> {
        Handle {
            task,
            output: PhantomData,
        }
    }

    /// Looks for the end of the task, or registers to be woken then.
    ///
    /// # Panics
    ///
    /// Resumes the panic that ended the task.
    #[inline]
    pub(super) fn poll_end(&mut self, context: &Context<'_>) -> Poll<Ended<T>> {
        let task = self.task.task();
        let state = task.state.get();
        if state & COMPLETED == 0 {
            task.set_awaiter(context.waker());
            return Poll::Pending;
        }
        if state & OUTPUT == 0 {
            return Poll::Ready(if state & CLOSED != 0 {
                Ended::Cancelled
            } else {
                Ended::Taken
            });
        }
        task.state.remove(OUTPUT);
        if state & PANICKED != 0 {
            // SAFETY: both flags were set, so the stage holds a payload, and it is ours since
            // OUTPUT was cleared.
            resume_unwind(unsafe { task.stage::<Payload>().read() });
        }
        // SAFETY: OUTPUT was set, so the stage holds a `T`, and it is ours since the flag was
        // cleared.
        Poll::Ready(Ended::Output(unsafe { task.stage::<T>().read() }))
    }

    /// The task, alive as long as this handle.
    #[cfg(feature = "debugging")]
    pub(super) fn task(&self) -> super::header::TaskPtr {
        self.task.task()
    }

    /// Asks the task to stop, at its next scheduling point.
    pub(super) fn cancel(&self) {
        request_cancel(self.task.task());
    }

    /// Drops the future now, unless a frame further up the stack is using it: then as soon as that
    /// frame is done.
    pub(super) fn cancel_now(&self) {
        let task = self.task.task();
        if task.state.any(COMPLETED | RUNNING) {
            request_cancel(task);
            return;
        }
        // SAFETY: owner's thread, neither flag is set. The task has a handle, this one, so it
        // stays in memory and keeps a payload for it.
        let unobserved = unsafe { drop_and_finish(task) };
        debug_assert!(unobserved.is_none());
    }

    /// Whether the task has ended, its future dropped.
    #[inline(always)]
    pub(super) fn is_finished(&self) -> bool {
        self.task.task().state.any(COMPLETED)
    }

    /// Writes what there is to say about the task, under the name of the handle's public type.
    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.task();
        f.debug_struct(name)
            .field("executor", &task.executor.as_usize())
            .field("queue", &task.queue)
            .field("state", &task.state.describe())
            .finish()
    }
}

impl<T> Drop for Handle<T> {
    #[inline]
    fn drop(&mut self) {
        let task = self.task.task();
        let state = task.state.get();
        task.state.set(state & !HANDLE);
        if state & COMPLETED == 0 {
            // May run the destructor of a foreign waker.
            drop(task.replace_awaiter(Awaiter::Nobody));
        } else if state & OUTPUT != 0 {
            drop_unobserved(&self.task);
        }
        // The reference goes with the field, also if the output's destructor panicked.
    }
}

/// Drops an output that was never asked for. A panic of its destructor goes the way it would take
/// for any other value, unless that would abort the process.
#[cold]
fn drop_unobserved(task: &LocalRef) {
    let task = task.task();
    let panicked = task.state.any(PANICKED);
    // SAFETY: owner's thread, OUTPUT is set.
    let Some(payload) = (unsafe { take_unobserved(task) }) else {
        return;
    };
    if panicked || thread::panicking() {
        report_unobserved(task, payload);
    } else {
        resume_unwind(payload);
    }
}
