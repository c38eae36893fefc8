//! Timers at the end of things, and between executors.

use std::{
    cell::RefCell,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    task::Context,
    time::{Duration, Instant},
};

use futures_lite::future::poll_once;
use glommio::{
    LocalExecutor, spawn_local,
    timer::{Interval, Timer, TimerActionOnce, TimerActionRepeat, interval, sleep, timeout},
};

use super::{HOUR, MS, Woken};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_timer_may_outlive_its_executor() {
    // Longer and longer, until the machine polls it before its time.
    for wait in (1..).map(|times| MS * 100 * times) {
        let ex = LocalExecutor::default();
        let mut timer = Timer::new(wait);
        let polled = ex.run(async { poll_once(&mut timer).await });
        drop(ex);
        LocalExecutor::default().run(timer);
        if polled.is_none() {
            return;
        }
    }
}

#[test]
fn a_timer_of_a_dead_executor_can_be_moved_and_dropped_and_disturbs_no_other() {
    let mut timer = Timer::new(HOUR);
    let mut late = Timer::new(HOUR);
    LocalExecutor::default().run(async {
        assert!(poll_once(&mut timer).await.is_none());
        assert!(poll_once(&mut late).await.is_none());
    });
    LocalExecutor::default().run(async move {
        let start = Instant::now();
        // It would have the place in the wheel that the others had in theirs.
        let mut other = Timer::new(HOUR);
        assert!(poll_once(&mut other).await.is_none());
        drop(late);
        timer.reset(MS);
        timer.await;
        other.rearm(MS * 2);
        assert!(other.await >= start + MS * 2);
    });
}

#[test]
fn a_timer_that_moved_to_another_executor_fires_there() {
    let first = LocalExecutor::default();
    let mut timer = Timer::new(HOUR);
    let start = Instant::now();
    first.run(async {
        assert!(poll_once(&mut timer).await.is_none());
        timer.rearm(MS * 3);
    });
    // The first one lives, but does not run.
    let fired = LocalExecutor::default().run(timer);
    assert!(fired >= start + MS * 3);
    drop(first);
}

/// Does with timers what a destructor may do.
struct UsesTimers {
    log: Rc<RefCell<Vec<&'static str>>>,
    interval: Interval,
}

impl Drop for UsesTimers {
    fn drop(&mut self) {
        let (woken, waker) = Woken::new();
        let mut context = Context::from_waker(&waker);
        for wait in [Duration::ZERO, MS, HOUR] {
            let mut timer = Timer::new(wait);
            let _ = Pin::new(&mut timer).poll(&mut context);
            timer.reset(HOUR);
        }
        let mut tick = self.interval.tick();
        let _ = Pin::new(&mut tick).poll(&mut context);
        drop(TimerActionOnce::do_in(MS, pending::<()>()));
        TimerActionRepeat::repeat(|| async { Some(MS) }).destroy();
        spawn_local(sleep(MS)).detach();
        self.log.borrow_mut().push("dropped");
        assert_eq!(woken.times(), 0);
    }
}

#[test]
fn destructors_may_use_timers_while_their_executor_ends() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let ex = LocalExecutor::default();
    ex.run(async {
        for wait in [MS, HOUR] {
            let guard = UsesTimers {
                log: log.clone(),
                interval: interval(MS),
            };
            spawn_local(async move {
                let _guard = guard;
                sleep(wait).await;
                let _ = timeout(HOUR, pending::<glommio::Result<(), ()>>()).await;
            })
            .detach();
        }
        sleep(MS * 3).await;
        assert!(log.borrow().is_empty());
    });
    drop(ex);
    assert_eq!(*log.borrow(), ["dropped"; 2]);
    assert_eq!(Rc::strong_count(&log), 1);
}

#[test]
fn an_executor_that_ends_with_pending_timers_lets_go_of_their_wakers() {
    let wakers: Vec<_> = (0..100).map(|_| Woken::new()).collect();
    let ex = LocalExecutor::default();
    let mut timers: Vec<_> = (1..=100).map(|i| Timer::new(MINUTE * i * i)).collect();
    ex.run(async {
        for (timer, (_, waker)) in timers.iter_mut().zip(&wakers) {
            assert!(
                Pin::new(timer)
                    .poll(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }
    });
    assert!(
        wakers
            .iter()
            .all(|(woken, _)| std::sync::Arc::strong_count(woken) == 3)
    );
    drop(ex);
    assert!(
        wakers
            .iter()
            .all(|(woken, _)| std::sync::Arc::strong_count(woken) == 2)
    );
    drop(timers);
    assert!(wakers.iter().all(|(woken, _)| woken.times() == 0));
}

#[test]
#[should_panic(expected = "needs a running glommio executor")]
fn waiting_outside_of_an_executor_says_what_is_missing() {
    let (_, waker) = Woken::new();
    let mut timer = Timer::new(HOUR);
    let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(&waker));
}
