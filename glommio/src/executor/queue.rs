//! One task queue: its tasks, its shares, its counters.

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{
    shares::{RANGE, Shares},
    waiting::Virtual,
};
use crate::{
    sys::{
        clock::{Clock, Ticks},
        ledger::Origin,
    },
    task::{RunQueue, discard},
};

/// Names a task queue of an executor.
///
/// The default is the queue that every executor starts with.
///
/// # Examples
///
/// ```
/// use glommio::{Latency, LocalExecutor, Shares, TaskQueueHandle};
///
/// let executor = LocalExecutor::default();
/// let queue = executor.create_task_queue(Shares::default(), Latency::NotImportant, "side");
/// assert_eq!(TaskQueueHandle::default().index(), 0);
/// assert_eq!((queue.index(), queue.to_string()), (1, "1".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskQueueHandle {
    index: usize,
    /// Where the executor keeps the queue. Reused, unlike the index.
    slot: u32,
}

impl TaskQueueHandle {
    pub(super) fn new(index: usize, slot: u32) -> Self {
        TaskQueueHandle { index, slot }
    }

    /// The number of the queue, which is never reused within its executor.
    pub fn index(&self) -> usize {
        self.index
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot
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
    pub(super) handle: TaskQueueHandle,
    pub(super) name: String,
    pub(super) run: RunQueue,
    /// Waiting for its turn, or running.
    pub(super) active: Cell<bool>,
    /// How long it may wait before it becomes urgent.
    pub(super) patience: Option<Ticks>,
    pub(super) runtime: Cell<Ticks>,
    pub(super) selected: Cell<u64>,
    pub(super) entitlement: Entitlement,
}

impl TaskQueue {
    pub(super) fn slot(&self) -> u32 {
        self.handle.slot
    }

    /// On whose account the I/O of the queue's tasks goes.
    #[inline]
    pub(super) fn origin(&self) -> Origin {
        Origin {
            queue: self.handle.slot,
            tenant: self.handle.index as u32,
            latency_matters: self.patience.is_some(),
        }
    }

    pub(super) fn current_shares(&self) -> usize {
        self.entitlement.current.get()
    }
}

/// The shares of a queue, and what follows from them.
pub(super) struct Entitlement {
    shares: Shares,
    current: Cell<usize>,
    /// Virtual ticks per real one.
    weight: Cell<u64>,
    asked_at: Cell<Ticks>,
    /// How long after that to ask again; `None` if never.
    period: Cell<Option<Ticks>>,
}

impl Entitlement {
    /// Asks the manager, if there is one.
    pub(super) fn new(shares: Shares, name: &str, clock: &Clock) -> Entitlement {
        let entitlement = Entitlement {
            shares,
            current: Cell::new(0),
            weight: Cell::new(0),
            asked_at: Cell::new(0),
            period: Cell::new(None),
        };
        entitlement.set(*RANGE.start());
        entitlement.ask(name, clock);
        entitlement
    }

    fn set(&self, shares: usize) {
        self.current.set(shares);
        self.weight.set(1000 * 1024 / shares as u64);
    }

    /// What `ticks` of CPU time count as.
    #[inline]
    pub(super) fn cost(&self, ticks: Ticks) -> Virtual {
        Virtual::from(ticks) * Virtual::from(self.weight.get())
    }

    /// Asks the manager for new shares, if there is one and it is time.
    ///
    /// To be called with nothing borrowed: a manager is code of others.
    #[inline]
    pub(super) fn adjust(&self, name: &str, now: Ticks, clock: &Clock) {
        if let Some(period) = self.period.get() {
            // A clock that goes back asks early.
            if now.wrapping_sub(self.asked_at.get()) >= period {
                self.ask(name, clock);
            }
        }
    }

    #[cold]
    fn ask(&self, name: &str, clock: &Clock) {
        let shares = AssertUnwindSafe(&self.shares);
        match catch_unwind(|| (shares.current(), shares.period())) {
            Ok((current, period)) => {
                self.set(current);
                self.period.set(period.map(|period| clock.ticks(period)));
            }
            Err(payload) => {
                tracing::error!(
                    target: "glommio::executor",
                    queue = name,
                    shares = self.current.get(),
                    "the shares manager of a task queue panicked; its shares stay as they are"
                );
                // Asked again after the period that it gave last.
                let default = clock.ticks(Duration::from_millis(250));
                self.period.set(self.period.get().or(Some(default)));
                discard(payload);
            }
        }
        self.asked_at.set(clock.now());
    }
}
