//! What a channel costs, and the order of what is handed back: what cannot be seen, or hardly, from
//! outside.

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use super::{new_bounded, new_unbounded};
use crate::{
    executor::{LocalExecutor, spawn_local},
    test_alloc::{allocations, assert_warm_is_free},
};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_next<S: Stream>(stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    stream.poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn memory_is_not_taken_before_it_is_needed() {
    let before = allocations();
    let (sender, receiver) = new_bounded::<[u8; 4096]>(1 << 30);
    assert_eq!(
        allocations() - before,
        1,
        "what the halves share, and no more"
    );
    assert_eq!((sender.len(), sender.is_full()), (0, false));
    drop(receiver);
}

#[test]
fn a_warm_channel_allocates_for_no_item_and_no_wait() {
    let (sender, receiver) = new_bounded(2);
    assert_warm_is_free(|| {
        // Items through the buffer, senders that wait, one of them dropped.
        for item in 0..2 {
            assert!(sender.try_send(item).is_ok());
        }
        let mut waiting = pin!(sender.send(2));
        assert!(poll(waiting.as_mut()).is_pending());
        {
            let dropped = pin!(sender.send(9));
            assert!(poll(dropped).is_pending());
        }
        for item in 0..3 {
            assert_eq!(poll(pin!(receiver.recv())), Poll::Ready(Some(item)));
        }
        assert!(matches!(poll(waiting), Poll::Ready(Ok(()))));
        // Receivers that wait, one of them dropped with an item.
        let mut waiting = pin!(receiver.recv());
        let mut stream = pin!(receiver.stream());
        {
            let mut dropped = pin!(receiver.recv());
            assert!(poll(dropped.as_mut()).is_pending());
            assert!(poll(waiting.as_mut()).is_pending());
            assert!(poll_next(stream.as_mut()).is_pending());
            assert!(sender.try_send(3).is_ok());
        }
        assert!(sender.try_send(4).is_ok());
        assert_eq!(poll(waiting), Poll::Ready(Some(3)));
        assert_eq!(poll_next(stream), Poll::Ready(Some(4)));
    });
}

#[test]
fn tasks_that_stream_through_a_full_channel_allocate_nothing() {
    const ITEMS: u64 = 10_000;
    LocalExecutor::default().run(async {
        let (sender, receiver) = new_bounded(128);
        let producer = spawn_local(async move {
            for item in 0..ITEMS {
                sender.send(item).await.unwrap();
            }
        });
        for item in 0..1_000 {
            assert_eq!(receiver.recv().await, Some(item));
        }
        let before = allocations();
        for item in 1_000..ITEMS {
            assert_eq!(receiver.recv().await, Some(item));
        }
        assert_eq!(allocations() - before, 0);
        producer.await;
    });
}

#[test]
fn returned_items_keep_their_order_whatever_the_order_of_the_returns() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let (sender, receiver) = new_unbounded();
        let mut waits: Vec<_> = (0..3).map(|_| Some(Box::pin(receiver.recv()))).collect();
        for wait in waits.iter_mut().flatten() {
            assert!(poll(wait.as_mut()).is_pending());
        }
        for item in 0..5 {
            assert!(sender.try_send(item).is_ok());
        }
        for wait in order {
            drop(waits[wait].take());
        }
        let received: Vec<i32> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert_eq!(received, [0, 1, 2, 3, 4], "returned in the order {order:?}");
    }
}

#[test]
fn returned_items_do_not_let_senders_exceed_the_capacity_further() {
    let (sender, receiver) = new_bounded(1);
    let mut given_up = Box::pin(receiver.recv());
    assert!(poll(given_up.as_mut()).is_pending());
    assert!(sender.try_send(1).is_ok());
    assert!(sender.try_send(2).is_ok());
    let mut waiting = pin!(sender.send(3));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(given_up);
    assert_eq!(sender.len(), 2);
    assert_eq!(receiver.try_recv().ok(), Some(1));
    assert!(poll(waiting.as_mut()).is_pending(), "still full");
    assert_eq!(receiver.try_recv().ok(), Some(2));
    assert!(poll(waiting).is_ready());
    assert_eq!(receiver.try_recv().ok(), Some(3));
}

#[test]
fn a_channel_is_freed_with_its_last_half() {
    let item = Rc::new(());
    let (sender, receiver) = new_unbounded();
    let weak = sender.downgrade();
    assert!(sender.try_send(item.clone()).is_ok());
    drop(receiver);
    assert_eq!(Rc::strong_count(&item), 1, "unreceived items go with it");
    assert!(weak.upgrade().is_some());
    drop(sender);
    assert!(weak.upgrade().is_none());
}
