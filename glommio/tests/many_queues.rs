//! Ten thousand task queues: what a turn costs, and what is left of them.
//!
//! Alone in its process, because it counts the bytes of the heap.

#[path = "support/cpu.rs"]
mod cpu;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicIsize, Ordering},
    time::Duration,
};

use glommio::{Latency, LocalExecutor, Shares, TaskQueueHandle, executor, spawn_local_into};

use cpu::thread_cpu;

struct Counting;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

fn live_bytes() -> isize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

const MANY: usize = 10_000;

fn create(ex: &LocalExecutor, number: usize) -> TaskQueueHandle {
    // Of every kind.
    let latency = match number % 4 {
        0 => Latency::Matters(Duration::from_millis(1 + number as u64 % 100)),
        _ => Latency::NotImportant,
    };
    ex.create_task_queue(Shares::Static(1 + number % 1000), latency, "one of many")
}

/// CPU time per turn, when a task in each queue gives up its turn again and again.
fn cost_of_a_turn(ex: &LocalExecutor, queues: &[TaskQueueHandle], turns: usize) -> Duration {
    let each = turns / queues.len();
    ex.run(async {
        let start = thread_cpu();
        let tasks: Vec<_> = queues
            .iter()
            .map(|queue| {
                let work = async move {
                    for _ in 0..each {
                        executor().yield_task_queue_now().await;
                    }
                };
                spawn_local_into(work, *queue).unwrap()
            })
            .collect();
        for task in tasks {
            task.await;
        }
        (thread_cpu() - start) / (each * queues.len()) as u32
    })
}

#[test]
fn ten_thousand_queues_take_turns_at_a_flat_cost_and_leave_nothing_behind() {
    let ex = LocalExecutor::default();
    let few: Vec<_> = (0..10).map(|number| create(&ex, number)).collect();
    let cost_of_few = cost_of_a_turn(&ex, &few, 100_000);
    for queue in few {
        ex.remove_task_queue(queue).unwrap();
    }

    let before = live_bytes();
    let many: Vec<_> = (0..MANY).map(|number| create(&ex, number)).collect();
    // What a host takes of the time of a virtual machine counts, too: the best of a few tells.
    let costs_of_many: Vec<_> = (0..5)
        .map(|_| cost_of_a_turn(&ex, &many, 100_000))
        .collect();
    // A thousand times as many queues. Ten times is for the caches.
    assert!(
        costs_of_many.iter().any(|cost| *cost < cost_of_few * 10),
        "{cost_of_few:?} with 10 queues, {costs_of_many:?} with {MANY}"
    );
    // Out of order, so that vacant slots lie anywhere.
    for step in [3, 2, 1] {
        for queue in many.iter().skip(step - 1).step_by(3) {
            ex.remove_task_queue(*queue).unwrap();
        }
    }
    drop(many);
    let left = live_bytes() - before;
    assert!(left < 64 << 10, "{left} bytes are left of {MANY} queues");

    // A program that makes a queue for each of its customers, for ever.
    let before = live_bytes();
    let mut last = TaskQueueHandle::default();
    for number in 0..200_000 {
        let queue = create(&ex, number);
        assert!(queue.index() > last.index(), "an index is never reused");
        assert_eq!(queue.to_string(), queue.index().to_string());
        if number % 1000 == 0 {
            let work = async move { executor().current_task_queue() };
            let seen = ex.run(async { spawn_local_into(work, queue).unwrap().await });
            assert_eq!(seen, queue);
            // The slot is the same one; the queue is not.
            let stale = ex.run(async { spawn_local_into(async {}, last).map(drop) });
            assert_eq!(stale.is_err(), number > 0);
        }
        ex.remove_task_queue(queue).unwrap();
        let text = ex.remove_task_queue(queue).unwrap_err().to_string();
        assert!(
            text.contains(&format!("Queue #{queue} is not found")),
            "{text}"
        );
        last = queue;
    }
    let grown = live_bytes() - before;
    assert!(grown < 16 << 10, "{grown} bytes more after 200,000 queues");
}
