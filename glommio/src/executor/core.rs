//! The loop of an executor, and what tasks see of it.
//!
//! ```text
//! inbox -> run queues, a slice each, until the reactor wants its turn or nothing is runnable
//!       -> Reactor::turn: timers, submit, (sleep), completions
//! ```

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    blocking::{BlockingPool, ThreadSetup},
    placement::PoolPlacement,
    preempt::Slice,
    queues::{QueueSet, TaskQueue, TaskQueueHandle},
    shares::{Latency, Shares},
    stall::{StallDetectionHandler, StallDetector},
};
use crate::{
    error::{GlommioError, Result},
    reactor::{self, Reactor, ReactorConfig},
    sys::{
        affinity,
        clock::{Clock, Ticks},
    },
    task::{self, RunOutcome, Runnable, Schedule, Tasks},
};

/// While tasks are runnable, the reactor is looked after at least this often.
const LOOK_NS: u64 = 50_000;

/// Task polls between two looks at the clock, while polls are short.
const POLLS_PER_LOOK: u32 = 8;

/// Polls that take longer than this on average are each followed by a look at the clock.
const LONG_POLL_NS: u64 = 2_000;

/// How an executor was built.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) reactor: ReactorConfig,
    pub(super) preempt_timer: Duration,
    pub(super) blocking: PoolPlacement,
    pub(super) record_io_latencies: bool,
}

/// The state of one executor, shared by everything on its thread.
pub(super) struct Core {
    pub(super) name: String,
    pub(super) tasks: Tasks,
    pub(super) queues: QueueSet,
    pub(super) reactor: Rc<Reactor>,
    pub(super) blocking: BlockingPool,
    pub(super) clock: Clock,
    /// Usually none, and then it costs one look per slice.
    stalls: RefCell<Option<Rc<StallDetector>>>,
    slice: Slice,
    budget: Ticks,
    look: Ticks,
    long_poll: Ticks,
    /// The queue that is running, or the one that ran last.
    current: Cell<u32>,
    /// The running task asks for something that ends the slice now.
    interrupt: Cell<bool>,
    /// The running task gave up the turn of its queue.
    gave_up: Cell<bool>,
    root_done: Cell<bool>,
    pub(super) counts: Counts,
    pub(super) started: Instant,
}

/// What the loop has done so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) slices: Cell<u64>,
    pub(super) polls: Cell<u64>,
    pub(super) busy: Cell<Ticks>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Calls `f` with the executor that runs on this thread, if any.
#[inline]
pub(super) fn with_current<R>(f: impl FnOnce(Option<&Rc<Core>>) -> R) -> R {
    let mut f = Some(f);
    let result = CURRENT.try_with(|current| {
        let current = current.borrow();
        f.take().map(|f| f(current.as_ref()))
    });
    match result {
        Ok(Some(result)) => result,
        // Thread-local storage is being torn down: no executor runs here.
        _ => f.take().expect("called once")(None),
    }
}

/// # Panics
///
/// If an executor is running on this thread.
#[track_caller]
pub(super) fn forbid_inception() {
    let running = with_current(|core| core.map(|core| core.id()));
    if let Some(id) = running {
        panic!(
            "executor inception: executor {id} is running on this thread, and a thread runs one \
             executor at a time; use a thread of its own (LocalExecutorBuilder::spawn) for another"
        );
    }
}

/// What each thread of the blocking pool does first.
fn blocking_setups(placement: PoolPlacement) -> Result<Vec<ThreadSetup>, ()> {
    let threads = placement.executor_count();
    let mut cpus = placement.generate_cpu_set()?;
    let setups = (0..threads).map(|_| -> ThreadSetup {
        let cpus: Option<Vec<usize>> = cpus.next().cpu_binding().map(|c| c.into_iter().collect());
        Arc::new(move || match &cpus {
            Some(cpus) => affinity::bind_current_thread(cpus).map_err(Into::into),
            // A thread inherits the binding of the executor that started it.
            None => {
                affinity::unbind_current_thread();
                Ok(())
            }
        })
    });
    Ok(setups.collect())
}

impl Core {
    pub(super) fn new(config: Config) -> Result<Rc<Core>, ()> {
        let tasks =
            Tasks::new().map_err(|error| GlommioError::IoError(std::io::Error::other(error)))?;
        let reactor = Reactor::new(tasks.id(), config.reactor)?;
        let setups = blocking_setups(config.blocking)?;
        let blocking = BlockingPool::new(&config.name, setups);
        let clock = Clock::get();
        let queues = QueueSet::new(clock);
        queues.create(Shares::default(), Latency::NotImportant, "default");
        Ok(Rc::new(Core {
            name: config.name,
            tasks,
            queues,
            reactor,
            blocking,
            clock,
            stalls: RefCell::default(),
            slice: Slice::new(clock),
            budget: clock.ticks(config.preempt_timer),
            look: clock.ticks(Duration::from_nanos(LOOK_NS)),
            long_poll: clock.ticks(Duration::from_nanos(LONG_POLL_NS)),
            current: Cell::new(0),
            interrupt: Cell::new(false),
            gave_up: Cell::new(false),
            root_done: Cell::new(false),
            counts: Counts::default(),
            started: Instant::now(),
        }))
    }

    pub(super) fn id(&self) -> usize {
        self.tasks.id().as_usize()
    }

    /// Installs a detector of stalls, or none; the one before goes.
    ///
    /// To be called on the thread that runs the executor.
    pub(super) fn detect_stalls(
        &self,
        handler: Option<Box<dyn StallDetectionHandler>>,
    ) -> Result<(), ()> {
        let detector = match handler {
            None => None,
            Some(handler) => {
                let detector = StallDetector::new(self.id(), handler);
                Some(Rc::new(detector.map_err(GlommioError::IoError)?))
            }
        };
        let before = self.stalls.replace(detector);
        // Dropped outside the borrow: handlers are code of others.
        drop(before);
        Ok(())
    }

    /// The queue whose task is running.
    #[inline]
    pub(super) fn current_queue(&self) -> u32 {
        self.current.get()
    }

    /// Whether the running task should let others run.
    #[inline]
    pub(super) fn need_preempt(&self) -> bool {
        let over = self.slice.is_over(|| {
            // Completions of latency-sensitive queues are looked for at once.
            self.queues.min_latency().is_some() && self.reactor.wants_turn()
        });
        if over {
            // The task may yield now, and then its queue's turn is over.
            self.interrupt.set(true);
        }
        over
    }

    /// The running task gives up the rest of its queue's turn.
    pub(super) fn give_up_turn(&self) {
        self.slice.give_up();
        self.gave_up.set(true);
        self.interrupt.set(true);
    }

    /// Makes this the thread's executor while `f` runs.
    ///
    /// # Panics
    ///
    /// If the thread already runs an executor.
    fn enter<R>(self: &Rc<Self>, f: impl FnOnce() -> R) -> R {
        forbid_inception();
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                let core = CURRENT.try_with(|current| current.take());
                drop(core);
            }
        }
        CURRENT.with(|current| current.replace(Some(self.clone())));
        let _leave = Leave;
        let _reactor = reactor::enter(self.reactor.clone());
        task::enter(self.tasks.id(), &**self, f)
    }

    /// Runs `future` and everything else until it completes.
    pub(super) fn run<T>(self: &Rc<Self>, future: impl Future<Output = T>) -> T {
        self.enter(|| {
            struct SetOnDrop<'a>(&'a Core);
            impl Drop for SetOnDrop<'_> {
                fn drop(&mut self) {
                    self.0.root_done.set(true);
                    self.0.interrupt.set(true);
                }
            }
            self.root_done.set(false);
            let done = SetOnDrop(self);
            let root = async move {
                // Dropped with the future: when it completes, and when it panics.
                let _done = done;
                future.await
            };
            self.current.set(0);
            let output = self.tasks.run_scoped(0, root, || self.run_loop());
            output.expect("the loop ends when the root future is gone")
        })
    }

    fn run_loop(&self) {
        let mut next_look = 0;
        loop {
            if !self.tasks.inbox_is_empty() {
                self.tasks.drain_inbox(|task| self.queues.push(task));
            }
            let mut now = self.clock.now();
            while let Some(queue) = self.queues.pick(now) {
                let budget = self
                    .queues
                    .min_latency()
                    .map_or(self.budget, |l| l.min(self.budget));
                let start = now;
                self.slice.begin(start, budget);
                self.current.set(queue.index);
                let stalls = self.stalls.borrow().clone();
                if let Some(stalls) = &stalls {
                    let budget = Duration::from_nanos(self.clock.nanos(budget));
                    stalls.enter_queue(TaskQueueHandle::new(queue.index as usize), budget);
                }
                now = self.run_slice(&queue, start, start.saturating_add(budget), &mut next_look);
                let gave_up = self.gave_up.replace(false);
                let ran = now.saturating_sub(start);
                self.counts.busy.set(self.counts.busy.get() + ran);
                self.queues.put_back(&queue, ran, now, gave_up);
                if let Some(stalls) = stalls {
                    let handle = TaskQueueHandle::new(queue.index as usize);
                    stalls.leave_queue(handle, &queue.name);
                }
                if self.interrupt.replace(false) || now >= next_look {
                    break;
                }
            }
            if self.root_done.get() {
                // What tasks queued so far (closes, sends) goes out before the caller goes on.
                self.reactor.flush();
                return;
            }
            let idle = !self.queues.any_active();
            self.reactor.turn(idle, || !self.tasks.inbox_is_empty());
            next_look = self.clock.now().saturating_add(self.look);
        }
    }

    /// Runs tasks of `queue` until none is runnable or the slice is over. Returns the time.
    fn run_slice(
        &self,
        queue: &TaskQueue,
        start: Ticks,
        end: Ticks,
        next_look: &mut Ticks,
    ) -> Ticks {
        self.counts.slices.set(self.counts.slices.get() + 1);
        let mut now = start;
        let mut polls = 0u32;
        let mut until_look = POLLS_PER_LOOK;
        while let Some(task) = queue.run.pop_front() {
            match task.run() {
                RunOutcome::Pending | RunOutcome::Done | RunOutcome::Cancelled => {}
                RunOutcome::Yielded(task) => queue.run.push_back(task),
                RunOutcome::Panicked(payload) => self.unobserved_panic(payload),
            }
            polls += 1;
            if self.interrupt.get() {
                break;
            }
            if self.reactor.has_messages() && !queue.run.is_empty() {
                // A sleeping peer waits for its wake-up: do not make it wait for our other tasks.
                self.reactor.flush();
            }
            until_look -= 1;
            if until_look > 0 {
                continue;
            }
            let last = std::mem::replace(&mut now, self.clock.now());
            if now >= end {
                break;
            }
            if now >= *next_look {
                if self.reactor_wants_turn() {
                    break;
                }
                *next_look = now.saturating_add(self.look);
            }
            let spent = now.saturating_sub(last);
            until_look = if spent > self.long_poll * u64::from(POLLS_PER_LOOK) {
                1
            } else {
                POLLS_PER_LOOK
            };
        }
        self.counts
            .polls
            .set(self.counts.polls.get() + u64::from(polls));
        if until_look == POLLS_PER_LOOK && polls > 0 {
            now
        } else {
            self.clock.now()
        }
    }

    fn reactor_wants_turn(&self) -> bool {
        !self.tasks.inbox_is_empty() || self.reactor.wants_turn() || self.reactor.timer_is_due()
    }

    /// Drops every task, then shuts the reactor down. Panics of destructors are reported, not passed
    /// on.
    pub(super) fn shutdown(self: &Rc<Self>) {
        let close = || {
            let report = self.tasks.close();
            self.queues.clear();
            if report.panics > 0 {
                tracing::error!(
                    target: "glommio::executor",
                    executor = self.id(),
                    panics = report.panics,
                    first = report.first_panic.as_deref().map(panic_message),
                    "destructors of tasks panicked while their executor was dropped"
                );
            }
            // A payload's own destructor may panic.
            if let Some(payload) = report.first_panic {
                task::discard(payload);
            }
            self.reactor.shutdown();
        };
        // Destructors find their executor, unless it is dropped inside another one.
        if with_current(|current| current.is_none()) {
            self.enter(close);
        } else {
            close();
        }
    }
}

/// The text of a panic.
fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a value that is not text"
    }
}

impl Schedule for Core {
    #[inline]
    fn schedule(&self, task: Runnable) {
        self.queues.push(task);
    }

    fn unobserved_panic(&self, payload: Box<dyn Any + Send>) {
        tracing::error!(
            target: "glommio::executor",
            executor = self.id(),
            queue = self.current.get(),
            panic = panic_message(&*payload),
            "a detached task panicked; the executor goes on"
        );
        task::discard(payload);
    }
}
