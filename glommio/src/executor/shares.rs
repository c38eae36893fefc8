//! What a task queue is entitled to: shares of the CPU, and a bound on its wait.

use std::{fmt, rc::Rc, time::Duration};

/// The smallest and the largest number of shares.
pub(super) const RANGE: std::ops::RangeInclusive<usize> = 1..=1000;

/// How urgent the tasks of a queue are.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{Latency, LocalExecutor, Shares};
///
/// let executor = LocalExecutor::default();
/// let soon = Latency::Matters(Duration::from_millis(2));
/// let requests = executor.create_task_queue(Shares::Static(100), soon, "requests");
/// let reports = executor.create_task_queue(Shares::Static(10), Latency::NotImportant, "reports");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// A runnable task of this queue should not wait longer than this for the CPU: other queues are
    /// asked to yield after half of the time at most, and as soon as a completion arrives or a timer
    /// is due (see [`need_preempt`](crate::ExecutorProxy::need_preempt)), and the queue goes first once it has
    /// waited for the other half. For that it may get more of the CPU than its shares.
    Matters(Duration),
    /// The queue gets its share, whenever that is.
    NotImportant,
}

/// How much of the CPU a queue gets while queues compete for it.
///
/// Between two busy queues the time is divided in the ratio of their shares. A queue alone may use
/// all of it, whatever its shares.
///
/// # Examples
///
/// ```
/// use glommio::{Latency, LocalExecutor, Shares};
///
/// let executor = LocalExecutor::default();
/// let requests = executor.create_task_queue(Shares::Static(100), Latency::NotImportant, "requests");
/// // A tenth of that, while both are busy.
/// let reports = executor.create_task_queue(Shares::Static(10), Latency::NotImportant, "reports");
/// ```
#[derive(Clone)]
pub enum Shares {
    /// A fixed number, clamped to 1..=1000.
    Static(usize),
    /// A number that a manager is asked for now and then.
    Dynamic(Rc<dyn SharesManager>),
}

impl Default for Shares {
    /// One share.
    fn default() -> Self {
        Shares::Static(1)
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shares::Static(shares) => f.debug_tuple("Static").field(shares).finish(),
            Shares::Dynamic(manager) => f.debug_tuple("Dynamic").field(&manager.shares()).finish(),
        }
    }
}

impl Shares {
    /// The number to use now.
    pub(super) fn current(&self) -> usize {
        let shares = match self {
            Shares::Static(shares) => *shares,
            Shares::Dynamic(manager) => manager.shares(),
        };
        shares.clamp(*RANGE.start(), *RANGE.end())
    }

    /// How often to ask again.
    pub(super) fn period(&self) -> Option<Duration> {
        match self {
            Shares::Static(_) => None,
            Shares::Dynamic(manager) => Some(manager.adjustment_period()),
        }
    }
}

/// Decides the shares of a queue while it runs.
///
/// It is asked between two tasks, on the executor's thread, so the answer should not take long. It
/// may spawn tasks and make queues. If it panics, that is logged and the shares stay as they are.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// use glommio::{Latency, LocalExecutor, Shares, SharesManager, executor};
///
/// /// One share for each item that waits.
/// struct Backlog(Cell<usize>);
///
/// impl SharesManager for Backlog {
///     fn shares(&self) -> usize {
///         self.0.get()
///     }
///
///     fn adjustment_period(&self) -> Duration {
///         Duration::from_millis(100)
///     }
/// }
///
/// LocalExecutor::default().run(async {
///     let backlog = Rc::new(Backlog(Cell::new(250)));
///     assert_eq!(backlog.adjustment_period(), Duration::from_millis(100));
///     assert_eq!(backlog.shares(), 250);
///     let shares = Shares::Dynamic(backlog);
///     let queue = executor().create_task_queue(shares, Latency::NotImportant, "work");
///     assert_eq!(executor().task_queue_stats(queue)?.current_shares(), 250);
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub trait SharesManager {
    /// The shares that the queue should have now; clamped to 1..=1000.
    fn shares(&self) -> usize;

    /// How long after one question to ask [`shares`](Self::shares) again. A queue is asked for when
    /// its turn ends, so not while it is idle. The default is 250 ms.
    fn adjustment_period(&self) -> Duration {
        Duration::from_millis(250)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_clamped() {
        assert_eq!(Shares::Static(0).current(), 1);
        assert_eq!(Shares::Static(7).current(), 7);
        assert_eq!(Shares::Static(100_000).current(), 1000);
        assert_eq!(Shares::default().current(), 1);
        assert_eq!(Shares::default().period(), None);
    }

    struct Fixed;

    impl SharesManager for Fixed {
        fn shares(&self) -> usize {
            5000
        }
    }

    #[test]
    fn a_manager_is_asked_every_quarter_of_a_second_by_default() {
        let shares = Shares::Dynamic(Rc::new(Fixed));
        assert_eq!(shares.current(), 1000);
        assert_eq!(shares.period(), Some(Duration::from_millis(250)));
        assert_eq!(format!("{shares:?}"), "Dynamic(5000)");
    }
}
