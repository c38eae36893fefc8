//! Channels of other crates between executors, and between an executor and the rest of the world.

use futures::{SinkExt, StreamExt};
use glommio::{spawn_local, yield_if_needed};

use crate::Host;

/// A channel of some crate: one sender, one receiver, numbers.
trait Link: 'static {
    type Sender: Send + 'static;
    type Receiver: Send + 'static;

    fn new() -> (Self::Sender, Self::Receiver);
    /// Whether the receiver was there to take it.
    fn send(sender: &mut Self::Sender, number: u64) -> impl Future<Output = bool>;
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>>;
}

const BOUND: usize = 64;

struct FuturesBounded;

impl Link for FuturesBounded {
    type Sender = futures::channel::mpsc::Sender<u64>;
    type Receiver = futures::channel::mpsc::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        futures::channel::mpsc::channel(BOUND)
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.next().await
    }
}

struct FuturesUnbounded;

impl Link for FuturesUnbounded {
    type Sender = futures::channel::mpsc::UnboundedSender<u64>;
    type Receiver = futures::channel::mpsc::UnboundedReceiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        futures::channel::mpsc::unbounded()
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.unbounded_send(number).is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.next().await
    }
}

struct AsyncBounded;

impl Link for AsyncBounded {
    type Sender = async_channel::Sender<u64>;
    type Receiver = async_channel::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        async_channel::bounded(BOUND)
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }
}

struct AsyncUnbounded;

impl Link for AsyncUnbounded {
    type Sender = async_channel::Sender<u64>;
    type Receiver = async_channel::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        async_channel::unbounded()
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }
}

struct FlumeBounded;

impl Link for FlumeBounded {
    type Sender = flume::Sender<u64>;
    type Receiver = flume::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        flume::bounded(BOUND)
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send_async(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv_async().await.ok()
    }
}

struct FlumeUnbounded;

impl Link for FlumeUnbounded {
    type Sender = flume::Sender<u64>;
    type Receiver = flume::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        flume::unbounded()
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send_async(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv_async().await.ok()
    }
}

struct TokioBounded;

impl Link for TokioBounded {
    type Sender = tokio::sync::mpsc::Sender<u64>;
    type Receiver = tokio::sync::mpsc::Receiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        tokio::sync::mpsc::channel(BOUND)
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send(number).await.is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }
}

struct TokioUnbounded;

impl Link for TokioUnbounded {
    type Sender = tokio::sync::mpsc::UnboundedSender<u64>;
    type Receiver = tokio::sync::mpsc::UnboundedReceiver<u64>;

    fn new() -> (Self::Sender, Self::Receiver) {
        tokio::sync::mpsc::unbounded_channel()
    }

    async fn send(sender: &mut Self::Sender, number: u64) -> bool {
        sender.send(number).is_ok()
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }
}

/// Two executors send to each other at the same time; each number arrives once and in order.
fn carries_both_ways<L: Link>(messages: u64) {
    let (there, from_here) = L::new();
    let (back, from_there) = L::new();
    let side = |mut sender: L::Sender, mut receiver: L::Receiver| {
        Host::Glommio.run(move || async move {
            let sending = spawn_local(async move {
                for number in 0..messages {
                    assert!(L::send(&mut sender, number).await, "the peer receives");
                    yield_if_needed().await;
                }
            });
            for expected in 0..messages {
                assert_eq!(L::receive(&mut receiver).await, Some(expected));
            }
            assert_eq!(L::receive(&mut receiver).await, None, "the sender is done");
            sending.await;
        })
    };
    let sides = [side(there, from_there), side(back, from_here)];
    for side in sides {
        side.join().expect("no assertion fails");
    }
}

/// A number goes there and comes back, with something else on the other end.
fn answers_to<L: Link>(peer: Host, messages: u64) {
    let (mut ask, mut questions) = L::new();
    let (mut answer, mut answers) = L::new();
    let peer = peer.run(move || async move {
        while let Some(number) = L::receive(&mut questions).await {
            assert!(L::send(&mut answer, number + 1).await);
        }
    });
    let asking = Host::Glommio.run(move || async move {
        for number in 0..messages {
            assert!(L::send(&mut ask, number).await);
            assert_eq!(L::receive(&mut answers).await, Some(number + 1));
        }
        drop(ask);
        assert_eq!(L::receive(&mut answers).await, None);
    });
    asking.join().expect("no assertion fails");
    peer.join().expect("no assertion fails");
}

/// How an executor leaves in the middle of its work.
#[derive(Clone, Copy)]
enum Death {
    /// Its root future ends; the task that holds the channel is dropped with the executor.
    Leaves,
    /// Its root future panics.
    Panics,
}

/// Runs `work` as a task of an executor that dies when the task says so.
fn doomed<F>(death: Death, work: impl FnOnce(async_channel::Sender<()>) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let died = Host::Glommio.run(move || async move {
        let (now, time_to_die) = async_channel::unbounded();
        spawn_local(work(now)).detach();
        time_to_die.recv().await.expect("the task says when");
        if let Death::Panics = death {
            // Without the message: it is no news.
            std::panic::resume_unwind(Box::new("dies"));
        }
    });
    assert_eq!(died.join().is_some(), matches!(death, Death::Leaves));
}

/// The receiver's executor dies half-way: the sender is told, however much is on its way.
fn sender_notices_death<L: Link>(death: Death) {
    let (mut sender, mut receiver) = L::new();
    let sending = Host::Glommio.run(move || async move {
        let mut sent = 0;
        while L::send(&mut sender, sent).await {
            sent += 1;
            if sent % 1_000 == 0 {
                // Where nothing bounds the channel, this executor never sleeps, and a thread of
                // real-time priority would keep the receiver's from running.
                std::thread::yield_now();
            }
            yield_if_needed().await;
        }
        sent
    });
    doomed(death, move |now| async move {
        for expected in 0..1_000 {
            assert_eq!(L::receive(&mut receiver).await, Some(expected));
        }
        now.send(()).await.unwrap();
        std::future::pending::<()>().await;
        drop(receiver);
    });
    let sent = sending.join().expect("no assertion fails");
    assert!(sent >= 1_000, "{sent}");
}

/// The sender's executor dies half-way: the receiver gets what was sent, then the end.
fn receiver_notices_death<L: Link>(death: Death) {
    let (mut sender, mut receiver) = L::new();
    let receiving = Host::Glommio.run(move || async move {
        let mut received = 0;
        while let Some(number) = L::receive(&mut receiver).await {
            assert_eq!(number, received);
            received += 1;
        }
        received
    });
    doomed(death, move |now| async move {
        for number in 0.. {
            assert!(L::send(&mut sender, number).await);
            if number == 1_000 {
                now.send(()).await.unwrap();
            }
            glommio::executor().yield_now().await;
        }
    });
    let received = receiving.join().expect("no assertion fails");
    assert!(received > 1_000, "{received}");
}

macro_rules! links {
    ($($name:ident: $link:ty,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn carries_a_hundred_thousand_messages_each_way_between_executors() {
                carries_both_ways::<$link>(100_000);
            }

            #[test]
            fn answers_come_back_from_executors_threads_and_tokio() {
                for peer in [Host::Glommio, Host::Thread, Host::Tokio] {
                    answers_to::<$link>(peer, 2_000);
                }
            }

            #[test]
            fn a_sender_is_told_of_the_death_of_the_receivers_executor() {
                sender_notices_death::<$link>(Death::Leaves);
                sender_notices_death::<$link>(Death::Panics);
            }

            #[test]
            fn a_receiver_gets_the_rest_after_the_death_of_the_senders_executor() {
                receiver_notices_death::<$link>(Death::Leaves);
                receiver_notices_death::<$link>(Death::Panics);
            }
        }
    )*};
}

links! {
    futures_mpsc: FuturesBounded,
    futures_unbounded: FuturesUnbounded,
    async_channel_bounded: AsyncBounded,
    async_channel_unbounded: AsyncUnbounded,
    flume_bounded: FlumeBounded,
    flume_unbounded: FlumeUnbounded,
    tokio_mpsc: TokioBounded,
    tokio_unbounded: TokioUnbounded,
}

#[test]
fn many_executors_share_one_channel_and_lose_nothing() {
    let (sender, receiver) = async_channel::bounded::<u64>(8);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.clone();
            Host::Glommio.run(move || async move {
                let mut sum = 0;
                while let Ok(number) = receiver.recv().await {
                    sum += number;
                }
                sum
            })
        })
        .collect();
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let sender = sender.clone();
            Host::Glommio.run(move || async move {
                for number in 0..20_000 {
                    sender.send(number).await.unwrap();
                }
            })
        })
        .collect();
    drop((sender, receiver));
    for sender in senders {
        sender.join().unwrap();
    }
    let sum: u64 = receivers.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(sum, 2 * (0..20_000).sum::<u64>());
}

#[test]
fn a_rendezvous_between_executors_hands_over_each_message() {
    let (sender, receiver) = flume::bounded::<u64>(0);
    let sending = Host::Glommio.run(move || async move {
        for number in 0..10_000 {
            sender.send_async(number).await.unwrap();
        }
    });
    let receiving = Host::Glommio.run(move || async move {
        for expected in 0..10_000 {
            assert_eq!(receiver.recv_async().await, Ok(expected));
        }
        assert!(receiver.recv_async().await.is_err());
    });
    sending.join().unwrap();
    receiving.join().unwrap();
}

#[test]
fn blocking_ends_of_a_channel_work_with_an_executor_on_the_other() {
    let (to_executor, from_thread) = flume::bounded::<u64>(4);
    let (to_thread, from_executor) = flume::bounded::<u64>(4);
    let executor = Host::Glommio.run(move || async move {
        while let Ok(number) = from_thread.recv_async().await {
            to_thread.send_async(number * 2).await.unwrap();
        }
    });
    let sending = std::thread::spawn(move || {
        for number in 0..10_000 {
            to_executor.send(number).unwrap();
        }
    });
    let doubled: Vec<u64> = from_executor.iter().collect();
    assert!(
        doubled
            .iter()
            .copied()
            .eq((0..10_000).map(|number| number * 2))
    );
    sending.join().unwrap();
    executor.join().unwrap();
}
