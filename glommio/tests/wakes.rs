//! Wake-ups from other threads: none is lost, whatever it races with, and none does harm.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use glommio::{LocalExecutor, LocalExecutorBuilder, spawn_local, timer::sleep};

/// Ends the process if `progress` stands still: a lost wake-up is an executor that sleeps for ever,
/// which would otherwise be a test that never ends.
fn watch(what: &'static str, progress: impl Fn() -> usize, done: &AtomicBool) {
    let (mut last, mut since) = (0, Instant::now());
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        let now = progress();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(60) {
            eprintln!("{what}: a wake-up was lost after {now}");
            std::process::abort();
        }
    }
}

/// For how long wake-ups are raced. Where other programs compute, each may wait for a turn on the CPU,
/// and fewer than planned must do.
const RACE: Duration = Duration::from_secs(20);

#[test]
fn a_million_wakes_race_with_parking_and_none_is_lost() {
    const WAKES: usize = 1_000_000;
    const TASKS: usize = 4;

    /// Where a task leaves its waker, once per wake-up.
    #[derive(Default)]
    struct Slot {
        waker: Mutex<Option<Waker>>,
        sent: AtomicUsize,
    }
    let slots: [Arc<Slot>; TASKS] = Default::default();
    let sent = || slots.iter().map(|s| s.sent.load(Ordering::SeqCst)).sum();
    let done = AtomicBool::new(false);
    let mut received = 0;

    thread::scope(|scope| {
        scope.spawn(|| watch("wakes from two threads", sent, &done));
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut found = false;
                    for slot in &slots {
                        let waker = slot.waker.lock().unwrap().take();
                        if let Some(waker) = waker {
                            found = true;
                            slot.sent.fetch_add(1, Ordering::SeqCst);
                            waker.wake();
                        }
                    }
                    if !found {
                        thread::yield_now();
                    }
                }
            });
        }
        let start = Instant::now();
        LocalExecutor::default().run(async {
            let tasks = slots.clone().map(|slot| {
                spawn_local(async move {
                    for round in 0..WAKES / TASKS {
                        if start.elapsed() > RACE {
                            return round;
                        }
                        // Whoever is woken was woken: `sent` is the news that a wake-up carries.
                        poll_fn(|cx| {
                            if slot.sent.load(Ordering::SeqCst) > round {
                                return Poll::Ready(());
                            }
                            *slot.waker.lock().unwrap() = Some(cx.waker().clone());
                            Poll::Pending
                        })
                        .await;
                    }
                    WAKES / TASKS
                })
            });
            for task in tasks {
                received += task.await;
            }
        });
        done.store(true, Ordering::Relaxed);
    });
    eprintln!("{received} wakes");
    assert_eq!(sent(), received);
}

#[test]
fn executors_wake_each_other_and_no_message_is_lost() {
    const ROUNDS: usize = 50_000;
    let turn = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let wakers: Arc<[Mutex<Option<Waker>>; 2]> = Arc::default();
    let player = |me: usize| {
        let (turn, over, wakers) = (turn.clone(), over.clone(), wakers.clone());
        LocalExecutorBuilder::default()
            .spawn(move || async move {
                for round in 0..ROUNDS {
                    let mine = round * 2 + me;
                    poll_fn(|cx| {
                        *wakers[me].lock().unwrap() = Some(cx.waker().clone());
                        let told =
                            turn.load(Ordering::SeqCst) == mine || over.load(Ordering::SeqCst);
                        match told {
                            true => Poll::Ready(()),
                            false => Poll::Pending,
                        }
                    })
                    .await;
                    // Only the first one looks at the time; the other one is told.
                    let last = over.load(Ordering::SeqCst) || me == 0 && start.elapsed() > RACE;
                    match last {
                        true => over.store(true, Ordering::SeqCst),
                        false => turn.store(mine + 1, Ordering::SeqCst),
                    }
                    let peer = wakers[1 - me].lock().unwrap().take();
                    if let Some(peer) = peer {
                        peer.wake();
                    }
                    if last {
                        return round;
                    }
                }
                ROUNDS
            })
            .unwrap()
    };
    let done = AtomicBool::new(false);
    let mut turns = 0;
    let progress = || turn.load(Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| watch("wakes between executors", progress, &done));
        for player in [player(0), player(1)] {
            turns += player.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    eprintln!("{turns} turns");
    assert_eq!(turn.load(Ordering::SeqCst), turns);
}

#[test]
fn a_task_that_wakes_itself_while_it_is_polled_is_polled_again() {
    LocalExecutor::default().run(async {
        for elsewhere in [false, true] {
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                if polls > 100 {
                    return Poll::Ready(());
                }
                if elsewhere {
                    let waker = cx.waker().clone();
                    thread::spawn(move || waker.wake()).join().unwrap();
                } else {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            })
            .await;
            assert_eq!(polls, 101);
        }
    });
}

/// Everything that can be done with a waker.
fn use_up(waker: Waker) {
    waker.wake_by_ref();
    let other = waker.clone();
    assert!(waker.will_wake(&other));
    other.wake();
    drop(waker.clone());
    waker.wake();
}

/// A future that is never ready and leaves its waker.
fn leave_waker(to: &Arc<Mutex<Vec<Waker>>>) -> impl Future<Output = ()> + use<> {
    let to = to.clone();
    poll_fn(move |cx: &mut Context<'_>| {
        to.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    })
}

/// An executor that came and went, and the wakers of its tasks.
fn wakers_of_the_dead() -> Vec<Waker> {
    let wakers = Arc::default();
    LocalExecutor::default().run(async {
        spawn_local(leave_waker(&wakers)).detach();
        let cancelled = spawn_local(leave_waker(&wakers));
        glommio::executor().yield_now().await;
        cancelled.cancel().await;
        let wakers = wakers.clone();
        spawn_local(poll_fn(move |cx| {
            wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Ready(())
        }))
        .await;
    });
    let wakers = std::mem::take(&mut *wakers.lock().unwrap());
    assert_eq!(wakers.len(), 3);
    wakers
}

#[test]
fn late_wakers_after_the_executor_is_gone_are_noops_from_any_thread() {
    // The executor's own thread, outside of any executor.
    wakers_of_the_dead().into_iter().for_each(use_up);
    // Another thread.
    let wakers = wakers_of_the_dead();
    thread::spawn(|| wakers.into_iter().for_each(use_up))
        .join()
        .unwrap();
    // A thread while it ends.
    struct AtTheEnd(std::cell::RefCell<Vec<Waker>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(use_up);
        }
    }
    thread_local!(static LAST: AtTheEnd = const { AtTheEnd(std::cell::RefCell::new(Vec::new())) });
    let wakers = wakers_of_the_dead();
    thread::spawn(|| LAST.with(|last| last.0.replace(wakers)))
        .join()
        .unwrap();
    // Inside another executor, which has its predecessor's place; and it still runs.
    let wakers = wakers_of_the_dead();
    let sum = LocalExecutor::default().run(async {
        wakers.into_iter().for_each(use_up);
        spawn_local(async { 1 }).await + 1
    });
    assert_eq!(sum, 2);
}

#[test]
fn wakers_that_race_with_the_end_of_their_executor_are_harmless() {
    const EXECUTORS: usize = 300;
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let done = AtomicBool::new(false);
    let used = AtomicUsize::new(0);
    let hammer = || {
        while !done.load(Ordering::Relaxed) {
            let some: Vec<_> = wakers.lock().unwrap().clone();
            for waker in some {
                used.fetch_add(1, Ordering::Relaxed);
                use_up(waker);
            }
            // The kernel's workers, which take rings down, need a CPU too.
            thread::sleep(Duration::from_micros(20));
        }
    };
    thread::scope(|scope| {
        scope.spawn(hammer);
        // The other one is an executor: it wakes by message where the kernel can.
        scope.spawn(|| {
            LocalExecutor::default().run(async {
                while !done.load(Ordering::Relaxed) {
                    let some: Vec<_> = wakers.lock().unwrap().clone();
                    some.into_iter().for_each(use_up);
                    sleep(Duration::from_micros(100)).await;
                }
            });
        });
        let (start, mut made) = (Instant::now(), 0);
        let nobody_woke =
            || used.load(Ordering::Relaxed) == 0 && start.elapsed() < Duration::from_secs(60);
        while made < EXECUTORS || nobody_woke() {
            made += 1;
            LocalExecutor::default().run(async {
                for _ in 0..3 {
                    spawn_local(leave_waker(&wakers)).detach();
                }
                sleep(Duration::from_micros(50)).await;
            });
            // Now and then they are left to the next executors' time.
            let mut wakers = wakers.lock().unwrap();
            let surplus = wakers.len().saturating_sub(20);
            wakers.drain(..surplus);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(used.load(Ordering::Relaxed) > 0, "nobody woke");
}
