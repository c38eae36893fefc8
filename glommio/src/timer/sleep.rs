//! Waiting for a point in time.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    reactor::{self, Reactor, TimerKey},
    sys::recent,
};

/// A future that completes when a time has passed, with the time at which it noticed.
///
/// The time begins when the timer is made, not when it is awaited.
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
/// When polled outside of an executor before its time.
///
/// # Cancel safety
///
/// Dropping it disarms it, and leaves nothing behind. Polling borrows it: a timer that lost a race in
/// a `select` goes on.
pub struct Timer {
    /// As [`recent`] counts it.
    deadline_ns: u64,
    armed: Option<Armed>,
}

/// Where the timer waits, unless it has fired meanwhile.
struct Armed {
    reactor: Rc<Reactor>,
    key: TimerKey,
}

impl Timer {
    /// A timer that fires `dur` from now.
    ///
    /// A duration of more than some 500 years counts as for ever.
    #[inline]
    pub fn new(dur: Duration) -> Timer {
        Timer {
            deadline_ns: deadline_in(dur),
            armed: None,
        }
    }

    /// A timer that fires at `deadline`.
    pub(super) fn at(deadline: Instant) -> Timer {
        Timer {
            deadline_ns: deadline_at(deadline),
            armed: None,
        }
    }

    /// Makes the timer fire `dur` from now instead, whether or not it has fired.
    ///
    /// Whoever awaits the timer goes on to do so: a task that waits is woken at the new time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use futures_lite::future::poll_once;
    /// use glommio::{LocalExecutor, timer::Timer};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut idle = Timer::new(Duration::from_secs(60));
    ///     assert!(poll_once(&mut idle).await.is_none());
    ///     let start = Instant::now();
    ///     idle.reset(Duration::from_millis(2));
    ///     assert!(idle.await >= start + Duration::from_millis(2));
    /// });
    /// ```
    pub fn reset(&mut self, dur: Duration) {
        self.move_to(deadline_in(dur));
    }

    /// The same as [`reset`](Self::reset), under the name that it has for actions.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use glommio::{LocalExecutor, timer::Timer};
    ///
    /// LocalExecutor::default().run(async {
    ///     let start = Instant::now();
    ///     let mut timer = Timer::new(Duration::from_millis(1));
    ///     timer.rearm(Duration::from_millis(3));
    ///     assert!(timer.await >= start + Duration::from_millis(3));
    /// });
    /// ```
    pub fn rearm(&mut self, dur: Duration) {
        self.reset(dur);
    }

    /// Makes the timer fire at `deadline` instead.
    pub(super) fn reset_at(&mut self, deadline: Instant) {
        self.move_to(deadline_at(deadline));
    }

    fn move_to(&mut self, deadline_ns: u64) {
        self.deadline_ns = deadline_ns;
        if let Some(Armed { reactor, key }) = &self.armed {
            if !reactor.timers().rearm(*key, deadline_ns) {
                self.armed = None;
            }
        }
    }

    #[inline]
    fn disarm(&mut self) {
        if let Some(Armed { reactor, key }) = self.armed.take() {
            reactor.timers().cancel(key);
        }
    }

    #[inline]
    fn arm(&mut self, context: &Context<'_>) {
        let reactor = reactor::current();
        let key = reactor.timers().arm(self.deadline_ns, context.waker());
        self.armed = Some(Armed { reactor, key });
    }

    fn ready(&mut self, now_ns: u64) -> Poll<Instant> {
        self.disarm();
        Poll::Ready(recent::instant_of(now_ns).unwrap_or_else(Instant::now))
    }

    /// A poll of a timer that has been armed.
    fn poll_again(&mut self, context: &Context<'_>) -> Poll<Instant> {
        // Who was woken finds the reactor's reading of the clock, and need not make another.
        let passed = recent::lower_bound_ns();
        if passed >= self.deadline_ns {
            return self.ready(passed);
        }
        // Somebody may poll in a loop and never let the reactor have its turn.
        if recent::upper_bound_ns() >= self.deadline_ns {
            let now = recent::now_ns();
            if now >= self.deadline_ns {
                return self.ready(now);
            }
        }
        let is_armed = self.armed.as_ref().is_some_and(|Armed { reactor, key }| {
            runs_here(reactor) && reactor.timers().set_waker(*key, context.waker())
        });
        if !is_armed {
            self.disarm();
            self.arm(context);
        }
        Poll::Pending
    }
}

/// Whether no other executor than the reactor's runs on this thread.
fn runs_here(reactor: &Rc<Reactor>) -> bool {
    reactor::current_reactor(|current| current.is_none_or(|current| Rc::ptr_eq(current, reactor)))
}

/// When `dur` will have passed.
#[inline]
fn deadline_in(dur: Duration) -> u64 {
    if dur.is_zero() {
        return 0;
    }
    let dur_ns = u64::try_from(dur.as_nanos()).unwrap_or(u64::MAX);
    recent::upper_bound_ns().saturating_add(dur_ns)
}

fn deadline_at(deadline: Instant) -> u64 {
    // A deadline that has passed is told by the last reading of the clock.
    recent::now_ns();
    recent::ns_of(deadline)
}

impl Future for Timer {
    type Output = Instant;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        if self.armed.is_some() {
            return self.poll_again(context);
        }
        // Most timers are polled right after they were made, so the clock is not read again: a
        // deadline that has passed since is due at the reactor's next turn.
        let passed = recent::lower_bound_ns();
        if passed >= self.deadline_ns {
            return self.ready(passed);
        }
        self.arm(context);
        Poll::Pending
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &recent::instant_of(self.deadline_ns))
            .field("armed", &self.armed.is_some())
            .finish()
    }
}

/// Waits for `wait`, beginning with the first poll.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use glommio::{LocalExecutor, timer::sleep};
///
/// LocalExecutor::default().run(async {
///     let start = Instant::now();
///     sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
///
/// # Panics
///
/// When polled outside of an executor.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn sleep(wait: Duration) {
    Timer::new(wait).await;
}

/// Waits until `deadline` has passed; not at all if it has.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use glommio::{LocalExecutor, timer::sleep_until};
///
/// LocalExecutor::default().run(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
///     sleep_until(deadline).await;
/// });
/// ```
///
/// # Panics
///
/// When polled outside of an executor before the deadline.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn sleep_until(deadline: Instant) {
    Timer::at(deadline).await;
}
