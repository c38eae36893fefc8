//! Wakers that stay on the thread where they were made.
//!
//! Most who wait, wait on the thread of what they wait for, as for a timer. Cloning and dropping a
//! `Waker` of a task takes two atomic read-modify-writes, since it may travel. This one may not: for
//! a task of the executor that runs here, it counts on the task's plain counter.

use core::task::Waker;

use super::{
    context,
    header::{LocalRef, TaskPtr},
    state::COMPLETED,
    wake::wake_task,
    waker,
};

/// What wakes like the waker it was made from, on this thread. Not `Send`.
pub(crate) struct LocalWaker(Target);

enum Target {
    Task(LocalRef),
    Waker(Waker),
}

impl LocalWaker {
    /// Clones the waker, which runs code of others unless it is a task's.
    #[inline]
    pub(crate) fn new(waker: &Waker) -> LocalWaker {
        let of_this_executor = context::current_id().and_then(|id| waker::task_of(waker, id));
        LocalWaker(match of_this_executor {
            Some(task) if can_be_linked(task) => {
                task.acquire_local();
                // SAFETY: the reference was counted on the line above; the executor runs on this
                // thread, so this is the owner's.
                Target::Task(unsafe { LocalRef::from_counted(task) })
            }
            _ => Target::Waker(waker.clone()),
        })
    }

    /// Whether it wakes what `waker` wakes; `false` if in doubt.
    #[inline]
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        match &self.0 {
            Target::Task(link) => waker::is_of(waker, link.task()),
            Target::Waker(known) => known.will_wake(waker),
        }
    }

    /// Wakes. Runs code of others unless it is a task's.
    #[inline]
    pub(crate) fn wake(self) {
        match self.0 {
            Target::Task(link) => wake_task(link.task()),
            Target::Waker(waker) => waker.wake(),
        }
    }
}

/// Whether a link keeps the task: one that has completed may be about to go, and the counter must not
/// overflow. The task debugger knows who can still be woken by counting wakers, so with it there are
/// no others.
#[inline]
fn can_be_linked(task: TaskPtr) -> bool {
    !cfg!(feature = "debugging") && !task.state.any(COMPLETED) && task.local.get() < 1 << 31
}
