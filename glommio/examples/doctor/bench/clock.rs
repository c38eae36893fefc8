//! When a measurement is over.

use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;

/// How long a step runs, and who may end it early. Every executor of a step starts its own
/// [`Deadline`] from it once it is up.
#[derive(Clone)]
pub struct StepClock {
    duration: Duration,
    interrupt: Interrupt,
}

/// The end of one executor's part in a step.
#[derive(Clone)]
pub struct Deadline {
    at: Instant,
    interrupt: Interrupt,
}

impl StepClock {
    pub fn new(duration: Duration, interrupt: Interrupt) -> StepClock {
        StepClock {
            duration,
            interrupt,
        }
    }

    pub fn duration(&self) -> Duration {
        self.duration
    }

    pub fn start(&self) -> Deadline {
        Deadline {
            at: Instant::now() + self.duration,
            interrupt: self.interrupt.clone(),
        }
    }
}

impl Deadline {
    /// Whether the step is over at `now`: the callers have read the clock already, to time an
    /// operation.
    pub fn has_passed(&self, now: Instant) -> bool {
        now >= self.at || self.is_interrupted()
    }

    /// Whether the user wants to leave, whatever the time.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_lasts_as_long_as_asked_for() {
        let clock = StepClock::new(Duration::from_secs(1000), Interrupt::default());
        let deadline = clock.start();
        let now = Instant::now();
        assert!(!deadline.has_passed(now));
        assert!(deadline.has_passed(now + Duration::from_secs(1000)));
    }

    #[test]
    fn an_interrupt_ends_a_step_early() {
        let interrupt = Interrupt::default();
        let deadline = StepClock::new(Duration::from_secs(1000), interrupt.clone()).start();
        interrupt.request();
        assert!(deadline.has_passed(Instant::now()));
    }
}
