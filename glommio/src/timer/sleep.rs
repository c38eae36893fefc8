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
