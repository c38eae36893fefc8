//! The time since the process began to ask for it, at the price of a look at the cycle counter.
//!
//! Reading the clock costs 25 ns on a virtual machine, reading the counter less than half. So each
//! thread remembers its last reading of the clock, and for [`WINDOW_NS`] by the counter *bounds* the
//! time instead of reading it. A deadline is put where it cannot be too early: at an upper bound.
//!
//! The bounds hold as long as the counter is not twice as slow as it was calibrated, and the same on
//! all CPUs. Whether the latter is so, the kernel knows: it keeps its own time by the counter if it
//! is. Where it does not, and where the counter jumps, the clock is read.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::clock::{Clock, Ticks};

/// How long a reading of the clock is used, by the counter.
const WINDOW_NS: u64 = 16_000;

/// By how much an upper bound may exceed the last reading: the window, for a counter at half of
/// its speed.
const SLACK_NS: u64 = 2 * WINDOW_NS;

/// The last reading of the clock by this thread.
struct Reading {
    at: Cell<Ticks>,
    ns: Cell<u64>,
    /// The window in ticks; zero before the first reading, and where the counter is of no use.
    window: Cell<Ticks>,
}

thread_local! {
    static LAST: Reading = const {
        Reading { at: Cell::new(0), ns: Cell::new(0), window: Cell::new(0) }
    };
}

/// Where nanoseconds are counted from: the same moment in all threads.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Nanoseconds from the epoch to `instant`, saturating at both ends; 584 years fit.
pub(crate) fn ns_of(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(epoch());
    since
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(since.subsec_nanos()))
}

/// The reverse of [`ns_of`]; `None` if the system cannot express it.
pub(crate) fn instant_of(ns: u64) -> Option<Instant> {
    epoch().checked_add(Duration::from_nanos(ns))
}

/// Reads the clock.
pub(crate) fn now_ns() -> u64 {
    LAST.with(|last| {
        let clock = Clock::get();
        if last.window.get() == 0 && clock.agrees_with_the_kernel() {
            last.window
                .set(clock.ticks(Duration::from_nanos(WINDOW_NS)));
        }
        // Before the clock, so that the counter tells too long a time since then.
        last.at.set(clock.now());
        last.ns.set(ns_of(Instant::now()));
        last.ns.get()
    })
}

/// A time that has passed: that of the last reading.
#[inline]
pub(crate) fn lower_bound_ns() -> u64 {
    LAST.with(|last| last.ns.get())
}

/// A time that has not passed yet, or is just passing: at most [`SLACK_NS`] ahead.
#[inline]
pub(crate) fn upper_bound_ns() -> u64 {
    LAST.with(|last| {
        let window = last.window.get();
        if window != 0 && Clock::counter().wrapping_sub(last.at.get()) < window {
            last.ns.get() + SLACK_NS
        } else {
            now_ns()
        }
    })
}

/// What the counter will show at a time to come, about.
pub(crate) fn ticks_at(ns: u64) -> Ticks {
    LAST.with(|last| {
        let ahead = ns.saturating_sub(last.ns.get());
        let ticks = Clock::get().ticks(Duration::from_nanos(ahead));
        last.at.get().saturating_add(ticks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_lies_between_the_bounds() {
        // The first reading calibrates the counter.
        now_ns();
        for round in 0..20_000u32 {
            if round % 1000 == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
            let before = ns_of(Instant::now());
            let upper = upper_bound_ns();
            let lower = lower_bound_ns();
            let after = ns_of(Instant::now());
            assert!(upper >= before, "{upper} is before {before}");
            assert!(upper <= after + SLACK_NS, "{upper} is long after {after}");
            assert!(lower <= after);
        }
    }

    #[test]
    fn a_stale_reading_is_not_used() {
        let first = now_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert!(upper_bound_ns() >= first + 2_000_000);
        assert!(lower_bound_ns() >= first + 2_000_000, "it was read anew");
    }

    #[test]
    fn nanoseconds_and_instants_convert_back_and_forth_and_saturate() {
        epoch();
        let instant = Instant::now() + Duration::from_secs(3);
        assert_eq!(instant_of(ns_of(instant)), Some(instant));
        let past = epoch().checked_sub(Duration::from_secs(1));
        assert_eq!(past.map(ns_of), Some(0));
        let far = epoch().checked_add(Duration::from_secs(600 * 365 * 86_400));
        assert_eq!(far.map(ns_of), Some(u64::MAX));
    }

    #[test]
    fn the_counter_at_a_time_to_come_is_about_right() {
        let now = now_ns();
        let expected = ticks_at(now + 5_000_000);
        std::thread::sleep(Duration::from_millis(5));
        assert!(Clock::get().now() >= expected.saturating_sub(expected / 1000));
        assert!(ticks_at(now) <= Clock::get().now());
        assert_eq!(ticks_at(u64::MAX).max(1 << 50), ticks_at(u64::MAX));
    }
}
