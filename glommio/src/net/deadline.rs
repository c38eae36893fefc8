//! Timeouts of reads and writes. Each belongs to its call: nothing is left of it when that ends.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    error::{GlommioError, Result},
    reactor::{self, Reactor, TimerKey},
    sys::recent,
};

/// A timeout that a socket can have; zero would end everything before it begins.
pub(super) fn checked(limit: Option<Duration>) -> Result<Option<Duration>, ()> {
    if limit.is_some_and(|limit| limit.is_zero()) {
        let zero = "a timeout of zero is none: None is for waiting without end";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, zero).into());
    }
    Ok(limit)
}

/// Awaits `work`, for at most `limit`, and drops it before this returns.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, ()>>,
) -> Result<T, ()> {
    let Some(limit) = limit else {
        return work.await;
    };
    let mut work = pin!(work);
    let mut deadline = Deadline::in_(limit);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending if deadline.has_passed(cx) => Poll::Ready(Err(GlommioError::TimedOut(limit))),
        Poll::Pending => Poll::Pending,
    })
    .await
}

struct Deadline {
    reactor: Rc<Reactor>,
    at_ns: u64,
    armed: Option<TimerKey>,
}

impl Deadline {
    fn in_(limit: Duration) -> Deadline {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Deadline {
            reactor: reactor::current(),
            at_ns: recent::upper_bound_ns().saturating_add(limit_ns),
            armed: None,
        }
    }

    /// Whether it has; else the caller is woken when it does.
    fn has_passed(&mut self, cx: &Context<'_>) -> bool {
        if recent::now_ns() >= self.at_ns {
            return true;
        }
        let timers = self.reactor.timers();
        let is_armed = self
            .armed
            .is_some_and(|key| timers.set_waker(key, cx.waker()));
        if !is_armed {
            self.armed = Some(timers.arm(self.at_ns, cx.waker()));
        }
        false
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(key) = self.armed.take() {
            self.reactor.timers().cancel(key);
        }
    }
}
