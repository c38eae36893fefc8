//! `channels::local_channel`.

use std::{fmt::Debug, pin::Pin, task::Context, task::Poll};

use futures_core::Stream;
use glommio::{
    GlommioError,
    channels::local_channel::{
        LocalReceiver, LocalSender, OwnedChannelStream, WeakLocalSender, new_bounded, new_unbounded,
    },
};

use super::typed;

signatures! {
    new_bounded::<u8> => fn(usize) -> (LocalSender<u8>, LocalReceiver<u8>);
    new_unbounded::<u8> => fn() -> (LocalSender<u8>, LocalReceiver<u8>);
    LocalSender::<u8>::try_send => fn(&LocalSender<u8>, u8) -> Result<(), GlommioError<u8>>;
    LocalSender::<u8>::is_full => fn(&LocalSender<u8>) -> bool;
    LocalSender::<u8>::len => fn(&LocalSender<u8>) -> usize;
    LocalSender::<u8>::is_empty => fn(&LocalSender<u8>) -> bool;
    LocalSender::<u8>::downgrade => fn(&LocalSender<u8>) -> WeakLocalSender<u8>;
    WeakLocalSender::<u8>::upgrade => fn(&WeakLocalSender<u8>) -> Option<LocalSender<u8>>;
    LocalReceiver::<u8>::try_recv => fn(&LocalReceiver<u8>) -> Result<u8, GlommioError<()>>;
    LocalReceiver::<u8>::into_stream => fn(LocalReceiver<u8>) -> OwnedChannelStream<u8>;
    <OwnedChannelStream<u8> as Stream>::poll_next =>
        fn(Pin<&mut OwnedChannelStream<u8>>, &mut Context<'_>) -> Poll<Option<u8>>;
}

implements! {
    LocalSender<u8>: Debug, Clone, Unpin;
    WeakLocalSender<u8>: Debug, Clone;
    LocalReceiver<u8>: Debug;
    OwnedChannelStream<u8>: Debug, Stream<Item = u8>, Unpin;
}

lacks! {
    LocalSender<u8>: Send, Sync;
    WeakLocalSender<u8>: Send, Sync;
    LocalReceiver<u8>: Send, Sync, Clone;
    OwnedChannelStream<u8>: Send, Sync, Clone;
}

/// Never run.
async fn _asynchronous(sender: &LocalSender<u8>, receiver: &LocalReceiver<u8>) {
    typed::<Result<(), GlommioError<u8>>>(sender.send(1).await);
    typed::<Option<u8>>(receiver.recv().await);
    fn stream<'a>(receiver: &'a LocalReceiver<u8>) -> impl Stream<Item = u8> + 'a {
        receiver.stream()
    }
    drop(stream(receiver));
}
