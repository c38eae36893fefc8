//! What a spawn costs while many executors spawn at once.
//!
//! Executors share nothing on this path, so the CPU time of one stays what it is for one executor,
//! however many there are.

#![allow(missing_docs, reason = "criterion_group! makes a function without any")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, spawn_local};

use glommio_benches::host;

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn-by-executors");
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    for executors in [1, 8, 64] {
        group.bench_function(BenchmarkId::from_parameter(executors), |bencher| {
            bencher.iter_custom(|n| cpu_of_spawns(executors, n));
        });
    }
    group.finish();
}

/// CPU time of `n` spawns: each executor does its part of them, all at once.
fn cpu_of_spawns(executors: usize, n: u64) -> Duration {
    let each = n.div_ceil(executors as u64);
    // Both ends of the measured part, with this thread as the one that looks at the clock.
    let line = Arc::new(Barrier::new(executors + 1));
    let threads: Vec<ExecutorJoinHandle<()>> = (0..executors)
        .map(|_| {
            let line = line.clone();
            let work = move || async move {
                spawn_and_join(1_000).await;
                line.wait();
                spawn_and_join(each).await;
                line.wait();
            };
            let thread = LocalExecutorBuilder::default().spawn(work);
            thread.expect("an executor starts")
        })
        .collect();
    line.wait();
    let before = host::process_cpu();
    line.wait();
    let spent = host::process_cpu() - before;
    for thread in threads {
        thread.join().expect("no spawn panics");
    }
    spent.mul_f64(n as f64 / (each * executors as u64) as f64)
}

async fn spawn_and_join(count: u64) {
    for i in 0..count {
        assert_eq!(spawn_local(async move { i }).await, i);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = spawn
}
criterion_main!(benches);
