//! What a Prometheus server sees of an executor.
#![cfg(feature = "metrics")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, executor, io::DmaFile, metrics,
    spawn_local, spawn_local_into,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// A scrape: types and descriptions by name, values by name with labels.
#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    help: BTreeMap<String, String>,
    /// The labels are sorted.
    values: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    fn of(recorder: &PrometheusRecorder) -> Scrape {
        let text = recorder.handle().render();
        let mut scrape = Scrape::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else if let Some(line) = line.strip_prefix("# HELP ") {
                let (name, text) = line.split_once(' ').unwrap();
                scrape.help.insert(name.to_owned(), text.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap();
                let labels = labels.strip_suffix('}').unwrap().split(',');
                let labels = labels.map(|label| {
                    let (key, value) = label.split_once('=').unwrap();
                    (key.to_owned(), value.trim_matches('"').to_owned())
                });
                let key = (name.to_owned(), labels.collect());
                scrape.values.insert(key, value.parse().unwrap());
            }
        }
        scrape
    }

    /// The sum of all series of this name that have these labels.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> Option<f64> {
        let has = |labels: &BTreeMap<String, String>| {
            let mut wanted = wanted.iter();
            wanted.all(|(key, value)| labels.get(*key).is_some_and(|v| v == value))
        };
        let series = self.values.iter().filter(|((n, l), _)| n == name && has(l));
        series.map(|(_, value)| *value).reduce(|a, b| a + b)
    }

    fn keys(&self, name: &str) -> BTreeSet<&str> {
        let series = self.values.keys().filter(|(n, _)| n == name);
        series
            .flat_map(|(_, l)| l.keys().map(String::as_str))
            .collect()
    }
}

/// Runs on an executor whose metrics a new recorder takes.
fn recorded<T>(future: impl Future<Output = T>) -> (PrometheusRecorder, T) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let output = ::metrics::with_local_recorder(&recorder, || {
        let builder = LocalExecutorBuilder::default().name("worker");
        let executor = builder.record_io_latencies(true).make().unwrap();
        executor.run(future)
    });
    (recorder, output)
}

/// I/O in the first queue and in one whose latency matters; its index.
async fn work(dir: &std::path::Path) -> String {
    let matters = Latency::Matters(Duration::from_millis(10));
    let queue = executor().create_task_queue(Shares::Static(50), matters, "log");
    for (path, bytes, into) in [
        (dir.join("a"), 4096, Default::default()),
        (dir.join("b"), 8192, queue),
    ] {
        let task = async move {
            let file = DmaFile::create(path).await.unwrap();
            file.write_at(file.alloc_dma_buffer(bytes), 0)
                .await
                .unwrap();
            file.close().await.unwrap();
        };
        spawn_local_into(task, into).unwrap().await;
    }
    executor().spawn_blocking(|| ()).await;
    queue.to_string()
}

#[test]
fn names_say_type_and_unit() {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = recorded(async {
        work(dir.path()).await;
        executor().export_metrics();
    });
    let scrape = Scrape::of(&recorder);
    assert!(!scrape.types.is_empty());
    for (name, kind) in &scrape.types {
        assert!(name.starts_with("glommio_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert_eq!(
            name.contains("bytes"),
            name.ends_with("_bytes_total"),
            "{name}"
        );
        let timed = ["busy", "uptime", "latency"]
            .iter()
            .any(|t| name.contains(t));
        assert_eq!(
            timed && !name.ends_with("samples_total"),
            name.ends_with("_seconds"),
            "{name}"
        );
        assert!(scrape.help.contains_key(name), "{name} is not described");
        let labels = scrape.keys(name);
        assert!(labels.contains("executor") && labels.contains("executor_name"));
        assert_eq!(labels.contains("queue"), name.contains("_queue_"), "{name}");
        assert_eq!(labels.contains("ring"), name.contains("_io_"), "{name}");
    }
}

#[test]
fn the_documentation_lists_exactly_what_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = recorded(async {
        work(dir.path()).await;
        executor().export_metrics();
    });
    let page = include_str!("../../docs/observability.md");
    let rows = page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `glommio_")?.split_once('`')?;
        let kind = rest.split('|').nth(1)?.trim();
        Some((format!("glommio_{name}"), kind.to_owned()))
    });
    let documented: BTreeMap<String, String> = rows.collect();
    assert_eq!(documented, Scrape::of(&recorder).types);
}

#[test]
fn io_is_counted_by_ring_queue_and_operation() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    let (recorder, (id, queue)) = recorded(async {
        let queue = work(dir.path()).await;
        executor().export_metrics();
        (executor().id().to_string(), queue)
    });
    let scrape = Scrape::of(&recorder);
    let executor = ("executor", id.as_str());
    let write = ("op", "file_write");
    let bytes = |ring| {
        let labels = [executor, ("executor_name", "worker"), ("ring", ring), write];
        scrape.sum("glommio_io_bytes_total", &labels)
    };
    assert_eq!(bytes("main"), Some(4096.0));
    assert_eq!(bytes("latency"), Some(8192.0));
    assert_eq!(bytes("poll"), Some(0.0));

    let log = [
        executor,
        ("queue", queue.as_str()),
        ("queue_name", "log"),
        write,
    ];
    let of_queue = |name| scrape.sum(name, &log);
    assert_eq!(of_queue("glommio_queue_io_operations_total"), Some(1.0));
    assert_eq!(of_queue("glommio_queue_io_bytes_total"), Some(8192.0));
    // An open moves no bytes.
    let open = [executor, ("op", "file_open")];
    assert_eq!(scrape.sum("glommio_io_operations_total", &open), Some(2.0));
    assert_eq!(scrape.sum("glommio_io_bytes_total", &open), None);
    // Of what a queue never did there is no series.
    let none = [executor, ("queue", queue.as_str()), ("op", "socket_read")];
    assert_eq!(scrape.sum("glommio_queue_io_operations_total", &none), None);
}

#[test]
fn latencies_are_seconds_by_stage_and_quantile() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    let (recorder, max_us) = recorded(async {
        work(dir.path()).await;
        executor().export_metrics();
        let io = executor().io_stats().latency_ring;
        io.io_latency_us().max().unwrap()
    });
    let scrape = Scrape::of(&recorder);
    let stage = [("ring", "latency"), ("stage", "io")];
    let max = [stage[0], stage[1], ("quantile", "1")];
    let max_s = scrape.sum("glommio_io_latency_seconds", &max).unwrap();
    assert!(
        (max_s - max_us / 1e6).abs() < 1e-9,
        "{max_s} s, {max_us} µs"
    );
    let samples = scrape.sum("glommio_io_latency_samples_total", &stage);
    assert_eq!(samples, Some(1.0));
    let sum_s = scrape
        .sum("glommio_io_latency_sum_seconds", &stage)
        .unwrap();
    assert!((sum_s - max_s).abs() < 1e-9, "one sample");
}

#[test]
fn counters_move_and_exporting_twice_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let scrape_now = || {
        executor().export_metrics();
        Scrape::of(&recorder)
    };
    ::metrics::with_local_recorder(&recorder, || {
        LocalExecutor::default().run(async {
            let first = scrape_now();
            let second = scrape_now();
            work(dir.path()).await;
            let sleeper = spawn_local(std::future::pending::<()>());
            let third = scrape_now();
            let value = |scrape: &Scrape, name| scrape.sum(name, &[]).unwrap();
            for name in [
                "glommio_executor_scheduler_runs_total",
                "glommio_io_operations_total",
                "glommio_io_bytes_total",
                "glommio_ring_submissions_total",
                "glommio_ring_completions_total",
            ] {
                assert_eq!(value(&first, name), value(&second, name), "{name}");
                assert!(value(&second, name) < value(&third, name), "{name}");
            }
            for name in [
                "glommio_executor_uptime_seconds",
                "glommio_executor_busy_seconds",
                "glommio_executor_task_polls_total",
                "glommio_queue_selected_total",
                "glommio_ring_enters_total",
            ] {
                assert!(value(&second, name) < value(&third, name), "{name}");
            }
            let tasks = "glommio_executor_tasks";
            assert_eq!(value(&second, tasks) + 1.0, value(&third, tasks));
            assert_eq!(value(&second, "glommio_blocking_threads"), 0.0);
            assert_eq!(value(&third, "glommio_blocking_threads"), 1.0);
            sleeper.cancel().await;
        });
    });
}

#[test]
fn a_task_exports_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    ::metrics::with_local_recorder(&recorder, || {
        LocalExecutor::default().run(async {
            let export = spawn_local(metrics::export_every(Duration::from_millis(1)));
            let opened = || {
                let open = [("op", "file_open"), ("ring", "main")];
                Scrape::of(&recorder).sum("glommio_io_operations_total", &open)
            };
            while opened() != Some(0.0) {
                executor().yield_task_queue_now().await;
            }
            work(dir.path()).await;
            while opened() != Some(1.0) {
                executor().yield_task_queue_now().await;
            }
            export.cancel().await;
        });
    });
}
