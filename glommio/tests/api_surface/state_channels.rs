//! `channels::oneshot`, `channels::watch` and `channels::broadcast`.

use std::{
    cell::Ref,
    error::Error,
    fmt::{Debug, Display},
    future::Future,
};

use futures_core::Stream;
use glommio::{
    GlommioError,
    channels::{broadcast, oneshot, watch},
};

use super::typed;

type Sent<T> = Result<T, GlommioError<u8>>;
type Heard<T> = Result<T, GlommioError<()>>;

signatures! {
    oneshot::oneshot::<u8> => fn() -> (oneshot::Sender<u8>, oneshot::Receiver<u8>);
    oneshot::shared::<u8> => fn() -> (oneshot::SharedSender<u8>, oneshot::SharedReceiver<u8>);
    oneshot::Sender::<u8>::send => fn(oneshot::Sender<u8>, u8) -> Sent<()>;
    oneshot::Sender::<u8>::is_closed => fn(&oneshot::Sender<u8>) -> bool;
    oneshot::SharedSender::<u8>::send => fn(oneshot::SharedSender<u8>, u8) -> Sent<()>;
    oneshot::SharedSender::<u8>::is_closed => fn(&oneshot::SharedSender<u8>) -> bool;
    oneshot::Receiver::<u8>::try_recv => fn(&mut oneshot::Receiver<u8>) -> Heard<u8>;
    oneshot::Receiver::<u8>::close => fn(&mut oneshot::Receiver<u8>);

    watch::watch::<u8> => fn(u8) -> (watch::Sender<u8>, watch::Receiver<u8>);
    watch::shared::<u8> => fn(u8) -> (watch::SharedSender<u8>, watch::SharedReceiver<u8>);
    watch::Sender::<u8>::send => fn(&watch::Sender<u8>, u8) -> Sent<()>;
    watch::Sender::<u8>::is_closed => fn(&watch::Sender<u8>) -> bool;
    watch::Sender::<u8>::get => fn(&watch::Sender<u8>) -> u8;
    watch::Sender::<u8>::borrow => fn(&watch::Sender<u8>) -> Ref<'_, u8>;
    watch::SharedSender::<u8>::send => fn(&watch::SharedSender<u8>, u8) -> Sent<()>;
    watch::SharedSender::<u8>::get => fn(&watch::SharedSender<u8>) -> u8;
    watch::Receiver::<u8>::changed => fn(&mut watch::Receiver<u8>) -> watch::Changed<'_, u8>;
    watch::Receiver::<u8>::has_changed => fn(&watch::Receiver<u8>) -> bool;
    watch::Receiver::<u8>::get => fn(&watch::Receiver<u8>) -> u8;
    watch::Receiver::<u8>::borrow => fn(&watch::Receiver<u8>) -> Ref<'_, u8>;
    watch::SharedReceiver::<u8>::get => fn(&watch::SharedReceiver<u8>) -> u8;

    broadcast::broadcast::<u8> => fn(usize) -> (broadcast::Sender<u8>, broadcast::Receiver<u8>);
    broadcast::shared::<u8> =>
        fn(usize) -> (broadcast::SharedSender<u8>, broadcast::SharedReceiver<u8>);
    broadcast::Sender::<u8>::send => fn(&broadcast::Sender<u8>, u8) -> Sent<usize>;
    broadcast::Sender::<u8>::subscribe => fn(&broadcast::Sender<u8>) -> broadcast::Receiver<u8>;
    broadcast::Sender::<u8>::receiver_count => fn(&broadcast::Sender<u8>) -> usize;
    broadcast::SharedSender::<u8>::send => fn(&broadcast::SharedSender<u8>, u8) -> Sent<usize>;
    broadcast::SharedSender::<u8>::subscribe =>
        fn(&broadcast::SharedSender<u8>) -> broadcast::SharedReceiver<u8>;
    broadcast::Receiver::<u8>::recv => fn(&mut broadcast::Receiver<u8>) -> broadcast::Recv<'_, u8>;
    broadcast::Receiver::<u8>::try_recv =>
        fn(&mut broadcast::Receiver<u8>) -> Result<u8, broadcast::TryRecvError>;
}

implements! {
    oneshot::Sender<u8>: Debug, Unpin;
    oneshot::Receiver<u8>: Debug, Unpin, Future<Output = Heard<u8>>;
    oneshot::SharedSender<u8>: Debug, Send, Sync;
    oneshot::SharedReceiver<u8>: Debug, Send, Sync, Future<Output = Heard<u8>>;

    watch::Sender<u8>: Debug;
    watch::Receiver<u8>: Debug, Clone, Unpin, Stream<Item = u8>;
    watch::SharedSender<u8>: Debug, Send, Sync;
    watch::SharedReceiver<u8>: Debug, Clone, Send, Sync, Stream<Item = u8>;
    watch::Changed<'static, u8>: Debug, Future<Output = Heard<()>>;

    broadcast::Sender<u8>: Debug, Clone;
    broadcast::Receiver<u8>:
        Debug, Clone, Unpin, Stream<Item = Result<u8, broadcast::RecvError>>;
    broadcast::SharedSender<u8>: Debug, Clone, Send, Sync;
    broadcast::SharedReceiver<u8>: Debug, Clone, Send, Sync;
    broadcast::Recv<'static, u8>: Debug, Future<Output = Result<u8, broadcast::RecvError>>;
    broadcast::RecvError: Debug, Display, Error, Clone, PartialEq, Eq, Send, Sync;
    broadcast::TryRecvError: Debug, Display, Error, Clone, PartialEq, Eq, Send, Sync;
}

lacks! {
    oneshot::Sender<u8>: Send, Sync, Clone;
    oneshot::Receiver<u8>: Send, Sync, Clone;
    oneshot::SharedSender<std::rc::Rc<u8>>: Send, Sync;
    oneshot::SharedSender<u8>: Clone;
    oneshot::SharedReceiver<u8>: Clone;
    watch::Sender<u8>: Send, Sync;
    watch::Receiver<u8>: Send, Sync;
    watch::SharedReceiver<std::rc::Rc<u8>>: Send, Sync;
    broadcast::Sender<u8>: Send, Sync;
    broadcast::Receiver<u8>: Send, Sync;
    broadcast::SharedSender<std::rc::Rc<u8>>: Send, Sync;
}

/// Never run.
async fn _uses(
    mut sender: oneshot::Sender<u8>,
    setter: &watch::SharedSender<u8>,
    receiver: &watch::SharedReceiver<u8>,
    errors: (broadcast::RecvError, broadcast::TryRecvError),
) {
    let () = sender.closed().await;
    typed::<Heard<()>>(setter.send_modify(|value: &mut u8| *value += 1));
    typed::<bool>(setter.with_current(|value: &u8| *value > 0));
    typed::<bool>(receiver.with_current(|value: &u8| *value > 0));
    match errors.0 {
        broadcast::RecvError::Closed => {}
        broadcast::RecvError::Lagged(missed) => typed::<u64>(missed),
    }
    match errors.1 {
        broadcast::TryRecvError::Closed | broadcast::TryRecvError::Empty => {}
        broadcast::TryRecvError::Lagged(missed) => typed::<u64>(missed),
    }
}
