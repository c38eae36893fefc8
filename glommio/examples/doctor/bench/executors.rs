//! Executors bound to CPUs, as the steps use them.

use std::future::Future;
use std::time::Instant;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use super::Failure;
use super::clock::StepClock;
use super::recorder::{Recorder, Sample};

/// An executor at work on a part of a step.
pub struct Running<T: Send + 'static>(ExecutorJoinHandle<Result<T, Failure>>);

impl<T: Send + 'static> Running<T> {
    /// Waits for the executor to finish.
    pub fn join(self) -> Result<T, Failure> {
        self.0.join()?
    }
}

/// Starts an executor bound to `cpu` that runs `main`.
pub fn start<G, F, T>(cpu: usize, main: G) -> Result<Running<T>, Failure>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T, Failure>> + 'static,
    T: Send + 'static,
{
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu)).name(&format!("doctor-{cpu}"));
    Ok(Running(builder.spawn(main)?))
}

/// Runs `main` on one executor per CPU, all at the same time.
///
/// Waits for all of them, also when one fails; the first failure is returned.
pub fn run_on_each<G, F, T>(cpus: &[usize], main: G) -> Result<Vec<T>, Failure>
where
    G: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = Result<T, Failure>> + 'static,
    T: Send + 'static,
{
    let running: Vec<_> = cpus.iter().map(|&cpu| start(cpu, main.clone())).collect();
    let finished: Vec<_> = running
        .into_iter()
        .map(|r| r.and_then(Running::join))
        .collect();
    finished.into_iter().collect()
}

/// Repeats `operation` until the step is over, reading the clock once per `batch` operations.
pub async fn repeat<O>(clock: StepClock, batch: u64, mut operation: O) -> Result<Sample, Failure>
where
    O: AsyncFnMut() -> Result<(), Failure>,
{
    let deadline = clock.start();
    let mut recorder = Recorder::start(batch);
    let mut before = Instant::now();
    loop {
        for _ in 0..batch {
            operation().await?;
        }
        let now = Instant::now();
        recorder.record(now - before);
        if deadline.has_passed(now) {
            return Ok(recorder.finish());
        }
        before = now;
    }
}
