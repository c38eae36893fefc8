//! Giving up on a future after a while.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use super::sleep::Timer;
use crate::error::{GlommioError, Result};

/// Awaits a fallible future for at most `dur`.
///
/// The time begins with the first poll. The future is polled first, so one that is ready wins, even
/// if `dur` is zero. One whose time is over is dropped before the error comes back.
///
/// [`future::timeout`](crate::future::timeout) takes futures of any output.
///
/// # Errors
///
/// [`TimedOut`](GlommioError::TimedOut) with `dur` if the time is over, else the future's own.
///
/// # Panics
///
/// When polled outside of an executor, and with the panics of the future.
///
/// # Cancel safety
///
/// Dropping it drops the future.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::{GlommioError, LocalExecutor, timer::{sleep, timeout}};
///
/// LocalExecutor::default().run(async {
///     let second = Duration::from_secs(1);
///     let quick = timeout(second, async { Ok::<_, GlommioError<()>>(7) });
///     assert_eq!(quick.await?, 7);
///
///     let millisecond = Duration::from_millis(1);
///     let slow = timeout(millisecond, async {
///         sleep(second).await;
///         Ok::<_, GlommioError<()>>(7)
///     });
///     let error = slow.await.unwrap_err();
///     assert!(matches!(error, GlommioError::TimedOut(after) if after == millisecond));
///     Ok::<(), GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub async fn timeout<F, T>(dur: Duration, f: F) -> Result<T, ()>
where
    F: Future<Output = Result<T, ()>>,
{
    within(dur, f).await?
}

/// Another name of [`timeout`].
///
/// # Errors
///
/// As [`timeout`].
///
/// # Panics
///
/// As [`timeout`].
///
/// # Cancel safety
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use glommio::{GlommioError, LocalExecutor, timer::try_timeout};
///
/// LocalExecutor::default().run(async {
///     let never = std::future::pending::<Result<(), GlommioError<()>>>();
///     assert!(try_timeout(Duration::from_millis(1), never).await.is_err());
/// });
/// ```
pub async fn try_timeout<F, T>(dur: Duration, f: F) -> Result<T, ()>
where
    F: Future<Output = Result<T, ()>>,
{
    within(dur, f).await?
}

/// Awaits a future for at most `dur`, and drops it before it returns.
pub(crate) async fn within<F: Future>(dur: Duration, f: F) -> Result<F::Output, ()> {
    let mut timer = Timer::new(dur);
    let mut future = pin!(f);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        let timer = Pin::new(&mut timer).poll(context);
        timer.map(|_| Err(GlommioError::TimedOut(dur)))
    })
    .await
}
