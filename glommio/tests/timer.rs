//! Timers as their users see them.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    LocalExecutor, spawn_local,
    timer::{Timer, sleep},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_timer_is_never_early_and_not_very_late() {
    LocalExecutor::default().run(async {
        for ms in [1, 1, 2, 5, 20, 70] {
            let start = Instant::now();
            let fired = Timer::new(MS * ms).await;
            assert!(fired - start >= MS * ms, "{:?} for {ms} ms", fired - start);
            assert!(start.elapsed() < MS * ms + Duration::from_secs(2));
        }
    });
}

#[test]
fn a_zero_timer_is_ready_at_once_and_an_endless_one_does_not_overflow() {
    LocalExecutor::default().run(async {
        Timer::new(Duration::ZERO).await;
        let endless = Timer::new(Duration::MAX);
        let short = sleep(MS);
        futures_lite::future::or(
            async {
                let _ = endless.await;
            },
            short,
        )
        .await;
    });
}

#[test]
fn a_reset_timer_fires_at_its_new_time() {
    LocalExecutor::default().run(async {
        let start = Instant::now();
        let mut timer = Timer::new(Duration::from_secs(3600));
        assert!(futures_lite::future::poll_once(&mut timer).await.is_none());
        timer.reset(MS * 3);
        timer.await;
        assert!((MS * 3..Duration::from_secs(60)).contains(&start.elapsed()));
    });
}

#[test]
fn a_timer_may_outlive_its_executor() {
    let ex = LocalExecutor::default();
    let mut timer = Timer::new(MS);
    ex.run(async {
        assert!(futures_lite::future::poll_once(&mut timer).await.is_none());
    });
    drop(ex);
    LocalExecutor::default().run(timer);
}

#[test]
fn ten_thousand_timers_fire_in_the_order_of_their_deadlines() {
    LocalExecutor::default().run(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..10_000u64)
            .map(|i| {
                let wait = Duration::from_millis(5 + (i * 7_919) % 40);
                let order = order.clone();
                spawn_local(async move {
                    let deadline = Instant::now() + wait;
                    Timer::new(wait).await;
                    order.borrow_mut().push(deadline);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let order = order.borrow();
        assert_eq!(order.len(), 10_000);
        // Within a tick of the wheel the order is that of arming.
        let tick = Duration::from_millis(1);
        assert!(order.windows(2).all(|pair| pair[1] + tick >= pair[0]));
    });
}
