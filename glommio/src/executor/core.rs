//! The loop of an executor, and what tasks see of it.
//!
//! ```text
//! inbox -> run queues, a slice each, until the reactor wants its turn or nothing is runnable
//!       -> Reactor::turn: timers, submit, (sleep), completions
//! ```

use std::{
    cell::{Cell, RefCell},
    future::Future,
    mem::ManuallyDrop,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    blocking::{BlockingPool, ThreadSetup},
    panics::{PanicHandler, PanicOrigin, Unobserved},
    placement::PoolPlacement,
    preempt::Slice,
    queue::{TaskQueue, TaskQueueHandle},
    queues::QueueSet,
    shares::{Latency, Shares},
    spans::{self, QueueSpans},
    stall::{StallDetectionHandler, StallDetector},
    stolen::StolenTime,
    stop::StopHandle,
    stop_watch::Watches,
};
use crate::{
    error::{GlommioError, Result},
    reactor::{self, Reactor, ReactorConfig},
    sys::{
        affinity,
        clock::{Clock, Ticks},
    },
    task::{self, RunOutcome, Runnable, Schedule, Tasks, join::Task},
};

/// While tasks are runnable, the reactor is looked after at least this often.
const LOOK_NS: u64 = 50_000;

/// Task polls between two looks at the clock, while polls are short.
const POLLS_PER_LOOK: u32 = 8;

/// Polls that take longer than this on average are each followed by a look at the clock.
const LONG_POLL_NS: u64 = 2_000;

/// Polls that take less than this on average are [tiny](TINY_POLLS_PER_LOOK).
const TINY_POLL_NS: u64 = 100;

/// Task polls between two looks at the clock, while polls take hardly longer than a look, and no
/// queue's latency matters.
const TINY_POLLS_PER_LOOK: u32 = 32;

/// How an executor was built.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) reactor: ReactorConfig,
    pub(super) preempt_timer: Duration,
    pub(super) blocking: PoolPlacement,
    pub(super) panic_handler: PanicHandler,
    pub(super) stop: Option<StopHandle>,
}

/// The state of one executor, shared by everything on its thread.
pub(super) struct Core {
    pub(super) name: String,
    pub(super) tasks: Tasks,
    pub(super) queues: QueueSet,
    pub(super) reactor: Rc<Reactor>,
    pub(super) blocking: BlockingPool,
    unobserved: Arc<Unobserved>,
    pub(super) clock: Clock,
    /// Usually none, and then it costs one look per slice.
    stalls: RefCell<Option<Rc<StallDetector>>>,
    spans: QueueSpans,
    slice: Slice,
    stolen: StolenTime,
    look: Ticks,
    long_poll: Ticks,
    tiny_poll: Ticks,
    /// The slot of the queue that is running, or of the one that ran last.
    current: Cell<u32>,
    /// The running task asks for something that ends the slice now.
    interrupt: Cell<bool>,
    /// The running task gave up the turn of its queue.
    gave_up: Cell<bool>,
    root_done: Cell<bool>,
    pub(super) counts: Counts,
    pub(super) started: Instant,
    pub(super) stop: StopHandle,
    pub(super) stop_watches: Watches,
}

/// What the loop has done so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) slices: Cell<u64>,
    pub(super) polls: Cell<u64>,
    pub(super) busy: Cell<Ticks>,
}

thread_local! {
    /// Never dropped, so that an executor can run in the destructor of another thread-local. Nothing
    /// is lost by that: whoever enters an executor also leaves it.
    static CURRENT: ManuallyDrop<RefCell<Option<Rc<Core>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Calls `f` with the executor that runs on this thread, if any.
#[inline]
pub(super) fn with_current<R>(f: impl FnOnce(Option<&Rc<Core>>) -> R) -> R {
    CURRENT.with(|current| f(current.borrow().as_ref()))
}

/// Whether the running task should let others run; not outside of an executor.
pub(crate) fn need_preempt() -> bool {
    with_current(|core| core.is_some_and(|core| core.need_preempt()))
}

/// The executor that runs on this thread, if any.
///
/// Where `with_current` would be given much to do: what is called with a future has it copied.
#[inline(never)]
pub(super) fn current() -> Option<Rc<Core>> {
    with_current(|core| core.cloned())
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
    pub(super) fn new(mut config: Config) -> Result<Rc<Core>, ()> {
        let stop = config.stop_handle()?;
        let tasks =
            Tasks::new().map_err(|error| GlommioError::IoError(std::io::Error::other(error)))?;
        let reactor = reactor::start(tasks.id(), config.reactor)?;
        let setups = blocking_setups(config.blocking)?;
        let unobserved = Unobserved::new(tasks.id(), &config.name, config.panic_handler);
        let unobserved = Arc::new(unobserved);
        let theirs = Arc::clone(&unobserved);
        let blocking = BlockingPool::new(
            &config.name,
            setups,
            Arc::new(move |queue, payload| theirs.report(PanicOrigin::BlockingJob, queue, payload)),
        );
        let clock = Clock::get();
        let queues = QueueSet::new(clock, config.preempt_timer);
        queues.create(Shares::default(), Latency::NotImportant, "default");
        Ok(Rc::new(Core {
            name: config.name,
            tasks,
            queues,
            reactor,
            blocking,
            unobserved,
            clock,
            stalls: RefCell::default(),
            spans: QueueSpans::default(),
            slice: Slice::new(clock),
            stolen: StolenTime::new(clock),
            look: clock.ticks(Duration::from_nanos(LOOK_NS)),
            long_poll: clock.ticks(Duration::from_nanos(LONG_POLL_NS)),
            tiny_poll: clock.ticks(Duration::from_nanos(TINY_POLL_NS)),
            current: Cell::new(0),
            interrupt: Cell::new(false),
            gave_up: Cell::new(false),
            root_done: Cell::new(false),
            counts: Counts::default(),
            started: Instant::now(),
            stop,
            stop_watches: Watches::default(),
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

    /// Removes a queue that has no tasks.
    pub(super) fn remove_queue(&self, handle: TaskQueueHandle) -> Result<(), ()> {
        let origin = self.queues.get(handle)?.origin();
        self.queues
            .remove(handle, |slot| !self.tasks.forget_queue(slot))?;
        self.reactor.forget_queue(origin);
        self.spans.forget(handle);
        Ok(())
    }

    /// The slot of the queue whose task is running.
    #[inline]
    pub(super) fn current_queue(&self) -> u32 {
        self.current.get()
    }

    /// The queue whose task is running.
    pub(super) fn current_handle(&self) -> TaskQueueHandle {
        self.handle_of(self.current.get())
    }

    /// The queue in a slot.
    fn handle_of(&self, slot: u32) -> TaskQueueHandle {
        // Between two runs the queue that ran last may have been removed.
        self.queues.handle_of(slot).unwrap_or_default()
    }

    /// Spawns a task from inside this executor.
    #[inline]
    pub(super) fn spawn<F>(&self, queue: u32, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (runnable, task) = self.tasks.prepare(queue, future);
        self.schedule(runnable);
        task
    }

    /// The queue for a task that is spawned by whoever runs on this thread: a task of this executor
    /// hands its own queue on.
    pub(super) fn spawning_queue(&self) -> u32 {
        if with_current(|core| core.is_some_and(|core| core.id() == self.id())) {
            self.current_queue()
        } else {
            0
        }
    }

    /// Whether the running task should let others run.
    #[inline]
    pub(super) fn need_preempt(&self) -> bool {
        let over = self.slice.is_over(|now| {
            // Who wakes a task from outside may be any queue's; completions and timers are looked
            // for at once where they may be a latency-sensitive queue's.
            !self.tasks.inbox_is_empty()
                || (self.queues.latency_matters()
                    && (self.reactor.wants_turn()
                        || self.reactor.timers().seem_due(now)
                        || self.reactor.polling_is_due(now)))
        });
        if over {
            // The task may yield now, and then its queue's turn is over.
            self.interrupt.set(true);
        }
        over
    }

    /// The running queue, so far alone, has got a competitor.
    #[cold]
    fn cut_slice(&self) {
        let Ok(queue) = self.queues.get(self.current_handle()) else {
            return;
        };
        let now = self.clock.now();
        self.stolen.watch(now);
        self.slice
            .limit(now, self.queues.contended_slice(&queue, now));
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
        struct Leave<'a>(&'a Core);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.spans.clear();
                let core = CURRENT.with(|current| current.take());
                drop(core);
            }
        }
        CURRENT.with(|current| current.replace(Some(self.clone())));
        let span = spans::of_executor(self.id(), &self.name);
        let _entered = span.enter();
        let _leave = Leave(self);
        let _reactor = reactor::enter(self.reactor.clone());
        self.tasks.enter(&**self, f)
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
            // If the root panics as well, that is the panic to end with.
            scopeguard::defer! { self.unobserved.clear() }
            let output = self.tasks.run_scoped(0, root, || self.run_loop());
            if let Some(reason) = self.unobserved.take_reason() {
                reason.resume();
            }
            output.expect("the loop ends when the root future is gone")
        })
    }

    fn run_loop(&self) {
        let mut now = self.clock.now();
        let mut last_look = now.wrapping_sub(self.look);
        loop {
            self.drain_inbox();
            // The queue that gave up its turn: it waits until I/O has been seen to.
            let mut resting = None;
            while let Some((queue, slice)) = self.queues.pick(now) {
                if self.reactor.has_messages() {
                    // A sleeping peer waits for its wake-up: do not make it wait for another queue.
                    self.reactor.flush();
                }
                let start = now;
                if self.queues.is_contended() {
                    self.stolen.watch(start);
                }
                self.slice.begin(start, slice);
                self.current.set(queue.slot());
                self.reactor.set_origin(queue.origin());
                let stalls = self.stalls.borrow().clone();
                if let Some(stalls) = &stalls {
                    let budget = Duration::from_nanos(self.clock.nanos(self.queues.budget()));
                    stalls.enter_queue(queue.handle, budget);
                }
                let span = self.spans.of(&queue);
                let entered = span.as_deref().map(tracing::Span::enter);
                now = self.run_slice(&queue, start, &mut last_look);
                drop(entered);
                let mut ran = now.saturating_sub(start);
                if self.queues.is_contended() {
                    ran = self.stolen.without_stolen(ran, now);
                } else {
                    self.stolen.forget();
                }
                self.counts.busy.set(self.counts.busy.get() + ran);
                self.queues.charge(&queue, ran, now);
                if let Some(stalls) = stalls {
                    stalls.leave_queue(queue.handle, &queue.name);
                }
                let interrupted = self.interrupt.replace(false);
                if self.gave_up.replace(false) {
                    resting = Some(queue);
                } else {
                    self.queues.put_back(&queue, now, false);
                }
                if interrupted || now.wrapping_sub(last_look) >= self.look {
                    break;
                }
            }
            let done = self.root_done.get() || self.unobserved.is_ending();
            if done {
                // What tasks queued so far (closes, sends) goes out before the caller goes on.
                self.reactor.flush();
            } else {
                let idle = resting.is_none() && !self.queues.any_waiting();
                if idle {
                    self.stolen.forget();
                }
                self.reactor.turn(idle, || {
                    !self.tasks.inbox_is_empty() || self.unobserved.is_ending()
                });
                now = self.clock.now();
                last_look = now;
            }
            if let Some(queue) = resting {
                self.drain_inbox();
                self.queues.put_back(&queue, now, true);
            }
            if done {
                return;
            }
        }
    }

    fn drain_inbox(&self) {
        if !self.tasks.inbox_is_empty() {
            self.tasks.drain_inbox(|task| self.schedule(task));
        }
    }

    /// Runs tasks of `queue` until none is runnable or the slice is over. Returns the time.
    fn run_slice(&self, queue: &TaskQueue, start: Ticks, last_look: &mut Ticks) -> Ticks {
        self.counts.slices.set(self.counts.slices.get() + 1);
        let mut watch = SliceWatch {
            core: self,
            queue,
            last_look,
            now: start,
            seen: 0,
            stride: POLLS_PER_LOOK,
            until_look: POLLS_PER_LOOK,
        };
        let panicked = task::take_turn(queue.slot(), &queue.run, || {
            queue.run.run(|outcome| watch.go_on(outcome))
        });
        let SliceWatch { now, seen, .. } = watch;
        let mut polls = watch.polls();
        if let Some(outcome) = panicked {
            // That ends the slice: it is rare.
            polls += 1;
            if let RunOutcome::Panicked(payload) = outcome {
                self.unobserved_panic(queue.slot(), payload);
            }
        }
        self.counts.polls.set(self.counts.polls.get() + polls);
        if polls > seen { self.clock.now() } else { now }
    }

    fn reactor_wants_turn(&self) -> bool {
        !self.tasks.inbox_is_empty()
            || self.reactor.wants_turn()
            || self.reactor.is_polling()
            || self.reactor.timers().are_due()
            || self.unobserved.is_ending()
    }

    /// Drops every task, then shuts the reactor down. Panics of destructors are reported as
    /// unobserved, not passed on; what the policy says about them comes too late.
    pub(super) fn shutdown(self: &Rc<Self>) {
        let close = || {
            self.tasks.close(|queue, payload| {
                let queue = self.handle_of(queue);
                self.unobserved.report(PanicOrigin::Task, queue, payload);
            });
            self.queues.clear();
            self.reactor.shutdown();
            self.unobserved.clear();
        };
        // Destructors find their executor, unless it is dropped inside another one.
        if with_current(|current| current.is_none()) {
            self.enter(close);
        } else {
            close();
        }
    }
}

/// What happens between two tasks of a slice.
struct SliceWatch<'a> {
    core: &'a Core,
    queue: &'a TaskQueue,
    last_look: &'a mut Ticks,
    /// As of the last look at the clock.
    now: Ticks,
    /// The polls before that.
    seen: u64,
    /// The polls from one look to the next, and those left until then.
    stride: u32,
    until_look: u32,
}

impl SliceWatch<'_> {
    /// The polls so far.
    fn polls(&self) -> u64 {
        self.seen + u64::from(self.stride - self.until_look)
    }

    /// Deals with what became of a task; says whether the slice goes on.
    #[inline(always)]
    fn go_on(&mut self, outcome: RunOutcome) -> bool {
        let SliceWatch { core, queue, .. } = *self;
        match outcome {
            RunOutcome::Pending | RunOutcome::Done | RunOutcome::Cancelled => {}
            RunOutcome::Yielded(task) => {
                if core.interrupt.get() {
                    // Whom another thread woke goes before the task that gives way.
                    core.drain_inbox();
                }
                queue.run.push_back(task);
            }
            RunOutcome::Panicked(payload) => core.unobserved_panic(queue.slot(), payload),
        }
        self.until_look -= 1;
        if core.interrupt.get() {
            return false;
        }
        if core.reactor.has_messages() && !queue.run.is_empty() {
            // A sleeping peer waits for its wake-up: do not make it wait for our other tasks.
            core.reactor.flush();
        }
        self.until_look > 0 || self.look()
    }

    /// Looks at the clock; says whether the slice goes on.
    #[inline(never)]
    fn look(&mut self) -> bool {
        let core = self.core;
        let last = std::mem::replace(&mut self.now, core.clock.now());
        self.seen = self.polls();
        let polls = std::mem::replace(&mut self.stride, POLLS_PER_LOOK);
        self.until_look = self.stride;
        if core.slice.is_past(self.now) {
            return false;
        }
        if self.now.wrapping_sub(*self.last_look) >= core.look {
            if core.reactor_wants_turn() {
                return false;
            }
            *self.last_look = self.now;
        }
        let spent = self.now.saturating_sub(last);
        if spent > core.long_poll * u64::from(polls) {
            self.stride = 1;
        } else if spent < core.tiny_poll * u64::from(polls) && !core.queues.latency_matters() {
            self.stride = TINY_POLLS_PER_LOOK;
        }
        self.until_look = self.stride;
        true
    }
}

impl Schedule for Core {
    #[inline]
    fn schedule(&self, task: Runnable) {
        if self.queues.push(task) {
            self.cut_slice();
        }
    }

    fn unobserved_panic(&self, queue: u32, payload: task::Payload) {
        let queue = self.handle_of(queue);
        self.unobserved.report(PanicOrigin::Task, queue, payload);
        if self.unobserved.is_ending() {
            self.interrupt.set(true);
        }
    }

    #[cfg(feature = "debugging")]
    fn queue_index(&self, queue: u32) -> usize {
        self.handle_of(queue).index()
    }
}
