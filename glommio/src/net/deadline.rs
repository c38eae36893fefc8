//! Timeouts of reads and writes.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
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

/// Awaits `work`, for at most `limit`, and drops it before this returns. Nothing is left of the timeout
/// then.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, ()>>,
) -> Result<T, ()> {
    let Some(limit) = limit else {
        return work.await;
    };
    let mut work = pin!(work);
    let mut deadline = None;
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => Deadline::poll(&mut deadline, limit, cx).map(Err),
    })
    .await
}

/// The timeout of calls that are polled, one at a time. It runs while they have to wait; a result ends
/// it, and costs a look at whether it runs.
#[derive(Default)]
pub(super) struct Patience {
    limit: Cell<Option<Duration>>,
    running: RefCell<Option<Deadline>>,
}

impl Patience {
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit.get()
    }

    /// Sets another limit, for waits that begin from now on; what waits now begins anew.
    pub(super) fn set_limit(&self, limit: Option<Duration>) -> Result<(), ()> {
        self.limit.set(checked(limit)?);
        let ended = self.running.borrow_mut().take();
        drop(ended);
        Ok(())
    }

    /// Makes an error of a wait that has taken too long.
    #[inline]
    pub(super) fn judge<T>(
        &mut self,
        cx: &Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.running.get_mut().is_some() {
                self.end();
            }
            return poll;
        }
        match self.limit.get() {
            None => Poll::Pending,
            Some(limit) => {
                let error = ready!(Deadline::poll(self.running.get_mut(), limit, cx));
                self.end();
                Poll::Ready(Err(error.into()))
            }
        }
    }

    #[cold]
    fn end(&mut self) {
        *self.running.get_mut() = None;
    }
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

    /// Ends with the error that `limit` is over; it begins with the first call that finds `deadline`
    /// empty.
    fn poll(
        deadline: &mut Option<Deadline>,
        limit: Duration,
        cx: &Context<'_>,
    ) -> Poll<GlommioError<()>> {
        let deadline = deadline.get_or_insert_with(|| Deadline::in_(limit));
        match deadline.has_passed(cx) {
            true => Poll::Ready(GlommioError::TimedOut(limit)),
            false => Poll::Pending,
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::executor::LocalExecutor;

    #[test]
    fn only_a_wait_arms_a_timer_and_every_result_disarms_it() {
        LocalExecutor::default().run(async {
            let cx = Context::from_waker(Waker::noop());
            let mut patience = Patience::default();
            let waits = |patience: &Patience| patience.running.borrow().is_some();
            assert!(patience.judge::<()>(&cx, Poll::Pending).is_pending());
            assert!(!waits(&patience), "there is no limit");
            patience.set_limit(Some(Duration::from_secs(60))).unwrap();
            assert!(patience.judge(&cx, Poll::Ready(Ok(()))).is_ready());
            assert!(!waits(&patience), "there was nothing to wait for");
            for result in [Ok(()), Err(io::Error::other("failed"))] {
                assert!(patience.judge::<()>(&cx, Poll::Pending).is_pending());
                assert!(waits(&patience));
                assert!(patience.judge(&cx, Poll::Ready(result)).is_ready());
                assert!(!waits(&patience));
            }
        });
    }
}
