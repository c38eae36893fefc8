//! When a task should give way: the time slice of the running queue.
//!
//! `need_preempt` is asked in inner loops, so it must cost next to nothing. Reading the cycle
//! counter costs about 10 ns on a virtual machine; while calls come thick and fast only every eighth
//! of them reads it. The stride falls back to one as soon as calls are further apart than
//! [`SPARSE_NS`], so that a slice is overrun by 7 short steps, never by 7 long ones.

use std::{cell::Cell, time::Duration};

use crate::sys::clock::{Clock, Ticks};

/// Calls further apart than this each look at the clock.
const SPARSE_NS: u64 = 1_000;

/// How many calls share one look at the clock otherwise.
const STRIDE: u32 = 8;

/// The slice of the queue that is running.
pub(super) struct Slice {
    clock: Clock,
    sparse: Ticks,
    start: Cell<Ticks>,
    budget: Cell<Ticks>,
    last: Cell<Ticks>,
    /// Calls left before the next look.
    skip: Cell<u32>,
    over: Cell<bool>,
}

impl Slice {
    pub(super) fn new(clock: Clock) -> Self {
        Slice {
            clock,
            sparse: clock.ticks(Duration::from_nanos(SPARSE_NS)),
            start: Cell::new(0),
            budget: Cell::new(0),
            last: Cell::new(0),
            skip: Cell::new(0),
            over: Cell::new(true),
        }
    }

    /// A queue starts to run.
    pub(super) fn begin(&self, now: Ticks, budget: Ticks) {
        self.start.set(now);
        self.budget.set(budget);
        self.last.set(now);
        self.skip.set(0);
        self.over.set(false);
    }

    /// Leaves the slice no more than `rest` from `now` on.
    pub(super) fn limit(&self, now: Ticks, rest: Ticks) {
        let spent = now.wrapping_sub(self.start.get());
        self.budget
            .set(self.budget.get().min(spent.saturating_add(rest)));
    }

    /// Whether the time of the slice is over. That it is told by subtraction ends the slice also
    /// when the counter jumps, forwards or back.
    #[inline]
    pub(super) fn is_past(&self, now: Ticks) -> bool {
        now.wrapping_sub(self.start.get()) >= self.budget.get()
    }

    /// Ends the slice early.
    pub(super) fn give_up(&self) {
        self.over.set(true);
    }

    /// Whether the slice is over: its time is, or `urgent` says so, which is asked with the time when
    /// the clock is looked at.
    #[inline]
    pub(super) fn is_over(&self, urgent: impl FnOnce(Ticks) -> bool) -> bool {
        let skip = self.skip.get();
        if skip > 0 {
            self.skip.set(skip - 1);
            return self.over.get();
        }
        self.look(urgent)
    }

    fn look(&self, urgent: impl FnOnce(Ticks) -> bool) -> bool {
        let now = self.clock.now();
        let calls_were_close = now.wrapping_sub(self.last.get()) < self.sparse * u64::from(STRIDE);
        self.last.set(now);
        self.skip.set(if calls_were_close { STRIDE - 1 } else { 0 });
        if self.is_past(now) || urgent(now) {
            self.over.set(true);
        }
        self.over.get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_slice_is_over_when_its_time_is_and_not_before() {
        let clock = Clock::get();
        let slice = Slice::new(clock);
        let start = Instant::now();
        slice.begin(clock.now(), clock.ticks(Duration::from_millis(5)));
        let mut calls = 0u64;
        while !slice.is_over(|_| false) {
            calls += 1;
        }
        assert!(
            start.elapsed() >= Duration::from_micros(4_900),
            "{calls} calls"
        );
        assert!(slice.is_over(|_| false), "it stays over");
    }

    #[test]
    fn slow_steps_are_noticed_one_by_one() {
        let clock = Clock::get();
        let slice = Slice::new(clock);
        slice.begin(clock.now(), clock.ticks(Duration::from_millis(50)));
        let step = |d| {
            let start = Instant::now();
            while start.elapsed() < d {}
        };
        // The first look sees that the calls are far apart, so the next call looks too.
        step(Duration::from_micros(20));
        slice.is_over(|_| false);
        step(Duration::from_millis(51));
        assert!(slice.is_over(|_| false), "the very next call sees it");
    }

    #[test]
    fn a_slice_can_be_cut_but_not_extended() {
        let slice = Slice::new(Clock::get());
        slice.begin(1_000, 500);
        slice.limit(1_100, 1_000);
        assert!(!slice.is_past(1_499) && slice.is_past(1_500));
        slice.limit(1_100, 50);
        assert!(!slice.is_past(1_149) && slice.is_past(1_150));
        slice.limit(1_100, Ticks::MAX);
        assert!(slice.is_past(1_150));
    }

    #[test]
    fn a_counter_that_jumps_ends_the_slice() {
        let slice = Slice::new(Clock::get());
        slice.begin(1_000_000, 500);
        assert!(!slice.is_past(1_000_499));
        assert!(slice.is_past(3), "back");
        assert!(slice.is_past(u64::MAX), "forwards");
    }

    #[test]
    fn giving_up_ends_the_slice_at_once() {
        let clock = Clock::get();
        let slice = Slice::new(clock);
        slice.begin(clock.now(), clock.ticks(Duration::from_secs(60)));
        assert!(!slice.is_over(|_| false));
        slice.give_up();
        assert!(slice.is_over(|_| false));
    }
}
