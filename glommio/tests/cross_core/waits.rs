//! Waits for messages, room and peers as `select` and timeouts treat them: polled a number of times
//! and dropped, at every stage. Nothing may be lost, and nobody may be forgotten.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_lite::{
    StreamExt,
    future::{block_on, zip},
};
use glommio::channels::shared_channel::{
    self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
};

type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Counts its wakes, and is polled only when there was one.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Count {
    fn wakes(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn take_wakes(&self) -> u32 {
        self.0.swap(0, Relaxed)
    }
}

fn poll<T>(wait: &mut Wait<'_, T>, count: &Arc<Count>) -> Poll<T> {
    let waker = Waker::from(count.clone());
    wait.as_mut().poll(&mut Context::from_waker(&waker))
}

fn connected<T: Send>(size: usize) -> (ConnectedSender<T>, ConnectedReceiver<T>) {
    let (sender, receiver) = shared_channel::new_bounded(size);
    block_on(zip(sender.connect(), receiver.connect()))
}

/// Polls a wait until it sleeps. In the middle of a stream it first wakes itself a number of times.
fn poll_to_sleep<T>(wait: &mut Wait<'_, T>, count: &Arc<Count>) {
    loop {
        assert!(poll(wait, count).is_pending());
        if count.take_wakes() == 0 {
            return;
        }
    }
}

/// Three wait, one of them is polled `polls` times and dropped, before or after the first was served.
/// Then they are served one by one, polled only when woken: each must get through.
fn check_hand_over<'a>(wait: &dyn Fn() -> Wait<'a, ()>, serve: &dyn Fn()) {
    for victim in 0..3 {
        for polls in 1..4 {
            for served_before in [false, true] {
                let case = format!("{victim} of 3 dropped, {polls} polls, {served_before}");
                let counts: [Arc<Count>; 3] = Default::default();
                let mut waits: Vec<Option<Wait<'a, ()>>> = (0..3).map(|_| Some(wait())).collect();
                for (wait, count) in waits.iter_mut().flatten().zip(&counts) {
                    for _ in 0..polls {
                        assert!(poll(wait, count).is_pending());
                    }
                    assert_eq!(count.wakes(), 0, "{case}");
                }
                if served_before {
                    serve();
                }
                drop(waits[victim].take());
                if !served_before {
                    serve();
                }
                for round in 0..2 {
                    let mut done = 0;
                    for (wait, count) in waits.iter_mut().zip(&counts) {
                        if count.take_wakes() > 0
                            && wait
                                .as_mut()
                                .is_some_and(|wait| poll(wait, count).is_ready())
                        {
                            *wait = None;
                            done += 1;
                        }
                    }
                    assert_eq!(done, 1, "round {round}, {case}");
                    if round == 0 {
                        serve();
                    }
                }
                assert!(waits.iter().all(Option::is_none), "{case}");
                for count in &counts {
                    assert_eq!(Arc::strong_count(count), 1, "a waker stays, {case}");
                }
            }
        }
    }
}

#[test]
fn room_for_a_wait_that_is_dropped_goes_to_the_next() {
    let (sender, receiver) = connected(1);
    sender.try_send(()).unwrap();
    let wait = || -> Wait<'_, ()> { Box::pin(async { sender.send(()).await.unwrap() }) };
    let serve = || {
        assert!(
            poll(
                &mut (Box::pin(receiver.recv()) as Wait<'_, _>),
                &Arc::default()
            )
            .is_ready()
        )
    };
    check_hand_over(&wait, &serve);
}

#[test]
fn a_message_for_a_wait_that_is_dropped_goes_to_the_next() {
    let (sender, receiver) = connected(4);
    let wait = || -> Wait<'_, ()> { Box::pin(async { receiver.recv().await.unwrap() }) };
    check_hand_over(&wait, &|| sender.try_send(()).unwrap());
}

#[test]
fn a_wait_that_is_dropped_took_nothing_and_keeps_no_waker() {
    for polls in 1..4 {
        let count = Arc::new(Count::default());
        let (sender, receiver) = connected(1);
        let mut wait: Wait<'_, _> = Box::pin(receiver.recv());
        for _ in 0..polls {
            assert!(poll(&mut wait, &count).is_pending());
        }
        sender.try_send(1).unwrap();
        assert_eq!(count.wakes(), 1);
        drop(wait);
        assert_eq!(Arc::strong_count(&count), 1);

        let mut wait: Wait<'_, _> = Box::pin(sender.send(2));
        for _ in 0..polls {
            assert!(poll(&mut wait, &count).is_pending());
        }
        drop(wait);
        assert_eq!(Arc::strong_count(&count), 1);
        assert_eq!(
            poll(&mut (Box::pin(receiver.recv()) as Wait<'_, _>), &count),
            Poll::Ready(Some(1))
        );
        assert!(poll(&mut (Box::pin(receiver.recv()) as Wait<'_, _>), &count).is_pending());
    }
}

#[test]
fn a_sleeper_is_woken_once_however_many_messages_follow() {
    let (sender, receiver) = connected(256);
    let count = Arc::new(Count::default());
    for _ in 0..10 {
        let mut wait: Wait<'_, _> = Box::pin(receiver.recv());
        poll_to_sleep(&mut wait, &count);
        for number in 0..100 {
            sender.try_send(number).unwrap();
        }
        assert_eq!(count.take_wakes(), 1);
        assert_eq!(poll(&mut wait, &count), Poll::Ready(Some(0)));
        drop(wait);
        for expected in 1..100 {
            let mut next: Wait<'_, _> = Box::pin(receiver.recv());
            assert_eq!(poll(&mut next, &count), Poll::Ready(Some(expected)));
        }
        assert_eq!(count.wakes(), 0);
    }
    // The same for a sender that waits for room.
    while sender.try_send(0).is_ok() {}
    let mut wait: Wait<'_, _> = Box::pin(sender.send(0));
    poll_to_sleep(&mut wait, &count);
    for _ in 0..100 {
        let mut next: Wait<'_, _> = Box::pin(receiver.recv());
        assert!(poll(&mut next, &count).is_ready());
    }
    assert_eq!(count.take_wakes(), 1);
}

#[test]
fn the_last_waker_counts() {
    let (sender, receiver) = connected(1);
    let [former, latter]: [Arc<Count>; 2] = Default::default();
    let mut wait: Wait<'_, _> = Box::pin(receiver.recv());
    assert!(poll(&mut wait, &former).is_pending());
    assert!(poll(&mut wait, &latter).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!((former.wakes(), latter.wakes()), (0, 1));
    assert!(poll(&mut wait, &former).is_ready());
}

#[test]
fn a_stream_that_was_polled_does_not_hold_up_a_wait() {
    let (sender, mut receiver) = connected(4);
    let count = Arc::new(Count::default());
    for _ in 0..3 {
        {
            let mut next: Wait<'_, _> = Box::pin(receiver.next());
            assert!(poll(&mut next, &count).is_pending());
        }
        let mut wait: Wait<'_, _> = Box::pin(receiver.recv());
        assert!(poll(&mut wait, &count).is_pending());
        sender.try_send(1).unwrap();
        assert_eq!(count.take_wakes(), 1);
        assert!(poll(&mut wait, &count).is_ready());
        drop(wait);
        sender.try_send(2).unwrap();
        let mut next: Wait<'_, _> = Box::pin(receiver.next());
        assert_eq!(poll(&mut next, &count), Poll::Ready(Some(2)));
    }
    drop(receiver);
    assert_eq!(Arc::strong_count(&count), 1);
}

/// A connecting half, polled `polls` times, and the other.
fn connecting(polls: u32, count: &Arc<Count>, sender_first: bool) -> Halves {
    let (sender, receiver) = shared_channel::new_bounded::<u8>(1);
    if sender_first {
        let mut wait: Wait<'static, _> = Box::pin(sender.connect());
        for _ in 0..polls {
            assert!(poll(&mut wait, count).is_pending());
        }
        Halves::Sender(wait, receiver)
    } else {
        let mut wait: Wait<'static, _> = Box::pin(receiver.connect());
        for _ in 0..polls {
            assert!(poll(&mut wait, count).is_pending());
        }
        Halves::Receiver(wait, sender)
    }
}

enum Halves {
    Sender(Wait<'static, ConnectedSender<u8>>, SharedReceiver<u8>),
    Receiver(Wait<'static, ConnectedReceiver<u8>>, SharedSender<u8>),
}

#[test]
fn who_waits_for_the_other_to_connect_is_woken_when_it_does_and_when_it_dies() {
    for polls in 1..3 {
        let [count, other]: [Arc<Count>; 2] = Default::default();
        for dies in [false, true] {
            match connecting(polls, &count, true) {
                Halves::Sender(mut wait, receiver) => {
                    let kept = if dies {
                        drop(receiver);
                        None
                    } else {
                        let mut peer: Wait<'_, _> = Box::pin(receiver.connect());
                        Some(poll(&mut peer, &other))
                    };
                    assert_eq!(count.take_wakes(), 1);
                    let Poll::Ready(sender) = poll(&mut wait, &count) else {
                        panic!("the wait is over");
                    };
                    assert_eq!(sender.try_send(1).is_err(), dies);
                    drop(kept);
                }
                Halves::Receiver(..) => unreachable!(),
            }
            match connecting(polls, &count, false) {
                Halves::Receiver(mut wait, sender) => {
                    let kept = if dies {
                        drop(sender);
                        None
                    } else {
                        let mut peer: Wait<'_, _> = Box::pin(sender.connect());
                        Some(poll(&mut peer, &other))
                    };
                    assert_eq!(count.take_wakes(), 1);
                    let Poll::Ready(receiver) = poll(&mut wait, &count) else {
                        panic!("the wait is over");
                    };
                    let mut message: Wait<'_, _> = Box::pin(receiver.recv());
                    assert_eq!(poll(&mut message, &other).is_ready(), dies);
                    drop(kept);
                }
                Halves::Sender(..) => unreachable!(),
            }
        }
    }
}

#[test]
fn a_connection_that_is_given_up_closes_the_channel() {
    for polls in 0..3 {
        let count = Arc::new(Count::default());
        let Halves::Sender(wait, receiver) = connecting(polls, &count, true) else {
            unreachable!()
        };
        drop(wait);
        assert_eq!(Arc::strong_count(&count), 1);
        let mut wait: Wait<'_, _> = Box::pin(receiver.connect());
        let Poll::Ready(receiver) = poll(&mut wait, &count) else {
            panic!("nobody to wait for");
        };
        let mut message: Wait<'_, _> = Box::pin(receiver.recv());
        assert_eq!(poll(&mut message, &count), Poll::Ready(None));
    }
}
