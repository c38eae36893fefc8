//! Work divided over executors, each message handled where it belongs.
//!
//! Every executor makes a [`Sharded`] on the same [full mesh](super::channel_mesh::FullMesh). A
//! [function](ShardFn) tells from a message which shard it is for; a [`Handler`] does the work there.
//!
//! # Examples
//!
//! ```
//! use futures_lite::{future, stream};
//! use glommio::{
//!     LocalExecutorPoolBuilder, PoolPlacement,
//!     channels::{
//!         channel_mesh::MeshBuilder,
//!         sharding::{Handler, HandlerResult, Sharded},
//!     },
//! };
//!
//! #[derive(Clone)]
//! struct Check;
//!
//! impl Handler<u64> for Check {
//!     fn handle(&self, msg: u64, _src_shard: usize, cur_shard: usize) -> HandlerResult {
//!         assert_eq!(msg as usize % 2, cur_shard);
//!         Box::pin(future::ready(()))
//!     }
//! }
//!
//! let mesh = MeshBuilder::full(2, 64);
//! let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2)).on_all_shards(|| async move {
//!     let shard_of = |msg: &u64, shards: usize| *msg as usize % shards;
//!     let mut sharded = Sharded::new(mesh, shard_of, Check).await.unwrap();
//!     sharded.handle(stream::iter(0..100)).unwrap();
//!     sharded.close().await;
//! })?;
//! for outcome in pool.join_all() {
//!     outcome?;
//! }
//! # Ok::<(), glommio::GlommioError<()>>(())
//! ```

use std::{fmt, future::Future, pin::Pin, rc::Rc};

use futures_core::Stream;
use futures_lite::StreamExt;

use super::{
    channel_mesh::{FullMesh, Senders},
    shared_channel::ConnectedReceiver,
};
use crate::{
    error::{GlommioError, ResourceType, Result},
    executor::{spawn_local, yield_if_needed},
    task::JoinHandle,
};

/// What a [`Handler`] returns: the work, as a future.
pub type HandlerResult = Pin<Box<dyn Future<Output = ()>>>;

/// Tells which shard a message is for, of as many shards as the second argument says.
pub type ShardFn<T> = fn(&T, usize) -> usize;

/// Does the work that a message asks for.
pub trait Handler<T>: Clone {
    /// Handles a message that comes from `src_shard`, on the shard it is for, `cur_shard`.
    ///
    /// Messages from one shard are handled one after the other, those from different shards side by
    /// side. A handler that itself sends to another shard waits while the channel there is full; two
    /// that wait for each other wait for ever. Let such a handler spawn what sends.
    fn handle(&self, msg: T, src_shard: usize, cur_shard: usize) -> HandlerResult;
}

/// One shard of several.
///
/// Dropping it without [`close`](Self::close) closes the channels to other shards once the streams
/// given to [`handle`](Self::handle) have ended. What other shards send is handled on.
pub struct Sharded<T: Send, H> {
    shard: Rc<Shard<T, H>>,
    /// Handle what other shards send.
    consumers: Vec<JoinHandle<()>>,
    /// Distribute the messages of streams.
    feeds: Vec<JoinHandle<()>>,
    closed: bool,
}

struct Shard<T: Send, H> {
    senders: Senders<T>,
    shard_fn: ShardFn<T>,
    handler: H,
}

impl<T: Send + 'static, H: Handler<T> + 'static> Shard<T, H> {
    async fn send(&self, msg: T) -> Result<(), T> {
        let shard = (self.shard_fn)(&msg, self.senders.nr_consumers());
        self.send_to(shard, msg).await
    }

    async fn send_to(&self, shard: usize, msg: T) -> Result<(), T> {
        let own = self.senders.peer_id();
        if shard == own {
            self.handler.handle(msg, own, own).await;
            return Ok(());
        }
        self.senders.send_to(shard, msg).await
    }

    async fn consume(self: Rc<Self>, src_shard: usize, receiver: ConnectedReceiver<T>) {
        let own = self.senders.peer_id();
        let handler = self.handler.clone();
        // It must not keep the channels of this shard open.
        drop(self);
        while let Some(msg) = receiver.recv().await {
            handler.handle(msg, src_shard, own).await;
            yield_if_needed().await;
        }
    }

    async fn feed(self: Rc<Self>, mut messages: impl Stream<Item = T> + Unpin) {
        while let Some(msg) = messages.next().await {
            if let Err(error) = self.send(msg).await {
                tracing::warn!(
                    target: "glommio::channels",
                    shard = self.senders.peer_id(),
                    %error,
                    "a message of a stream could not be sent to its shard and is lost"
                );
            }
            yield_if_needed().await;
        }
    }
}

impl<T: Send + 'static, H: Handler<T> + 'static> Sharded<T, H> {
    /// Joins `mesh` as one shard, and waits until all shards have.
    ///
    /// From then on the messages that other shards send here are handled in the background.
    ///
    /// # Errors
    ///
    /// Those of [`MeshBuilder::join`](super::channel_mesh::MeshBuilder::join).
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Cancel safety
    ///
    /// As for [`MeshBuilder::join`](super::channel_mesh::MeshBuilder::join).
    pub async fn new(mesh: FullMesh<T>, shard_fn: ShardFn<T>, handler: H) -> Result<Self, ()> {
        let (senders, mut receivers) = mesh.join().await?;
        let shard = Rc::new(Shard {
            senders,
            shard_fn,
            handler,
        });
        let consumers = receivers
            .streams()
            .into_iter()
            .map(|(src_shard, receiver)| {
                spawn_local(shard.clone().consume(src_shard, receiver)).detach()
            })
            .collect();
        Ok(Sharded {
            shard,
            consumers,
            feeds: Vec::new(),
            closed: false,
        })
    }

    /// Sends each message of a stream to its shard, in the background.
    ///
    /// [`close`](Self::close) waits for the end of the stream. A message whose shard is gone is
    /// dropped, with a warning in the log.
    ///
    /// # Errors
    ///
    /// [`Closed`](GlommioError::Closed) with the stream, if this shard was closed.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn handle<S: Stream<Item = T> + Unpin + 'static>(&mut self, messages: S) -> Result<(), S> {
        if self.closed {
            return Err(GlommioError::Closed(ResourceType::Channel(messages)));
        }
        self.feeds
            .push(spawn_local(self.shard.clone().feed(messages)).detach());
        Ok(())
    }

    /// Sends a message to the shard it is for, and waits while the channel there is full. If that is
    /// this shard, the handler runs inside of this call.
    ///
    /// # Errors
    ///
    /// [`Closed`](GlommioError::Closed) with the message, if this shard was closed or the other is
    /// gone. `IoError` with `InvalidInput` if the [`ShardFn`] names a shard that does not exist.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing was sent; a handler that has begun in it
    /// is dropped half-way.
    pub async fn send(&self, msg: T) -> Result<(), T> {
        if self.closed {
            return Err(GlommioError::Closed(ResourceType::Channel(msg)));
        }
        self.shard.send(msg).await
    }

    /// Sends a message to the given shard, whatever shard it is for; else as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As for [`send`](Self::send).
    pub async fn send_to(&self, dst_shard: usize, msg: T) -> Result<(), T> {
        if self.closed {
            return Err(GlommioError::Closed(ResourceType::Channel(msg)));
        }
        self.shard.send_to(dst_shard, msg).await
    }

    /// Closes this shard in good order, and waits for that.
    ///
    /// First the streams given to [`handle`](Self::handle) run to their ends. Then the channels to
    /// other shards are closed. Then what other shards have sent is handled, until they have closed
    /// their channels, too, or are gone. So if all shards close, every message has been handled.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again. Nothing new can be sent once it has been polled.
    pub async fn close(&mut self) {
        self.closed = true;
        while let Some(feed) = self.feeds.last_mut() {
            feed.await;
            self.feeds.pop();
        }
        self.shard.senders.close();
        while let Some(consumer) = self.consumers.last_mut() {
            consumer.await;
            self.consumers.pop();
        }
    }

    /// How many shards there are.
    pub fn nr_shards(&self) -> usize {
        self.shard.senders.nr_consumers()
    }

    /// This shard's number.
    pub fn shard_id(&self) -> usize {
        self.shard.senders.peer_id()
    }
}

impl<T: Send, H> fmt::Debug for Sharded<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded")
            .field("shard_id", &self.shard.senders.peer_id())
            .field("nr_shards", &self.shard.senders.nr_consumers())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
