//! The primitives of `sync` as their users see them.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::mpsc,
    task::{Context, Poll, Waker},
};

use futures_lite::future;
use glommio::{
    GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, ResourceType, Shares, executor,
    spawn_local,
    sync::{
        Barrier, CancellationToken, ForeignCancellation, Gate, Mutex, Notify, OnceCell, RwLock,
        Semaphore,
    },
};

fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

// Fairness.

#[test]
fn a_semaphore_serves_tasks_in_the_order_in_which_they_came() {
    LocalExecutor::default().run(async {
        let semaphore = Rc::new(Semaphore::new(0));
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..100_u64)
            .map(|i| {
                let (semaphore, order) = (semaphore.clone(), order.clone());
                spawn_local(async move {
                    let _permit = semaphore.acquire_permit(1 + i % 3).await.unwrap();
                    order.borrow_mut().push(i);
                })
            })
            .collect();
        executor().yield_now().await;
        semaphore.signal(3);
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_small_request_does_not_overtake_a_large_one() {
    let semaphore = Semaphore::new(2);
    let mut large = pin!(semaphore.acquire(3));
    assert!(poll_once(large.as_mut()).is_pending());
    assert!(!semaphore.try_acquire(1).unwrap());
    let mut small = pin!(semaphore.acquire(1));
    assert!(poll_once(small.as_mut()).is_pending());
    semaphore.signal(1);
    assert!(poll_once(small.as_mut()).is_pending());
    assert!(poll_once(large).is_ready());
    semaphore.signal(1);
    assert!(poll_once(small).is_ready());
}

#[test]
fn a_stream_of_readers_does_not_starve_a_writer() {
    LocalExecutor::default().run(async {
        let lock = Rc::new(RwLock::new(0));
        let stop = Rc::new(Cell::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                spawn_local(async move {
                    while !stop.get() {
                        let _guard = lock.read().await.unwrap();
                        executor().yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            *lock.write().await.unwrap() += 1;
        }
        stop.set(true);
        for reader in readers {
            reader.await;
        }
        assert_eq!(*lock.read().await.unwrap(), 100);
    });
}

#[test]
fn a_stream_of_writers_does_not_starve_a_reader() {
    LocalExecutor::default().run(async {
        let lock = Rc::new(RwLock::new(0));
        let stop = Rc::new(Cell::new(false));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                spawn_local(async move {
                    while !stop.get() {
                        *lock.write().await.unwrap() += 1;
                    }
                })
            })
            .collect();
        let mut seen = 0;
        for _ in 0..100 {
            let now = *lock.read().await.unwrap();
            assert!(now >= seen);
            seen = now;
        }
        stop.set(true);
        for writer in writers {
            writer.await;
        }
    });
}

// Closing.

#[test]
fn a_closed_semaphore_says_what_was_asked_for_and_what_was_there() {
    let semaphore = Semaphore::new(2);
    let mut wait = pin!(semaphore.acquire(5));
    assert!(poll_once(wait.as_mut()).is_pending());
    semaphore.close();
    let Poll::Ready(Err(GlommioError::Closed(ResourceType::Semaphore {
        requested,
        available,
    }))) = poll_once(wait)
    else {
        panic!("not closed");
    };
    assert_eq!((requested, available), (5, 2));
    let text = semaphore.try_acquire(3).unwrap_err().to_string();
    assert_eq!(text, "Semaphore is closed (requested: 3, available: 2)");
}

#[test]
fn acquiring_nothing_always_succeeds() {
    let semaphore = Semaphore::new(0);
    let mut wait = pin!(semaphore.acquire(1));
    assert!(poll_once(wait.as_mut()).is_pending());
    assert!(semaphore.try_acquire(0).unwrap());
    semaphore.close();
    assert!(matches!(
        poll_once(pin!(semaphore.acquire(0))),
        Poll::Ready(Ok(()))
    ));
}

#[test]
fn a_permit_that_is_out_survives_the_close() {
    let semaphore = Rc::new(Semaphore::new(2));
    let (one, other) = (
        semaphore.try_acquire_permit(1).unwrap(),
        semaphore.try_acquire_static_permit(1).unwrap(),
    );
    other.close();
    assert!(semaphore.is_closed());
    drop(one);
    drop(other);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn units_beyond_the_largest_number_are_lost_and_hurt_nobody() {
    let semaphore = Semaphore::new(u64::MAX);
    semaphore.signal(u64::MAX);
    assert!(semaphore.try_acquire(u64::MAX).unwrap());
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn a_closed_lock_refuses_everything_and_keeps_the_guards_that_are_out() {
    let mut lock = RwLock::new(5);
    let guard = lock.try_read().unwrap();
    let mut wait = Box::pin(lock.write());
    assert!(poll_once(wait.as_mut()).is_pending());
    lock.close().unwrap();
    let is_closed = |error| matches!(error, GlommioError::Closed(ResourceType::RwLock));
    let Poll::Ready(answer) = poll_once(wait.as_mut()) else {
        panic!("still waiting");
    };
    assert!(is_closed(answer.unwrap_err()));
    drop(wait);
    assert_eq!(*guard, 5);
    drop(guard);
    assert!(is_closed(lock.try_read().unwrap_err()));
    assert!(is_closed(lock.try_write().unwrap_err()));
    assert!(is_closed(lock.close().unwrap_err()));
    assert!(is_closed(lock.get_mut().unwrap_err()));
    assert!(is_closed(lock.into_inner().unwrap_err()));
}

#[test]
fn a_closed_mutex_refuses_everything() {
    let mut mutex = Mutex::new(5);
    let guard = mutex.try_lock().unwrap();
    let mut wait = Box::pin(mutex.lock());
    assert!(poll_once(wait.as_mut()).is_pending());
    mutex.close();
    mutex.close();
    assert!(matches!(poll_once(wait.as_mut()), Poll::Ready(Err(_))));
    drop(wait);
    assert_eq!(*guard, 5);
    drop(guard);
    assert!(mutex.try_lock().is_err() && mutex.get_mut().is_err());
    assert!(mutex.into_inner().is_err());
}

#[test]
fn a_panic_while_a_lock_is_held_poisons_nothing() {
    let lock = RwLock::new(5);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.try_write().unwrap();
        panic!("boom");
    }));
    assert!(caught.is_err());
    assert_eq!(*lock.try_write().unwrap(), 5);
    assert_eq!(lock.into_inner().unwrap(), 5);
}

#[test]
fn locks_show_their_value_unless_it_is_being_written() {
    let lock = RwLock::new(5);
    assert!(format!("{lock:?}").contains("value: 5"));
    let guard = lock.try_write().unwrap();
    assert!(format!("{lock:?}").contains("<locked>"));
    assert_eq!(format!("{guard:?}"), "RwLockWriteGuard(5)");
    assert!(format!("{:?}", Mutex::new(6)).contains("value: 6"));
}

// Gate.

#[test]
fn closing_a_gate_waits_for_passes_and_tasks() {
    LocalExecutor::default().run(async {
        let gate = Gate::new();
        let left = Rc::new(Cell::new(0));
        let queue = executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
        for i in 0..10 {
            let left = left.clone();
            let visit = async move {
                for _ in 0..i {
                    executor().yield_now().await;
                }
                left.set(left.get() + 1);
            };
            let task = match i % 2 {
                0 => gate.spawn(visit),
                _ => gate.spawn_into(visit, queue),
            };
            task.unwrap().detach();
        }
        let closers: Vec<_> = (0..3)
            .map(|_| {
                let (gate, left) = (gate.clone(), left.clone());
                spawn_local(async move {
                    gate.close().await.unwrap();
                    assert_eq!(left.get(), 10);
                })
            })
            .collect();
        gate.close().await.unwrap();
        assert_eq!(left.get(), 10);
        for closer in closers {
            closer.await;
        }
        assert!(gate.is_closed());
        assert!(matches!(
            gate.spawn(async {}),
            Err(GlommioError::Closed(ResourceType::Gate))
        ));
    });
}

#[test]
fn a_cancelled_task_leaves_the_gate_after_its_future_is_gone() {
    struct StillInside {
        gate: Gate,
        seen: Rc<Cell<u32>>,
    }
    impl Drop for StillInside {
        fn drop(&mut self) {
            drop(self.gate.close());
            assert!(!self.gate.is_closed(), "the task is inside until here");
            self.seen.set(self.seen.get() + 1);
        }
    }
    LocalExecutor::default().run(async {
        for polls in 0..2 {
            let (gate, seen) = (Gate::new(), Rc::new(Cell::new(0)));
            let inside = StillInside {
                gate: gate.clone(),
                seen: seen.clone(),
            };
            let task = gate
                .spawn(async move {
                    let _inside = inside;
                    pending::<()>().await;
                })
                .unwrap();
            for _ in 0..polls {
                executor().yield_now().await;
            }
            task.cancel().await;
            assert_eq!(seen.get(), 1);
            gate.close().await.unwrap();
        }
    });
}

#[test]
fn a_task_that_panics_leaves_the_gate() {
    LocalExecutor::default().run(async {
        let gate = Gate::new();
        gate.spawn(async { panic!("boom") }).unwrap().detach();
        gate.close().await.unwrap();
    });
}

#[test]
fn a_gate_refuses_a_task_for_a_queue_that_does_not_exist_and_counts_nobody() {
    LocalExecutor::default().run(async {
        let elsewhere = LocalExecutorBuilder::default()
            .spawn(|| async {
                executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q")
            })
            .unwrap()
            .join()
            .unwrap();
        let gate = Gate::new();
        let error = gate.spawn_into(async {}, elsewhere).unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
        gate.close().await.unwrap();
    });
}

// OnceCell.

#[test]
fn concurrent_initialisers_run_one_and_the_others_get_its_value() {
    LocalExecutor::default().run(async {
        let (cell, runs) = (Rc::new(OnceCell::new()), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..10)
            .map(|i| {
                let (cell, runs) = (cell.clone(), runs.clone());
                spawn_local(async move {
                    *cell
                        .get_or_init(|| async {
                            runs.set(runs.get() + 1);
                            executor().yield_now().await;
                            i
                        })
                        .await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, 0);
        }
        assert_eq!(runs.get(), 1);
    });
}

#[test]
fn a_failed_or_panicking_initialiser_poisons_nothing() {
    LocalExecutor::default().run(async {
        let cell = Rc::new(OnceCell::new());
        let tasks: Vec<_> = (0..5)
            .map(|i| {
                let cell = cell.clone();
                spawn_local(async move {
                    let init = || async {
                        executor().yield_now().await;
                        match i {
                            0 | 1 => Err(i),
                            2 => panic!("boom"),
                            _ => Ok(i),
                        }
                    };
                    cell.get_or_try_init(init).await.copied()
                })
                .detach()
            })
            .collect();
        let mut answers = Vec::new();
        for (i, task) in tasks.into_iter().enumerate() {
            if i != 2 {
                answers.push(task.await.unwrap());
            }
        }
        assert_eq!(answers, [Err(0), Err(1), Ok(3), Ok(3)]);
    });
}

#[test]
fn a_value_that_is_set_wins_over_an_initialiser_that_runs() {
    let cell = OnceCell::new();
    let mut running = Box::pin(cell.get_or_init(|| async {
        future::yield_now().await;
        7
    }));
    let mut waiting = Box::pin(cell.get_or_init(|| async { 8 }));
    assert!(poll_once(running.as_mut()).is_pending());
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert_eq!(cell.set(9), Ok(()));
    assert_eq!(cell.set(10), Err(10));
    assert_eq!(
        poll_once(waiting.as_mut()),
        Poll::Ready(&9),
        "no need to wait"
    );
    assert_eq!(poll_once(running.as_mut()), Poll::Ready(&9));
    assert!(cell.is_initialized());
}

// Cancellation.

#[test]
fn cancelling_reaches_everything_below_and_nothing_above() {
    let root = CancellationToken::new();
    let (a, b) = (root.child_token(), root.child_token());
    let (aa, foreign) = (a.child_token(), a.foreign_child());
    a.cancel();
    assert!(a.is_cancelled() && aa.is_cancelled() && foreign.is_cancelled());
    assert!(!root.is_cancelled() && !b.is_cancelled());
    assert!(a.child_token().is_cancelled());
    assert!(a.foreign_child().is_cancelled());
    assert!(poll_once(pin!(aa.cancelled())).is_ready());
}

#[test]
fn dropping_tokens_cancels_nothing_and_breaks_no_chain() {
    let root = CancellationToken::new();
    let middle = root.child_token();
    let (leaf, foreign) = (middle.child_token(), middle.foreign_child());
    let attached = foreign.attach();
    drop(foreign);
    drop(middle);
    assert!(!leaf.is_cancelled() && !attached.is_cancelled());
    root.cancel();
    assert!(leaf.is_cancelled() && attached.is_cancelled());

    let orphan = CancellationToken::new().child_token();
    assert!(!orphan.is_cancelled());
    orphan.cancel();
    assert!(orphan.is_cancelled());
}

#[test]
fn a_foreign_child_of_a_dropped_token_goes_to_the_grandparent() {
    let root = CancellationToken::new();
    let (first, second) = (root.child_token(), root.child_token());
    let middle = first.child_token();
    let foreign = middle.foreign_child();
    drop(first);
    drop(middle);
    second.cancel();
    assert!(!foreign.is_cancelled());
    root.cancel();
    assert!(foreign.is_cancelled());
}

#[test]
fn a_token_that_is_dropped_leaves_nothing_behind_in_its_parent() {
    let root = CancellationToken::new();
    for _ in 0..10_000 {
        drop(root.child_token());
        drop(root.foreign_child());
    }
    assert!(format!("{root:?}").contains("children: 0"), "{root:?}");
}

#[test]
fn a_very_deep_chain_is_cancelled_and_dropped_without_recursion() {
    let root = CancellationToken::new();
    let mut leaf = root.child_token();
    for _ in 0..200_000 {
        leaf = leaf.child_token();
    }
    root.cancel();
    assert!(leaf.is_cancelled());
    drop(root);
    drop(leaf);
}

#[test]
fn a_cancellation_wakes_tasks_of_other_executors_and_their_descendants() {
    let token = CancellationToken::new();
    let (ready, is_ready) = mpsc::channel();
    let executors: Vec<_> = (0..2)
        .map(|_| {
            let (foreign, ready) = (token.foreign_child(), ready.clone());
            LocalExecutorBuilder::default()
                .spawn(move || async move {
                    let attached = foreign.attach();
                    let child = attached.child_token();
                    let (further, ready_too) = (child.foreign_child(), ready.clone());
                    let thread = std::thread::spawn(move || {
                        ready_too.send(()).unwrap();
                        future::block_on(further.attach().cancelled());
                    });
                    let task = spawn_local(async move {
                        let mut wait = pin!(child.cancelled());
                        assert!(future::poll_once(&mut wait).await.is_none());
                        ready.send(()).unwrap();
                        wait.await;
                        assert!(child.is_cancelled());
                    });
                    attached.cancelled().await;
                    task.await;
                    executor()
                        .spawn_blocking(move || thread.join().unwrap())
                        .await;
                })
                .unwrap()
        })
        .collect();
    for _ in 0..4 {
        is_ready.recv().unwrap();
    }
    token.cancel();
    for executor in executors {
        executor.join().unwrap();
    }
}

#[test]
fn a_foreign_token_may_outlive_its_origin() {
    let foreign = {
        let token = CancellationToken::new();
        token.foreign_child()
    };
    let attached = foreign.attach();
    assert!(poll_once(pin!(attached.cancelled())).is_pending());
    assert!(!attached.is_cancelled() && !foreign.clone().is_cancelled());
}

// Notify and Barrier.

#[test]
fn notifications_are_remembered_once() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    assert!(poll_once(pin!(notify.notified())).is_ready());
    assert!(poll_once(pin!(notify.notified())).is_pending());
}

#[test]
fn notifying_everyone_is_not_remembered_but_reaches_futures_that_exist() {
    let notify = Notify::new();
    let early = notify.notified();
    notify.notify_waiters();
    assert!(poll_once(pin!(early)).is_ready());
    assert!(poll_once(pin!(notify.notified())).is_pending());
}

#[test]
fn a_barrier_of_any_size_releases_round_after_round() {
    LocalExecutor::default().run(async {
        for size in [0, 1, 2, 7] {
            let barrier = Rc::new(Barrier::new(size));
            let rounds = Rc::new(RefCell::new(vec![0; 50]));
            let leaders = Rc::new(Cell::new(0));
            let tasks: Vec<_> = (0..size.max(1))
                .map(|_| {
                    let (barrier, rounds, leaders) =
                        (barrier.clone(), rounds.clone(), leaders.clone());
                    spawn_local(async move {
                        for round in 0..50 {
                            rounds.borrow_mut()[round] += 1;
                            if barrier.wait().await.is_leader() {
                                leaders.set(leaders.get() + 1);
                            }
                            assert_eq!(rounds.borrow()[round], size.max(1));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!(leaders.get(), 50);
        }
    });
}

// Which threads may have them.

/// Whether a type is `Send` and whether it is `Sync`, at compile time.
macro_rules! auto_traits {
    ($type:ty) => {{
        #[allow(dead_code)]
        trait Without {
            const IS: bool = false;
        }
        struct IsSend<T: ?Sized>(std::marker::PhantomData<T>);
        struct IsSync<T: ?Sized>(std::marker::PhantomData<T>);
        impl<T: ?Sized> Without for IsSend<T> {}
        impl<T: ?Sized> Without for IsSync<T> {}
        #[allow(dead_code)]
        impl<T: ?Sized + Send> IsSend<T> {
            const IS: bool = true;
        }
        #[allow(dead_code)]
        impl<T: ?Sized + Sync> IsSync<T> {
            const IS: bool = true;
        }
        (<IsSend<$type>>::IS, <IsSync<$type>>::IS)
    }};
}

#[test]
fn everything_but_a_foreign_cancellation_stays_on_its_thread() {
    use glommio::sync::*;
    assert_eq!(auto_traits!(u32), (true, true), "the macro works");
    assert_eq!(auto_traits!(ForeignCancellation), (true, true));
    for local in [
        auto_traits!(Semaphore),
        auto_traits!(Permit<'static>),
        auto_traits!(StaticPermit),
        auto_traits!(RwLock<u32>),
        auto_traits!(RwLockReadGuard<'static, u32>),
        auto_traits!(RwLockWriteGuard<'static, u32>),
        auto_traits!(Mutex<u32>),
        auto_traits!(MutexGuard<'static, u32>),
        auto_traits!(Gate),
        auto_traits!(Pass),
        auto_traits!(OnceCell<u32>),
        auto_traits!(CancellationToken),
        auto_traits!(Cancelled<'static>),
        auto_traits!(Notify),
        auto_traits!(Notified<'static>),
        auto_traits!(Barrier),
    ] {
        assert_eq!(local, (false, false));
    }
}

#[test]
fn futures_and_locks_are_unpin() {
    fn unpin<T: Unpin>() {}
    unpin::<glommio::sync::Cancelled<'_>>();
    unpin::<glommio::sync::Notified<'_>>();
    unpin::<RwLock<u32>>();
    unpin::<Semaphore>();
    unpin::<ForeignCancellation>();
}
