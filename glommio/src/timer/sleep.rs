//! Waiting for a point in time.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::reactor::{self, Reactor, TimerKey};

/// Durations beyond this count as for ever.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 100);

/// A future that completes when a time has passed, with the time at which it noticed.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use glommio::{LocalExecutor, timer::Timer};
///
/// LocalExecutor::default().run(async {
///     let start = Instant::now();
///     Timer::new(Duration::from_millis(5)).await;
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
///
/// # Panics
///
/// When polled outside of an executor.
///
/// # Cancel safety
///
/// Dropping it disarms it.
pub struct Timer {
    deadline: Instant,
    armed: Option<(Rc<Reactor>, TimerKey)>,
}

impl Timer {
    /// A timer that fires `dur` from now.
    pub fn new(dur: Duration) -> Timer {
        Timer {
            deadline: deadline(dur),
            armed: None,
        }
    }

    /// Makes the timer fire `dur` from now instead, whether or not it has fired.
    pub fn reset(&mut self, dur: Duration) {
        self.disarm();
        self.deadline = deadline(dur);
    }

    fn disarm(&mut self) {
        if let Some((reactor, key)) = self.armed.take() {
            reactor.cancel_timer(key);
        }
    }
}

fn deadline(dur: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(dur.min(FAR_FUTURE)).unwrap_or(now)
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let now = Instant::now();
        if now >= self.deadline {
            self.disarm();
            return Poll::Ready(now);
        }
        match &self.armed {
            Some((reactor, key)) if reactor.timer_is_armed(*key) => {
                reactor.set_timer_waker(*key, cx.waker());
            }
            _ => {
                let reactor = reactor::current();
                let key = reactor.arm_timer(self.deadline, cx.waker().clone());
                self.armed = Some((reactor, key));
            }
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.deadline)
            .field("armed", &self.armed.is_some())
            .finish()
    }
}

/// Waits for `wait`.
///
/// # Panics
///
/// When polled outside of an executor.
pub async fn sleep(wait: Duration) {
    Timer::new(wait).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::LocalExecutor;

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
                    crate::executor::spawn_local(async move {
                        let timer = Timer::new(wait);
                        let deadline = timer.deadline;
                        timer.await;
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
}
