//! One time after the other.

use std::{future::Future, pin::Pin, task::Context, time::Instant};

use futures_lite::{StreamExt, future::poll_once};
use glommio::{
    LocalExecutor, spawn_local,
    timer::{MissedTickBehavior, interval, interval_at, sleep},
};

use super::{HOUR, MS, Woken};

#[test]
fn who_is_late_for_every_tick_lets_others_run() {
    LocalExecutor::default().run(async {
        let late = spawn_local(async {
            let mut interval = interval(MS);
            loop {
                interval.tick().await;
                let start = Instant::now();
                while start.elapsed() < MS * 2 {
                    std::hint::spin_loop();
                }
            }
        });
        // Returns only if the loop lets this task run, each time.
        for _ in 0..5 {
            sleep(MS).await;
        }
        late.cancel().await;
    });
}

#[test]
fn the_first_tick_is_at_once_and_the_others_a_period_apart_and_never_early() {
    LocalExecutor::default().run(async {
        let mut interval = interval(MS * 3);
        let first = {
            let (_, waker) = Woken::new();
            let mut tick = interval.tick();
            let polled = Pin::new(&mut tick).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_ready(), "no turn of the executor is needed");
            futures_lite::future::ready(polled).await
        };
        let std::task::Poll::Ready(first) = first else {
            unreachable!()
        };
        for i in 1..=5 {
            assert_eq!(interval.tick().await, first + MS * 3 * i);
            assert!(Instant::now() >= first + MS * 3 * i);
        }
    });
}

#[test]
fn an_interval_may_start_in_the_past_or_in_the_future() {
    LocalExecutor::default().run(async {
        let now = Instant::now();
        let mut future = interval_at(now + MS * 4, MS);
        assert_eq!(future.tick().await, now + MS * 4);
        assert!(Instant::now() >= now + MS * 4);
        let mut past = interval_at(now, MS);
        assert_eq!(poll_once(past.tick()).await, Some(now));
        assert_eq!(poll_once(past.tick()).await, Some(now + MS), "a burst");
    });
}

#[test]
fn a_tick_that_was_not_waited_for_to_the_end_is_not_lost() {
    LocalExecutor::default().run(async {
        let start = Instant::now();
        let mut interval = interval_at(start + MS * 3, HOUR);
        for _ in 0..10 {
            assert!(poll_once(interval.tick()).await.is_none() || start.elapsed() >= MS * 3);
        }
        sleep(MS * 4).await;
        let mut interval = interval_at(start + MS * 3, HOUR);
        assert_eq!(poll_once(interval.tick()).await, Some(start + MS * 3));
        assert!(poll_once(interval.tick()).await.is_none());
    });
}

#[test]
fn a_held_up_interval_does_as_it_was_told() {
    LocalExecutor::default().run(async {
        let period = MS * 50;
        for missed in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(missed);
            let first = interval.tick().await;
            std::thread::sleep(MS * 120);
            // Late for the second tick, by more than a period.
            assert_eq!(interval.tick().await, first + period);
            let taken = Instant::now();
            let third = interval.tick().await;
            match missed {
                MissedTickBehavior::Burst => assert_eq!(third, first + period * 2),
                MissedTickBehavior::Delay => {
                    let gap = third - first;
                    assert!(
                        (MS * 170..=period + (taken - first)).contains(&gap),
                        "{gap:?}"
                    );
                }
                MissedTickBehavior::Skip => {
                    let gap = third - first;
                    assert_eq!(gap.as_nanos() % period.as_nanos(), 0, "{gap:?}");
                    assert!(gap >= period * 3 && third <= taken + period);
                }
            }
            assert!(Instant::now() >= third);
        }
    });
}

#[test]
fn an_interval_is_a_stream_without_end() {
    LocalExecutor::default().run(async {
        let start = Instant::now();
        let ticks: Vec<_> = interval_at(start, MS).take(5).collect().await;
        let expected: Vec<_> = (0..5).map(|i| start + MS * i).collect();
        assert_eq!(ticks, expected);
    });
}
