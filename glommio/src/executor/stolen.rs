//! CPU time that a slice seems to have used and has not.
//!
//! The cycle counter runs on while the system gives the CPU to another thread, or stops the whole
//! machine. A queue with one share that is charged for that would not run again for a thousand
//! times as long. So where queues compete and a slice was not short, the thread's own CPU time is
//! asked how much was really used since the last time it was known. Asking is a system call of some
//! 200 ns: a thousandth of the slices that cause it.

use std::{cell::Cell, time::Duration};

use crate::sys::clock::{Clock, Ticks, thread_cpu_ns};

/// Slices that took longer than this are looked into.
const LONG_NS: u64 = 200_000;

/// How old a sample may become while slices are short.
const SAMPLE_NS: u64 = 10_000_000;

/// Samples are this far apart at least, also when a sleep made the last one worthless.
const MIN_SAMPLE_NS: u64 = 1_000_000;

/// What the thread had used, and when.
pub(super) struct StolenTime {
    clock: Clock,
    long: Ticks,
    sample: Ticks,
    min_sample: Ticks,
    sampled_at: Cell<Ticks>,
    cpu_ns: Cell<u64>,
    /// All time since the sample was spent in slices.
    valid: Cell<bool>,
}

impl StolenTime {
    pub(super) fn new(clock: Clock) -> StolenTime {
        let ticks = |ns| clock.ticks(Duration::from_nanos(ns));
        StolenTime {
            clock,
            long: ticks(LONG_NS),
            sample: ticks(SAMPLE_NS),
            min_sample: ticks(MIN_SAMPLE_NS),
            // A clock may have begun just now: the first sample is due all the same.
            sampled_at: Cell::new(clock.now().wrapping_sub(ticks(MIN_SAMPLE_NS))),
            cpu_ns: Cell::new(0),
            valid: Cell::new(false),
        }
    }

    /// Time passes that nobody is charged for, as in a sleep: a shortfall of CPU time says nothing.
    #[inline]
    pub(super) fn forget(&self) {
        self.valid.set(false);
    }

    /// Queues begin to compete: from `now` on it is known what is taken away. Without that the first
    /// slices would be charged for it, and the queue that happened to run would pay for long.
    #[inline]
    pub(super) fn watch(&self, now: Ticks) {
        let age = now.wrapping_sub(self.sampled_at.get());
        if !self.valid.get() && age >= self.min_sample {
            self.take_sample(now, thread_cpu_ns());
        }
    }

    /// What a slice that took `ran` really used, as far as is known.
    #[inline]
    pub(super) fn without_stolen(&self, ran: Ticks, now: Ticks) -> Ticks {
        let valid = self.valid.get();
        if valid && ran > self.long {
            return self.look_into(ran, now);
        }
        let too_old = if valid { self.sample } else { self.min_sample };
        if now.wrapping_sub(self.sampled_at.get()) >= too_old {
            self.take_sample(now, thread_cpu_ns());
        }
        ran
    }

    #[cold]
    fn look_into(&self, ran: Ticks, now: Ticks) -> Ticks {
        let cpu_ns = thread_cpu_ns();
        let used_ns = cpu_ns.saturating_sub(self.cpu_ns.get());
        let used = self.clock.ticks(Duration::from_nanos(used_ns));
        let passed = now.wrapping_sub(self.sampled_at.get());
        self.take_sample(now, cpu_ns);
        ran.saturating_sub(passed.saturating_sub(used))
    }

    fn take_sample(&self, now: Ticks, cpu_ns: u64) {
        self.sampled_at.set(now);
        self.cpu_ns.set(cpu_ns);
        self.valid.set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_in_the_middle_is_not_charged_and_work_is() {
        let clock = Clock::get();
        let stolen = StolenTime::new(clock);
        let ticks = |ms| clock.ticks(Duration::from_millis(ms));
        stolen.without_stolen(0, clock.now());

        // To the thread's CPU time, a sleep looks like a CPU that was taken away.
        let start = clock.now();
        std::thread::sleep(Duration::from_millis(200));
        let now = clock.now();
        let used = stolen.without_stolen(now - start, now);
        assert!(used < ticks(100), "{} ms", clock.nanos(used) / 1_000_000);

        let (start, cpu_ns) = (clock.now(), thread_cpu_ns());
        while thread_cpu_ns() - cpu_ns < 50_000_000 {
            std::hint::spin_loop();
        }
        let now = clock.now();
        let used = stolen.without_stolen(now - start, now);
        assert!(used >= ticks(45), "{} ms", clock.nanos(used) / 1_000_000);
    }

    #[test]
    fn the_first_slice_that_is_watched_is_not_charged_for_a_sleep() {
        let clock = Clock::get();
        let stolen = StolenTime::new(clock);
        let start = clock.now();
        stolen.watch(start);
        std::thread::sleep(Duration::from_millis(200));
        let now = clock.now();
        let used = clock.nanos(stolen.without_stolen(now - start, now));
        assert!(used < 100_000_000, "{} ms", used / 1_000_000);
    }

    #[test]
    fn without_a_sample_the_counter_is_believed() {
        let clock = Clock::get();
        let stolen = StolenTime::new(clock);
        let hour = clock.ticks(Duration::from_secs(3600));
        stolen.without_stolen(0, clock.now());
        stolen.forget();
        assert_eq!(stolen.without_stolen(hour, clock.now()), hour);
    }

    #[test]
    fn a_machine_that_stood_still_is_not_charged() {
        let clock = Clock::get();
        let stolen = StolenTime::new(clock);
        let hour = clock.ticks(Duration::from_secs(3600));
        stolen.without_stolen(0, clock.now());
        let used = stolen.without_stolen(hour, clock.now().wrapping_add(hour));
        assert!(used < hour / 1000, "{} ms", clock.nanos(used) / 1_000_000);
    }
}
