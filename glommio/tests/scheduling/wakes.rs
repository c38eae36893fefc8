//! Tasks that are woken meanwhile.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use glommio::{Latency, LocalExecutor, TaskQueueHandle, executor, spawn_local, spawn_local_into};

use super::{let_other_threads_run, queue, step};

/// How many steps a hog in `busy` does between a wake from another thread and the task's run, for
/// each of some wakes, sorted.
fn steps_until_woken(
    busy: TaskQueueHandle,
    waiting: TaskQueueHandle,
) -> impl Future<Output = Vec<u64>> {
    const WAKES: usize = 41;
    let steps = Arc::new(AtomicU64::new(0));
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let woken: Arc<Mutex<Option<u64>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = {
        let (steps, slot, woken, stop) = (steps.clone(), slot.clone(), woken.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Sleeps, so that one CPU is enough for both.
                std::thread::sleep(Duration::from_millis(1));
                let waker = slot.lock().unwrap().take();
                if let Some(waker) = waker {
                    *woken.lock().unwrap() = Some(0);
                    waker.wake();
                    // Counted from when the wake is sent, not from when it is about to be.
                    let mut woken = woken.lock().unwrap();
                    if let Some(at) = woken.as_mut() {
                        *at = steps.load(Ordering::Relaxed);
                    }
                }
            }
        })
    };
    async move {
        let (done, counter) = (stop.clone(), steps.clone());
        let hog = async move {
            while !done.load(Ordering::Relaxed) {
                step();
                if counter.fetch_add(1, Ordering::Relaxed) % 100 == 99 {
                    let_other_threads_run();
                }
                executor().yield_if_needed().await;
            }
        };
        let hog = spawn_local_into(hog, busy).unwrap();
        let waiter = async move {
            let mut all = Vec::new();
            while all.len() < WAKES {
                let passed = poll_fn(|cx| match woken.lock().unwrap().take() {
                    Some(0) => Poll::Ready(0),
                    Some(at) => Poll::Ready(steps.load(Ordering::Relaxed).saturating_sub(at)),
                    None => {
                        *slot.lock().unwrap() = Some(cx.waker().clone());
                        Poll::Pending
                    }
                })
                .await;
                all.push(passed);
            }
            all.sort_unstable();
            all
        };
        let all = spawn_local_into(waiter, waiting).unwrap().await;
        stop.store(true, Ordering::Relaxed);
        hog.await;
        thread.join().unwrap();
        all
    }
}

#[test]
fn dd434_a_wake_from_another_thread_interrupts_whatever_queue_runs() {
    LocalExecutor::default().run(async {
        let busy = queue(1000, Latency::NotImportant, "busy");
        let other = queue(1000, Latency::NotImportant, "other");
        for waiting in [busy, other] {
            let steps = steps_until_woken(busy, waiting).await;
            // 25 ms would be 10,000 steps and more.
            assert!(steps[20] <= 100, "queue {waiting}: {steps:?}");
        }
        let urgent = queue(1000, Latency::Matters(Duration::from_millis(100)), "urgent");
        let steps = steps_until_woken(busy, urgent).await;
        assert!(steps[20] <= 100, "{steps:?}");
    });
}

#[test]
fn monoio322_a_task_woken_while_it_is_polled_runs_again() {
    LocalExecutor::default().run(async {
        // By itself, by another thread, and by both.
        for kind in 1..=3 {
            let mut polls = 0;
            let woken_meanwhile = poll_fn(move |cx| {
                polls += 1;
                if polls > 10 {
                    return Poll::Ready(polls);
                }
                if kind & 1 != 0 {
                    cx.waker().wake_by_ref();
                }
                if kind & 2 != 0 {
                    let waker = cx.waker().clone();
                    std::thread::spawn(move || waker.wake()).join().unwrap();
                }
                Poll::Pending
            });
            assert_eq!(spawn_local(woken_meanwhile).await, 11);
        }
    });
}

#[test]
fn monoio322_a_task_woken_between_its_poll_and_sleep_runs_again() {
    LocalExecutor::default().run(async {
        // The other task is the last that runs before the executor would fall asleep.
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let turn = Rc::new(Cell::new(0));
        let (slot, turns) = (waker.clone(), turn.clone());
        let pong = spawn_local(poll_fn(move |cx| {
            if let Some(waker) = slot.replace(Some(cx.waker().clone())) {
                turns.set(turns.get() + 1);
                waker.wake();
            }
            if turns.get() > 1_000 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        poll_fn(|cx| {
            if let Some(waker) = waker.replace(Some(cx.waker().clone())) {
                waker.wake();
            }
            if turn.get() > 1_000 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        pong.await;
    });
}
