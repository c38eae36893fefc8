//! Wakers that are cloned, woken and dropped after their task has ended: on its thread, on others,
//! and after the end of its executor. See `README.md` next to this file.

#[path = "../measure.rs"]
mod measure;

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
};

use glommio::{Latency, LocalExecutor, Shares, executor, spawn_local, spawn_local_into};
use measure::Held;

/// One test at a time: some of them count the heap of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a scenario is run while the heap is watched.
const ROUNDS: i64 = 40;

/// Runs `scenario` many times, and demands that it leaves no heap block behind: a count that is too
/// high leaks the task, one that is too low frees it twice.
fn leaves_no_task_behind(scenario: impl Fn()) {
    let _alone = alone();
    scenario();
    // The harness allocates a little for each of its tests; one task per round would be more.
    let slack = ROUNDS / 2;
    let before = Held::now();
    for _ in 0..ROUNDS {
        scenario();
    }
    let is_flat = |held: &Held| held.heap_blocks <= before.heap_blocks + slack;
    let after = Held::settled(is_flat);
    assert!(is_flat(&after), "{before}\n{after}");
}

/// Everything that can be done with a waker.
fn use_up(waker: Waker) {
    let copy = waker.clone();
    waker.wake_by_ref();
    copy.wake_by_ref();
    drop(copy.clone());
    copy.wake();
    drop(waker.clone());
    drop(waker);
}

/// A future that hands a clone of its waker to `give` at every poll, and is ready at poll number
/// `polls`.
async fn give_wakers(polls: usize, mut give: impl FnMut(Waker)) {
    let mut seen = 0;
    poll_fn(move |cx| {
        give(cx.waker().clone());
        seen += 1;
        if seen < polls {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[test]
fn wakers_of_a_completed_task_are_harmless_on_its_own_thread() {
    leaves_no_task_behind(|| {
        LocalExecutor::default().run(async {
            let kept = Rc::new(RefCell::new(Vec::new()));
            let theirs = kept.clone();
            let task = spawn_local(give_wakers(3, move |waker| theirs.borrow_mut().push(waker)));
            task.await;
            let wakers = kept.take();
            assert_eq!(wakers.len(), 3);
            wakers.into_iter().for_each(use_up);
            executor().yield_now().await;
        });
    });
}

#[test]
fn wakers_of_ended_tasks_are_harmless_on_other_threads() {
    leaves_no_task_behind(|| {
        LocalExecutor::default().run(async {
            let (sender, wakers) = mpsc::channel();
            let queue = executor().create_task_queue(Shares::Static(2), Latency::NotImportant, "q");
            for task in 0..60 {
                let sender = sender.clone();
                let give = move |waker| sender.send(waker).unwrap();
                match task % 4 {
                    // Completed, its output taken.
                    0 => spawn_local(give_wakers(2, give)).await,
                    // Completed, its output dropped.
                    1 => drop(spawn_local(give_wakers(2, give)).detach()),
                    // Cancelled.
                    2 => {
                        let task = spawn_local_into(
                            async {
                                give_wakers(1, give).await;
                                pending::<()>().await;
                            },
                            queue,
                        )
                        .unwrap();
                        executor().yield_task_queue_now().await;
                        assert_eq!(task.cancel().await, None);
                    }
                    // Panicked, with nobody to see it.
                    _ => drop(
                        spawn_local(async {
                            give_wakers(1, give).await;
                            std::panic::resume_unwind(Box::new("no message wanted"));
                        })
                        .detach(),
                    ),
                }
            }
            executor().yield_now().await;
            executor().yield_now().await;
            drop(sender);
            let user = thread::spawn(move || wakers.into_iter().map(use_up).count());
            assert_eq!(user.join().unwrap(), 15 * (2 + 2 + 1 + 1));
            executor().yield_now().await;
        });
    });
}

#[test]
fn wakers_outlive_their_executor_and_do_nothing() {
    leaves_no_task_behind(|| {
        let executor = LocalExecutor::default();
        let wakers = executor.run(async {
            let kept = Rc::new(RefCell::new(Vec::new()));
            for polls in [1, 2, usize::MAX] {
                let theirs = kept.clone();
                spawn_local(give_wakers(polls, move |waker| {
                    theirs.borrow_mut().push(waker);
                }))
                .detach();
            }
            for _ in 0..4 {
                glommio::executor().yield_now().await;
            }
            kept.take()
        });
        assert!(wakers.len() > 5, "the third task gives one at every poll");
        drop(executor);
        let half = wakers.len() / 2;
        let mut here = wakers;
        let elsewhere = here.split_off(half);
        // The successor has the slot of the executor that is gone: it must not be mistaken for it.
        LocalExecutor::default().run(async {
            let thread = thread::spawn(move || elsewhere.into_iter().for_each(use_up));
            here.into_iter().for_each(use_up);
            spawn_local(async {}).await;
            thread.join().unwrap();
        });
    });
}

/// Counts its end.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn wakes_from_three_threads_race_with_every_end_of_a_task() {
    const THREADS: usize = 3;
    const EXECUTORS: usize = 4;
    const TASKS: usize = 120;
    let ended = Arc::new(AtomicUsize::new(0));
    let rounds = Arc::new(AtomicUsize::new(0));
    leaves_no_task_behind(|| {
        rounds.fetch_add(1, Ordering::Relaxed);
        let (senders, users): (Vec<_>, Vec<_>) = (0..THREADS)
            .map(|number| {
                let (sender, wakers) = mpsc::channel::<Waker>();
                let user = thread::spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number as u64);
                    // Some are kept for a while, so that they are late for the task, or the executor.
                    let mut kept = Vec::new();
                    for waker in wakers {
                        match random.u8(0..6) {
                            0 => waker.wake(),
                            1 => waker.wake_by_ref(),
                            2 => drop(waker),
                            3 => use_up(waker),
                            _ => kept.push(waker),
                        }
                        if kept.len() > 200 {
                            random.shuffle(&mut kept);
                            kept.drain(100..).for_each(use_up);
                        }
                    }
                    kept.into_iter().for_each(use_up);
                });
                (sender, user)
            })
            .unzip();
        for executor_number in 0..EXECUTORS {
            let executor = LocalExecutor::default();
            executor.run(async {
                let mut tasks = Vec::new();
                for number in 0..TASKS {
                    let senders = senders.clone();
                    let counted = Counted(ended.clone());
                    let give = move |waker: Waker| {
                        for sender in &senders {
                            sender.send(waker.clone()).unwrap();
                        }
                    };
                    let task = spawn_local(async move {
                        let _counted = counted;
                        // Ready after so many polls, most of which the other threads cause.
                        let mut left = number % 5;
                        poll_fn(|cx| {
                            give(cx.waker().clone());
                            if left == 0 {
                                return Poll::Ready(());
                            }
                            left -= 1;
                            if number % 2 == 0 {
                                cx.waker().wake_by_ref();
                            }
                            Poll::Pending
                        })
                        .await;
                        if number % 7 == 0 {
                            pending::<()>().await;
                        }
                    });
                    match number % 3 {
                        0 => drop(task.detach()),
                        1 => tasks.push(task),
                        // Some are cancelled before, some after their first poll.
                        _ => {
                            if executor_number % 2 == 0 {
                                glommio::executor().yield_now().await;
                            }
                            drop(task);
                        }
                    }
                }
                // Gone half-way: the rest ends with the executor, under fire.
                for _ in 0..executor_number * 3 {
                    glommio::executor().yield_now().await;
                }
            });
        }
        drop(senders);
        for user in users {
            user.join().unwrap();
        }
    });
    assert_eq!(
        ended.load(Ordering::Relaxed),
        rounds.load(Ordering::Relaxed) * EXECUTORS * TASKS,
        "every future is dropped exactly once"
    );
}

#[test]
fn ten_thousand_clones_are_counted_and_given_back() {
    leaves_no_task_behind(|| {
        LocalExecutor::default().run(async {
            let (sender, receiver) = mpsc::channel();
            let task = spawn_local(give_wakers(1, move |waker| sender.send(waker).unwrap()));
            task.await;
            let waker = receiver.recv().unwrap();
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let copies: Vec<Waker> = (0..5_000).map(|_| waker.clone()).collect();
                        copies.into_iter().for_each(Waker::wake);
                    });
                }
            });
            drop(waker);
        });
    });
}
