//! Latency that matters bounds waits.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use glommio::{Latency, LocalExecutor, executor, nop::NopSubmitter, spawn_local_into};

use super::{cpu::thread_cpu, eventually_good, hog, queue, runtime, step};

/// Waits of a queue with one share that a hog with a thousand wakes now and then.
///
/// They are what the hog did meanwhile, in steps that take as long as the quickest quarter: the host of a
/// virtual machine takes its CPUs away for milliseconds, unseen from inside.
fn waits_under_a_hog(latency: Latency, wakes: usize) -> Vec<Duration> {
    const TIMED_STEPS: u32 = 50;
    LocalExecutor::default().run(async move {
        let busy = queue(1000, Latency::NotImportant, "busy");
        let waiting = queue(1, latency, "waiting");
        let steps: Rc<Cell<u32>> = Rc::default();
        // The step before which the waiting task was woken, and its waker while it sleeps.
        let woken: Rc<Cell<Option<u32>>> = Rc::default();
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let waits: Rc<RefCell<Vec<u32>>> = Rc::default();
        let waiter = {
            let (steps, woken) = (steps.clone(), woken.clone());
            let (waker, waits) = (waker.clone(), waits.clone());
            let work = async move {
                for _ in 0..wakes {
                    poll_fn(|cx| match woken.take() {
                        Some(at) => {
                            waits.borrow_mut().push(steps.get() - at);
                            Poll::Ready(())
                        }
                        None => {
                            *waker.borrow_mut() = Some(cx.waker().clone());
                            Poll::Pending
                        }
                    })
                    .await;
                }
            };
            spawn_local_into(work, waiting).unwrap()
        };
        let all = waits.clone();
        let hog = async move {
            let mut times = Vec::new();
            let mut start = thread_cpu();
            while all.borrow().len() < wakes {
                step();
                steps.set(steps.get() + 1);
                if steps.get() % TIMED_STEPS == 0 {
                    times.push(thread_cpu() - start);
                    // In the midst of its slice.
                    if steps.get() % (10 * TIMED_STEPS) == 0 {
                        if let Some(waker) = waker.take() {
                            woken.set(Some(steps.get()));
                            waker.wake();
                        }
                    }
                    start = thread_cpu();
                }
                executor().yield_if_needed().await;
            }
            times.sort_unstable();
            times[times.len() / 4]
        };
        let quick = spawn_local_into(hog, busy).unwrap().await;
        waiter.await;
        let waits = waits.take();
        let mut waits: Vec<_> = waits
            .into_iter()
            .map(|steps| quick * steps / TIMED_STEPS)
            .collect();
        waits.sort_unstable();
        waits
    })
}

#[test]
fn latency_that_matters_bounds_the_wait_under_a_hog() {
    let bound = Duration::from_millis(6);
    eventually_good(
        || waits_under_a_hog(Latency::Matters(bound), 100),
        |waits| waits[75] <= bound,
    );

    // Which is not what a queue gets whose latency does not matter.
    let waits = waits_under_a_hog(Latency::NotImportant, 10);
    assert!(*waits.last().unwrap() > bound, "{waits:?}");
}

#[test]
fn a_bound_that_cannot_be_kept_still_leaves_time_for_others() {
    LocalExecutor::default().run(async {
        let urgent = [(); 4].map(|()| queue(1, Latency::Matters(Duration::ZERO), "urgent"));
        let other = queue(1, Latency::NotImportant, "other");
        let done = move || runtime(other) >= Duration::from_millis(20);
        let hogs = urgent.map(|urgent| hog(urgent, done));
        hog(other, done).await;
        for hog in hogs {
            hog.await;
        }
    });
}

#[test]
fn completions_of_a_latency_sensitive_queue_are_looked_for_at_once() {
    let waits = async || {
        let busy = queue(10, Latency::NotImportant, "busy");
        let io = queue(1000, Latency::Matters(Duration::from_millis(40)), "I/O");
        let stop = Rc::new(Cell::new(false));
        let stops = stop.clone();
        let work = hog(busy, move || stops.get());
        let reads = async {
            let mut waits = Vec::new();
            for _ in 0..100 {
                let start = thread_cpu();
                NopSubmitter::new().run_nop().await.unwrap();
                waits.push(thread_cpu() - start);
            }
            waits.sort_unstable();
            waits
        };
        let waits = spawn_local_into(reads, io).unwrap().await;
        stop.set(true);
        work.await;
        waits
    };
    eventually_good(
        || LocalExecutor::default().run(waits()),
        // Far below what the bound alone gives, which is to look every 20 ms.
        |waits| waits[75] < Duration::from_millis(10),
    );
}
