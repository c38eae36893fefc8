//! A cheap monotonic clock for scheduling decisions: the CPU's cycle counter.
//!
//! Reading the counter costs about 10 ns on a virtual machine and 6 ns on hardware, a third of
//! `clock_gettime`. It is used only where a fraction of a percent of error does no harm (time
//! slices, run-time accounting); timers use it to tell how old a reading of the real clock is (see
//! [`recent`](super::recent)).
//!
//! The counter is used only if the CPU says that it is invariant (constant rate, also in sleep
//! states); otherwise ticks are nanoseconds of `CLOCK_MONOTONIC`.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// A point on the cycle counter. Only differences and comparisons mean something.
pub(crate) type Ticks = u64;

/// How often both clocks are read to have them once without a pause in between.
const ATTEMPTS: u32 = 16;

/// What the kernel keeps time by.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Ticks per nanosecond as a 32.32 fixed-point number, and whether the counter is usable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ticks_per_ns_q32: u64,
    counter: bool,
}

impl Clock {
    /// The clock of this process; the first call takes about 200 µs to calibrate the counter.
    pub(crate) fn get() -> Clock {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(Clock::calibrate)
    }

    fn calibrate() -> Clock {
        let plain = Clock {
            ticks_per_ns_q32: 1 << 32,
            counter: false,
        };
        if !counter_is_invariant() {
            return plain;
        }
        let (first, start) = together(counter, Instant::now);
        while start.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        let (last, end) = together(counter, Instant::now);
        let ns = (end - start).as_nanos();
        let ticks = u128::from(last.wrapping_sub(first));
        match u64::try_from((ticks << 32) / ns) {
            // A counter slower than 1 MHz or faster than 100 GHz is not one to trust.
            Ok(q) if (1 << 22..100 << 32).contains(&q) => Clock {
                ticks_per_ns_q32: q,
                counter: true,
            },
            _ => plain,
        }
    }

    /// The current tick count.
    #[inline]
    pub(crate) fn now(&self) -> Ticks {
        if self.counter {
            counter()
        } else {
            monotonic_ns()
        }
    }

    /// The bare counter. Means something only if the kernel
    /// [agrees](Self::agrees_with_the_kernel).
    #[inline]
    pub(crate) fn counter() -> Ticks {
        counter()
    }

    /// Whether the kernel keeps time by the same counter, which it does only after it has found it
    /// to be the same on all CPUs. Reads a file when it is first asked.
    pub(crate) fn agrees_with_the_kernel(&self) -> bool {
        static KERNELS_CHOICE: OnceLock<bool> = OnceLock::new();
        self.counter
            && *KERNELS_CHOICE.get_or_init(|| {
                let source = std::fs::read_to_string(CLOCK_SOURCE).unwrap_or_default();
                ["tsc", "arch_sys_counter"].contains(&source.trim())
            })
    }

    /// How many ticks `duration` takes, saturating.
    pub(crate) fn ticks(&self, duration: Duration) -> Ticks {
        let ticks = (duration
            .as_nanos()
            .saturating_mul(u128::from(self.ticks_per_ns_q32)))
            >> 32;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The duration of `ticks` in nanoseconds.
    pub(crate) fn nanos(&self, ticks: Ticks) -> u64 {
        ((u128::from(ticks) << 32) / u128::from(self.ticks_per_ns_q32)) as u64
    }
}

/// Both clocks at the same moment.
///
/// The counter is read on either side of the clock, and the closest of several attempts counts: a
/// thread that lost its CPU between two readings would take its absence for a slow counter.
fn together<T>(counter: impl Fn() -> Ticks, clock: impl Fn() -> T) -> (Ticks, T) {
    let attempt = |_| {
        let before = counter();
        let time = clock();
        let width = counter().wrapping_sub(before);
        (width, (before.wrapping_add(width / 2), time))
    };
    let attempts = (0..ATTEMPTS).map(attempt);
    let closest = attempts.min_by_key(|(width, _)| *width);
    closest.expect("there are attempts").1
}

/// CPU time that the calling thread has used, in nanoseconds. A system call, of some 200 ns.
pub(crate) fn thread_cpu_ns() -> u64 {
    // Cannot fail: the clock exists on every Linux.
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    used.map_or(0, |used| used.as_nanos() as u64)
}

fn monotonic_ns() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(target_arch = "x86_64")]
mod arch {
    /// Reads the time-stamp counter.
    #[inline]
    pub(super) fn counter() -> u64 {
        // SAFETY: RDTSC exists on every x86_64 CPU and has no side effects; user-space access can
        // only be switched off by prctl(PR_SET_TSC), which this process would have to ask for.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// CPUID leaf 0x8000_0007, EDX bit 8 (Intel SDM vol. 3, "Invariant TSC").
    #[allow(unused_unsafe)]
    pub(super) fn counter_is_invariant() -> bool {
        // SAFETY: CPUID exists on every x86_64 CPU.
        unsafe {
            core::arch::x86_64::__cpuid(0x8000_0000).eax >= 0x8000_0007
                && core::arch::x86_64::__cpuid(0x8000_0007).edx & (1 << 8) != 0
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    /// Reads the virtual counter.
    #[inline]
    pub(super) fn counter() -> u64 {
        let value: u64;
        // SAFETY: CNTVCT_EL0 is readable from user space on Linux and has no side effects.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) value, options(nomem, nostack));
        }
        value
    }

    /// The architecture defines the counter as constant-rate.
    pub(super) fn counter_is_invariant() -> bool {
        true
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) fn counter() -> u64 {
        super::monotonic_ns()
    }

    pub(super) fn counter_is_invariant() -> bool {
        false
    }
}

use arch::{counter, counter_is_invariant};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn ticks_and_nanoseconds_convert_back_and_forth() {
        let clock = Clock::get();
        for ns in [0u64, 1_000, 1_000_000, 60_000_000_000] {
            let back = clock.nanos(clock.ticks(Duration::from_nanos(ns)));
            assert!(
                back.abs_diff(ns) <= 1 + ns / 1_000_000,
                "{ns} became {back}"
            );
        }
        assert_eq!(clock.ticks(Duration::MAX), u64::MAX);
    }

    #[test]
    fn the_counter_agrees_with_the_system_clock() {
        let clock = Clock::get();
        if !clock.counter {
            return;
        }
        let (first, start) = together(counter, Instant::now);
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let (last, end) = together(counter, Instant::now);
        let real = (end - start).as_nanos() as u64;
        let seen = clock.nanos(last - first);
        assert!(
            seen.abs_diff(real) < real / 100,
            "{seen} ns against {real} ns"
        );
    }

    #[test]
    fn a_pause_between_the_two_clocks_is_not_taken_for_time_of_one() {
        // Each reading takes 20 ns, and after 10 of the first 12 the thread loses its CPU.
        let (now, readings) = (Cell::new(0u64), Cell::new(0u32));
        let read = || {
            let seen = now.get();
            readings.set(readings.get() + 1);
            let pause = if readings.get() <= 12 && readings.get() % 6 != 0 {
                3_000_000
            } else {
                0
            };
            now.set(seen + 20 + pause);
            seen
        };
        let (ticks, time) = together(read, read);
        assert_eq!(ticks, time);
    }

    #[test]
    fn sleeping_uses_no_cpu_time_and_spinning_does() {
        let start = (Instant::now(), thread_cpu_ns());
        std::thread::sleep(Duration::from_millis(50));
        assert!(thread_cpu_ns() - start.1 < 40_000_000);
        while thread_cpu_ns() - start.1 < 50_000_000 {
            std::hint::spin_loop();
        }
        assert!(start.0.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_clock_without_counter_counts_nanoseconds() {
        let clock = Clock {
            ticks_per_ns_q32: 1 << 32,
            counter: false,
        };
        let first = clock.now();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(50) {}
        assert!(clock.now() > first);
        assert_eq!(clock.ticks(Duration::from_micros(3)), 3_000);
    }
}
