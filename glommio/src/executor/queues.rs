//! The task queues of an executor, and whose turn it is.
//!
//! Queues that have runnable tasks stand in a heap ordered by *virtual run time*: CPU time divided
//! by shares. The one that has had least for its shares runs next, which divides the time in the
//! ratio of the shares. A queue that wakes up starts at the current floor, so sleeping earns no
//! credit. A queue whose latency matters stands in a second heap too, ordered by the time at which
//! it becomes urgent; an urgent queue goes first. Picking is O(log n).
//!
//! An entry of a heap is valid while its ticket is the queue's current one; stale entries are thrown
//! away when they come up.

use std::{
    cell::{Cell, RefCell},
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    fmt,
    rc::Rc,
    time::Duration,
};

use super::shares::{Latency, Shares};
use crate::{
    error::{GlommioError, QueueErrorKind, Result},
    sys::clock::{Clock, Ticks},
    task::{RunQueue, Runnable},
};

/// Names a task queue of an executor.
///
/// The default is the queue that every executor starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskQueueHandle {
    index: usize,
}

impl TaskQueueHandle {
    pub(super) fn new(index: usize) -> Self {
        TaskQueueHandle { index }
    }

    /// The number of the queue, which is never reused within its executor.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// The index.
impl fmt::Display for TaskQueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// One task queue.
pub(super) struct TaskQueue {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) run: RunQueue,
    shares: Shares,
    current_shares: Cell<usize>,
    /// Virtual ticks per 1,024 real ones.
    weight: Cell<u64>,
    adjust_at: Cell<Ticks>,
    /// How long the queue may wait before it becomes urgent.
    patience: Option<Ticks>,
    vruntime: Cell<u64>,
    /// In a heap, or running.
    active: Cell<bool>,
    ticket: Cell<u64>,
    pub(super) runtime: Cell<Ticks>,
    pub(super) selected: Cell<u64>,
}

impl TaskQueue {
    pub(super) fn current_shares(&self) -> usize {
        self.current_shares.get()
    }

    fn set_shares(&self, shares: usize) {
        self.current_shares.set(shares);
        // With 1,000 shares virtual time is about real time.
        self.weight.set(1000 * 1024 / shares as u64);
    }

    /// Charges the queue for a slice and asks its manager, if it is time.
    fn charge(&self, ran: Ticks, now: Ticks, clock: &Clock) {
        self.runtime.set(self.runtime.get() + ran);
        let cost = (ran.saturating_mul(self.weight.get()) >> 10).max(1);
        self.vruntime.set(self.vruntime.get().saturating_add(cost));
        if let Some(period) = self.shares.period() {
            if now >= self.adjust_at.get() {
                self.adjust_at.set(now.saturating_add(clock.ticks(period)));
                self.set_shares(self.shares.current());
            }
        }
    }
}

/// A place in a heap: the smallest key first, first come first among equals.
#[derive(PartialEq, Eq)]
struct Entry {
    key: u64,
    ticket: u64,
    index: u32,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        Reverse((self.key, self.ticket)).cmp(&Reverse((other.key, other.ticket)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All queues of an executor.
pub(super) struct QueueSet {
    clock: Clock,
    /// By index; removed queues leave a hole, because indices are not reused.
    queues: RefCell<Vec<Option<Rc<TaskQueue>>>>,
    waiting: RefCell<BinaryHeap<Entry>>,
    urgent: RefCell<BinaryHeap<Entry>>,
    /// Queues in the heaps.
    active: Cell<usize>,
    /// The virtual run time of the queue picked last: where a waking queue starts.
    floor: Cell<u64>,
    next_ticket: Cell<u64>,
    /// The shortest latency of any queue.
    min_latency: Cell<Option<Ticks>>,
}

impl QueueSet {
    pub(super) fn new(clock: Clock) -> Self {
        QueueSet {
            clock,
            queues: RefCell::default(),
            waiting: RefCell::default(),
            urgent: RefCell::default(),
            active: Cell::new(0),
            floor: Cell::new(0),
            next_ticket: Cell::new(0),
            min_latency: Cell::new(None),
        }
    }

    /// Adds a queue.
    pub(super) fn create(&self, shares: Shares, latency: Latency, name: &str) -> TaskQueueHandle {
        let index = self.queues.borrow().len();
        let patience = match latency {
            Latency::Matters(bound) => Some(self.clock.ticks(bound / 2)),
            Latency::NotImportant => None,
        };
        let now = self.clock.now();
        let period = shares.period().unwrap_or(Duration::ZERO);
        let queue = TaskQueue {
            index: u32::try_from(index).expect("fewer than 2^32 task queues"),
            name: name.to_owned(),
            run: RunQueue::new(),
            current_shares: Cell::new(1),
            weight: Cell::new(0),
            adjust_at: Cell::new(now.saturating_add(self.clock.ticks(period))),
            patience,
            vruntime: Cell::new(0),
            active: Cell::new(false),
            ticket: Cell::new(u64::MAX),
            runtime: Cell::new(0),
            selected: Cell::new(0),
            shares,
        };
        // Asked outside the borrow: a manager is code of others.
        queue.set_shares(queue.shares.current());
        self.queues.borrow_mut().push(Some(Rc::new(queue)));
        self.find_min_latency();
        TaskQueueHandle::new(index)
    }

    /// Removes a queue that has no tasks. `has_tasks` is asked if it is not active.
    pub(super) fn remove(
        &self,
        handle: TaskQueueHandle,
        has_tasks: impl FnOnce(u32) -> bool,
    ) -> Result<(), ()> {
        let queue = self.get(handle)?;
        // The first queue is where tasks go that name none.
        if queue.active.get() || handle.index == 0 || has_tasks(queue.index) {
            return Err(GlommioError::queue(
                handle.index,
                QueueErrorKind::StillActive,
            ));
        }
        let removed = self.queues.borrow_mut()[handle.index].take();
        drop((queue, removed));
        self.find_min_latency();
        Ok(())
    }

    /// The queue of a handle.
    pub(super) fn get(&self, handle: TaskQueueHandle) -> Result<Rc<TaskQueue>, ()> {
        let queues = self.queues.borrow();
        match queues.get(handle.index) {
            Some(Some(queue)) => Ok(queue.clone()),
            _ => Err(GlommioError::queue(handle.index, QueueErrorKind::NotFound)),
        }
    }

    /// Every queue.
    pub(super) fn all(&self) -> Vec<Rc<TaskQueue>> {
        self.queues.borrow().iter().flatten().cloned().collect()
    }

    fn find_min_latency(&self) {
        let queues = self.queues.borrow();
        let patiences = queues.iter().flatten().filter_map(|queue| queue.patience);
        self.min_latency
            .set(patiences.min().map(|p| p.saturating_mul(2)));
    }

    /// The shortest latency of any queue, in ticks.
    #[inline]
    pub(super) fn min_latency(&self) -> Option<Ticks> {
        self.min_latency.get()
    }

    /// Whether any queue has runnable tasks.
    #[inline]
    pub(super) fn any_active(&self) -> bool {
        self.active.get() > 0
    }

    /// Queues a runnable task.
    #[inline]
    pub(super) fn push(&self, task: Runnable) {
        let queues = self.queues.borrow();
        let Some(Some(queue)) = queues.get(task.queue() as usize) else {
            // The husk of a task whose queue was removed: its future is gone.
            drop(queues);
            drop(task);
            return;
        };
        queue.run.push_back(task);
        if !queue.active.get() {
            self.activate(queue);
        }
    }

    fn activate(&self, queue: &TaskQueue) {
        queue.active.set(true);
        queue
            .vruntime
            .set(queue.vruntime.get().max(self.floor.get()));
        self.enqueue(queue, queue.vruntime.get());
    }

    fn enqueue(&self, queue: &TaskQueue, key: u64) {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        queue.ticket.set(ticket);
        let index = queue.index;
        self.waiting.borrow_mut().push(Entry { key, ticket, index });
        if let Some(patience) = queue.patience {
            let key = self.clock.now().saturating_add(patience);
            self.urgent.borrow_mut().push(Entry { key, ticket, index });
        }
        self.active.set(self.active.get() + 1);
    }

    /// Takes the queue whose turn it is. It must be given back with [`QueueSet::put_back`].
    pub(super) fn pick(&self, now: Ticks) -> Option<Rc<TaskQueue>> {
        if self.active.get() == 0 {
            return None;
        }
        let queue = self.pick_urgent(now).or_else(|| self.pick_waiting())?;
        self.active.set(self.active.get() - 1);
        queue.ticket.set(u64::MAX);
        queue.selected.set(queue.selected.get() + 1);
        self.floor.set(self.floor.get().max(queue.vruntime.get()));
        Some(queue)
    }

    fn pick_urgent(&self, now: Ticks) -> Option<Rc<TaskQueue>> {
        let mut urgent = self.urgent.borrow_mut();
        while let Some(entry) = urgent.peek() {
            match self.holder(entry) {
                Some(_) if entry.key > now => return None,
                Some(queue) => {
                    urgent.pop();
                    return Some(queue);
                }
                None => drop(urgent.pop()),
            }
        }
        None
    }

    fn pick_waiting(&self) -> Option<Rc<TaskQueue>> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(entry) = waiting.pop() {
            if let Some(queue) = self.holder(&entry) {
                return Some(queue);
            }
        }
        None
    }

    /// The queue of an entry, if the entry is not stale.
    fn holder(&self, entry: &Entry) -> Option<Rc<TaskQueue>> {
        let queues = self.queues.borrow();
        let queue = queues.get(entry.index as usize)?.as_ref()?;
        (queue.ticket.get() == entry.ticket).then(|| queue.clone())
    }

    /// Ends the turn of a queue that ran for `ran` ticks. With `gave_up`, every other runnable queue
    /// goes first.
    pub(super) fn put_back(&self, queue: &TaskQueue, ran: Ticks, now: Ticks, gave_up: bool) {
        queue.charge(ran, now, &self.clock);
        if queue.run.is_empty() {
            queue.active.set(false);
            return;
        }
        let mut key = queue.vruntime.get();
        if gave_up {
            let last = self.waiting.borrow().iter().map(|entry| entry.key).max();
            key = key.max(last.unwrap_or(0));
        }
        self.enqueue(queue, key);
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
