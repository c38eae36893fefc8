//! The result of one blocking job, on its way from the thread that ran it to the task that awaits it.

use std::{
    future::Future,
    io, mem,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::queue::TaskQueueHandle;
use crate::task::Payload;

/// Who hears of panics that nobody awaits, with the queue that the job was spawned from. It must not
/// panic.
pub(crate) type OnUnobserved = Arc<dyn Fn(TaskQueueHandle, Payload) + Send + Sync>;

/// The future of a job's result.
///
/// Dropping it does not stop the job.
#[must_use = "the job runs anyway, but its result and its panic are lost"]
pub(crate) struct BlockingTask<R> {
    slot: Arc<Slot<R>>,
}

impl<R> BlockingTask<R> {
    pub(super) fn new(slot: Arc<Slot<R>>) -> BlockingTask<R> {
        BlockingTask { slot }
    }
}

/// Where the job leaves its outcome for the future.
pub(super) struct Slot<R> {
    state: Mutex<SlotState<R>>,
    queue: TaskQueueHandle,
    on_unobserved: OnUnobserved,
}

enum SlotState<R> {
    /// The job is not finished; the waker of the last poll, if there was one.
    Pending(Option<Waker>),
    Finished(Outcome<R>),
    /// The future has returned the outcome.
    Taken,
    /// The future is gone: nobody will ask for the outcome.
    Abandoned,
}

pub(super) enum Outcome<R> {
    Done(Result<R, Payload>),
    NoThread(io::Error),
}

impl<R> Slot<R> {
    pub(super) fn new(queue: TaskQueueHandle, on_unobserved: OnUnobserved) -> Slot<R> {
        Slot {
            state: Mutex::new(SlotState::Pending(None)),
            queue,
            on_unobserved,
        }
    }

    /// The lock is poisoned only by a waker that panics while cloned or compared, which leaves the
    /// state as it was.
    fn lock(&self) -> MutexGuard<'_, SlotState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(&self, outcome: Outcome<R>) {
        let mut state = self.lock();
        if matches!(*state, SlotState::Abandoned) {
            drop(state);
            // A result that nobody wants is dropped here, and its destructor may panic.
            let dropped = panic::catch_unwind(AssertUnwindSafe(|| self.give_up(outcome)));
            if let Err(payload) = dropped {
                (self.on_unobserved)(self.queue, payload);
            }
            return;
        }
        let before = mem::replace(&mut *state, SlotState::Finished(outcome));
        // Outside the lock: the woken thread may poll at once.
        drop(state);
        if let SlotState::Pending(Some(waker)) = before {
            waker.wake();
        }
    }

    /// Nobody will ask for `outcome`: a result is dropped, a panic is passed on.
    fn give_up(&self, outcome: Outcome<R>) {
        match outcome {
            Outcome::Done(Ok(result)) => drop(result),
            Outcome::Done(Err(payload)) => (self.on_unobserved)(self.queue, payload),
            Outcome::NoThread(error) => (self.on_unobserved)(self.queue, Box::new(refused(&error))),
        }
    }

    /// The outcome, or `None` after noting whom to wake for it.
    fn poll(&self, cx: &mut Context<'_>) -> Option<Outcome<R>> {
        let mut state = self.lock();
        if let SlotState::Pending(waker) = &mut *state {
            let stale = match waker {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                waker => waker.replace(cx.waker().clone()),
            };
            // A waker's destructor is foreign code: not under the lock.
            drop(state);
            drop(stale);
            return None;
        }
        match mem::replace(&mut *state, SlotState::Taken) {
            SlotState::Finished(outcome) => Some(outcome),
            SlotState::Pending(_) | SlotState::Taken | SlotState::Abandoned => {
                drop(state);
                panic!("the future of blocking work was polled after it had finished")
            }
        }
    }
}

impl<R> Future for BlockingTask<R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        match self.slot.poll(cx) {
            None => Poll::Pending,
            Some(Outcome::Done(Ok(result))) => Poll::Ready(result),
            Some(Outcome::Done(Err(payload))) => panic::resume_unwind(payload),
            Some(Outcome::NoThread(error)) => panic!("{}", refused(&error)),
        }
    }
}

impl<R> Drop for BlockingTask<R> {
    fn drop(&mut self) {
        let before = mem::replace(&mut *self.slot.lock(), SlotState::Abandoned);
        match before {
            SlotState::Finished(outcome) => self.slot.give_up(outcome),
            // A waker's destructor is foreign code, hence the lock is free again.
            SlotState::Pending(waker) => drop(waker),
            SlotState::Taken | SlotState::Abandoned => {}
        }
    }
}

/// Why a job did not run.
fn refused(error: &io::Error) -> String {
    format!(
        "cannot start a thread for blocking work: {error} (is the limit of processes, `ulimit -u` \
         or the container's pids limit, reached?)"
    )
}
