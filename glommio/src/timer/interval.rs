//! Waiting for one time after the other.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::sleep::Timer;
use crate::executor::need_preempt;

/// Lateness up to this counts as on time: every tick is a little late.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Periods beyond this count as for ever.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 100);

/// What an [`Interval`] does about ticks whose time passed before somebody waited for them.
///
/// With a period of 10, and a task that is held up at the second tick:
///
/// ```text
/// time       0    10    20    30    40    50    60
/// on time    ●     ●
/// held up          └──────────── 38
/// Burst                          ●●●●     ●     ●      the 20, 30 and 40 at once, then on time
/// Delay                          ●           ●         48, 58, 68 …
/// Skip                           ●  ●     ●     ●      40, 50, 60 …
/// ```
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::timer::{MissedTickBehavior, interval};
///
/// let mut heartbeat = interval(Duration::from_secs(1));
/// assert_eq!(heartbeat.missed_tick_behavior(), MissedTickBehavior::Burst);
/// heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// assert_eq!(heartbeat.missed_tick_behavior(), MissedTickBehavior::Skip);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// The missed ticks are made up for at once, one after the other: as many ticks as if none had
    /// been missed.
    #[default]
    Burst,
    /// The next tick is a period after the late one, and so are those that follow. A tick counts as
    /// late by more than 5 ms, or by more than a period if that is shorter.
    Delay,
    /// The missed ticks are left out: the next tick is at the next multiple of the period after the
    /// start.
    Skip,
}

impl MissedTickBehavior {
    /// When the next tick is, if the one of `due` happened at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        match self {
            MissedTickBehavior::Delay if late > TOLERANCE.min(period) => after(now, period),
            MissedTickBehavior::Skip if late >= period => {
                // Less than the period, which is less than 2^64 ns.
                let since_last = (late.as_nanos() % period.as_nanos()) as u64;
                after(now, period - Duration::from_nanos(since_last))
            }
            _ => after(due, period),
        }
    }
}

fn after(instant: Instant, duration: Duration) -> Instant {
    instant
        .checked_add(duration.min(FAR_FUTURE))
        .unwrap_or(instant)
}

/// Ticks at regular times; made by [`interval()`] and [`interval_at`].
///
/// Await [`tick`](Self::tick) for each, or use it as a `Stream`, which never ends. The times do not
/// drift: each is a multiple of the period after the start, however long the work in between takes,
/// unless ticks are missed and the [`MissedTickBehavior`] says otherwise. Between ticks that are made
/// up for, others run when [`need_preempt`](crate::ExecutorProxy::need_preempt) says so.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use glommio::{LocalExecutor, timer::interval};
///
/// LocalExecutor::default().run(async {
///     let period = Duration::from_millis(2);
///     let mut interval = interval(period);
///     assert_eq!(interval.period(), period);
///     let start = interval.tick().await; // at once
///     assert_eq!(interval.tick().await, start + period);
///     assert!(Instant::now() >= start + period);
/// });
/// ```
#[derive(Debug)]
pub struct Interval {
    timer: Timer,
    next: Instant,
    period: Duration,
    missed: MissedTickBehavior,
    /// Whether the last poll gave a tick. The next may be there as well.
    ticked: bool,
}

impl Interval {
    #[track_caller]
    fn starting_at(start: Instant, period: Duration) -> Interval {
        assert!(
            !period.is_zero(),
            "an interval needs a period of more than zero; to yield again and again use \
             ExecutorProxy::yield_now"
        );
        Interval {
            timer: Timer::at(start),
            next: start,
            period,
            missed: MissedTickBehavior::default(),
            ticked: false,
        }
    }

    /// Waits for the next tick, and gives the time for which it was planned.
    ///
    /// # Cancel safety
    ///
    /// A tick that was not waited for to the end is not lost: the next call waits for it.
    pub fn tick(&mut self) -> Tick<'_> {
        Tick { interval: self }
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what is done about missed ticks, from the next tick on.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        // Ticks that are made up for wait for nothing, and a task that comes too late for each of
        // them would never let others run.
        if std::mem::take(&mut self.ticked) && need_preempt() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = ready!(Pin::new(&mut self.timer).poll(context));
        self.ticked = true;
        let due = self.next;
        self.next = self.missed.next(due, now, self.period);
        self.timer.reset_at(self.next);
        Poll::Ready(due)
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_tick(context).map(Some)
    }
}

/// The future of [`Interval::tick`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::{LocalExecutor, timer::{Tick, interval}};
///
/// LocalExecutor::default().run(async {
///     let mut interval = interval(Duration::from_millis(1));
///     let tick: Tick<'_> = interval.tick();
///     tick.await;
/// });
/// ```
#[derive(Debug)]
#[must_use = "a tick happens when it is awaited"]
pub struct Tick<'a> {
    interval: &'a mut Interval,
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.interval.poll_tick(context)
    }
}

/// Ticks every `period`, beginning now.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use futures_lite::StreamExt;
/// use glommio::{LocalExecutor, timer::interval};
///
/// LocalExecutor::default().run(async {
///     let ticks = interval(Duration::from_millis(1)).take(3).count();
///     assert_eq!(ticks.await, 3);
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::starting_at(Instant::now(), period)
}

/// Ticks every `period`, beginning at `start`, which may have passed.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use glommio::{LocalExecutor, timer::interval_at};
///
/// LocalExecutor::default().run(async {
///     let start = Instant::now() + Duration::from_millis(2);
///     let mut interval = interval_at(start, Duration::from_millis(1));
///     assert_eq!(interval.tick().await, start);
///     assert!(Instant::now() >= start);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::starting_at(start, period)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The times of the next ticks, in ms after the start, if that of 10 ms happens at `now_ms` and
    /// nobody is held up afterwards.
    fn ticks_after(missed: MissedTickBehavior, now_ms: u32) -> Vec<u128> {
        let start = Instant::now();
        let period = MS * 10;
        let mut now = start + MS * now_ms;
        let mut due = start + period;
        let next = |_| {
            due = missed.next(due, now, period);
            now = now.max(due);
            (due - start).as_millis()
        };
        (0..5).map(next).collect()
    }

    #[test]
    fn ticks_on_time_follow_each_other_by_a_period_whatever_the_behavior() {
        use MissedTickBehavior::{Burst, Delay, Skip};
        for missed in [Burst, Delay, Skip] {
            assert_eq!(ticks_after(missed, 10), [20, 30, 40, 50, 60]);
            assert_eq!(ticks_after(missed, 14), [20, 30, 40, 50, 60]);
        }
    }

    #[test]
    fn missed_ticks_come_at_once_are_delayed_or_left_out() {
        use MissedTickBehavior::{Burst, Delay, Skip};
        assert_eq!(ticks_after(Burst, 38), [20, 30, 40, 50, 60]);
        assert_eq!(ticks_after(Delay, 38), [48, 58, 68, 78, 88]);
        assert_eq!(ticks_after(Skip, 38), [40, 50, 60, 70, 80]);
        assert_eq!(ticks_after(Skip, 40), [50, 60, 70, 80, 90]);
        assert_eq!(ticks_after(Delay, 17), [27, 37, 47, 57, 67]);
        assert_eq!(ticks_after(Skip, 17), [20, 30, 40, 50, 60]);
    }

    #[test]
    fn a_period_shorter_than_the_tolerance_is_the_tolerance() {
        let start = Instant::now();
        let next = |late| MissedTickBehavior::Delay.next(start, start + late, MS) - start;
        assert_eq!(next(MS), MS);
        assert_eq!(next(MS * 2), MS * 3);
    }

    #[test]
    fn endless_periods_do_not_overflow() {
        let start = Instant::now();
        for missed in [MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let next = missed.next(start, start + MS, Duration::MAX);
            assert!(next > start + FAR_FUTURE / 2);
        }
    }

    #[test]
    #[should_panic(expected = "period of more than zero")]
    fn a_period_of_zero_is_refused() {
        interval(Duration::ZERO);
    }
}
