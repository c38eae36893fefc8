//! The shared kinds between executors and plain threads.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use futures_lite::{StreamExt, future::block_on};
use glommio::{
    LocalExecutorBuilder, Placement,
    channels::{
        broadcast::{self, RecvError},
        oneshot, watch,
    },
};

/// Where a half runs.
#[derive(Clone, Copy, Debug)]
enum Host {
    Executor,
    Thread,
}

const HOSTS: [Host; 2] = [Host::Executor, Host::Thread];

/// Runs `f` on a thread of its own, which is an executor or not.
fn run<T, F>(host: Host, f: impl FnOnce() -> F + Send + 'static) -> impl FnOnce() -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (executor, thread) = match host {
        Host::Executor => {
            let builder = LocalExecutorBuilder::new(Placement::Unbound);
            (Some(builder.spawn(f).unwrap()), None)
        }
        Host::Thread => (None, Some(thread::spawn(move || block_on(f())))),
    };
    move || match (executor, thread) {
        (Some(executor), _) => executor.join().unwrap(),
        (None, Some(thread)) => thread.join().unwrap(),
        (None, None) => unreachable!("one of them was started"),
    }
}

#[test]
fn a_value_crosses_however_the_sides_race() {
    for sending in HOSTS {
        for receiving in HOSTS {
            let rounds = 200;
            let mut senders = Vec::new();
            let mut receivers = Vec::new();
            for _ in 0..rounds {
                let (sender, receiver) = oneshot::shared();
                senders.push(sender);
                receivers.push(receiver);
            }
            let sent = run(sending, move || async move {
                for (number, sender) in senders.into_iter().enumerate() {
                    if number % 5 == 0 {
                        drop(sender);
                    } else {
                        sender.send(number).unwrap();
                    }
                }
            });
            let received = run(receiving, move || async move {
                for (number, receiver) in receivers.into_iter().enumerate() {
                    let expected = (number % 5 != 0).then_some(number);
                    assert_eq!(receiver.await.ok(), expected);
                }
            });
            sent();
            received();
        }
    }
}

#[test]
fn a_value_is_received_or_handed_back_when_the_receiver_races_with_it() {
    for round in 0..200 {
        let (sender, receiver) = oneshot::shared();
        let start = Arc::new(Barrier::new(2));
        let value = Arc::new(());
        let theirs = (start.clone(), value.clone());
        let sending = thread::spawn(move || {
            theirs.0.wait();
            sender.send(theirs.1).is_ok()
        });
        start.wait();
        if round % 2 == 0 {
            drop(receiver);
            sending.join().unwrap();
        } else {
            block_on(receiver).unwrap();
            assert!(sending.join().unwrap());
        }
        assert_eq!(Arc::strong_count(&value), 1, "it is dropped once");
    }
}

#[test]
fn every_receiver_sees_the_last_value_and_none_twice() {
    const LAST: u64 = 20_000;
    for sending in HOSTS {
        let (sender, receiver) = watch::shared((0_u64, 0_u64));
        let receiving: Vec<_> = HOSTS
            .into_iter()
            .flat_map(|host| [host; 2])
            .map(|host| {
                let mut receiver = receiver.clone();
                run(host, move || async move {
                    let mut last = 0;
                    while receiver.changed().await.is_ok() {
                        let (value, twin) = receiver.get();
                        assert_eq!(value, twin, "half of a value was seen");
                        assert!(value >= last, "a value came back");
                        last = value;
                    }
                    last
                })
            })
            .collect();
        drop(receiver);
        let sent = run(sending, move || async move {
            for value in 1..=LAST {
                if value % 2 == 0 {
                    sender.send((value, value)).unwrap();
                } else {
                    sender.send_modify(|both| *both = (value, value)).unwrap();
                }
            }
        });
        sent();
        for joined in receiving {
            assert_eq!(joined(), LAST);
        }
    }
}

#[test]
fn every_receiver_gets_every_message_or_is_told_how_many_it_missed() {
    const MESSAGES: u64 = 5_000;
    for capacity in [1, 64] {
        let (sender, receiver) = broadcast::shared(capacity);
        let receiving: Vec<_> = HOSTS
            .into_iter()
            .flat_map(|host| [host; 2])
            .map(|host| {
                let mut receiver = receiver.clone();
                run(host, move || async move {
                    let mut last: [Option<u64>; 2] = [None; 2];
                    let (mut received, mut missed) = (0, 0);
                    while let Some(next) = receiver.next().await {
                        match next {
                            Ok((sender, number)) => {
                                let sender: usize = sender;
                                let before = last[sender].replace(number);
                                assert!(before.is_none_or(|before| before < number));
                                received += 1;
                            }
                            Err(RecvError::Lagged(count)) => {
                                assert!(count > 0);
                                missed += count;
                            }
                            Err(RecvError::Closed) => unreachable!("that is the stream's end"),
                        }
                    }
                    received + missed
                })
            })
            .collect();
        drop(receiver);
        let sending = [0, 1].map(|index| {
            let sender = sender.clone();
            run(HOSTS[index], move || async move {
                for number in 0..MESSAGES {
                    assert_eq!(sender.send((index, number)).unwrap(), 4);
                }
            })
        });
        drop(sender);
        for joined in sending {
            joined();
        }
        for joined in receiving {
            assert_eq!(joined(), 2 * MESSAGES, "capacity {capacity}");
        }
    }
}

#[test]
fn receivers_may_come_and_go_while_messages_are_sent() {
    let (sender, receiver) = broadcast::shared(4);
    let stop = Arc::new(AtomicBool::new(false));
    let coming_and_going: Vec<_> = (0..3)
        .map(|_| {
            let (stop, sender) = (stop.clone(), sender.clone());
            thread::spawn(move || {
                let mut received = 0_u64;
                while !stop.load(Ordering::Relaxed) || received == 0 {
                    let mut receiver = sender.subscribe();
                    let copy = receiver.clone();
                    for _ in 0..3 {
                        received += u64::from(block_on(receiver.recv()).is_ok());
                    }
                    drop(copy);
                }
            })
        })
        .collect();
    // Until all of them have been served often, and have ended.
    let mut sent = 0_u64;
    while coming_and_going.iter().any(|thread| !thread.is_finished()) {
        sender.send(sent).unwrap();
        sent += 1;
        stop.store(sent > 10_000, Ordering::Relaxed);
        if sent % 64 == 0 {
            thread::yield_now();
        }
    }
    for thread in coming_and_going {
        thread.join().unwrap();
    }
    assert_eq!(sender.receiver_count(), 1);
    drop(receiver);
}
