//! Model of the shared channel: the queue and the waiting on top of it, compiled against loom's
//! primitives. A lost wake-up leaves a half asleep for ever, which loom reports as a deadlock.
//!
//! The searches are bounded in preemptions (a switch away from a thread that could have gone on):
//! nearly all races need one or two. Within the bound every interleaving is run, and every value that
//! the memory model lets a load return. `GLOMMIO_TEST_PREEMPTIONS` sets another bound for all; with 3
//! the search takes minutes.

/// Stands in for `channels/atomic.rs`.
mod atomic {
    pub(super) use loom::{
        cell::UnsafeCell,
        sync::{
            Arc, Mutex, MutexGuard,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };
}

#[allow(dead_code)]
#[path = "../src/channels/spsc_queue.rs"]
mod spsc_queue;

#[allow(dead_code)]
#[path = "../src/channels/link.rs"]
mod link;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use link::{Receiving, Refused, Sending, link};
use loom::{model::Builder, sync::Notify, thread};

/// One thread that sleeps until it is woken, and counts both.
struct Sleeper {
    notify: Notify,
    sleeps: AtomicUsize,
    wakes: AtomicUsize,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Relaxed);
        self.notify.notify();
    }
}

impl Sleeper {
    fn new() -> Arc<Sleeper> {
        Arc::new(Sleeper {
            notify: Notify::new(),
            sleeps: AtomicUsize::new(0),
            wakes: AtomicUsize::new(0),
        })
    }

    /// Polls when woken, and only then.
    fn wait<T>(self: &Arc<Self>, mut poll: impl FnMut(&Context<'_>) -> Poll<T>) -> T {
        let waker = Waker::from(self.clone());
        loop {
            if let Poll::Ready(output) = poll(&Context::from_waker(&waker)) {
                return output;
            }
            self.sleeps.fetch_add(1, Relaxed);
            self.notify.wait();
        }
    }

    /// `closed`: the other half closed the channel, which may meet this one on its way to sleep. It
    /// then need not sleep, but its waker is called.
    fn assert_one_wake_per_sleep(&self, closed: bool) {
        let (wakes, sleeps) = (self.wakes.load(Relaxed), self.sleeps.load(Relaxed));
        assert!(
            wakes <= sleeps + usize::from(closed),
            "{wakes} wakes for {sleeps} sleeps"
        );
    }
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let bound = std::env::var("GLOMMIO_TEST_PREEMPTIONS").ok();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(bound.map_or(preemptions, |bound| bound.parse().unwrap()));
    builder.check(model);
}

/// Sends, waiting for room; the message comes back if the channel is closed.
fn send(half: &Sending<Box<u32>>, sleeper: &Arc<Sleeper>, message: u32) -> Result<(), u32> {
    let mut message = Box::new(message);
    loop {
        match half.try_send(message) {
            Ok(()) => return Ok(()),
            Err(Refused::Closed(message)) => return Err(*message),
            Err(Refused::Full(back)) => message = back,
        }
        sleeper.wait(|context| half.poll_room(context));
    }
}

fn recv(half: &Receiving<Box<u32>>, sleeper: &Arc<Sleeper>) -> Option<u32> {
    let message = sleeper.wait(|context| half.poll_recv(context))?;
    Some(*message)
}

fn exchange(capacity: usize, messages: u32) {
    let (sender, receiver) = link(capacity, true);
    let sending = thread::spawn(move || {
        let sleeper = Sleeper::new();
        for number in 0..messages {
            assert_eq!(send(&sender, &sleeper, number), Ok(()));
        }
        drop(sender);
        sleeper
    });
    let sleeper = Sleeper::new();
    for expected in 0..messages {
        assert_eq!(recv(&receiver, &sleeper), Some(expected));
    }
    assert_eq!(recv(&receiver, &sleeper), None);
    sending.join().unwrap().assert_one_wake_per_sleep(false);
    sleeper.assert_one_wake_per_sleep(true);
}

#[test]
fn one_message_and_the_end_reach_a_receiver_that_sleeps_or_not() {
    check(3, || exchange(1, 1));
}

#[test]
fn messages_squeeze_through_capacity_one_with_one_wake_per_sleep() {
    check(1, || exchange(1, 3));
}

#[test]
fn messages_pass_through_capacity_two_with_one_wake_per_sleep() {
    check(1, || exchange(2, 3));
}

#[test]
fn a_sender_that_waits_for_room_gets_its_message_back_when_the_receiver_dies() {
    check(2, || {
        let (sender, receiver) = link(1, true);
        let dying = thread::spawn(move || drop(receiver));
        let sleeper = Sleeper::new();
        let mut sent = 0;
        while send(&sender, &sleeper, sent).is_ok() {
            sent += 1;
        }
        // One finds room, and another the room that the dying receiver made.
        assert!(sent <= 2, "nobody receives: {sent}");
        sleeper.assert_one_wake_per_sleep(true);
        dying.join().unwrap();
    });
}

#[test]
fn a_receiver_that_dies_between_messages_takes_each_once_or_not() {
    check(2, || {
        let (sender, receiver) = link(1, true);
        let sending = thread::spawn(move || {
            let sleeper = Sleeper::new();
            let mut sent = 0;
            while sent < 2 && send(&sender, &sleeper, sent).is_ok() {
                sent += 1;
            }
            sent
        });
        let sleeper = Sleeper::new();
        assert_eq!(recv(&receiver, &sleeper), Some(0));
        drop(receiver);
        let sent = sending.join().unwrap();
        assert!((1..=2).contains(&sent), "{sent}");
    });
}

#[test]
fn closing_ends_the_wait_of_the_receiver_after_what_was_sent() {
    check(2, || {
        let (sender, receiver) = link(2, true);
        let sending = thread::spawn(move || {
            assert!(sender.try_send(Box::new(7)).is_ok());
            sender.close();
            assert!(matches!(
                sender.try_send(Box::new(8)),
                Err(Refused::Closed(_))
            ));
            sender
        });
        let sleeper = Sleeper::new();
        assert_eq!(recv(&receiver, &sleeper), Some(7));
        assert_eq!(recv(&receiver, &sleeper), None);
        assert_eq!(recv(&receiver, &sleeper), None);
        sleeper.assert_one_wake_per_sleep(true);
        drop(sending.join().unwrap());
    });
}

#[test]
fn both_halves_meet_whoever_comes_first() {
    check(2, || {
        let (sender, receiver) = link::<Box<u32>>(1, false);
        let sending = thread::spawn(move || {
            sender.arrive();
            Sleeper::new().wait(|context| sender.poll_meeting(context));
            assert!(!sender.is_closed());
            sender
        });
        receiver.arrive();
        Sleeper::new().wait(|context| receiver.poll_meeting(context));
        drop(sending.join().unwrap());
        drop(receiver);
    });
}

#[test]
fn who_comes_to_the_meeting_is_told_that_the_other_died() {
    check(2, || {
        let (sender, receiver) = link::<Box<u32>>(1, false);
        let dying = thread::spawn(move || drop(sender));
        receiver.arrive();
        let sleeper = Sleeper::new();
        sleeper.wait(|context| receiver.poll_meeting(context));
        assert_eq!(recv(&receiver, &sleeper), None);
        dying.join().unwrap();
    });
    check(2, || {
        let (sender, receiver) = link::<Box<u32>>(1, false);
        let dying = thread::spawn(move || drop(receiver));
        sender.arrive();
        let sleeper = Sleeper::new();
        sleeper.wait(|context| sender.poll_meeting(context));
        assert_eq!(send(&sender, &sleeper, 1), Err(1));
        dying.join().unwrap();
    });
}

#[test]
fn a_wait_that_is_given_up_or_polled_by_another_loses_no_wake_up() {
    for give_up in [false, true] {
        check(1, move || {
            let (sender, receiver) = link(1, true);
            let sending = thread::spawn(move || {
                let sleeper = Sleeper::new();
                for number in 0..2 {
                    assert_eq!(send(&sender, &sleeper, number), Ok(()));
                }
            });
            let mut expected = 0;
            let former = Waker::from(Sleeper::new());
            if let Poll::Ready(message) = receiver.poll_recv(&Context::from_waker(&former)) {
                assert_eq!(message, Some(Box::new(0)));
                expected = 1;
            } else if give_up {
                receiver.stop_waiting();
            }
            let sleeper = Sleeper::new();
            while expected < 2 {
                assert_eq!(recv(&receiver, &sleeper), Some(expected));
                expected += 1;
            }
            assert_eq!(recv(&receiver, &sleeper), None);
            sending.join().unwrap();
        });
    }
}

#[test]
fn no_waker_stays_behind_when_both_halves_are_done() {
    check(2, || {
        let (sender, receiver) = link(1, true);
        let sending = thread::spawn(move || {
            let sleeper = Sleeper::new();
            let _ = send(&sender, &sleeper, 0);
            let _ = send(&sender, &sleeper, 1);
            drop(sender);
            sleeper
        });
        let sleeper = Sleeper::new();
        assert_eq!(recv(&receiver, &sleeper), Some(0));
        drop(receiver);
        assert_eq!(Arc::strong_count(&sleeper), 1);
        assert_eq!(Arc::strong_count(&sending.join().unwrap()), 1);
    });
}
