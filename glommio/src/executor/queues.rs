//! The task queues of an executor, and whose turn it is for how long.
//!
//! [`Waiting`] has the order. A slice is as long as the executor lets a task run (its preempt
//! timer) for a queue that has the CPU to itself. While queues compete, all of them get a turn about
//! once per *round*, and a slice is the queue's part of it by its shares.
//!
//! A queue that runs alone owes nothing to one that wakes up later: time passes for the sleepers too.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use super::{
    queue::{Entitlement, TaskQueue, TaskQueueHandle},
    shares::{Latency, Shares},
    waiting::{Entry, Waiting},
};
use crate::{
    error::{GlommioError, QueueErrorKind, Result},
    sys::clock::{Clock, Ticks},
    task::{RunQueue, Runnable},
};

/// While queues compete, each gets a turn about this often, or more often where latency matters.
const ROUND_NS: u64 = 25_000_000;

/// No slice is planned shorter than this: changing queues costs a tenth of a microsecond.
const GRAIN_NS: u64 = 20_000;

/// All queues of an executor.
pub(super) struct QueueSet {
    clock: Clock,
    /// The longest slice.
    budget: Ticks,
    round: Ticks,
    grain: Ticks,
    slots: RefCell<Slots>,
    waiting: RefCell<Waiting>,
    /// How many queues have each patience.
    patiences: RefCell<BTreeMap<Ticks, usize>>,
    min_patience: Cell<Option<Ticks>>,
    /// The queue that runs while no other waits, and since when.
    alone: Cell<Option<(Rc<TaskQueue>, Ticks)>>,
    /// Since when other queues have waited while this one ran.
    contended_since: Cell<Option<Ticks>>,
    /// The last time that was told.
    seen_at: Cell<Ticks>,
}

#[derive(Default)]
struct Slots {
    queues: Vec<Option<Rc<TaskQueue>>>,
    /// Vacant slots, and some that are none any more.
    vacant: Vec<u32>,
    next_index: usize,
}

impl Slots {
    fn occupy(&mut self, make: impl FnOnce(TaskQueueHandle) -> TaskQueue) -> Rc<TaskQueue> {
        let slot = loop {
            match self.vacant.pop() {
                None => {
                    self.queues.push(None);
                    break self.queues.len() - 1;
                }
                Some(slot) if matches!(self.queues.get(slot as usize), Some(None)) => {
                    break slot as usize;
                }
                Some(_) => {}
            }
        };
        let index = self.next_index;
        self.next_index += 1;
        let slot_number = u32::try_from(slot).expect("fewer than 2^32 task queues at a time");
        let queue = Rc::new(make(TaskQueueHandle::new(index, slot_number)));
        self.queues[slot] = Some(queue.clone());
        queue
    }

    fn get(&self, handle: TaskQueueHandle) -> Option<&Rc<TaskQueue>> {
        let queue = self.queues.get(handle.slot() as usize)?.as_ref()?;
        // The slot may have another tenant by now.
        (queue.handle == handle).then_some(queue)
    }

    /// Returns the queue, and the number of slots if memory should be given back.
    fn vacate(&mut self, slot: u32) -> (Option<Rc<TaskQueue>>, Option<usize>) {
        let removed = self.queues[slot as usize].take();
        self.vacant.push(slot);
        while let Some(None) = self.queues.last() {
            self.queues.pop();
        }
        let slots = self.queues.len();
        if self.queues.capacity() < 64 || self.queues.capacity() / 4 < slots {
            return (removed, None);
        }
        self.vacant.retain(|vacant| (*vacant as usize) < slots);
        self.vacant.shrink_to(slots);
        self.queues.shrink_to(slots);
        (removed, Some(slots))
    }
}

impl QueueSet {
    /// An empty set; no slice is longer than `budget`.
    pub(super) fn new(clock: Clock, budget: Duration) -> Self {
        let budget = clock.ticks(budget);
        QueueSet {
            clock,
            budget,
            round: clock.ticks(Duration::from_nanos(ROUND_NS)).min(budget),
            grain: clock.ticks(Duration::from_nanos(GRAIN_NS)),
            slots: RefCell::default(),
            waiting: RefCell::new(Waiting::new()),
            patiences: RefCell::default(),
            min_patience: Cell::new(None),
            alone: Cell::new(None),
            contended_since: Cell::new(None),
            seen_at: Cell::new(clock.now()),
        }
    }

    /// Adds a queue.
    pub(super) fn create(&self, shares: Shares, latency: Latency, name: &str) -> TaskQueueHandle {
        let patience = match latency {
            // Half of the time until its wake-up is noticed, half in the line.
            Latency::Matters(bound) => Some(self.clock.ticks(bound / 2)),
            Latency::NotImportant => None,
        };
        // Outside the borrow: a manager is code of others, and may make a queue.
        let entitlement = Entitlement::new(shares, name, &self.clock);
        let queue = self.slots.borrow_mut().occupy(|handle| TaskQueue {
            handle,
            name: name.to_owned(),
            run: RunQueue::new(),
            active: Cell::new(false),
            patience,
            runtime: Cell::new(0),
            selected: Cell::new(0),
            entitlement,
        });
        self.waiting.borrow_mut().open(queue.slot(), patience);
        if let Some(patience) = patience {
            let mut patiences = self.patiences.borrow_mut();
            *patiences.entry(patience).or_default() += 1;
            self.min_patience.set(patiences.keys().next().copied());
        }
        queue.handle
    }

    /// Removes a queue that has no tasks. `has_tasks` is asked, by slot, if it is not active.
    pub(super) fn remove(
        &self,
        handle: TaskQueueHandle,
        has_tasks: impl FnOnce(u32) -> bool,
    ) -> Result<(), ()> {
        let queue = self.get(handle)?;
        // The first queue is where tasks go that name none.
        if queue.active.get() || handle == TaskQueueHandle::default() || has_tasks(queue.slot()) {
            return Err(GlommioError::queue(
                handle.index(),
                QueueErrorKind::StillActive,
            ));
        }
        let (removed, slots) = self.slots.borrow_mut().vacate(queue.slot());
        if let Some(slots) = slots {
            self.waiting.borrow_mut().shrink_to(slots);
        }
        if let Some(patience) = queue.patience {
            let mut patiences = self.patiences.borrow_mut();
            if let Some(count) = patiences.get_mut(&patience) {
                *count -= 1;
                if *count == 0 {
                    patiences.remove(&patience);
                }
            }
            self.min_patience.set(patiences.keys().next().copied());
        }
        // Its manager, which is code of others, goes with it.
        drop((queue, removed));
        Ok(())
    }

    /// The queue of a handle.
    pub(super) fn get(&self, handle: TaskQueueHandle) -> Result<Rc<TaskQueue>, ()> {
        let queue = self.slots.borrow().get(handle).cloned();
        queue.ok_or_else(|| GlommioError::queue(handle.index(), QueueErrorKind::NotFound))
    }

    /// The handle of the queue in a slot.
    pub(super) fn handle_of(&self, slot: u32) -> Option<TaskQueueHandle> {
        let slots = self.slots.borrow();
        Some(slots.queues.get(slot as usize)?.as_ref()?.handle)
    }

    /// Every queue, in the order in which they were made.
    pub(super) fn all(&self) -> Vec<Rc<TaskQueue>> {
        let mut all: Vec<Rc<TaskQueue>> = self
            .slots
            .borrow()
            .queues
            .iter()
            .flatten()
            .cloned()
            .collect();
        all.sort_unstable_by_key(|queue| queue.handle.index());
        all
    }

    /// Whether the latency of any queue matters.
    #[inline]
    pub(super) fn latency_matters(&self) -> bool {
        self.min_patience.get().is_some()
    }

    /// The longest that any queue may run: as the executor was told, or less where latency matters.
    #[inline]
    pub(super) fn budget(&self) -> Ticks {
        match self.min_patience.get() {
            None => self.budget,
            Some(patience) => self.budget.min(patience.max(self.grain)),
        }
    }

    /// How long `queue` may run from `now` on while others wait.
    pub(super) fn contended_slice(&self, queue: &TaskQueue, now: Ticks) -> Ticks {
        let waiting = self.waiting.borrow();
        let budget = self.budget();
        let own = queue.current_shares() as u64;
        // The round is far below 2^54 ticks.
        let part = self.round.min(budget) * own / (own + waiting.shares());
        let slice = match waiting.urgent_in(now) {
            None => part,
            Some(left) => part.min(left),
        };
        slice.max(self.grain).min(budget)
    }

    /// Whether any queue waits for its turn.
    #[inline]
    pub(super) fn any_waiting(&self) -> bool {
        self.waiting.borrow().len() > 0
    }

    /// Queues a runnable task. Says whether the queue that runs has just got a competitor, and so
    /// should have its slice cut.
    #[inline]
    #[must_use]
    pub(super) fn push(&self, task: Runnable) -> bool {
        let slots = self.slots.borrow();
        let Some(Some(queue)) = slots.queues.get(task.queue() as usize) else {
            // The husk of a task whose queue was removed: its future is gone.
            drop(slots);
            drop(task);
            return false;
        };
        queue.run.push_back(task);
        !queue.active.get() && self.activate(queue)
    }

    fn activate(&self, queue: &TaskQueue) -> bool {
        queue.active.set(true);
        let alone = self.alone.take();
        let now = if alone.is_some() || queue.patience.is_some() {
            self.clock.now()
        } else {
            // Good enough to tell who has waited for rounds.
            self.seen_at.get()
        };
        let contended = match &alone {
            Some((running, since)) => {
                let cost = running.entitlement.cost(now.saturating_sub(*since));
                self.waiting.borrow_mut().charge_alone(running.slot(), cost);
                self.contended_since.set(Some(now));
                true
            }
            None => false,
        };
        self.enter(queue, now, Entry::Woken);
        contended
    }

    fn enter(&self, queue: &TaskQueue, now: Ticks, entry: Entry) {
        let shares = queue.current_shares() as u64;
        self.waiting
            .borrow_mut()
            .enter(queue.slot(), shares, now, entry);
    }

    /// Takes the queue whose turn it is, and says how long its slice is. After the slice it must be
    /// [charged](Self::charge) and [put back](Self::put_back).
    pub(super) fn pick(&self, now: Ticks) -> Option<(Rc<TaskQueue>, Ticks)> {
        self.seen_at.set(now);
        let mut waiting = self.waiting.borrow_mut();
        let slot = waiting.pick(now, self.round.min(self.budget()))?;
        let contended = waiting.len() > 0;
        drop(waiting);
        let queue = self.slots.borrow().queues[slot as usize].clone()?;
        queue.selected.set(queue.selected.get() + 1);
        if !contended {
            self.contended_since.set(None);
            self.alone.set(Some((queue.clone(), now)));
            return Some((queue, self.budget()));
        }
        self.contended_since.set(Some(now));
        let slice = self.contended_slice(&queue, now);
        Some((queue, slice))
    }

    /// Whether others wait while a queue runs.
    #[inline]
    pub(super) fn is_contended(&self) -> bool {
        self.contended_since.get().is_some()
    }

    /// Ends the slice of a queue that used `ran` ticks of the CPU, and asks the manager of its
    /// shares if it is time.
    pub(super) fn charge(&self, queue: &TaskQueue, ran: Ticks, now: Ticks) {
        self.seen_at.set(now);
        self.alone.set(None);
        queue.runtime.set(queue.runtime.get().saturating_add(ran));
        let mut waiting = self.waiting.borrow_mut();
        match self.contended_since.take() {
            Some(since) => {
                let contended = now.wrapping_sub(since).min(ran);
                waiting.charge(queue.slot(), queue.entitlement.cost(contended));
            }
            None => waiting.charge_alone(queue.slot(), queue.entitlement.cost(ran)),
        }
        drop(waiting);
        queue.entitlement.adjust(&queue.name, now, &self.clock);
    }

    /// Lets a queue that was charged wait for its next turn, if it has tasks. With `rest`, every
    /// other runnable queue goes first.
    pub(super) fn put_back(&self, queue: &TaskQueue, now: Ticks, rest: bool) {
        if queue.run.is_empty() {
            queue.active.set(false);
            return;
        }
        let entry = if rest { Entry::Resting } else { Entry::Again };
        self.enter(queue, now, entry);
    }

    /// Forgets all runnable tasks (tear-down: they are husks).
    pub(super) fn clear(&self) {
        for queue in self.all() {
            while let Some(task) = queue.run.pop_front() {
                drop(task);
            }
        }
    }
}
