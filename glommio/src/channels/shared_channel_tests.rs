//! What a message costs, counted.

use futures_lite::future;

use super::shared_channel::{ConnectedReceiver, ConnectedSender, new_bounded};
use crate::{
    executor::{LocalExecutor, executor, spawn_local},
    test_alloc::allocations,
};

async fn connected(size: usize) -> (ConnectedSender<u64>, ConnectedReceiver<u64>) {
    let (sender, receiver) = new_bounded(size);
    future::zip(sender.connect(), receiver.connect()).await
}

/// Both ends on one executor, so that this thread makes all allocations there are.
#[test]
fn a_warm_message_allocates_nothing_whether_or_not_anyone_waits() {
    for capacity in [1, 16] {
        LocalExecutor::default().run(async {
            let (sender, receiver) = connected(capacity).await;
            let receiving = spawn_local(async move {
                let mut last = 0;
                while let Some(number) = receiver.recv().await {
                    last = number;
                }
                last
            });
            let send = async |messages: u64| {
                for number in 1..=messages {
                    sender.send(number).await.unwrap();
                }
                executor().yield_now().await;
            };
            send(100).await;
            let before = allocations();
            send(10_000).await;
            assert_eq!(allocations() - before, 0, "capacity {capacity}");
            sender.close();
            assert_eq!(receiving.await, 10_000);
        });
    }
}

#[test]
fn warm_waits_of_several_tasks_allocate_nothing() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(1).await;
        let exchange = async || {
            for _ in 0..100 {
                let sending = async {
                    let three = future::zip(sender.send(2), sender.send(3));
                    future::zip(sender.send(1), three).await
                };
                let receiving = async {
                    for _ in 0..3 {
                        receiver.recv().await.unwrap();
                    }
                };
                future::zip(sending, receiving).await.0.0.unwrap();
            }
        };
        exchange().await;
        let before = allocations();
        exchange().await;
        assert_eq!(allocations() - before, 0);
    });
}
