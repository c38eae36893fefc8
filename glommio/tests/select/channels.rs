//! The waits of the channels.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use futures_lite::StreamExt;
use glommio::{
    LocalExecutor,
    channels::{
        broadcast,
        local_channel::{LocalSender, new_bounded, new_unbounded},
        oneshot, watch,
    },
    executor, spawn_local,
};

use super::harness::{
    Count, Wait, check_hand_over, check_reentrancy, give_up_after, poll, poll_treacherously,
    polled_by_its_waker, treacherous,
};

/// A wait that has its half of the channel to itself: polled so many times and dropped, then served
/// or not, then begun again. It must find what it was served, be woken for nothing, and leave no waker
/// behind.
fn check_single<P>(
    new: impl Fn() -> P,
    wait: impl for<'a> Fn(&'a mut P) -> Wait<'a>,
    serve: impl Fn(&mut P),
) {
    for polls in 0..4 {
        for served in [false, true] {
            let case = format!("{polls} polls, served: {served}");
            let mut channel = new();
            let counts: [Arc<Count>; 2] = Default::default();
            {
                let mut first = wait(&mut channel);
                assert!(poll(&mut first, polls, &counts[0]).is_pending());
            }
            assert_eq!(Arc::strong_count(&counts[0]), 1, "{case}: a waker is left");
            if served {
                serve(&mut channel);
            }
            let mut second = wait(&mut channel);
            if served {
                assert!(poll(&mut second, 1, &counts[1]).is_ready(), "{case}");
                continue;
            }
            assert!(poll(&mut second, polls + 1, &counts[1]).is_pending());
            drop(second);
            serve(&mut channel);
            assert!(
                poll(&mut wait(&mut channel), 1, &counts[1]).is_ready(),
                "{case}"
            );
            for count in &counts {
                assert_eq!(count.0.load(Ordering::Relaxed), 0, "{case}: of no use");
            }
        }
    }
}

#[test]
fn an_item_goes_to_the_next_receiver_if_the_chosen_one_is_dropped() {
    for capacity in [1, usize::MAX] {
        let (sender, receiver) = new_bounded(capacity);
        let wait = || -> Wait<'_> { Box::pin(async { receiver.recv().await.unwrap() }) };
        check_hand_over(&wait, &|| sender.try_send(()).unwrap());
        let stream = || -> Wait<'_> {
            Box::pin(async { Box::pin(receiver.stream()).next().await.unwrap() })
        };
        check_hand_over(&stream, &|| sender.try_send(()).unwrap());
        assert!(sender.is_empty());
    }
}

#[test]
fn an_item_whose_receivers_are_all_dropped_is_still_the_first() {
    let (sender, receiver) = new_unbounded();
    let count = Arc::default();
    for polls in 1..4 {
        let mut waits: Vec<Wait<'_>> = (0..3)
            .map(|_| -> Wait<'_> { Box::pin(async { _ = receiver.recv().await }) })
            .collect();
        for wait in &mut waits {
            assert!(poll(wait, polls, &count).is_pending());
        }
        for item in 0..5 {
            sender.try_send(item).unwrap();
        }
        drop(waits);
        for item in 0..5 {
            assert_eq!(receiver.try_recv().unwrap(), item);
        }
    }
    assert_eq!(Arc::strong_count(&count), 1, "a waker is left");
}

#[test]
fn a_dropped_send_gives_up_its_place_and_its_item_and_nobody_elses() {
    for capacity in 0..3 {
        for victim in 0..3 {
            for polls in 1..4 {
                for served_before in [false, true] {
                    let case = format!("{capacity}, {victim}, {polls}, {served_before}");
                    let (sender, receiver) = new_bounded(capacity);
                    for item in 0..capacity {
                        sender.try_send(item).unwrap();
                    }
                    let counts: [Arc<Count>; 3] = Default::default();
                    let mut waits: Vec<Option<Wait<'_>>> = (capacity..capacity + 3)
                        .map(|item| -> Option<Wait<'_>> {
                            let sender = &sender;
                            Some(Box::pin(async move { sender.send(item).await.unwrap() }))
                        })
                        .collect();
                    for (wait, count) in waits.iter_mut().flatten().zip(&counts) {
                        assert!(poll(wait, polls, count).is_pending());
                    }
                    let mut received = Vec::new();
                    if served_before {
                        received.push(receiver.try_recv().unwrap());
                    }
                    drop(waits[victim].take());
                    received.extend(std::iter::from_fn(|| receiver.try_recv().ok()));
                    // The first was served before it was dropped: its item is sent.
                    let is_sent = served_before && victim == 0;
                    let expected: Vec<usize> = (0..capacity + 3)
                        .filter(|&item| item != capacity + victim || is_sent)
                        .collect();
                    assert_eq!(received, expected, "{case}");
                    for (wait, count) in waits.iter_mut().zip(&counts) {
                        let Some(wait) = wait else { continue };
                        assert_eq!(count.0.load(Ordering::Relaxed), 1, "{case}");
                        assert!(poll(wait, 1, count).is_ready(), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn waits_of_receivers_that_wait_alone_leave_nothing_behind() {
    check_single(
        oneshot::oneshot::<u32>,
        |(sender, _)| Box::pin(sender.closed()),
        |(_, receiver)| receiver.close(),
    );
    check_single(
        oneshot::shared::<u32>,
        |(sender, _)| Box::pin(sender.closed()),
        |(_, receiver)| receiver.close(),
    );
    check_single(
        || watch::watch(0),
        |(_, receiver)| Box::pin(async { receiver.changed().await.unwrap() }),
        |(sender, _)| sender.send(1).unwrap(),
    );
    check_single(
        || watch::shared(0),
        |(_, receiver)| Box::pin(async { receiver.changed().await.unwrap() }),
        |(sender, _)| sender.send(1).unwrap(),
    );
    check_single(
        || broadcast::broadcast::<u32>(1),
        |(_, receiver)| Box::pin(async { _ = receiver.recv().await.unwrap() }),
        |(sender, _)| assert_eq!(sender.send(1).unwrap(), 1),
    );
    check_single(
        || broadcast::shared::<u32>(1),
        |(_, receiver)| Box::pin(async { _ = receiver.recv().await.unwrap() }),
        |(sender, _)| assert_eq!(sender.send(1).unwrap(), 1),
    );
}

/// A oneshot receiver is itself the wait: it may be put aside, and awaited again.
macro_rules! put_aside {
    ($name:ident, $new:path) => {
        #[test]
        fn $name() {
            for polls in 0..4 {
                for served_between in [false, true] {
                    let counts: [Arc<Count>; 2] = Default::default();
                    let (sender, mut receiver) = $new();
                    let mut sender = Some(sender);
                    let mut serve = || sender.take().unwrap().send(1).unwrap();
                    let mut first: Wait<'_> = Box::pin(async { _ = (&mut receiver).await });
                    assert!(poll(&mut first, polls, &counts[0]).is_pending());
                    drop(first);
                    if served_between {
                        serve();
                    }
                    let mut second: Wait<'_> =
                        Box::pin(async { assert_eq!((&mut receiver).await.unwrap(), 1) });
                    if !served_between {
                        assert!(poll(&mut second, polls, &counts[1]).is_pending());
                        serve();
                        let woken = counts[1].0.load(Ordering::Relaxed);
                        assert_eq!(woken, polls.min(1), "{polls} polls");
                    }
                    assert!(poll(&mut second, 1, &counts[1]).is_ready());
                    drop(second);
                    drop(receiver);
                    for count in &counts {
                        assert_eq!(Arc::strong_count(count), 1, "a waker is left");
                    }
                }
            }
        }
    };
}

put_aside!(a_oneshot_receiver_may_be_put_aside, oneshot::oneshot);
put_aside!(a_shared_oneshot_receiver_may_be_put_aside, oneshot::shared);

/// Everyone who waits is woken by one change, apart from those who gave up; dropping a wait that was
/// woken takes nothing from the others.
macro_rules! everyone {
    ($name:ident, $new:expr, $clone:expr, $wait:ident => $waiting:expr, $serve:expr) => {
        #[test]
        fn $name() {
            for victim in 0..3 {
                for polls in 1..4 {
                    for served_before in [false, true] {
                        let (sender, receiver) = $new;
                        let mut receivers: Vec<_> = (0..3).map(|_| $clone(&receiver)).collect();
                        let counts: [Arc<Count>; 3] = Default::default();
                        let mut waits: Vec<Option<Wait<'_>>> = receivers
                            .iter_mut()
                            .map(|$wait| -> Option<Wait<'_>> { Some(Box::pin($waiting)) })
                            .collect();
                        for (wait, count) in waits.iter_mut().flatten().zip(&counts) {
                            assert!(poll(wait, polls, count).is_pending());
                        }
                        if served_before {
                            $serve(&sender);
                        }
                        drop(waits[victim].take());
                        if !served_before {
                            $serve(&sender);
                        }
                        for (index, wait) in waits.iter_mut().enumerate() {
                            let woken = counts[index].0.load(Ordering::Relaxed);
                            let Some(wait) = wait else {
                                assert_eq!(woken, u32::from(served_before));
                                assert_eq!(Arc::strong_count(&counts[index]), 1);
                                continue;
                            };
                            assert_eq!(woken, 1);
                            assert!(poll(wait, 1, &counts[index]).is_ready());
                        }
                        drop(waits);
                        // What the victim did not see is still there for it.
                        let $wait = &mut receivers[victim];
                        let mut again: Wait<'_> = Box::pin($waiting);
                        assert!(poll(&mut again, 1, &counts[victim]).is_ready());
                    }
                }
            }
        }
    };
}

everyone!(
    a_change_reaches_every_receiver_that_waits,
    watch::watch(0),
    Clone::clone,
    receiver => async { receiver.changed().await.unwrap() },
    |sender: &watch::Sender<u32>| sender.send(1).unwrap()
);
everyone!(
    a_shared_change_reaches_every_receiver_that_waits,
    watch::shared(0),
    Clone::clone,
    receiver => async { receiver.changed().await.unwrap() },
    |sender: &watch::SharedSender<u32>| sender.send(1).unwrap()
);
everyone!(
    a_message_reaches_every_receiver_that_waits,
    broadcast::broadcast(1),
    Clone::clone,
    receiver => async { assert_eq!(receiver.recv().await, Ok(1)) },
    |sender: &broadcast::Sender<u32>| assert_eq!(sender.send(1).unwrap(), 4)
);
everyone!(
    a_shared_message_reaches_every_receiver_that_waits,
    broadcast::shared(1),
    Clone::clone,
    receiver => async { assert_eq!(receiver.recv().await, Ok(1)) },
    |sender: &broadcast::SharedSender<u32>| assert_eq!(sender.send(1).unwrap(), 4)
);

/// The end of the other side reaches whoever waits, and those who gave up as well.
#[test]
fn the_end_of_the_other_side_reaches_every_wait() {
    for polls in 1..4 {
        let counts: [Arc<Count>; 6] = Default::default();

        let (sender, receiver) = new_bounded::<u32>(0);
        let mut recv: Wait<'_> = Box::pin(async { assert_eq!(receiver.recv().await, None) });
        assert!(poll(&mut recv, polls, &counts[0]).is_pending());
        drop(sender);
        assert!(poll(&mut recv, 1, &counts[0]).is_ready());

        let (sender, receiver) = new_bounded(0);
        let mut send: Wait<'_> = Box::pin(async {
            let error = sender.send(5).await.unwrap_err();
            assert_eq!(error.into_inner(), Some(5));
        });
        assert!(poll(&mut send, polls, &counts[1]).is_pending());
        drop(receiver);
        assert!(poll(&mut send, 1, &counts[1]).is_ready());

        let (sender, receiver) = oneshot::oneshot::<u32>();
        let mut wait: Wait<'_> = Box::pin(async { assert!(receiver.await.is_err()) });
        assert!(poll(&mut wait, polls, &counts[2]).is_pending());
        drop(sender);
        assert!(poll(&mut wait, 1, &counts[2]).is_ready());

        let (mut sender, receiver) = oneshot::oneshot::<u32>();
        let mut wait: Wait<'_> = Box::pin(async move { sender.closed().await });
        assert!(poll(&mut wait, polls, &counts[3]).is_pending());
        drop(receiver);
        assert!(poll(&mut wait, 1, &counts[3]).is_ready());

        let (sender, mut receiver) = watch::watch(1);
        let mut wait: Wait<'_> =
            Box::pin(async move { assert!(receiver.changed().await.is_err()) });
        assert!(poll(&mut wait, polls, &counts[4]).is_pending());
        drop(sender);
        assert!(poll(&mut wait, 1, &counts[4]).is_ready());

        let (sender, mut receiver) = broadcast::broadcast::<u32>(1);
        let mut wait: Wait<'_> = Box::pin(async move {
            assert_eq!(receiver.recv().await, Err(broadcast::RecvError::Closed));
        });
        assert!(poll(&mut wait, polls, &counts[5]).is_pending());
        drop(sender);
        assert!(poll(&mut wait, 1, &counts[5]).is_ready());

        for count in counts {
            assert_eq!(count.0.load(Ordering::Relaxed), 1, "{polls} polls");
        }
    }
}

/// Tasks that keep giving up, on either side, next to tasks that do not: the latter get through, and
/// what was sent is received, once.
#[test]
fn a_local_channel_survives_tasks_that_give_up() {
    const ROUNDS: u32 = 300;
    type Item = (u32, u32);

    /// Sends its items; says which of them it knows to be sent.
    async fn send(
        name: u32,
        sender: LocalSender<Item>,
        mut patience: impl FnMut() -> u32,
    ) -> Vec<Item> {
        let mut sent = Vec::new();
        for round in 0..ROUNDS {
            let item = (name, round);
            match patience() {
                u32::MAX => sender.send(item).await.unwrap(),
                polls => match give_up_after(polls, sender.send(item)).await {
                    Some(result) => result.unwrap(),
                    None => continue,
                },
            }
            sent.push(item);
        }
        sent
    }

    for capacity in [0, 1, 3] {
        LocalExecutor::default().run(async {
            let mut random = fastrand::Rng::with_seed(6450);
            let (sender, receiver) = new_bounded(capacity);
            let receiver = Rc::new(receiver);
            let received = Rc::new(RefCell::new(Vec::new()));
            let senders: Vec<_> = (0..10)
                .map(|name| {
                    let mut random = random.fork();
                    let patience = move || match name % 2 {
                        0 => u32::MAX,
                        _ => random.u32(0..5),
                    };
                    spawn_local(send(name, sender.clone(), patience))
                })
                .collect();
            drop(sender);
            let receivers: Vec<_> = (0..6)
                .map(|name| {
                    let (receiver, received) = (receiver.clone(), received.clone());
                    let mut random = random.fork();
                    spawn_local(async move {
                        loop {
                            let polls = random.u32(0..5);
                            let next = match name % 2 {
                                0 => Some(receiver.recv().await),
                                _ => give_up_after(polls, receiver.recv()).await,
                            };
                            match next {
                                Some(Some(item)) => received.borrow_mut().push(item),
                                Some(None) => return,
                                None => executor().yield_now().await,
                            }
                        }
                    })
                })
                .collect();
            let mut sent = Vec::new();
            for sender in senders {
                sent.extend(sender.await);
            }
            for receiver in receivers {
                receiver.await;
            }
            let mut received = received.take();
            // What a receiver returned after the others had ended.
            received.extend(std::iter::from_fn(|| receiver.try_recv().ok()));
            received.sort_unstable();
            assert!(received.is_sorted_by(|a, b| a < b), "received twice");
            for item in sent {
                let found = received.binary_search(&item);
                assert!(found.is_ok(), "{item:?} was sent and not received");
            }
        });
    }
}

#[test]
fn wakers_may_use_the_channel_that_calls_them() {
    for capacity in [0, 1] {
        check_reentrancy(
            new_bounded(capacity),
            |(sender, receiver)| {
                drop(sender.try_send(1));
                drop(receiver.try_recv());
                let mut send: Wait<'_> = Box::pin(async { drop(sender.send(2).await) });
                let _ = poll(&mut send, 1, &Arc::default());
                let mut recv: Wait<'_> = Box::pin(async { _ = receiver.recv().await });
                let _ = poll(&mut recv, 1, &Arc::default());
                let _ = format!("{sender:?} {receiver:?}");
                drop(sender.clone());
            },
            |(_, receiver)| Box::pin(async { _ = receiver.recv().await }),
            |(sender, _)| drop(sender.try_send(3)),
        );
        check_reentrancy(
            new_bounded(capacity),
            |(sender, receiver)| {
                drop(receiver.try_recv());
                let mut send: Wait<'_> = Box::pin(async { drop(sender.send(2).await) });
                let _ = poll(&mut send, 1, &Arc::default());
            },
            |(sender, _)| Box::pin(async { drop(sender.send(4).await) }),
            |(_, receiver)| drop(receiver.try_recv()),
        );
    }
}

/// Both kinds of a channel have the same methods, and no trait to say so.
macro_rules! watch_from_its_wakers {
    ($channel:expr) => {
        check_reentrancy(
            $channel,
            |(sender, receiver)| {
                let mut receiver = receiver.clone();
                let mut wait: Wait<'_> = Box::pin(async { drop(receiver.changed().await) });
                let _ = poll(&mut wait, 1, &Arc::default());
                sender.send(sender.get() + 1).unwrap();
            },
            |(_, receiver)| {
                let mut receiver = receiver.clone();
                Box::pin(async move { drop(receiver.changed().await) })
            },
            |(sender, _)| sender.send(0).unwrap(),
        )
    };
}

macro_rules! broadcast_from_its_wakers {
    ($channel:expr) => {
        check_reentrancy(
            $channel,
            |(sender, receiver)| {
                let mut receiver = receiver.clone();
                let mut wait: Wait<'_> = Box::pin(async { _ = receiver.recv().await });
                let _ = poll(&mut wait, 1, &Arc::default());
                sender.send(1).unwrap();
            },
            |(sender, _)| {
                let mut receiver = sender.subscribe();
                Box::pin(async move { _ = receiver.recv().await })
            },
            |(sender, _)| drop(sender.send(2)),
        )
    };
}

#[test]
fn wakers_may_use_the_other_channels_that_call_them() {
    watch_from_its_wakers!(watch::watch(0));
    watch_from_its_wakers!(watch::shared(0));
    broadcast_from_its_wakers!(broadcast::broadcast(2));
    broadcast_from_its_wakers!(broadcast::shared(2));
}

#[test]
fn what_comes_while_a_waker_is_cloned_is_not_missed() {
    // The first poll's clone sends: nobody will wake this wait, it must look again.
    let (sender, receiver) = new_unbounded();
    let mut recv: Wait<'_> = Box::pin(async { assert_eq!(receiver.recv().await, Some(1)) });
    treacherous::with(
        move || drop(sender.try_send(1)),
        || assert!(poll_treacherously(&mut recv).is_ready()),
    );
    drop(recv);

    let (sender, receiver) = new_bounded(1);
    sender.try_send(1).unwrap();
    let mut send: Wait<'_> = Box::pin(async { sender.send(2).await.unwrap() });
    treacherous::with(
        move || drop(receiver.try_recv()),
        || assert!(poll_treacherously(&mut send).is_ready()),
    );
    drop(send);

    let (sender, receiver) = oneshot::oneshot();
    let sender = Cell::new(Some(sender));
    let mut wait: Wait<'_> = Box::pin(async { assert_eq!(receiver.await.unwrap(), 1) });
    treacherous::with(
        move || drop(sender.take().map(|sender| sender.send(1))),
        || assert!(poll_treacherously(&mut wait).is_ready()),
    );

    let (sender, mut receiver) = watch::watch(0);
    let mut wait: Wait<'_> = Box::pin(async { receiver.changed().await.unwrap() });
    treacherous::with(
        move || drop(sender.send(1)),
        || assert!(poll_treacherously(&mut wait).is_ready()),
    );
    drop(wait);

    let (sender, mut receiver) = broadcast::broadcast(4);
    let mut wait: Wait<'_> = Box::pin(async { assert_eq!(receiver.recv().await, Ok(1)) });
    treacherous::with(
        move || drop(sender.send(1)),
        || assert!(poll_treacherously(&mut wait).is_ready()),
    );
}

#[test]
fn a_send_that_is_accepted_while_its_waker_is_replaced_is_done() {
    let (sender, receiver) = new_bounded(1);
    sender.try_send(1).unwrap();
    let mut send: Wait<'_> = Box::pin(async { sender.send(2).await.unwrap() });
    assert!(poll(&mut send, 1, &Arc::default()).is_pending());
    treacherous::with(
        move || drop(receiver.try_recv()),
        || assert!(poll_treacherously(&mut send).is_ready()),
    );
}

#[test]
fn a_wait_may_be_polled_by_its_own_waker() {
    let (sender, receiver) = new_bounded(1);
    let receiver = Rc::new(receiver);
    polled_by_its_waker(
        Box::pin({
            let receiver = receiver.clone();
            async move { assert_eq!(receiver.recv().await, Some(1)) }
        }),
        || sender.try_send(1).unwrap(),
    );
    sender.try_send(2).unwrap();
    let sending = sender.clone();
    polled_by_its_waker(
        Box::pin(async move { sending.send(3).await.unwrap() }),
        || assert_eq!(receiver.try_recv().unwrap(), 2),
    );
    let (sender, receiver) = oneshot::shared();
    polled_by_its_waker(
        Box::pin(async move { assert_eq!(receiver.await.unwrap(), 1) }),
        || sender.send(1).unwrap(),
    );
    let (sender, mut receiver) = watch::shared(0);
    polled_by_its_waker(
        Box::pin(async move {
            receiver.changed().await.unwrap();
            assert_eq!(receiver.get(), 1);
        }),
        || sender.send(1).unwrap(),
    );
    let (sender, mut receiver) = broadcast::shared(1);
    polled_by_its_waker(
        Box::pin(async move { assert_eq!(receiver.recv().await, Ok(1)) }),
        || drop(sender.send(1)),
    );
}
