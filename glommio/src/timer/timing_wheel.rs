//! A timer wheel for event loops of one's own.

use std::{
    fmt,
    task::Waker,
    time::{Duration, Instant},
};

use crate::reactor::{TimerKey, Wheel};

/// Wakers by deadline, to the nanosecond.
///
/// It has no clock: [`advance_to`](Self::advance_to) tells it the time, and
/// [`drain_expired`](Self::drain_expired) hands out the timers that are due, never one before its
/// deadline. It wakes nobody by itself. Inserting and removing take constant time.
///
/// Futures on an executor have no need of it: [`Timer`](super::Timer) uses the executor's own.
///
/// # Examples
///
/// ```
/// use std::{task::Waker, time::{Duration, Instant}};
/// use glommio::timer::timing_wheel::TimingWheel;
///
/// let start = Instant::now();
/// let second = Duration::from_secs(1);
/// let mut wheel = TimingWheel::new_at(start);
/// let late = wheel.insert(start + 2 * second, Waker::noop().clone());
/// let early = wheel.insert(start + second, Waker::noop().clone());
/// let gone = wheel.insert(start + second, Waker::noop().clone());
/// assert!(wheel.remove(gone));
///
/// wheel.advance_to(start + second);
/// for (id, waker) in wheel.drain_expired() {
///     assert_eq!(id, early);
///     waker.wake();
/// }
/// assert_eq!(wheel.len(), 1);
/// assert!(wheel.remove(late));
/// assert!(wheel.is_empty());
/// ```
pub struct TimingWheel {
    time: Time,
    wheel: Wheel<Waker>,
}

impl TimingWheel {
    /// An empty wheel at the current time.
    pub fn new() -> Self {
        Self::new_at(Instant::now())
    }

    /// An empty wheel at the given time.
    pub fn new_at(start: Instant) -> Self {
        TimingWheel {
            time: Time::starting_at(start),
            wheel: Wheel::new(0),
        }
    }

    /// Adds a timer, and gives its number.
    ///
    /// One whose deadline has come, by [`current_time`](Self::current_time), is due at once.
    ///
    /// # Panics
    ///
    /// If 2^32 - 1 timers are there already.
    pub fn insert(&mut self, deadline: Instant, waker: Waker) -> u64 {
        let tick = self.time.deadline_ns(deadline);
        self.wheel.arm(tick, waker).to_u64()
    }

    /// Removes a timer; `false` if it was removed or handed out before.
    pub fn remove(&mut self, id: u64) -> bool {
        self.wheel.cancel(TimerKey::from_u64(id)).is_some()
    }

    /// Tells the time. A time before the current one is ignored.
    pub fn advance_to(&mut self, now: Instant) {
        self.time.advance_to(now);
    }

    /// The latest time that the wheel was told.
    pub fn current_time(&self) -> Instant {
        self.time.current()
    }

    /// Takes out the timers that are due: those first that were due when they were inserted, then the
    /// others by deadline; those that are equal in this in the order in which they were inserted.
    ///
    /// Timers that the iterator is not asked for stay.
    pub fn drain_expired(&mut self) -> impl Iterator<Item = (u64, Waker)> + '_ {
        let now = self.time.now_ns;
        std::iter::from_fn(move || {
            let (key, waker) = self.wheel.pop_due(now)?;
            Some((key.to_u64(), waker))
        })
    }

    /// The number of timers, with those that are due and were not taken out.
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.wheel.len() == 0
    }
}

/// At the current time.
impl Default for TimingWheel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TimingWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimingWheel")
            .field("current_time", &self.current_time())
            .field("len", &self.len())
            .finish()
    }
}

/// Time as a wheel sees it: nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    start: Instant,
    pub(super) now_ns: u64,
}

impl Time {
    pub(super) fn starting_at(start: Instant) -> Self {
        Time { start, now_ns: 0 }
    }

    /// When a timer is due: zero if it is already.
    pub(super) fn deadline_ns(&self, deadline: Instant) -> u64 {
        match self.ns_of(deadline) {
            ns if ns <= self.now_ns => 0,
            ns => ns,
        }
    }

    /// Saturating: 584 years are for ever.
    fn ns_of(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn advance_to(&mut self, now: Instant) {
        self.now_ns = self.now_ns.max(self.ns_of(now));
    }

    pub(super) fn current(&self) -> Instant {
        self.start
            .checked_add(Duration::from_nanos(self.now_ns))
            .unwrap_or(self.start)
    }
}
