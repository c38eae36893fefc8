//! What `oneshot`, `watch` and `broadcast` allocate: themselves, and nothing once they are warm.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::{broadcast, oneshot, watch};
use crate::test_alloc::{allocations, assert_warm_is_free};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

macro_rules! costs {
    ($name:ident: $oneshot:path, $watch:path, $broadcast:path) => {
        mod $name {
            use super::*;

            #[test]
            fn a_oneshot_is_one_allocation() {
                let before = allocations();
                let (mut sender, mut receiver) = $oneshot();
                assert!(poll(pin!(&mut receiver)).is_pending());
                assert!(poll(pin!(sender.closed())).is_pending());
                sender.send(1).unwrap();
                assert!(poll(pin!(receiver)).is_ready());
                assert_eq!(allocations() - before, 1);
            }

            #[test]
            fn a_warm_watch_allocates_nothing() {
                let (sender, mut receiver) = $watch(0);
                let mut other = receiver.clone();
                assert_warm_is_free(|| {
                    let (mut one, mut two) = (pin!(receiver.changed()), pin!(other.changed()));
                    assert!(poll(one.as_mut()).is_pending());
                    assert!(poll(two.as_mut()).is_pending());
                    sender.send(1).unwrap();
                    sender.send_modify(|value| *value += 1).unwrap();
                    assert!(poll(one).is_ready());
                    assert!(poll(two).is_ready());
                });
            }

            #[test]
            fn a_warm_broadcast_allocates_nothing() {
                let before = allocations();
                let (sender, mut receiver) = $broadcast(1 << 30);
                assert_eq!(allocations() - before, 1, "no memory for what is not sent");
                let mut other = receiver.clone();
                assert_warm_is_free(|| {
                    let (mut one, mut two) = (pin!(receiver.recv()), pin!(other.recv()));
                    assert!(poll(one.as_mut()).is_pending());
                    assert!(poll(two.as_mut()).is_pending());
                    assert_eq!(sender.send(1).unwrap(), 2);
                    assert_eq!(poll(one), Poll::Ready(Ok(1)));
                    assert_eq!(poll(two), Poll::Ready(Ok(1)));
                });
            }
        }
    };
}

costs!(within_an_executor: oneshot::oneshot, watch::watch, broadcast::broadcast);
costs!(between_threads: oneshot::shared, watch::shared, broadcast::shared);
