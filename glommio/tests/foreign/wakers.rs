//! Wake-ups from threads, from tokio's tasks and from other executors.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures::FutureExt;
use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, PoolPlacement, Shares,
    executor, spawn_local, spawn_local_into, timer::Timer,
};

use crate::Host;

/// A flag that one side raises and the other waits for, and nothing more.
#[derive(Default)]
struct Flag {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the flag is raised, and lowers it.
    async fn wait(&self) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            match self.raised.swap(false, Ordering::SeqCst) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn is_awaited(&self) -> bool {
        self.waker.lock().unwrap().is_some()
    }
}

#[test]
fn threads_tokio_and_executors_wake_a_task_that_sleeps() {
    const ROUNDS: usize = 1_000;
    for host in [Host::Thread, Host::Tokio, Host::Glommio] {
        let (there, back) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        let (theirs, answer) = (there.clone(), back.clone());
        let peer = host.run(move || async move {
            for _ in 0..ROUNDS {
                theirs.wait().await;
                answer.raise();
            }
        });
        let executor = Host::Glommio.run(move || async move {
            for _ in 0..ROUNDS {
                there.raise();
                back.wait().await;
            }
        });
        executor.join().unwrap();
        peer.join().unwrap();
    }
}

#[test]
fn a_task_is_woken_by_a_timer_of_tokio() {
    let flag = Arc::new(Flag::default());
    let theirs = flag.clone();
    let sleeper = Host::Tokio.run(move || async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        theirs.raise();
    });
    let waiter = Host::Glommio.run(move || async move { flag.wait().await });
    waiter.join().unwrap();
    sleeper.join().unwrap();
}

#[test]
fn one_wake_up_is_enough_for_each_of_many_tasks() {
    const TASKS: usize = 2_000;
    let flags: Arc<Vec<Flag>> = Arc::new((0..TASKS).map(|_| Flag::default()).collect());
    let theirs = flags.clone();
    let executor = Host::Glommio.run(move || async move {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let flags = theirs.clone();
                spawn_local(async move { flags[number].wait().await })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    // Two threads, each its half, from both ends.
    thread::scope(|scope| {
        scope.spawn(|| flags[..TASKS / 2].iter().for_each(Flag::raise));
        scope.spawn(|| flags[TASKS / 2..].iter().rev().for_each(Flag::raise));
    });
    executor.join().unwrap();
}

/// An executor gives up its place in the table of wake-ups when it ends; what is left of it (here
/// a timer) goes later, and must not take the place of its successor along.
#[test]
fn remains_of_an_executor_do_not_silence_its_successor() {
    let mut timer = Timer::new(Duration::from_secs(3600));
    let first = LocalExecutor::default();
    first.run(async { assert!((&mut timer).now_or_never().is_none()) });
    drop(first);
    let successor = LocalExecutor::default();
    drop(timer);

    let flag = Arc::new(Flag::default());
    let theirs = flag.clone();
    let thread = thread::spawn(move || {
        while !theirs.is_awaited() {
            thread::yield_now();
        }
        // Until it sleeps.
        thread::sleep(Duration::from_millis(20));
        theirs.raise();
    });
    let start = Instant::now();
    successor.run(async {
        // Ends the sleep should the wake-up be lost.
        let alarm = spawn_local(Timer::new(Duration::from_secs(60)));
        flag.wait().await;
        drop(alarm);
    });
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "the wake-up was lost"
    );
    thread.join().unwrap();
}

/// A wake-up of another executor leaves with the next system call of its sender, which blocks here
/// until the one that is to be woken has ended.
#[test]
fn an_executor_that_joins_others_wakes_them_first() {
    // Says whether the flag was raised before the alarm went off, which ends the sleep as well.
    async fn serve(flag: Arc<Flag>) -> bool {
        let mut wait = pin!(flag.wait());
        let mut alarm = Timer::new(Duration::from_secs(60));
        poll_fn(|cx| match Pin::new(&mut alarm).poll(cx) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => wait.as_mut().poll(cx).map(|()| true),
        })
        .await
    }
    async fn fall_asleep(flag: &Flag) {
        while !flag.is_awaited() {
            Timer::new(Duration::from_millis(1)).await;
        }
        Timer::new(Duration::from_millis(20)).await;
    }

    LocalExecutor::default().run(async {
        let flag = Arc::new(Flag::default());
        let theirs = flag.clone();
        let peer = LocalExecutorBuilder::default().spawn(move || serve(theirs));
        fall_asleep(&flag).await;
        flag.raise();
        assert!(peer.unwrap().join().unwrap(), "joined, but not woken");

        let flag = Arc::new(Flag::default());
        let theirs = flag.clone();
        let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(1))
            .on_all_shards(move || serve(theirs));
        fall_asleep(&flag).await;
        flag.raise();
        for shard in pool.unwrap().join_all() {
            assert!(shard.unwrap(), "joined, but not woken");
        }
    });
}

#[test]
fn executors_that_follow_each_other_in_haste_lose_no_wake_up() {
    let ends: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..200 {
                    let executor = LocalExecutor::default();
                    executor.run(async {
                        for number in 0..3 {
                            let job = glommio::executor().spawn_blocking(move || number);
                            assert_eq!(job.await, number);
                        }
                    });
                }
            })
        })
        .collect();
    for end in ends {
        end.join().unwrap();
    }
}

/// How long wake-ups of a sleeping task in a queue of this class take, or of a thread that blocks: sorted.
fn wake_latencies(latency: Option<Latency>, wakes: usize) -> Vec<Duration> {
    let epoch = Instant::now();
    let (flag, woken_at) = (Arc::new(Flag::default()), Arc::new(AtomicU64::new(0)));
    let (done, is_done) = std::sync::mpsc::channel();
    let (theirs, at) = (flag.clone(), woken_at.clone());
    let waiter = async move {
        for _ in 0..wakes {
            theirs.wait().await;
            let now = epoch.elapsed().as_nanos() as u64;
            done.send(now - at.load(Ordering::SeqCst)).unwrap();
        }
    };
    let sleeper = match latency {
        Some(latency) => Host::Glommio.run(move || async move {
            let queue = executor().create_task_queue(Shares::Static(10), latency, "woken");
            spawn_local_into(waiter, queue).unwrap().await;
        }),
        None => Host::Thread.run(move || waiter),
    };
    let mut latencies = Vec::with_capacity(wakes);
    for _ in 0..wakes {
        while !flag.is_awaited() {
            thread::yield_now();
        }
        // Long enough for it to fall asleep.
        thread::sleep(Duration::from_micros(200));
        woken_at.store(epoch.elapsed().as_nanos() as u64, Ordering::SeqCst);
        flag.raise();
        latencies.push(Duration::from_nanos(is_done.recv().unwrap()));
    }
    sleeper.join().unwrap();
    latencies.sort_unstable();
    latencies
}

/// DataDog/glommio#434: up to 95 ms there, depending on the latency class of the queue.
///
/// The machine may be busy, and then it is up to it when a thread that was woken runs: a thread that blocks
/// says how long that takes. A tick of some timer that is in the way is in the way of each wake-up: the
/// quickest of them tell.
#[test]
fn a_wake_up_from_a_thread_is_prompt_whatever_the_queues_latency_class() {
    const WAKES: usize = 60;
    const PROMPT: Duration = Duration::from_millis(5);
    for latency in [
        Latency::NotImportant,
        Latency::Matters(Duration::from_millis(1)),
        Latency::Matters(Duration::from_millis(100)),
    ] {
        let start = Instant::now();
        loop {
            let latencies = wake_latencies(Some(latency), WAKES);
            let blocked = wake_latencies(None, WAKES)[WAKES / 4];
            let (quick, median) = (latencies[WAKES / 4], latencies[WAKES / 2]);
            eprintln!(
                "{latency:?}: quickest quarter {quick:?} ({blocked:?} of a thread), median {median:?}, \
                 max {:?}",
                latencies[WAKES - 1]
            );
            if quick < PROMPT + 2 * blocked {
                break;
            }
            let waited = start.elapsed();
            assert!(
                waited < Duration::from_secs(60),
                "{latency:?}: {quick:?}, {blocked:?} of a thread"
            );
        }
    }
}

#[test]
fn a_task_that_is_woken_and_cancelled_at_once_ends_once() {
    LocalExecutor::default().run(async {
        for _ in 0..200 {
            let flag = Arc::new(Flag::default());
            let theirs = flag.clone();
            let task = spawn_local(async move {
                theirs.wait().await;
                pending::<()>().await;
            });
            executor().yield_now().await;
            let waker = thread::spawn(move || flag.raise());
            assert_eq!(task.cancel().await, None);
            waker.join().unwrap();
        }
    });
}
