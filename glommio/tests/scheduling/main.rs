//! Who gets the CPU, and when: shares, latency, giving way.
//!
//! What matters is measured in CPU time of the executor's thread, or in steps of the work that was
//! done meanwhile, never in time on the wall: the machine has other things to do.

#[path = "../support/cpu.rs"]
mod cpu;
mod latency;
mod managers;
mod shares;
mod wakes;
mod yields;

use std::time::Duration;

use glommio::{Latency, Shares, Task, TaskQueueHandle, executor, spawn_local_into};

use cpu::thread_cpu;

/// Works for a microsecond or a few.
fn step() {
    for i in 0..200 {
        std::hint::black_box(i);
    }
}

/// An executor that is always busy keeps its CPU from threads of its own priority if that is one of
/// real time (SCHED_FIFO). Tests in which other threads play a part give way now and then.
fn let_other_threads_run() {
    std::thread::yield_now();
}

fn queue(shares: usize, latency: Latency, name: &str) -> TaskQueueHandle {
    executor().create_task_queue(Shares::Static(shares), latency, name)
}

fn runtime(queue: TaskQueueHandle) -> Duration {
    executor().task_queue_stats(queue).unwrap().runtime()
}

/// Works, and yields when it is asked to, until `done` says so, which is asked before each turn.
/// Gives the CPU time of the thread that passed meanwhile, by the system's account of it.
async fn work_until(done: impl Fn() -> bool) -> Duration {
    let mut used = Duration::ZERO;
    while !done() {
        let start = thread_cpu();
        while !executor().need_preempt() {
            step();
        }
        used += thread_cpu() - start;
        executor().yield_if_needed().await;
    }
    used
}

fn hog(queue: TaskQueueHandle, done: impl Fn() -> bool + 'static) -> Task<Duration> {
    spawn_local_into(work_until(done), queue).unwrap()
}

/// Measures until it is good, a few times at most. What a host takes of the time of a virtual machine is
/// in every account; that it hits the same queue each time is up to the scheduler.
#[track_caller]
fn eventually_good<T: std::fmt::Debug>(measure: impl Fn() -> T, is_good: impl Fn(&T) -> bool) {
    let mut all = Vec::new();
    while all.len() < 6 {
        let one = measure();
        if is_good(&one) {
            return;
        }
        all.push(one);
    }
    panic!("{all:?}");
}
