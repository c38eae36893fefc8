//! `channels::{spsc_queue, shared_channel, channel_mesh, sharding}`.

use std::fmt::Debug;

use futures::{Stream, stream};
use glommio::channels::{
    channel_mesh::{
        Full, FullMesh, MeshAdapter, MeshBuilder, Partial, PartialMesh, Receivers, Role, Senders,
    },
    sharding::{Handler, HandlerResult, ShardFn, Sharded},
    shared_channel::{
        self, ConnectedReceiver, ConnectedSender, ForeignSender, SharedReceiver, SharedSender,
    },
    spsc_queue::{self, Consumer, Producer},
};

use super::typed;

type Sent = glommio::Result<(), u8>;

signatures! {
    spsc_queue::make => fn(usize) -> (Producer<u8>, Consumer<u8>);
    Producer::try_push => fn(&Producer<u8>, u8) -> Option<u8>;
    Producer::free_space => fn(&Producer<u8>) -> usize;
    Producer::disconnect => fn(&Producer<u8>) -> bool;
    Producer::consumer_disconnected => fn(&Producer<u8>) -> bool;
    Producer::try_push_batch => fn(&mut Producer<u8>, &mut std::vec::IntoIter<u8>) -> usize;
    Consumer::try_pop => fn(&Consumer<u8>) -> Option<u8>;
    Consumer::disconnect => fn(&Consumer<u8>) -> bool;
    Consumer::producer_disconnected => fn(&Consumer<u8>) -> bool;
    Consumer::try_pop_batch => fn(&mut Consumer<u8>, &mut Vec<u8>, usize) -> usize;

    shared_channel::new_bounded => fn(usize) -> (SharedSender<u8>, SharedReceiver<u8>);
    ConnectedSender::try_send => fn(&ConnectedSender<u8>, u8) -> Sent;
    ConnectedSender::close => fn(&ConnectedSender<u8>);
    ConnectedSender::into_foreign => fn(ConnectedSender<u8>) -> ForeignSender<u8>;
    ForeignSender::try_send => fn(&ForeignSender<u8>, u8) -> Sent;
    ForeignSender::free_space => fn(&ForeignSender<u8>) -> usize;

    MeshBuilder::full => fn(usize, usize) -> FullMesh<u8>;
    MeshBuilder::partial => fn(usize, usize) -> PartialMesh<u8>;
    MeshBuilder::<u8, Full>::nr_peers => fn(&FullMesh<u8>) -> usize;
    MeshBuilder::<u8, Full>::with_loopback => fn(FullMesh<u8>) -> FullMesh<u8>;
    <Full as MeshAdapter>::connect => fn(&Full, &Role, &Role) -> bool;
    <Partial as MeshAdapter>::is_full => fn(&Partial) -> bool;
    Senders::<u8>::peer_id => fn(&Senders<u8>) -> usize;
    Senders::<u8>::producer_id => fn(&Senders<u8>) -> Option<usize>;
    Senders::<u8>::nr_consumers => fn(&Senders<u8>) -> usize;
    Senders::<u8>::try_send_to => fn(&Senders<u8>, usize, u8) -> Sent;
    Senders::<u8>::close => fn(&Senders<u8>);
    Receivers::<u8>::peer_id => fn(&Receivers<u8>) -> usize;
    Receivers::<u8>::consumer_id => fn(&Receivers<u8>) -> Option<usize>;
    Receivers::<u8>::nr_producers => fn(&Receivers<u8>) -> usize;
    Receivers::<u8>::streams => fn(&mut Receivers<u8>) -> Vec<(usize, ConnectedReceiver<u8>)>;

    Sharded::<u8, Nothing>::nr_shards => fn(&Sharded<u8, Nothing>) -> usize;
    Sharded::<u8, Nothing>::shard_id => fn(&Sharded<u8, Nothing>) -> usize;
    Sharded::<u8, Nothing>::handle::<stream::Empty<u8>> =>
        fn(&mut Sharded<u8, Nothing>, stream::Empty<u8>) -> glommio::Result<(), stream::Empty<u8>>;
}

#[derive(Clone)]
struct Nothing;

impl Handler<u8> for Nothing {
    fn handle(&self, _msg: u8, _src_shard: usize, _cur_shard: usize) -> HandlerResult {
        Box::pin(std::future::ready(()))
    }
}

implements! {
    Producer<u8>: Debug, Send;
    Consumer<u8>: Debug, Send;
    SharedSender<u8>: Debug, Send;
    SharedReceiver<u8>: Debug, Send;
    // `T: Send` is enough, as in 0.9.
    SharedSender<std::cell::Cell<u8>>: Send;
    SharedReceiver<std::cell::Cell<u8>>: Send;
    Producer<std::cell::Cell<u8>>: Send;
    Consumer<std::cell::Cell<u8>>: Send;
    ForeignSender<std::cell::Cell<u8>>: Send;
    ConnectedSender<u8>: Debug, Unpin;
    ConnectedReceiver<u8>: Debug, Unpin, Stream;
    ForeignSender<u8>: Debug, Send;
    Role: Debug, Clone, Copy, PartialEq, Eq, Send, Sync;
    Full: Debug, Clone, Send, Sync, MeshAdapter;
    Partial: Debug, Clone, Send, Sync, MeshAdapter;
    FullMesh<std::cell::Cell<u8>>: Debug, Clone, Send;
    PartialMesh<u8>: Debug, Clone, Send;
    Senders<u8>: Debug;
    Receivers<u8>: Debug;
    Sharded<u8, Nothing>: Debug;
}

lacks! {
    Producer<u8>: Clone, Sync;
    Consumer<u8>: Clone, Sync;
    SharedSender<u8>: Clone, Sync;
    SharedReceiver<u8>: Clone, Sync;
    ConnectedSender<u8>: Clone, Send, Sync;
    ConnectedReceiver<u8>: Clone, Send, Sync;
    ForeignSender<u8>: Clone, Sync;
    Senders<u8>: Clone, Send, Sync;
    Receivers<u8>: Clone, Send, Sync;
    Sharded<u8, Nothing>: Clone, Send, Sync;
}

#[expect(dead_code, reason = "compiling is the test")]
async fn futures_have_the_outputs_of_0_9(sender: SharedSender<u8>, receiver: SharedReceiver<u8>) {
    let sender = sender.connect().await;
    let receiver = receiver.connect().await;
    typed::<(&ConnectedSender<u8>, &ConnectedReceiver<u8>)>((&sender, &receiver));
    typed::<Sent>(sender.send(1).await);
    typed::<Option<u8>>(receiver.recv().await);
}

#[expect(dead_code, reason = "compiling is the test")]
async fn futures_of_meshes_have_the_outputs_of_0_9(
    full: FullMesh<u8>,
    partial: PartialMesh<u8>,
    shard_fn: ShardFn<u8>,
) {
    typed::<glommio::Result<(Senders<u8>, Receivers<u8>), ()>>(full.clone().join().await);
    let Ok((senders, receivers)) = partial.join(Role::Both).await else {
        return;
    };
    typed::<Sent>(senders.send_to(0, 1).await);
    typed::<glommio::Result<Option<u8>, ()>>(receivers.recv_from(0).await);
    let sharded = Sharded::new(full, shard_fn, Nothing).await;
    let Ok(mut sharded): glommio::Result<Sharded<u8, Nothing>, ()> = sharded else {
        return;
    };
    typed::<Sent>(sharded.send(1).await);
    typed::<Sent>(sharded.send_to(0, 1).await);
    sharded.close().await;
}
