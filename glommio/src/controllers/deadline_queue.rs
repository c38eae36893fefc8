//! Work with deadlines.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use super::pace::Pace;
use crate::{
    executor::{Latency, Shares, SharesManager, TaskQueueHandle, executor, spawn_local_into},
    sync::Semaphore,
};

/// The least shares while a [`PriorityBump`] exists.
const BUMPED_SHARES: usize = 250;

/// Deadlines beyond this count as never.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 100);

/// The part of its time that a source is planned to take. The rest is for what comes in between.
const PLANNED: f64 = 0.95;

/// Work that goes into a [`DeadlineQueue`]: what to do, by when, and how far it is.
///
/// [`total_units`](Self::total_units) and [`processed_units`](Self::processed_units) are asked again
/// and again, on the executor's thread. Any unit will do (bytes, elements, files) as long as it is the
/// same for all sources of a queue.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, time::Duration};
/// use glommio::{controllers::DeadlineSource, yield_if_needed};
///
/// struct Sum {
///     numbers: Vec<u64>,
///     done: Cell<u64>,
/// }
///
/// impl DeadlineSource for Sum {
///     type Output = u64;
///
///     fn expected_duration(&self) -> Duration {
///         Duration::from_secs(10)
///     }
///
///     fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = u64> + 'static>> {
///         Box::pin(async move {
///             let mut sum = 0;
///             for number in &self.numbers {
///                 sum += number;
///                 self.done.set(self.done.get() + 1);
///                 yield_if_needed().await;
///             }
///             sum
///         })
///     }
///
///     fn total_units(&self) -> u64 {
///         self.numbers.len() as u64
///     }
///
///     fn processed_units(&self) -> u64 {
///         self.done.get()
///     }
/// }
/// ```
pub trait DeadlineSource {
    /// What the action results in.
    type Output;

    /// How long after it was queued the work should be done. Asked once, when it is queued.
    fn expected_duration(&self) -> Duration;

    /// The work itself. Called when its turn has come.
    fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = Self::Output> + 'static>>;

    /// How much there is to do, as far as that is known. It may grow: a buffer that is still being
    /// filled can be queued already.
    fn total_units(&self) -> u64;

    /// How much of that is done.
    fn processed_units(&self) -> u64;
}

/// Whether a controller decides about the shares.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::{LocalExecutor, controllers::{ControllerStatus, DeadlineQueue}};
///
/// LocalExecutor::default().run(async {
///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
///     assert!(matches!(queue.status(), ControllerStatus::Enabled));
///     queue.disable(100);
///     assert!(matches!(queue.status(), ControllerStatus::Disabled(100)));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerStatus {
    /// No: the shares are fixed to this number.
    Disabled(usize),
    /// Yes.
    Enabled,
}

/// A task queue for work with deadlines, which gets no more shares than the work needs to be done in
/// time.
///
/// A background job (a flush, a compaction) that runs at full speed takes the CPU from what matters
/// more; one that runs too slowly is never done. Which shares are right depends on the job and on
/// what else there is to do, and changes all the time. This queue measures how fast its work is done,
/// compares that with how fast it has to be, and adjusts its shares, between 1 and 1000. Work that
/// cannot make it gets 1000.
///
/// Sources are worked off one after the other, in the order in which they were pushed; each is
/// planned to end when 95 % of its time are over.
///
/// For good results:
///
/// - Deadlines should be at least twenty adjustment periods away: it takes some ten of them until the
///   shares are about right.
/// - The action has to yield ([`yield_if_needed`](crate::yield_if_needed)), and to report its progress
///   several times per adjustment period.
/// - Shares divide CPU time. Work that mostly waits for a slow device is not sped up by them.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, time::Duration};
/// use glommio::{LocalExecutor, controllers::{DeadlineQueue, DeadlineSource}, yield_if_needed};
///
/// struct Flush {
///     blocks: u64,
///     flushed: Cell<u64>,
/// }
///
/// impl DeadlineSource for Flush {
///     type Output = ();
///
///     fn expected_duration(&self) -> Duration {
///         Duration::from_secs(60)
///     }
///
///     fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()> + 'static>> {
///         Box::pin(async move {
///             while self.flushed.get() < self.blocks {
///                 self.flushed.set(self.flushed.get() + 1);
///                 yield_if_needed().await;
///             }
///         })
///     }
///
///     fn total_units(&self) -> u64 {
///         self.blocks
///     }
///
///     fn processed_units(&self) -> u64 {
///         self.flushed.get()
///     }
/// }
///
/// LocalExecutor::default().run(async {
///     let queue = DeadlineQueue::new("flush", Duration::from_millis(250));
///     let flush = Rc::new(Flush { blocks: 100, flushed: Cell::new(0) });
///     queue.push_work(flush.clone()).await?;
///     assert_eq!(flush.flushed.get(), 100);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct DeadlineQueue<T> {
    control: Rc<Control<T>>,
    /// One source at a time, first come first served.
    turns: Rc<Semaphore>,
    handle: TaskQueueHandle,
}

impl<T: 'static> DeadlineQueue<T> {
    /// Adds a task queue for work with deadlines to the running executor.
    ///
    /// The shares are adjusted about every `adjustment_period`, while there is work. The task queue
    /// stays when this value is dropped.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, controllers::DeadlineQueue, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
    ///     let stats = executor().task_queue_stats(queue.task_queue()).unwrap();
    ///     assert_eq!(stats.current_shares(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn new(name: &'static str, adjustment_period: Duration) -> DeadlineQueue<T> {
        let control = Rc::new(Control::new(adjustment_period));
        let shares = Shares::Dynamic(control.clone());
        DeadlineQueue {
            handle: executor().create_task_queue(shares, Latency::NotImportant, name),
            turns: Rc::new(Semaphore::new(1)),
            control,
        }
    }

    /// The task queue in which the work is done.
    ///
    /// Tasks may be spawned into it too. They have part in its shares, not in their calculation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, controllers::DeadlineQueue, executor, spawn_local_into};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
    ///     let which = async { executor().current_task_queue() };
    ///     let task = spawn_local_into(which, queue.task_queue()).unwrap();
    ///     assert_eq!(task.await, queue.task_queue());
    /// });
    /// ```
    pub fn task_queue(&self) -> TaskQueueHandle {
        self.handle
    }

    /// Queues work, waits until it is done, and gives its output.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the deadline (the present time and the source's expected duration) is before
    /// that of a source in the queue: sources are worked off in order, so they have to come by
    /// deadline. `NotFound` if the task queue was removed.
    ///
    /// # Panics
    ///
    /// With the panic of the source's action. Outside of the queue's executor.
    ///
    /// # Cancel safety
    ///
    /// The work is queued by the first poll. Dropping the future takes it out of the queue, and stops it
    /// at its next scheduling point if it has begun.
    ///
    /// # Examples
    ///
    /// See [`DeadlineQueue`].
    pub async fn push_work(&self, source: Rc<dyn DeadlineSource<Output = T>>) -> io::Result<T> {
        let place = Control::admit(&self.control, source.clone(), Instant::now())?;
        let turns = self.turns.clone();
        let work = async move {
            let _place = place;
            // Nobody closes the semaphore.
            let _turn = turns.acquire_permit(1).await;
            source.action().await
        };
        Ok(spawn_local_into(work, self.handle)?.await)
    }

    /// Fixes the shares to a number, clamped to 1..=1000, until [`enable`](Self::enable) is called.
    ///
    /// # Examples
    ///
    /// See [`ControllerStatus`].
    pub fn disable(&self, shares: usize) {
        self.control.status.set(ControllerStatus::Disabled(shares));
    }

    /// Lets the controller decide about the shares again, beginning with those that it had.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, controllers::{ControllerStatus, DeadlineQueue}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
    ///     queue.disable(100);
    ///     queue.enable();
    ///     assert_eq!(queue.status(), ControllerStatus::Enabled);
    /// });
    /// ```
    pub fn enable(&self) {
        if self.control.status.replace(ControllerStatus::Enabled) != ControllerStatus::Enabled {
            self.control.restart(Instant::now());
        }
    }

    /// Whether the controller decides about the shares.
    ///
    /// # Examples
    ///
    /// See [`ControllerStatus`].
    pub fn status(&self) -> ControllerStatus {
        self.control.status.get()
    }

    /// Lets the queue have at least 250 shares, whatever the controller says or was told, as long as the
    /// returned value lives: because a user waits for it, because the program is to end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, controllers::DeadlineQueue};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
    ///     let hurry = queue.bump_priority();
    ///     // … at least 250 shares …
    ///     drop(hurry);
    /// });
    /// ```
    pub fn bump_priority(&self) -> PriorityBump<T> {
        PriorityBump::new(self.control.bumps.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for DeadlineQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineQueue")
            .field("task_queue", &self.handle)
            .field("status", &self.control.status.get())
            .field("sources", &self.control.items.borrow().len())
            .finish()
    }
}

/// Keeps the shares of a [`DeadlineQueue`] at 250 or more while it lives; made by
/// [`bump_priority`](DeadlineQueue::bump_priority).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::{LocalExecutor, controllers::{DeadlineQueue, PriorityBump}};
///
/// LocalExecutor::default().run(async {
///     let queue: DeadlineQueue<()> = DeadlineQueue::new("flush", Duration::from_millis(250));
///     let hurry: PriorityBump<()> = queue.bump_priority();
///     drop(hurry);
/// });
/// ```
#[derive(Debug)]
#[must_use = "the priority is bumped only as long as this lives"]
pub struct PriorityBump<T> {
    bumps: Rc<Cell<usize>>,
    of: PhantomData<T>,
}

impl<T> PriorityBump<T> {
    fn new(bumps: Rc<Cell<usize>>) -> Self {
        bumps.set(bumps.get() + 1);
        PriorityBump {
            bumps,
            of: PhantomData,
        }
    }
}

impl<T> Drop for PriorityBump<T> {
    fn drop(&mut self) {
        self.bumps.set(self.bumps.get() - 1);
    }
}

/// A source in the queue, waiting or being worked off.
struct Item<T> {
    number: u64,
    deadline: Instant,
    /// When it is planned to be done.
    target: Instant,
    source: Rc<dyn DeadlineSource<Output = T>>,
}

impl<T> Clone for Item<T> {
    fn clone(&self) -> Self {
        Item {
            source: self.source.clone(),
            ..*self
        }
    }
}

/// What decides about the shares.
struct Control<T> {
    period: Duration,
    items: RefCell<VecDeque<Item<T>>>,
    pushed: Cell<u64>,
    /// What sources that are gone had processed.
    processed_before: Cell<u64>,
    pace: RefCell<Pace>,
    measured: Cell<Measured>,
    status: Cell<ControllerStatus>,
    bumps: Rc<Cell<usize>>,
}

/// How far the work of all sources was at some time.
#[derive(Clone, Copy)]
struct Measured {
    at: Instant,
    processed: u64,
}

impl<T> Control<T> {
    fn new(period: Duration) -> Control<T> {
        Control {
            period,
            items: RefCell::default(),
            pushed: Cell::new(0),
            processed_before: Cell::new(0),
            pace: RefCell::new(Pace::new()),
            measured: Cell::new(Measured {
                at: Instant::now(),
                processed: 0,
            }),
            status: Cell::new(ControllerStatus::Enabled),
            bumps: Rc::default(),
        }
    }

    /// Puts a source into the queue, until its place is dropped.
    fn admit(
        this: &Rc<Self>,
        source: Rc<dyn DeadlineSource<Output = T>>,
        now: Instant,
    ) -> io::Result<Place<T>> {
        let time = source.expected_duration().min(FAR_FUTURE);
        let after = |time| now.checked_add(time).unwrap_or(now);
        let (deadline, target) = (after(time), after(time.mul_f64(PLANNED)));
        let last = this.items.borrow().back().map(|item| item.deadline);
        if let Some(last) = last.filter(|last| *last > deadline) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the source is to be done {:?} before one that is in the DeadlineQueue \
                     already; push sources by deadline, or use a queue for each kind",
                    last - deadline
                ),
            ));
        }
        if last.is_none() {
            this.restart(now);
        }
        let number = this.pushed.get();
        this.pushed.set(number + 1);
        this.items.borrow_mut().push_back(Item {
            number,
            deadline,
            target,
            source,
        });
        Ok(Place {
            control: this.clone(),
            number,
        })
    }

    /// Forgets what was measured.
    fn restart(&self, now: Instant) {
        let items = self.snapshot();
        self.measured.set(Measured {
            at: now,
            processed: self.processed(&items),
        });
        self.pace.borrow_mut().start();
    }

    /// The sources, to be asked with nothing borrowed: they are code of others.
    fn snapshot(&self) -> Vec<Item<T>> {
        self.items.borrow().iter().cloned().collect()
    }

    /// Units that were ever processed.
    fn processed(&self, items: &[Item<T>]) -> u64 {
        let processed = items.iter().map(|item| item.source.processed_units());
        processed.fold(self.processed_before.get(), u64::saturating_add)
    }

    /// The shares to have now.
    fn shares_at(&self, now: Instant) -> usize {
        let shares = match self.status.get() {
            ControllerStatus::Disabled(shares) => shares,
            ControllerStatus::Enabled => self.adjusted_shares(now),
        };
        if self.bumps.get() > 0 {
            shares.max(BUMPED_SHARES)
        } else {
            shares
        }
    }

    fn adjusted_shares(&self, now: Instant) -> usize {
        let items = self.snapshot();
        if items.is_empty() {
            return 1;
        }
        let last = self.measured.get();
        let time = now.saturating_duration_since(last.at);
        // Whoever else asks, be it to print it, does not make the measurements shorter.
        if time >= self.period / 2 && !time.is_zero() {
            let processed = self.processed(&items);
            let done = processed.saturating_sub(last.processed);
            let needed = needed_speed(&items, now);
            self.measured.set(Measured { at: now, processed });
            self.pace.borrow_mut().adjust(done, time, needed);
        }
        self.pace.borrow().shares()
    }
}

/// The units per second with which every source would be done on its target: the first so many by the
/// target of the last of them. Infinite if a target has passed.
fn needed_speed<T>(items: &[Item<T>], now: Instant) -> f64 {
    let (mut units, mut needed) = (0.0, 0.0_f64);
    for item in items {
        let left = item.source.total_units();
        units += left.saturating_sub(item.source.processed_units()) as f64;
        if units > 0.0 {
            let time = item.target.saturating_duration_since(now);
            needed = needed.max(units / time.as_secs_f64());
        }
    }
    needed
}

impl<T> SharesManager for Control<T> {
    fn shares(&self) -> usize {
        self.shares_at(Instant::now())
    }

    fn adjustment_period(&self) -> Duration {
        self.period
    }
}

/// A source's place in the queue. Dropping it takes the source out.
struct Place<T> {
    control: Rc<Control<T>>,
    number: u64,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let control = &self.control;
        let mut items = control.items.borrow_mut();
        let place = items.iter().position(|item| item.number == self.number);
        let item = place.and_then(|place| items.remove(place));
        drop(items);
        if let Some(item) = item {
            let processed = item.source.processed_units();
            let before = &control.processed_before;
            before.set(before.get().saturating_add(processed));
        }
    }
}

#[cfg(test)]
#[path = "deadline_queue_tests.rs"]
mod tests;
