//! When timers are looked at while tasks are busy.

use std::time::{Duration, Instant};

use glommio::{
    Latency, LocalExecutor, Shares, executor, spawn_local, spawn_local_into, timer::sleep,
    yield_if_needed,
};

use super::MS;

#[test]
fn a_task_whose_latency_matters_makes_a_busy_one_yield_as_soon_as_its_timer_is_due() {
    // A busy queue may run for half of this, and would without being asked to yield.
    const LATENCY: Duration = Duration::from_millis(100);
    LocalExecutor::default().run(async {
        let queue =
            executor().create_task_queue(Shares::Static(100), Latency::Matters(LATENCY), "prompt");
        let busy = spawn_local(async {
            loop {
                yield_if_needed().await;
            }
        });
        // The machine may be busy as well: those count that it did not hold up.
        let sleeper = async {
            let (start, mut lateness) = (Instant::now(), Vec::new());
            let prompt = |lateness: &[Duration]| {
                let prompt = lateness.iter().filter(|late| **late < LATENCY / 8);
                prompt.count()
            };
            while prompt(&lateness) < 4 {
                let waited = start.elapsed();
                assert!(waited < Duration::from_secs(60), "{lateness:?}");
                let deadline = Instant::now() + MS * 2;
                sleep(MS * 2).await;
                lateness.push(deadline.elapsed());
            }
        };
        spawn_local_into(sleeper, queue).unwrap().await;
        busy.cancel().await;
    });
}
