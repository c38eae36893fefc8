//! What one executor does alone: ring round trips, tasks and timers. Every allowed CPU runs one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::nop::NopSubmitter;
use glommio::{executor, spawn_local, timer};

use super::Failure;
use super::clock::{Deadline, StepClock};
use super::executors::{repeat, run_on_each};
use super::recorder::{Recorder, Sample};

/// Tasks and yields take tens of nanoseconds, as reading the clock does: this many are timed
/// together.
const BATCH: u64 = 64;

/// Timers that are armed at the same time on each executor.
const CONCURRENT_TIMERS: usize = 16;

/// Sleeps last between one and a few milliseconds, so that they expire in different ticks.
const SLEEP_US: std::ops::Range<u64> = 1_000..4_000;

/// A request that does nothing travels to the kernel and back.
pub fn nop_round_trip(cpus: &[usize], clock: StepClock) -> Result<Vec<Sample>, Failure> {
    run_on_each(cpus, || async {
        let submitter = NopSubmitter::new();
        repeat(clock, 1, async || Ok(submitter.run_nop().await?)).await
    })
}

/// A task that does nothing is made, run and joined.
pub fn spawn_and_join(cpus: &[usize], clock: StepClock) -> Result<Vec<Sample>, Failure> {
    run_on_each(cpus, || {
        repeat(clock, BATCH, async || {
            spawn_local(async {}).await;
            Ok(())
        })
    })
}

/// A lone task gives way and gets the CPU back.
pub fn yield_now(cpus: &[usize], clock: StepClock) -> Result<Vec<Sample>, Failure> {
    run_on_each(cpus, || {
        repeat(clock, BATCH, async || {
            executor().yield_now().await;
            Ok(())
        })
    })
}

/// How much later than asked for a sleeping task continues.
pub fn timer_lateness(cpus: &[usize], clock: StepClock) -> Result<Vec<Sample>, Failure> {
    run_on_each(cpus, || async move {
        let recorder = Rc::new(RefCell::new(Recorder::start(1)));
        let deadline = clock.start();
        let sleepers: Vec<_> = (0..CONCURRENT_TIMERS)
            .map(|_| spawn_local(sleep_repeatedly(deadline.clone(), recorder.clone())))
            .collect();
        for sleeper in sleepers {
            sleeper.await?;
        }
        let recorder = Rc::into_inner(recorder).expect("the sleepers have ended");
        Ok(recorder.into_inner().finish())
    })
}

async fn sleep_repeatedly(
    deadline: Deadline,
    recorder: Rc<RefCell<Recorder>>,
) -> Result<(), Failure> {
    loop {
        let duration = Duration::from_micros(fastrand::u64(SLEEP_US));
        let before = Instant::now();
        timer::sleep(duration).await;
        let now = Instant::now();
        let Some(late) = (now - before).checked_sub(duration) else {
            let early = duration - (now - before);
            return Err(format!("a sleep of {duration:?} ended {early:?} too early").into());
        };
        recorder.borrow_mut().record(late);
        if deadline.has_passed(now) {
            return Ok(());
        }
    }
}
