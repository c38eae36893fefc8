//! The executor as its users see it.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use glommio::{
    GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, executor,
    internals::ring_counters, nop::NopSubmitter, spawn_local, spawn_local_into,
};

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().unwrap_or(&"").to_string(),
    }
}

#[test]
fn run_gives_the_output_of_a_future_that_borrows() {
    let text = String::from("borrowed");
    let len = LocalExecutor::default().run(async { text.len() });
    assert_eq!(len, 8);
}

#[test]
fn tasks_left_by_one_run_go_on_in_the_next() {
    let ex = LocalExecutor::default();
    let done = Rc::new(Cell::new(false));
    let theirs = done.clone();
    ex.run(async move {
        spawn_local(async move {
            executor().yield_now().await;
            theirs.set(true);
        })
        .detach();
    });
    assert!(!done.get());
    ex.run(async {
        while !done.get() {
            executor().yield_now().await;
        }
    });
}

#[test]
fn an_executor_inside_an_executor_is_refused() {
    let ex = LocalExecutor::default();
    let inner = catch_unwind(AssertUnwindSafe(|| {
        ex.run(async { LocalExecutorBuilder::default().make().is_ok() })
    }));
    let text = message(inner.unwrap_err());
    assert!(text.contains("executor inception"), "{text}");
    assert_eq!(
        ex.run(async { 1 }),
        1,
        "the executor survives its root's panic"
    );
}

#[test]
fn outside_of_an_executor_the_panic_says_what_to_do() {
    let text = message(catch_unwind(|| executor().id()).unwrap_err());
    assert!(text.contains("LocalExecutor::run"), "{text}");
}

#[test]
fn a_panic_in_any_queue_resumes_at_the_await_and_the_executor_goes_on() {
    let ex = LocalExecutor::default();
    ex.run(async {
        let queue = executor().create_task_queue(Shares::Static(3), Latency::NotImportant, "q");
        for handle in [queue, Default::default()] {
            let task = spawn_local_into(async { panic!("boom") }, handle).unwrap();
            let caught = catch_future(task).await;
            assert_eq!(message(caught.unwrap_err()), "boom");
            // Detached: nobody sees it, nobody is hurt.
            spawn_local_into(async { panic!("boom, detached") }, handle)
                .unwrap()
                .detach();
            executor().yield_now().await;
        }
        assert_eq!(spawn_local(async { 5 }).await, 5);
    });
    drop(ex);
    assert_eq!(LocalExecutor::default().run(async { 6 }), 6);
}

async fn catch_future<F: Future>(future: F) -> Result<F::Output, Box<dyn std::any::Any + Send>> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

#[test]
fn panics_in_destructors_at_teardown_hurt_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            spawn_local(async {}).detach();
            panic!("destructor");
        }
    }
    let dropped = Rc::new(Cell::new(0));
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let ex = LocalExecutor::default();
    ex.run(async {
        for _ in 0..3 {
            let count = Count(dropped.clone());
            spawn_local(async move {
                let _guards = (Bomb, count);
                std::future::pending::<()>().await;
            })
            .detach();
        }
        executor().yield_now().await;
    });
    drop(ex);
    assert_eq!(dropped.get(), 3);
    assert_eq!(LocalExecutor::default().run(async { 7 }), 7);
}

#[test]
fn an_unknown_queue_and_an_active_one_are_told_apart() {
    let ex = LocalExecutor::default();
    let queue = ex.create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
    ex.run(async move {
        spawn_local_into(std::future::pending::<()>(), queue)
            .unwrap()
            .detach();
    });
    let text = ex.remove_task_queue(queue).unwrap_err().to_string();
    assert!(text.contains("Queue #1 is still active"), "{text}");

    let ex = LocalExecutor::default();
    let queue = ex.create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
    ex.remove_task_queue(queue).unwrap();
    let error = ex
        .run(async move { spawn_local_into(async {}, queue).map(drop) })
        .unwrap_err();
    assert!(
        error.to_string().contains("Queue #1 is not found"),
        "{error}"
    );
}

#[test]
fn a_task_inherits_the_queue_of_its_spawner() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
        let seen = spawn_local_into(
            async { spawn_local(async { executor().current_task_queue() }).await },
            queue,
        );
        assert_eq!(seen.unwrap().await, queue);
    });
}

#[test]
fn yielding_the_queues_turn_lets_the_other_queue_run() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
        let ran = Rc::new(Cell::new(false));
        let theirs = ran.clone();
        spawn_local_into(async move { theirs.set(true) }, queue)
            .unwrap()
            .detach();
        // The current queue has used nothing yet, so only giving up its turn lets the other run.
        executor().yield_task_queue_now().await;
        executor().yield_task_queue_now().await;
        assert!(ran.get());
    });
}

#[test]
fn a_yield_makes_no_system_call() {
    LocalExecutor::default().run(async {
        let before = ring_counters();
        for _ in 0..100_000 {
            executor().yield_now().await;
        }
        let after = ring_counters();
        assert!(after.enters - before.enters <= 2, "{before:?} -> {after:?}");
    });
}

#[test]
fn a_yield_loop_does_not_starve_io() {
    LocalExecutor::default().run(async {
        let done = Rc::new(Cell::new(false));
        let theirs = done.clone();
        spawn_local(async move {
            NopSubmitter::new().run_nop().await.unwrap();
            theirs.set(true);
        })
        .detach();
        let mut turns = 0u64;
        while !done.get() {
            executor().yield_now().await;
            turns += 1;
            assert!(turns < 100_000_000, "I/O is starved");
        }
    });
}

#[test]
fn need_preempt_is_said_after_the_preempt_timer() {
    let ex = LocalExecutorBuilder::default()
        .preempt_timer(std::time::Duration::from_millis(10))
        .make()
        .unwrap();
    ex.run(async {
        executor().yield_task_queue_now().await;
        let start = std::time::Instant::now();
        while !executor().need_preempt() {}
        assert!(start.elapsed().as_millis() >= 9);
        executor().yield_if_needed().await;
        assert!(!executor().need_preempt(), "a new slice has begun");
    });
}

#[test]
fn wakes_from_other_threads_race_with_parking_and_none_is_lost() {
    const WAKES: usize = 200_000;
    let slot: Arc<std::sync::Mutex<Option<Waker>>> = Arc::default();
    let (sent, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let thread = {
        let (slot, sent, stop) = (slot.clone(), sent.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let waker = slot.lock().unwrap().take();
                match waker {
                    Some(waker) => {
                        sent.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    }
                    None => std::thread::yield_now(),
                }
            }
        })
    };
    LocalExecutor::default().run(async {
        for round in 0..WAKES {
            std::future::poll_fn(|cx| {
                if sent.load(Ordering::SeqCst) > round {
                    return Poll::Ready(());
                }
                *slot.lock().unwrap() = Some(cx.waker().clone());
                if sent.load(Ordering::SeqCst) > round {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    });
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    assert!(sent.load(Ordering::SeqCst) >= WAKES);
}

#[test]
fn executors_wake_each_other() {
    const ROUNDS: usize = 20_000;
    let turn = Arc::new(AtomicUsize::new(0));
    let wakers: Arc<[std::sync::Mutex<Option<Waker>>; 2]> = Arc::default();
    let player = |me: usize| {
        let (turn, wakers) = (turn.clone(), wakers.clone());
        LocalExecutorBuilder::new(Placement::Unbound)
            .spawn(move || async move {
                for round in 0..ROUNDS {
                    let mine = round * 2 + me;
                    std::future::poll_fn(|cx| {
                        *wakers[me].lock().unwrap() = Some(cx.waker().clone());
                        if turn.load(Ordering::SeqCst) == mine {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    })
                    .await;
                    turn.store(mine + 1, Ordering::SeqCst);
                    let peer = wakers[1 - me].lock().unwrap().take();
                    if let Some(peer) = peer {
                        peer.wake();
                    }
                }
            })
            .unwrap()
    };
    let players = [player(0), player(1)];
    for player in players {
        player.join().unwrap();
    }
    assert_eq!(turn.load(Ordering::SeqCst), 2 * ROUNDS);
}

#[test]
fn a_late_waker_after_the_executor_is_gone_is_a_noop() {
    let kept: RefCell<Vec<Waker>> = RefCell::default();
    let ex = LocalExecutor::default();
    ex.run(async {
        std::future::poll_fn(|cx| {
            kept.borrow_mut().push(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    });
    drop(ex);
    for waker in kept.take() {
        waker.wake_by_ref();
        std::thread::spawn(move || waker.wake()).join().unwrap();
    }
}

#[test]
fn an_idle_executor_uses_no_cpu() {
    let handle = LocalExecutorBuilder::default()
        .spawn(|| async {
            let (tx, rx) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_secs(3));
                let waker: Waker = rx.recv().unwrap();
                waker.wake();
            });
            let before = thread_cpu();
            let mut first = true;
            std::future::poll_fn(|cx| {
                if std::mem::take(&mut first) {
                    tx.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            thread_cpu() - before
        })
        .unwrap();
    let ticks = handle.join().unwrap();
    assert!(ticks <= 3, "{ticks} clock ticks of CPU in 3 s of idling");
}

/// CPU time of this thread in clock ticks (10 ms).
fn thread_cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_cpu_that_does_not_exist_is_an_error_of_the_builder() {
    let error = LocalExecutorBuilder::new(Placement::Fixed(99_999))
        .spawn(|| async {})
        .unwrap_err();
    assert!(
        matches!(error, GlommioError::BuilderError(_))
            && error
                .to_string()
                .contains("CPU 99999 doesn't exist on the host"),
        "{error}"
    );
}

#[test]
fn a_panicking_root_is_reported_by_join() {
    let handle = LocalExecutorBuilder::default()
        .spawn(|| async { panic!("root") })
        .unwrap();
    let error = handle.join().unwrap_err();
    assert!(error.to_string().contains("thread panicked"), "{error}");
}

#[test]
fn spawn_blocking_gives_its_result() {
    let sum = LocalExecutor::default()
        .run(async { executor().spawn_blocking(|| (1..=10).sum::<u32>()).await });
    assert_eq!(sum, 55);
}
