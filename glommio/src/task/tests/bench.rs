//! What the basic operations cost. Ignored by default, since only a quiet machine and an optimized
//! build give numbers that mean anything:
//!
//! `cargo test --release -p glommio --lib task::tests::bench -- --ignored --nocapture`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::toy::{Toy, poll_once, yield_now};

const ROUNDS: u32 = 15;
const OPS: u32 = 200_000;

/// The median over several rounds, in nanoseconds per operation.
fn measure(name: &str, mut round: impl FnMut(u32) -> Duration) -> f64 {
    round(OPS);
    let mut results: Vec<_> = (0..ROUNDS)
        .map(|_| round(OPS).as_nanos() as f64 / f64::from(OPS))
        .collect();
    results.sort_by(f64::total_cmp);
    let median = results[results.len() / 2];
    println!("{name:32} {median:6.1} ns (min {:.1})", results[0]);
    median
}

#[test]
#[ignore = "a measurement, for optimized builds"]
fn cost_of_spawn_join_and_yield() {
    measure("malloc and free", |ops| {
        let start = Instant::now();
        for i in 0..ops {
            drop(black_box(Box::new([i; 32])));
        }
        start.elapsed()
    });

    let toy = Toy::new();
    let spawn = measure("spawn and join", |ops| {
        toy.enter(|| {
            let start = Instant::now();
            for i in 0..ops {
                let mut task = toy.tasks.spawn(0, async move { i });
                toy.step();
                assert!(poll_once(&mut task).is_ready());
            }
            start.elapsed()
        })
    });

    let joined = measure("spawn and await from a task", |ops| {
        toy.enter(|| {
            let tasks = &toy.tasks;
            let start = Instant::now();
            // SAFETY: the handle lives in this frame, and so does what the future borrows.
            let mut root = unsafe {
                tasks.spawn_scoped(0, async move {
                    for i in 0..ops {
                        black_box(tasks.spawn(0, async move { i }).await);
                    }
                })
            };
            while toy.step() {}
            let elapsed = start.elapsed();
            assert!(poll_once(&mut root).is_ready());
            elapsed
        })
    });

    let yielded = measure("yield", |ops| {
        toy.enter(|| {
            let mut task = toy.tasks.spawn(0, async move {
                for _ in 0..ops {
                    yield_now().await;
                }
            });
            let start = Instant::now();
            while toy.step() {}
            let elapsed = start.elapsed();
            assert!(poll_once(&mut task).is_ready());
            elapsed
        })
    });
    assert!(spawn > 0.0 && joined > 0.0 && yielded > 0.0);
}
