//! What can be done with futures of any kind.

use std::{future::Future, time::Duration};

use crate::{error::Result, timer};

/// Awaits a future for at most `dur`.
///
/// The time begins with the first poll. The future is polled first, so one that is ready wins, even
/// if `dur` is zero. One whose time is over is dropped before the error comes back.
///
/// [`timer::timeout`](crate::timer::timeout()) does the same for futures that give a `Result`, and
/// puts the error into it.
///
/// # Errors
///
/// [`TimedOut`](crate::GlommioError::TimedOut) with `dur` if the time is over.
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
/// use glommio::{LocalExecutor, future::timeout, timer::sleep};
///
/// LocalExecutor::default().run(async {
///     let second = Duration::from_secs(1);
///     assert_eq!(timeout(second, async { 7 }).await.unwrap(), 7);
///     assert!(timeout(Duration::from_millis(1), sleep(second)).await.is_err());
/// });
/// ```
pub async fn timeout<F, T>(dur: Duration, f: F) -> Result<T, ()>
where
    F: Future<Output = T>,
{
    timer::within(dur, f).await
}
