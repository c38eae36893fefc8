//! Sharding: each message is handled once, on the shard it is for.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_lite::stream;
use glommio::{
    GlommioError, ResourceType,
    channels::{
        channel_mesh::MeshBuilder,
        sharding::{Handler, HandlerResult, Sharded},
    },
    executor,
};

use crate::{messages, on_executor};

/// A message: where it comes from, and a number.
type Message = (usize, u64);

fn shard_of(message: &Message, shards: usize) -> usize {
    message.1 as usize % shards
}

/// What a shard has handled, by the shard it came from.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<(usize, Message)>>>);

impl Handler<Message> for Log {
    fn handle(&self, message: Message, src_shard: usize, cur_shard: usize) -> HandlerResult {
        let log = self.clone();
        Box::pin(async move {
            if message.1 % 7 == 0 {
                executor().yield_now().await;
            }
            assert_eq!(message.0, src_shard);
            log.0.borrow_mut().push((cur_shard, message));
        })
    }
}

/// DataDog/glommio#555, as reported: the sharding example with channels of one message and many
/// messages. `GLOMMIO_TEST_MESSAGES=100000` runs the long proof.
#[test]
fn every_message_is_handled_once_on_its_shard_at_capacity_one() {
    for (shards, fast) in [(1, 1_000), (2, 5_000), (4, 2_000)] {
        let messages = messages(fast);
        let mesh = MeshBuilder::full(shards, 1);
        let peers: Vec<_> = (0..shards)
            .map(|_| {
                let mesh = mesh.clone();
                on_executor(move || async move {
                    let log = Log::default();
                    let mut sharded = Sharded::new(mesh, shard_of, log.clone()).await.unwrap();
                    let me = sharded.shard_id();
                    assert_eq!(sharded.nr_shards(), shards);
                    let (one, other) = (0..messages / 2, messages / 2..messages);
                    sharded
                        .handle(stream::iter(one.map(move |n| (me, n))))
                        .unwrap();
                    sharded
                        .handle(stream::iter(other.map(move |n| (me, n))))
                        .unwrap();
                    sharded.close().await;
                    let log = log.0.take();
                    assert!(
                        log.iter()
                            .all(|(at, message)| { *at == me && shard_of(message, shards) == me })
                    );
                    let mut handled: Vec<_> = log.into_iter().map(|(_, message)| message).collect();
                    handled.sort_unstable();
                    handled
                })
            })
            .collect();
        let mut handled: Vec<_> = peers
            .into_iter()
            .flat_map(|peer| peer.join().unwrap())
            .collect();
        handled.sort_unstable();
        let all = (0..shards).flat_map(|shard| (0..messages).map(move |number| (shard, number)));
        assert!(handled.into_iter().eq(all));
    }
}

#[test]
fn messages_to_the_own_shard_are_handled_inside_of_the_call() {
    on_executor(|| async {
        let log = Log::default();
        let mesh = MeshBuilder::full(1, 1);
        let mut sharded = Sharded::new(mesh, shard_of, log.clone()).await.unwrap();
        for number in 1..5 {
            sharded.send((0, number)).await.unwrap();
            assert_eq!(log.0.borrow().last(), Some(&(0, (0, number))));
        }
        sharded.send_to(0, (0, 5)).await.unwrap();
        assert_eq!(log.0.borrow().len(), 5);
        let error = sharded.send_to(1, (0, 6)).await.unwrap_err();
        assert!(error.to_string().contains("no consumer 1"), "{error}");
        assert!(format!("{sharded:?}").starts_with("Sharded { shard_id: 0, nr_shards: 1"));
        sharded.close().await;
        let closed = [sharded.send((0, 7)).await, sharded.send_to(0, (0, 7)).await];
        for error in closed.map(Result::unwrap_err) {
            assert!(matches!(
                error,
                GlommioError::Closed(ResourceType::Channel((0, 7)))
            ));
        }
        let error = sharded.handle(stream::iter([(0, 8)])).unwrap_err();
        assert!(error.into_inner().is_some(), "the stream comes back");
        sharded.close().await;
    })
    .join()
    .unwrap();
}

#[derive(Clone)]
struct Sum(Arc<AtomicU64>);

impl Handler<u64> for Sum {
    fn handle(&self, number: u64, _: usize, _: usize) -> HandlerResult {
        self.0.fetch_add(number, Relaxed);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn closing_waits_for_what_the_others_send_and_not_for_the_dead() {
    let sum = Arc::new(AtomicU64::new(0));
    let mesh = MeshBuilder::full(3, 1);
    let peers: Vec<_> = (0..3)
        .map(|role| {
            let (mesh, sum) = (mesh.clone(), sum.clone());
            on_executor(move || async move {
                let everything_to_zero = |_: &u64, _: usize| 0;
                let mut sharded = Sharded::new(mesh, everything_to_zero, Sum(sum))
                    .await
                    .unwrap();
                match role {
                    // Dies without closing.
                    0 if sharded.shard_id() != 0 => {
                        sharded.send(1).await.unwrap();
                        std::panic::resume_unwind(Box::new("dies"));
                    }
                    _ => {
                        sharded.handle(stream::iter(vec![10; 1_000])).unwrap();
                        sharded.close().await;
                    }
                }
            })
        })
        .collect();
    let died = peers
        .into_iter()
        .filter_map(|peer| peer.join().err())
        .count();
    assert_eq!(
        sum.load(Relaxed),
        if died == 0 { 30_000 } else { 20_001 },
        "{died} died"
    );
}
