//! Statistics for the [`metrics`](https://docs.rs/metrics) façade.
//!
//! The counters of an executor are plain memory of its thread, so nobody can pull them from another
//! one: the executor pushes them, when a task asks it to. Each value is what the counter stands at;
//! pushing twice is harmless.
//!
//! [`METRICS`] is the list of what there is, with unit and kind. `docs/observability.md` says the same
//! for readers, and the test of this feature compares the two.

use std::time::Duration;

use metrics::{Label, Unit};
use sketches_ddsketch::DDSketch;

use super::{
    core::Core,
    io_stats::{IoStats, RingIoStats},
    proxy::{ExecutorProxy, with_core},
    queue::TaskQueue,
    stats::{ExecutorStats, TaskQueueStats},
};

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    text: &'static str,
}

const fn counter(name: &'static str, unit: Unit, text: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit,
        text,
    }
}

const fn gauge(name: &'static str, unit: Unit, text: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit,
        text,
    }
}

/// Everything that is exported. Durations are gauges, although they only grow, because the
/// counters of the façade are whole numbers.
const METRICS: &[Metric] = &[
    gauge(
        "glommio_executor_uptime_seconds",
        Unit::Seconds,
        "Time since the executor was made",
    ),
    gauge(
        "glommio_executor_busy_seconds",
        Unit::Seconds,
        "Time in which tasks of the executor ran",
    ),
    counter(
        "glommio_executor_scheduler_runs_total",
        Unit::Count,
        "Turns given to task queues",
    ),
    counter(
        "glommio_executor_task_polls_total",
        Unit::Count,
        "Polls of tasks",
    ),
    gauge(
        "glommio_executor_tasks",
        Unit::Count,
        "Tasks that have been spawned and have not ended",
    ),
    gauge(
        "glommio_queue_busy_seconds",
        Unit::Seconds,
        "Time in which tasks of the queue ran",
    ),
    gauge("glommio_queue_shares", Unit::Count, "Shares of the queue"),
    gauge(
        "glommio_queue_runnable_tasks",
        Unit::Count,
        "Tasks of the queue that wait for their turn",
    ),
    counter(
        "glommio_queue_selected_total",
        Unit::Count,
        "Turns of the queue",
    ),
    counter(
        "glommio_io_operations_total",
        Unit::Count,
        "Operations that completed, removed queues included",
    ),
    counter(
        "glommio_io_bytes_total",
        Unit::Bytes,
        "Bytes that operations moved, removed queues included",
    ),
    counter(
        "glommio_queue_io_operations_total",
        Unit::Count,
        "Operations of the queue's tasks that completed",
    ),
    counter(
        "glommio_queue_io_bytes_total",
        Unit::Bytes,
        "Bytes that operations of the queue's tasks moved",
    ),
    gauge(
        "glommio_io_latency_seconds",
        Unit::Seconds,
        "Quantiles of the latency of reads and writes of files",
    ),
    gauge(
        "glommio_io_latency_sum_seconds",
        Unit::Seconds,
        "Sum of the latencies of reads and writes of files",
    ),
    counter(
        "glommio_io_latency_samples_total",
        Unit::Count,
        "Reads and writes of files whose latency was recorded",
    ),
    gauge(
        "glommio_queue_io_latency_seconds",
        Unit::Seconds,
        "Quantiles of the latency of the queue's reads and writes of files",
    ),
    gauge(
        "glommio_queue_io_latency_sum_seconds",
        Unit::Seconds,
        "Sum of the latencies of the queue's reads and writes of files",
    ),
    counter(
        "glommio_queue_io_latency_samples_total",
        Unit::Count,
        "Reads and writes of files of the queue whose latency was recorded",
    ),
    gauge(
        "glommio_blocking_threads",
        Unit::Count,
        "Threads of the blocking pool",
    ),
    gauge(
        "glommio_blocking_idle_threads",
        Unit::Count,
        "Threads of the blocking pool that wait for a job",
    ),
    gauge(
        "glommio_blocking_queued_jobs",
        Unit::Count,
        "Jobs that wait for a thread of the blocking pool",
    ),
    counter(
        "glommio_ring_enters_total",
        Unit::Count,
        "Calls of io_uring_enter",
    ),
    counter(
        "glommio_ring_waits_total",
        Unit::Count,
        "Calls of io_uring_enter that were allowed to sleep",
    ),
    counter(
        "glommio_ring_submissions_total",
        Unit::Count,
        "Entries handed to the kernel",
    ),
    counter(
        "glommio_ring_completions_total",
        Unit::Count,
        "Completions taken from the kernel",
    ),
    counter(
        "glommio_ring_timeouts_total",
        Unit::Count,
        "Timeout entries, on kernels whose enter call takes no timeout",
    ),
    counter(
        "glommio_ring_messages_total",
        Unit::Count,
        "Wake-up messages to other executors",
    ),
    gauge(
        "glommio_ring_operations_in_flight",
        Unit::Count,
        "Operations that the kernel works on",
    ),
];

const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (1.0, "1")];

impl ExecutorProxy {
    /// Pushes all statistics of the executor to the recorder of the `metrics` façade.
    ///
    /// Times of the scheduler and of queues, I/O by ring, queue and operation, latencies if they are
    /// recorded, tasks, the blocking pool and the ring. Each value is where a counter stands, so
    /// exporting twice adds nothing. `docs/observability.md` has names, units and labels.
    ///
    /// Takes a few microseconds per task queue and walks the list of tasks. Without a recorder nothing
    /// happens. [`metrics::export_every`](crate::metrics::export_every) does it from time to time.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor};
    ///
    /// LocalExecutor::default().run(async {
    ///     executor().export_metrics();
    /// });
    /// ```
    #[track_caller]
    pub fn export_metrics(&self) {
        with_core(|core| export(core));
    }
}

/// Pushes all statistics of an executor to the recorder of the thread.
fn export(core: &Core) {
    describe();
    let labels = Labels(vec![
        Label::new("executor", core.id().to_string()),
        Label::new("executor_name", core.name.clone()),
    ]);
    export_executor(core, &labels);
    export_blocking(core, &labels);
    export_ring(core, &labels);
    let (main, polled) = core.reactor.io_totals();
    export_io(
        "glommio",
        &IoStats::of_executor(&main, &polled),
        &labels,
        Zeroes::Keep,
    );
    for queue in core.queues.all() {
        let labels = labels
            .with("queue", queue.handle.to_string())
            .with("queue_name", queue.name.clone());
        export_queue(core, &queue, &labels);
    }
}

/// A recorder that is installed later has to hear the descriptions too, so they are repeated.
fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.text),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.text),
        }
    }
}

/// Labels, and what is set under them.
struct Labels(Vec<Label>);

impl Labels {
    fn with(&self, key: &'static str, value: impl Into<metrics::SharedString>) -> Labels {
        let mut labels = self.0.clone();
        labels.push(Label::new(key, value));
        Labels(labels)
    }

    fn count(&self, name: impl Into<metrics::SharedString>, value: u64) {
        metrics::counter!(name, self.0.clone()).absolute(value);
    }

    fn set(&self, name: impl Into<metrics::SharedString>, value: f64) {
        metrics::gauge!(name, self.0.clone()).set(value);
    }

    fn set_duration(&self, name: &'static str, value: Duration) {
        self.set(name, value.as_secs_f64());
    }
}

fn export_executor(core: &Core, labels: &Labels) {
    let stats = ExecutorStats::of(core);
    labels.set_duration("glommio_executor_uptime_seconds", stats.total_runtime());
    labels.set_duration("glommio_executor_busy_seconds", stats.executor_runtime());
    labels.count(
        "glommio_executor_scheduler_runs_total",
        stats.scheduler_runs(),
    );
    labels.count("glommio_executor_task_polls_total", stats.tasks_executed());
    labels.set("glommio_executor_tasks", core.tasks.len() as f64);
}

fn export_queue(core: &Core, queue: &TaskQueue, labels: &Labels) {
    let stats = TaskQueueStats::of(core, queue);
    labels.set_duration("glommio_queue_busy_seconds", stats.runtime());
    labels.set("glommio_queue_shares", stats.current_shares() as f64);
    labels.set("glommio_queue_runnable_tasks", queue.run.len() as f64);
    labels.count("glommio_queue_selected_total", stats.queue_selected());
    let (main, polled) = core.reactor.io_of_queue(queue.origin());
    let io = IoStats::of_queue(&main, &polled, queue.origin().latency_matters);
    export_io("glommio_queue", &io, labels, Zeroes::Skip);
}

fn export_blocking(core: &Core, labels: &Labels) {
    let pool = core.blocking.load();
    labels.set("glommio_blocking_threads", pool.threads as f64);
    labels.set("glommio_blocking_idle_threads", pool.idle as f64);
    labels.set("glommio_blocking_queued_jobs", pool.queued as f64);
}

fn export_ring(core: &Core, labels: &Labels) {
    let ring = core.reactor.counters();
    labels.count("glommio_ring_enters_total", ring.enters);
    labels.count("glommio_ring_waits_total", ring.waits);
    labels.count("glommio_ring_submissions_total", ring.submitted);
    labels.count("glommio_ring_completions_total", ring.completed);
    labels.count("glommio_ring_timeouts_total", ring.timeouts);
    labels.count("glommio_ring_messages_total", ring.messages);
    labels.set("glommio_ring_operations_in_flight", ring.in_flight as f64);
}

/// What to do with operations that never happened: a series for each would be many for a program
/// with thousands of queues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeroes {
    Keep,
    Skip,
}

fn export_io(prefix: &str, io: &IoStats, labels: &Labels, zeroes: Zeroes) {
    let rings = [
        ("main", &io.main_ring),
        ("latency", &io.latency_ring),
        ("poll", &io.poll_ring),
    ];
    for (ring, stats) in rings {
        let labels = labels.with("ring", ring);
        for (op, ops, bytes) in operations(stats) {
            if ops == 0 && zeroes == Zeroes::Skip {
                continue;
            }
            let labels = labels.with("op", op);
            labels.count(format!("{prefix}_io_operations_total"), ops);
            if let Some(bytes) = bytes {
                labels.count(format!("{prefix}_io_bytes_total"), bytes);
            }
        }
        let latencies = [
            ("pre_reactor", stats.pre_reactor_io_scheduler_latency_us()),
            ("io", stats.io_latency_us()),
            ("post_reactor", stats.post_reactor_io_scheduler_latency_us()),
        ];
        for (stage, sketch) in latencies {
            export_latency(prefix, sketch, &labels.with("stage", stage));
        }
    }
}

fn operations(io: &RingIoStats) -> [(&'static str, u64, Option<u64>); 12] {
    let pair = |op, (ops, bytes)| (op, ops, Some(bytes));
    [
        ("file_open", io.files_opened(), None),
        ("file_close", io.files_closed(), None),
        pair("file_read", io.file_reads()),
        pair("file_write", io.file_writes()),
        pair("file_buffered_read", io.file_buffered_reads()),
        pair("file_buffered_write", io.file_buffered_writes()),
        pair("file_deduped_read", io.file_deduped_reads()),
        ("socket_accept", io.sockets_accepted(), None),
        pair("socket_read", io.socket_reads()),
        pair("socket_write", io.socket_writes()),
        pair("pipe_read", io.pipe_reads()),
        pair("pipe_write", io.pipe_writes()),
    ]
}

/// The façade has no way to hand a whole distribution over, so its quantiles are gauges.
fn export_latency(prefix: &str, sketch: &DDSketch, labels: &Labels) {
    const MICROS_PER_SECOND: f64 = 1e6;
    let Some(sum_us) = sketch.sum() else {
        return;
    };
    labels.count(
        format!("{prefix}_io_latency_samples_total"),
        sketch.count() as u64,
    );
    labels.set(
        format!("{prefix}_io_latency_sum_seconds"),
        sum_us / MICROS_PER_SECOND,
    );
    for (quantile, name) in QUANTILES {
        if let Ok(Some(us)) = sketch.quantile(quantile) {
            let labels = labels.with("quantile", name);
            labels.set(
                format!("{prefix}_io_latency_seconds"),
                us / MICROS_PER_SECOND,
            );
        }
    }
}
