//! What timers cost, in allocations.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use glommio::{
    LocalExecutor, executor, future,
    timer::{Timer, TimerActionOnce, interval, sleep},
};

use super::{HOUR, MS, alloc::allocations};

/// The allocations of this thread while `work` runs.
async fn allocations_of(work: impl Future<Output = ()>) -> u64 {
    let mut work = pin!(work);
    let before = allocations();
    work.as_mut().await;
    allocations() - before
}

#[test]
fn warm_sleeps_timeouts_ticks_and_resets_allocate_nothing() {
    LocalExecutor::default().run(async {
        let work = async || {
            let mut interval = interval(MS);
            let mut timer = Timer::new(HOUR);
            for _ in 0..10 {
                sleep(MS).await;
                future::timeout(HOUR, executor().yield_now()).await.unwrap();
                assert!(
                    future::timeout(MS, std::future::pending::<()>())
                        .await
                        .is_err()
                );
                interval.tick().await;
                timer.reset(HOUR);
                assert!(futures_lite::future::poll_once(&mut timer).await.is_none());
            }
        };
        // Each level of the wheel takes its memory on first use.
        work().await;
        let mut least = u64::MAX;
        for _ in 0..5 {
            least = least.min(allocations_of(work()).await);
        }
        assert_eq!(least, 0);
    });
}

#[test]
fn an_action_is_one_allocation_beside_its_task() {
    LocalExecutor::default().run(async {
        let work = async || {
            for i in 0..20 {
                let action = TimerActionOnce::do_in(Duration::ZERO, async move { i });
                assert_eq!(action.join().await, Some(i));
            }
        };
        work().await;
        // The memory of ended tasks is used again, but for a sanitizer.
        let tasks = if cfg!(glommio_sanitized) { 20 } else { 0 };
        assert_eq!(allocations_of(work()).await, 20 + tasks);
    });
}

#[test]
fn a_million_pending_timers_cost_a_few_dozen_allocations_and_disturb_nobody() {
    const COUNT: usize = 1_000_000;
    LocalExecutor::default().run(async {
        sleep(MS).await;
        let mut timers = Vec::with_capacity(COUNT);
        let before = allocations();
        poll_fn(|context| {
            for i in 0..COUNT as u32 {
                // From an hour to two years, in no order.
                let mut timer = Timer::new(HOUR + MS * (i.wrapping_mul(2_654_435_761) >> 8) * 4);
                assert!(Pin::new(&mut timer).poll(context).is_pending());
                timers.push(timer);
            }
            Poll::Ready(())
        })
        .await;
        let allocations = allocations() - before;
        assert!(allocations < 40, "{allocations} allocations");

        // The others stay where they are: a sleep costs as little as without them.
        let work = async {
            for _ in 0..3 {
                let start = Instant::now();
                sleep(MS).await;
                assert!(start.elapsed() >= MS);
            }
        };
        assert_eq!(allocations_of(work).await, 0);
        let polls = executor().executor_stats().tasks_executed();
        executor().yield_now().await;
        assert!(
            executor().executor_stats().tasks_executed() - polls < 10,
            "none has fired"
        );

        let work = async {
            for timer in timers.iter_mut().step_by(2) {
                timer.reset(HOUR);
            }
            timers.drain(..COUNT / 2);
        };
        assert_eq!(allocations_of(work).await, 0);
        let mut next = timers.pop().unwrap();
        next.reset(MS);
        next.await;
    });
}
