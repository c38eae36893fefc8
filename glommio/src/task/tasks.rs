//! All live tasks of one executor, and the end of them.
//!
//! Every task is in a list of its executor's from birth until its future is gone. That is what makes
//! teardown complete: [`Tasks::close`] drops whatever future is left, wherever the task was waiting
//! and whoever still holds wakers of it.

use core::{
    fmt,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{
    context::{self, Schedule},
    handle::Handle,
    header::{Header, LocalRef, TaskPtr},
    id::ExecutorId,
    inbox::Batch,
    join::{ScopedTask, Task},
    lifecycle::{drop_and_finish, forget},
    live::{LiveTasks, Phase},
    payload::{Payload, discard},
    raw,
    registry::{self, Slot, TooManyExecutors},
    runnable::Runnable,
    state::{CLOSED, RUNNING, SCHEDULED},
    wake::{mark_scheduled, wake_task},
};

/// Teardown gives up when destructors have spawned this many tasks for each one it began with.
const CLOSE_ROUNDS: usize = 1_000;

/// How deep destructors of futures may nest that are spawned after the end, each by the one before.
const MAX_LATE_SPAWNS: u32 = 32;

/// The tasks of one executor, and its place in the registry.
///
/// Dropping it closes it.
pub(crate) struct Tasks {
    slot: &'static Slot,
    live: LiveTasks,
}

/// What [`Tasks::close`] did.
#[derive(Debug, Default)]
pub(crate) struct CloseReport {
    /// Futures dropped.
    pub(crate) dropped: usize,
    /// Futures given up, never to be dropped, because destructors kept spawning.
    pub(crate) forgotten: usize,
}

impl Tasks {
    /// Registers a new executor.
    pub(crate) fn new() -> Result<Tasks, TooManyExecutors> {
        let (id, slot) = registry::register()?;
        Ok(Tasks {
            slot,
            live: LiveTasks::new(id),
        })
    }

    /// The executor's identifier.
    #[inline]
    pub(crate) fn id(&self) -> ExecutorId {
        self.live.executor
    }

    /// Runs `f` inside the context of the executor, whose scheduler is told what its tasks ask for.
    ///
    /// Contexts nest: the former one is back when `f` returns or unwinds. Whether nesting is an error
    /// is for the caller to decide, see [`current_id`](super::current_id).
    pub(crate) fn enter<R>(&self, scheduler: &dyn Schedule, f: impl FnOnce() -> R) -> R {
        context::enter(&self.live, scheduler, f)
    }

    /// Makes a task and schedules it.
    ///
    /// Inside the executor's context the task goes to its [`Schedule`](super::Schedule), elsewhere
    /// through the inbox. After [`close`](Self::close) the future is dropped at once, and the
    /// handle says that the task was cancelled.
    #[inline]
    pub(crate) fn spawn<F>(&self, queue: u32, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (runnable, task) = self.prepare(queue, future);
        self.dispatch(runnable);
        task
    }

    /// Makes a task and leaves it to the caller to put it into a run queue.
    #[inline]
    pub(crate) fn prepare<F>(&self, queue: u32, future: F) -> (Runnable, Task<F::Output>)
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (runnable, handle) = self.allocate(queue, future);
        (runnable, Task::new(handle))
    }

    /// As [`spawn`](Self::spawn), for a future that borrows.
    ///
    /// # Safety
    ///
    /// The handle is dropped, not forgotten, before what the future borrows goes away; and not from
    /// inside the future itself.
    #[inline]
    pub(crate) unsafe fn spawn_scoped<'a, F>(
        &self,
        queue: u32,
        future: F,
    ) -> ScopedTask<'a, F::Output>
    where
        F: Future + 'a,
    {
        // SAFETY: passed on to the caller.
        let (runnable, task) = unsafe { self.prepare_scoped(queue, future) };
        self.dispatch(runnable);
        task
    }

    /// Runs a future that borrows as a task while `drive` runs the executor, and gives its output;
    /// `None` if `drive` returned before the future was done.
    ///
    /// The future is gone when this returns or unwinds.
    ///
    /// # Panics
    ///
    /// With the panic of the future, and with that of `drive`.
    pub(crate) fn run_scoped<F: Future>(
        &self,
        queue: u32,
        future: F,
        drive: impl FnOnce(),
    ) -> Option<F::Output> {
        // SAFETY: the handle lives on this frame and is dropped with it, also when `drive` unwinds,
        // which is before anything that the future borrows can go away; and this frame is not
        // inside the future.
        let task = pin!(unsafe { self.spawn_scoped(queue, future) });
        drive();
        match task.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// As [`prepare`](Self::prepare), for a future that borrows.
    ///
    /// # Safety
    ///
    /// As for [`spawn_scoped`](Self::spawn_scoped).
    #[inline]
    pub(crate) unsafe fn prepare_scoped<'a, F>(
        &self,
        queue: u32,
        future: F,
    ) -> (Runnable, ScopedTask<'a, F::Output>)
    where
        F: Future + 'a,
    {
        let (runnable, handle) = self.allocate(queue, future);
        (runnable, ScopedTask::new(handle))
    }

    #[inline]
    fn allocate<F: Future>(&self, queue: u32, future: F) -> (Runnable, Handle<F::Output>) {
        let task = raw::allocate(self.id(), queue, future);
        adopt(&self.live, task);
        // SAFETY: a new task is scheduled, has a handle, and two local references: the handle's
        // and the owned list's.
        unsafe {
            (
                Runnable::from_scheduled(task),
                Handle::new(LocalRef::from_counted(task)),
            )
        }
    }

    #[inline]
    fn dispatch(&self, runnable: Runnable) {
        if context::is_current(self.id()) {
            return context::schedule(runnable);
        }
        let task = runnable.into_task();
        task.state.remove(SCHEDULED);
        wake_task(task);
        // SAFETY: the runnable was ours, and the flag is cleared. The handle still exists.
        unsafe { task.release_scheduled() }
    }

    /// The number of tasks whose futures exist. Walks all of them.
    pub(crate) fn len(&self) -> usize {
        self.live.iter().count()
    }

    /// Frees what is kept for a queue that has no tasks and gets no more. `false`, and nothing is done,
    /// if a task of it still has a future.
    pub(crate) fn forget_queue(&self, queue: u32) -> bool {
        self.live.forget_queue(queue)
    }

    /// Whether no other thread has woken a task since the last drain.
    ///
    /// The executor's last look before it sleeps: it announces that it will sleep (`SeqCst`), then
    /// looks here; a waker first puts a task into the inbox, then looks (`SeqCst`) whether the
    /// executor sleeps. One of them sees the other.
    #[inline]
    pub(crate) fn inbox_is_empty(&self) -> bool {
        self.slot.inbox().is_empty()
    }

    /// Calls `schedule` for each task that was woken from outside and is not scheduled yet.
    #[inline]
    pub(crate) fn drain_inbox(&self, mut schedule: impl FnMut(Runnable)) {
        let mut mail = Mail(self.slot.inbox().take());
        while let Some(task) = mail.next() {
            if task.executor != self.id() {
                // SAFETY: the inbox's unit. Sent to a former owner of this slot, who dropped the
                // future: what may be freed here is memory only.
                unsafe { task.release_shared() };
                continue;
            }
            // Before the decision: a wake from here on finds the flag off and comes again.
            task.shared.end_injection();
            let runnable = mark_scheduled(task);
            // SAFETY: the inbox's unit. If there is a runnable, it keeps the task.
            unsafe { task.release_shared() };
            if let Some(runnable) = runnable {
                schedule(runnable);
            }
        }
    }

    /// Drops every future, whatever its task was waiting for, and leaves the registry.
    ///
    /// To be called inside the executor's context, so that destructors find it. They may spawn,
    /// wake and cancel tasks and may panic; what they spawn is dropped too, up to a bound. Tasks
    /// left in run queues are husks then, which vanish with the queues. A task that is running
    /// (which takes a call from inside of it) is dropped when its poll returns.
    ///
    /// `on_panic` is told of the destructors that panic in tasks without a handle, and of the queues
    /// of these tasks. It must not panic.
    pub(crate) fn close(&self, mut on_panic: impl FnMut(u32, Payload)) -> CloseReport {
        let mut report = CloseReport::default();
        if self.live.phase.get() != Phase::Open {
            return report;
        }
        self.live.phase.set(Phase::Closing);
        self.live.lists.unite();
        let list = self.live.lists.first();
        let bound = self.len().max(1).saturating_mul(CLOSE_ROUNDS);
        while let Some(task) = list.front() {
            if task.state.any(RUNNING) {
                task.state.insert(CLOSED);
                task.unlink();
            } else if report.dropped < bound {
                report.dropped += 1;
                let queue = task.queue;
                // SAFETY: owner's thread, as `Tasks` is not `Send`; a task in the list has not
                // completed, and it is not running.
                let unobserved = unsafe { drop_and_finish(task) };
                if let Some(payload) = unobserved {
                    on_panic(queue, payload);
                }
            } else {
                report.forgotten += 1;
                // SAFETY: as above.
                unsafe { forget(task) };
            }
        }
        if report.forgotten > 0 {
            tracing::error!(
                target: "glommio::task",
                executor = self.id().as_usize(),
                dropped = report.dropped,
                forgotten = report.forgotten,
                "destructors of futures kept spawning tasks while their executor ended; \
                 the last ones are leaked",
            );
        }
        self.live.phase.set(Phase::Closed);

        drop(Mail(self.slot.inbox().close()));
        registry::unregister(self.id());
        report
    }
}

/// Spawns a task into the queue of the running one.
///
/// The same as [`Tasks::spawn`] on the current executor, in fewer steps.
///
/// # Panics
///
/// Outside of any executor.
#[inline]
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (executor, queue) = context::here().expect("inside of an executor");
    let task = raw::allocate(executor, queue, future);
    // SAFETY: new, of the current executor, and passed on with all it comes with but the handle.
    unsafe { begin(task) };
    // SAFETY: the output is that of the future, and a new task has a handle.
    Task::new(unsafe { Handle::new(LocalRef::from_counted(task)) })
}

/// Puts a new task into its list and its run queue. Apart, because it is the same for all futures.
///
/// # Safety
///
/// The task belongs to the current executor and was just allocated; its handle is the caller's.
#[inline(never)]
unsafe fn begin(task: TaskPtr) {
    context::with_inside(|inside| {
        if let Some((tasks, _)) = inside {
            debug_assert_eq!(tasks.executor, task.executor);
            adopt(tasks, task);
        }
    });
    // SAFETY: a new task is scheduled, and the caller passes that on.
    context::schedule(unsafe { Runnable::from_scheduled(task) });
}

/// Puts a new task into its list.
#[inline]
fn adopt(tasks: &LiveTasks, task: TaskPtr) {
    if !tasks.push_back(task) {
        reject(tasks, task);
    }
}

/// Ends a task that was spawned too late.
#[cold]
fn reject(tasks: &LiveTasks, task: TaskPtr) {
    let nested = tasks.late_spawns.get();
    if nested == MAX_LATE_SPAWNS {
        tracing::error!(
            target: "glommio::task",
            executor = tasks.executor.as_usize(),
            "destructors of futures keep spawning tasks after their executor has ended; \
             a future is leaked",
        );
        // SAFETY: owner's thread; the task has not run yet.
        return unsafe { forget(task) };
    }
    tasks.late_spawns.set(nested + 1);
    // SAFETY: as above. The handle exists, so a payload stays with the task.
    let unobserved = unsafe { drop_and_finish(task) };
    debug_assert!(unobserved.is_none());
    tasks.late_spawns.set(nested);
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.close(|_, payload| discard(payload));
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("executor", &self.id())
            .field("len", &self.len())
            .finish()
    }
}

/// Tasks out of the inbox. Those that were not looked at give their references back.
struct Mail(Batch<Header>);

impl Mail {
    #[inline]
    fn next(&mut self) -> Option<TaskPtr> {
        // SAFETY: whoever pushed the header did so with a pointer to the whole task, and with a
        // unit of its count, which the caller releases after its last use.
        self.0.next().map(|header| unsafe { TaskPtr::new(header) })
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        while let Some(task) = self.next() {
            // A task that lives on must be able to be woken again.
            task.shared.end_injection();
            // SAFETY: the inbox's unit.
            unsafe { task.release_shared() };
        }
    }
}
