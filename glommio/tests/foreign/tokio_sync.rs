//! The locks and signals of `tokio::sync` between executors, and with a tokio runtime.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use glommio::{executor, spawn_local};
use tokio::sync::{Mutex, Notify, Semaphore, oneshot};

use crate::Host;

const EVERYWHERE: [Host; 4] = [Host::Glommio, Host::Glommio, Host::Tokio, Host::Thread];

#[test]
fn a_mutex_excludes_executors_threads_and_tokio_from_each_other() {
    const TURNS: u64 = 5_000;
    let counter = Arc::new(Mutex::new(0_u64));
    let hosts = EVERYWHERE.map(|host| {
        let counter = counter.clone();
        host.run(move || async move {
            for _ in 0..TURNS {
                let mut held = counter.lock().await;
                let before = *held;
                if before % 16 == 0 && host == Host::Glommio {
                    executor().yield_now().await;
                }
                *held = before + 1;
            }
        })
    });
    for host in hosts {
        host.join().unwrap();
    }
    assert_eq!(*counter.try_lock().unwrap(), 4 * TURNS);
}

#[test]
fn a_mutex_held_by_an_executor_that_dies_is_free_again() {
    let lock = Arc::new(Mutex::new(()));
    let theirs = lock.clone();
    let (taken, is_taken) = oneshot::channel();
    let (die, dies) = oneshot::channel::<()>();
    let dying = Host::Glommio.run(move || async move {
        spawn_local(async move {
            let _held = theirs.lock().await;
            taken.send(()).unwrap();
            std::future::pending::<()>().await;
        })
        .detach();
        dies.await.unwrap();
    });
    let waiting = Host::Glommio.run(move || async move {
        is_taken.await.unwrap();
        assert!(lock.try_lock().is_err());
        let waiting = spawn_local(async move { drop(lock.lock().await) });
        executor().yield_now().await;
        die.send(()).unwrap();
        waiting.await;
    });
    waiting.join().unwrap();
    dying.join().unwrap();
}

#[test]
fn notifications_are_neither_lost_nor_invented() {
    const ROUNDS: usize = 5_000;
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    for peer in [Host::Glommio, Host::Tokio, Host::Thread] {
        let served = Arc::new(AtomicUsize::new(0));
        let server = {
            let (ping, pong, served) = (ping.clone(), pong.clone(), served.clone());
            peer.run(move || async move {
                for _ in 0..ROUNDS {
                    ping.notified().await;
                    served.fetch_add(1, Ordering::Relaxed);
                    pong.notify_one();
                }
            })
        };
        let client = {
            let (ping, pong) = (ping.clone(), pong.clone());
            Host::Glommio.run(move || async move {
                for round in 1..=ROUNDS {
                    ping.notify_one();
                    pong.notified().await;
                    assert_eq!(served.load(Ordering::Relaxed), round);
                }
            })
        };
        client.join().unwrap();
        server.join().unwrap();
    }
}

#[test]
fn a_broadcast_notification_reaches_the_waiters_of_every_executor() {
    let (notify, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let hosts = EVERYWHERE.map(|host| {
        let (notify, waiting) = (notify.clone(), waiting.clone());
        host.run(move || async move {
            let mut notified = std::pin::pin!(notify.notified());
            notified.as_mut().enable();
            waiting.fetch_add(1, Ordering::SeqCst);
            notified.await;
        })
    });
    while waiting.load(Ordering::SeqCst) < hosts.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    notify.notify_waiters();
    for host in hosts {
        host.join().unwrap();
    }
}

#[test]
fn a_semaphore_bounds_all_executors_together() {
    const PERMITS: usize = 3;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let hosts = [Host::Glommio; 3].map(|host| {
        let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
        host.run(move || async move {
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let (semaphore, inside, most) =
                        (semaphore.clone(), inside.clone(), most.clone());
                    spawn_local(async move {
                        for _ in 0..100 {
                            let _permit = semaphore.acquire().await.unwrap();
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            executor().yield_now().await;
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        })
    });
    for host in hosts {
        host.join().unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= PERMITS);
    assert_eq!(semaphore.available_permits(), PERMITS);
}

#[test]
fn permits_of_an_executor_that_dies_go_to_the_others() {
    let semaphore = Arc::new(Semaphore::new(2));
    let (theirs, (die, dies)) = (semaphore.clone(), oneshot::channel::<()>());
    let (taken, is_taken) = oneshot::channel();
    let dying = Host::Glommio.run(move || async move {
        let waiting = theirs.clone();
        spawn_local(async move {
            let _both = theirs.acquire_many(2).await.unwrap();
            taken.send(()).unwrap();
            std::future::pending::<()>().await;
        })
        .detach();
        // One that waits in the queue when its executor dies is no obstacle either.
        spawn_local(async move { drop(waiting.acquire().await) }).detach();
        dies.await.unwrap();
    });
    let waiting = Host::Glommio.run(move || async move {
        is_taken.await.unwrap();
        let waiting = spawn_local(async move { semaphore.acquire_many(2).await.is_ok() });
        executor().yield_now().await;
        die.send(()).unwrap();
        waiting.await
    });
    assert_eq!(waiting.join(), Some(true));
    dying.join().unwrap();
}

#[test]
fn oneshots_answer_across_executors_and_report_death() {
    const ROUNDS: u64 = 3_000;
    for peer in [Host::Glommio, Host::Tokio, Host::Thread] {
        let (sender, requests) = async_channel::bounded::<(u64, oneshot::Sender<u64>)>(16);
        let server = peer.run(move || async move {
            while let Ok((number, answer)) = requests.recv().await {
                // Every hundredth is forgotten: the asker must hear of it.
                if number % 100 != 99 {
                    answer.send(number * 3).unwrap();
                }
            }
        });
        let client = Host::Glommio.run(move || async move {
            for number in 0..ROUNDS {
                let (answer, answered) = oneshot::channel();
                sender.send((number, answer)).await.unwrap();
                assert_eq!(
                    answered.await.ok(),
                    (number % 100 != 99).then_some(number * 3)
                );
            }
        });
        client.join().unwrap();
        server.join().unwrap();
    }
}
