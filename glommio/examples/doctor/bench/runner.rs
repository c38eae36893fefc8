//! Runs steps one after the other, each in a thread of its own.
//!
//! The thread that shows progress waits for the step's result, for a signal, and for the time at
//! which a step that hangs is given up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Failure;
use super::clock::StepClock;
use super::recorder::Sample;
use crate::interrupt::Interrupt;
use crate::model::{BenchmarkResult, Benchmarks, Measured};

/// How often progress is shown and signals are noticed.
const TICK: Duration = Duration::from_millis(50);
/// A step that takes this much longer than asked for is given up. Generous, because a slow disk
/// has to write the whole file.
const GRACE: Duration = Duration::from_secs(60);
/// The same after a signal.
const GRACE_AFTER_INTERRUPT: Duration = Duration::from_secs(5);

type Measurement = Box<dyn FnOnce(StepClock) -> Result<Vec<Sample>, Failure> + Send>;

/// One row of the table.
pub struct Step {
    name: String,
    title: String,
    cpus: Vec<usize>,
    measurement: Measurement,
}

/// Is told how the steps get on.
pub trait StepObserver {
    fn step_started(&mut self, title: &str);
    /// The running step has used this much of its time.
    fn time_passed(&mut self, in_step: Duration);
    fn step_finished(&mut self);
}

impl Step {
    /// A step that runs `measurement` on `cpus`.
    pub fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        cpus: Vec<usize>,
        measurement: impl FnOnce(StepClock) -> Result<Vec<Sample>, Failure> + Send + 'static,
    ) -> Step {
        Step {
            name: name.into(),
            title: title.into(),
            cpus,
            measurement: Box::new(measurement),
        }
    }
}

/// Runs all steps for `duration` each, or fewer if the user interrupts.
pub fn run(
    steps: Vec<Step>,
    duration: Duration,
    interrupt: &Interrupt,
    observer: &mut dyn StepObserver,
) -> Benchmarks {
    let clock = StepClock::new(duration, interrupt.clone());
    let mut results = Vec::with_capacity(steps.len());
    for step in steps {
        if interrupt.is_requested() {
            break;
        }
        observer.step_started(&step.title);
        let (measured, error) = match run_one(step.measurement, &clock, interrupt, observer) {
            Ok(measured) => (Some(measured), None),
            Err(failure) => (None, Some(failure.to_string())),
        };
        observer.step_finished();
        results.push(BenchmarkResult {
            name: step.name,
            title: step.title,
            cpus: step.cpus,
            measured,
            error,
        });
    }
    Benchmarks {
        seconds_per_step: duration.as_secs_f64(),
        interrupted: interrupt.is_requested(),
        results,
    }
}

fn run_one(
    measurement: Measurement,
    clock: &StepClock,
    interrupt: &Interrupt,
    observer: &mut dyn StepObserver,
) -> Result<Measured, Failure> {
    let (result_to, result_from) = mpsc::sync_channel(1);
    let step_clock = clock.clone();
    std::thread::Builder::new()
        .name("doctor-step".into())
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| measurement(step_clock)));
            let result = outcome.unwrap_or_else(|_| Err("the measurement panicked".into()));
            // Nobody listens any more if the step has been given up.
            let _ = result_to.send(result);
        })?;
    let samples = wait_for(&result_from, clock.duration() + GRACE, interrupt, observer)??;
    Sample::sum(&samples).ok_or_else(|| {
        let reason = if interrupt.is_requested() {
            "it was interrupted"
        } else {
            "time was up"
        };
        format!("no operation finished before {reason}").into()
    })
}

/// Waits for a step's result, but not for ever: a step that hangs is left alone.
fn wait_for<T>(
    result_from: &Receiver<T>,
    patience: Duration,
    interrupt: &Interrupt,
    observer: &mut dyn StepObserver,
) -> Result<T, Failure> {
    let started = Instant::now();
    let mut interrupted_at = None;
    loop {
        match result_from.recv_timeout(TICK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread catches panics"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        observer.time_passed(now - started);
        if now - started > patience {
            return Err(format!("given up after {} s: it hangs", patience.as_secs()).into());
        }
        if interrupt.is_requested() {
            let since = *interrupted_at.get_or_insert(now);
            if now - since > GRACE_AFTER_INTERRUPT {
                return Err("interrupted, but it did not end".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::bench::recorder::Recorder;

    #[derive(Default)]
    struct Observed {
        titles: Vec<String>,
        finished: usize,
    }

    impl StepObserver for Observed {
        fn step_started(&mut self, title: &str) {
            self.titles.push(title.to_string());
        }

        fn time_passed(&mut self, _in_step: Duration) {}

        fn step_finished(&mut self) {
            self.finished += 1;
        }
    }

    fn step(
        measurement: impl FnOnce(StepClock) -> Result<Vec<Sample>, Failure> + Send + 'static,
    ) -> Step {
        Step::new("name", "title", vec![0], measurement)
    }

    fn one_operation(_: StepClock) -> Result<Vec<Sample>, Failure> {
        let mut recorder = Recorder::start(1);
        recorder.record(Duration::from_micros(1));
        Ok(vec![recorder.finish()])
    }

    fn run_steps(steps: Vec<Step>, interrupt: &Interrupt) -> (Benchmarks, Observed) {
        let mut observed = Observed::default();
        let benchmarks = run(steps, Duration::from_millis(1), interrupt, &mut observed);
        (benchmarks, observed)
    }

    #[test]
    fn a_failed_step_is_reported_and_the_next_one_runs() {
        let failing = step(|_| Err("the disk is on fire".into()));
        let steps = vec![failing, step(one_operation)];
        let (benchmarks, observed) = run_steps(steps, &Interrupt::default());
        let [failed, succeeded] = &benchmarks.results[..] else {
            panic!("{benchmarks:?}")
        };
        assert_eq!(failed.error.as_deref(), Some("the disk is on fire"));
        assert!(failed.measured.is_none());
        assert_eq!(succeeded.error, None);
        assert_eq!(succeeded.measured.as_ref().unwrap().operations, 1);
        assert_eq!((observed.titles.len(), observed.finished), (2, 2));
    }

    #[test]
    fn a_step_without_operations_is_an_error() {
        let (benchmarks, _) = run_steps(vec![step(|_| Ok(vec![]))], &Interrupt::default());
        let error = benchmarks.results[0].error.as_deref();
        assert_eq!(error, Some("no operation finished before time was up"));
    }

    #[test]
    fn a_panic_is_an_error_of_its_step() {
        let panicking = step(|_| panic!("expected by the test"));
        let (benchmarks, _) = run_steps(vec![panicking], &Interrupt::default());
        assert_eq!(
            benchmarks.results[0].error.as_deref(),
            Some("the measurement panicked")
        );
    }

    #[test]
    fn an_interrupt_keeps_what_was_measured_and_skips_the_rest() {
        let interrupt = Interrupt::default();
        let user = interrupt.clone();
        let interrupted = step(move |clock| {
            user.request();
            one_operation(clock)
        });
        let later_ran = Arc::new(AtomicBool::new(false));
        let later = later_ran.clone();
        let skipped = step(move |clock| {
            later.store(true, Ordering::Relaxed);
            one_operation(clock)
        });
        let (benchmarks, _) = run_steps(vec![interrupted, skipped], &interrupt);
        assert!(benchmarks.interrupted);
        assert_eq!(benchmarks.results.len(), 1);
        assert!(benchmarks.results[0].measured.is_some());
        assert!(!later_ran.load(Ordering::Relaxed));
    }

    #[test]
    fn a_step_that_hangs_is_given_up() {
        let (keep_open, never) = mpsc::sync_channel::<()>(1);
        let mut observed = Observed::default();
        let given_up = wait_for(&never, Duration::ZERO, &Interrupt::default(), &mut observed);
        assert!(given_up.unwrap_err().to_string().contains("it hangs"));
        drop(keep_open);
    }
}
