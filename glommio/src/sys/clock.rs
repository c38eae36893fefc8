//! A cheap monotonic clock for scheduling decisions: the CPU's cycle counter.
//!
//! Reading the counter costs about 10 ns on a virtual machine and 6 ns on hardware, a third of
//! `clock_gettime`. It is used only where a fraction of a percent of error does no harm (time
//! slices, run-time accounting); timers use [`std::time::Instant`].
//!
//! The counter is used only if the CPU says that it is invariant (constant rate, also in sleep
//! states); otherwise ticks are nanoseconds of `CLOCK_MONOTONIC`.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A point on the cycle counter. Only differences and comparisons mean something.
pub(crate) type Ticks = u64;

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
        let start = Instant::now();
        let first = counter();
        while start.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        let last = counter();
        let ns = start.elapsed().as_nanos();
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
        let start = (Instant::now(), clock.now());
        while start.0.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let ticks = clock.now() - start.1;
        let real = start.0.elapsed().as_nanos() as u64;
        let seen = clock.nanos(ticks);
        assert!(
            seen.abs_diff(real) < real / 20,
            "{seen} ns against {real} ns"
        );
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
