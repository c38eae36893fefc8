//! The smallest executor that uses every part of this layer.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    task::Poll,
    thread,
};

use super::super::{
    Payload, RunOutcome, RunQueue, Runnable, Schedule, Tasks,
    join::{ScopedTask, Task},
};

#[derive(Default)]
pub(super) struct Scheduler {
    pub(super) queue: RunQueue,
    /// How often a task was scheduled from inside of the context.
    pub(super) scheduled: Cell<usize>,
    /// Panics that reached the executor, by either way.
    pub(super) panics: RefCell<Vec<Payload>>,
    pub(super) cancelled: Cell<usize>,
}

impl Schedule for Scheduler {
    fn schedule(&self, task: Runnable) {
        self.scheduled.set(self.scheduled.get() + 1);
        self.queue.push_back(task);
    }

    fn unobserved_panic(&self, _queue: u32, payload: Payload) {
        self.panics.borrow_mut().push(payload);
    }
}

/// Fields drop in order: the tasks are closed before their run queue goes.
pub(super) struct Toy {
    pub(super) tasks: Tasks,
    pub(super) scheduler: Scheduler,
}

impl Toy {
    pub(super) fn new() -> Toy {
        Toy {
            tasks: Tasks::new().expect("a slot for the executor"),
            scheduler: Scheduler::default(),
        }
    }

    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        self.tasks.enter(&self.scheduler, f)
    }

    pub(super) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.enter(|| self.tasks.spawn(0, future))
    }

    /// # Safety
    ///
    /// As for [`Tasks::spawn_scoped`].
    pub(super) unsafe fn spawn_scoped<'a, F: Future + 'a>(
        &self,
        future: F,
    ) -> ScopedTask<'a, F::Output> {
        // SAFETY: passed on to the caller.
        self.enter(|| unsafe { self.tasks.spawn_scoped(0, future) })
    }

    /// Runs one task. To be called inside the context.
    pub(super) fn step(&self) -> bool {
        let mut last = None;
        let panicked = self.scheduler.queue.run(|outcome| {
            last = Some(outcome);
            false
        });
        match last.or(panicked) {
            None => return false,
            Some(RunOutcome::Pending | RunOutcome::Done) => {}
            Some(RunOutcome::Yielded(task)) => self.scheduler.queue.push_back(task),
            Some(RunOutcome::Cancelled) => {
                self.scheduler
                    .cancelled
                    .set(self.scheduler.cancelled.get() + 1);
            }
            Some(RunOutcome::Panicked(payload)) => self.scheduler.unobserved_panic(0, payload),
        }
        true
    }

    /// Runs until nothing is runnable. Tasks that always yield make it run for ever.
    pub(super) fn settle(&self) {
        self.enter(|| {
            loop {
                self.tasks
                    .drain_inbox(|task| self.scheduler.queue.push_back(task));
                if !self.step() && self.tasks.inbox_is_empty() {
                    return;
                }
            }
        });
    }

    /// Runs until `future` is done, waiting for other threads as long as it takes.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.enter(|| {
            let done = Cell::new(false);
            // SAFETY: the handle is dropped in this frame, before the flag and whatever the
            // future borrows.
            let mut root = unsafe {
                self.tasks.spawn_scoped(0, async {
                    let output = future.await;
                    done.set(true);
                    output
                })
            };
            while !done.get() && !root_has_ended(&root) {
                self.tasks
                    .drain_inbox(|task| self.scheduler.queue.push_back(task));
                if !self.step() {
                    thread::yield_now();
                }
            }
            match poll_once(&mut root) {
                Poll::Ready(output) => output,
                Poll::Pending => unreachable!("the root has ended"),
            }
        })
    }

    pub(super) fn close(&self) -> super::super::tasks::CloseReport {
        self.enter(|| {
            self.tasks
                .close(|queue, payload| self.scheduler.unobserved_panic(queue, payload))
        })
    }

    /// The messages of the panics that reached the executor.
    pub(super) fn panic_messages(&self) -> Vec<String> {
        self.scheduler.panics.borrow().iter().map(message).collect()
    }
}

fn root_has_ended<T>(root: &ScopedTask<'_, T>) -> bool {
    format!("{root:?}").contains("panicked")
}

/// The text of a panic.
pub(super) fn message(payload: &Payload) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Polls with a waker that does nothing.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Gives up the turn once.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Never completes and is never woken.
pub(super) async fn forever() {
    std::future::pending::<()>().await;
}
