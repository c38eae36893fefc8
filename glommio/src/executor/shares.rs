//! What a task queue is entitled to: shares of the CPU, and a bound on its wait.

use std::{fmt, rc::Rc, time::Duration};

/// The smallest and the largest number of shares.
const RANGE: std::ops::RangeInclusive<usize> = 1..=1000;

/// How urgent the tasks of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// A runnable task of this queue should not wait longer than this for the CPU: other queues are
    /// asked to yield in time (see [`need_preempt`](crate::ExecutorProxy::need_preempt)), and the
    /// queue is preferred once half of the time is over.
    Matters(Duration),
    /// The queue gets its share, whenever that is.
    NotImportant,
}

/// How much of the CPU a queue gets while queues compete for it.
///
/// Between two busy queues the time is divided in the ratio of their shares. A queue alone may use
/// all of it, whatever its shares.
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
pub trait SharesManager {
    /// The shares that the queue should have now; clamped to 1..=1000.
    fn shares(&self) -> usize;

    /// How often [`shares`](Self::shares) is asked while the queue is busy. The default is 250 ms.
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
