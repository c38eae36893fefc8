//! Statistics for the [`metrics`](https://docs.rs/metrics) façade, with the cargo feature `metrics`.
//!
//! An executor's counters are plain memory of its thread; nobody can pull them from another one.
//! So each executor pushes them: once with [`ExecutorProxy::export_metrics`], or from a task that does
//! so from time to time, [`export_every`]. Whatever recorder the program has installed takes them.
//!
//! Names, units and labels: `docs/observability.md` in the repository.
//!
//! [`ExecutorProxy::export_metrics`]: crate::ExecutorProxy::export_metrics

use std::{convert::Infallible, time::Duration};

use crate::{executor::executor, timer::sleep};

/// Exports the statistics of the executor now and after every `period`, for ever.
///
/// To be spawned on each executor; in a queue of few shares, if there are many queues. What happens
/// after the last export is lost with the executor, unless the program exports once more before it
/// ends.
///
/// # Panics
///
/// Outside of an executor.
///
/// # Cancel safety
///
/// Nothing is lost: every export says where the counters stand.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutor, executor, metrics, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let export = spawn_local(metrics::export_every(Duration::from_secs(10)));
///     // … the program …
///     export.cancel().await;
///     executor().export_metrics();
/// });
/// ```
pub async fn export_every(period: Duration) -> Infallible {
    loop {
        executor().export_metrics();
        sleep(period).await;
    }
}
