//! The number of a timer as a type of its own.

use std::fmt;

/// Names a timer of a [`TimingWheel`](super::timing_wheel::TimingWheel) or a
/// [`StagedWheel`](super::staged_wheel::StagedWheel), for programs that want a type of its own for
/// that; the wheels themselves speak of a `u64`.
///
/// # Examples
///
/// ```
/// use std::{task::Waker, time::Instant};
/// use glommio::timer::{timer_id::TimerId, timing_wheel::TimingWheel};
///
/// let mut wheel = TimingWheel::new();
/// let id = TimerId::from(wheel.insert(Instant::now(), Waker::noop().clone()));
/// assert!(wheel.remove(id.into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(u64);

impl From<u64> for TimerId {
    fn from(number: u64) -> Self {
        TimerId(number)
    }
}

impl From<TimerId> for u64 {
    fn from(id: TimerId) -> Self {
        id.0
    }
}

impl fmt::Display for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
