//! Channels between every two executors of a group.
//!
//! A mesh is made for a number of peers; each joins it on its own executor and gets its
//! [`Senders`] and [`Receivers`] once all have joined. In a full mesh everyone sends to everyone else.
//! In a partial one each peer has a [`Role`], and there are channels from producers to consumers.
//!
//! Every channel is a [`shared_channel`](super::shared_channel) of the same capacity: bounded for
//! itself, in order, and it tells when the peer on the other end is gone. As no two peers share a
//! channel, one that is full holds up nobody but its sender; peers that receive while they send cannot
//! block each other for good, down to a capacity of one.
//!
//! # Ids
//!
//! Peers are numbered by their executors' ids: the peer with the smallest one has the *peer id* 0. The
//! numbers are the same in every mesh of the same executors. In a full mesh a peer id is all one needs.
//! In a partial mesh producers are also counted among producers, and consumers among consumers, in the
//! same order: [`Senders::send_to`] takes the number of a consumer, [`Receivers::recv_from`] that of a
//! producer.
//!
//! # Examples
//!
//! ```
//! use glommio::{LocalExecutorPoolBuilder, PoolPlacement, channels::channel_mesh::MeshBuilder};
//!
//! let mesh = MeshBuilder::full(3, 16);
//! let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3)).on_all_shards(move || async move {
//!     let (senders, receivers) = mesh.join().await.unwrap();
//!     let me = senders.peer_id();
//!     let others = (0..3).filter(|&peer| peer != me);
//!     for peer in others.clone() {
//!         senders.send_to(peer, format!("from {me} to {peer}")).await.unwrap();
//!     }
//!     for peer in others {
//!         let message = receivers.recv_from(peer).await.unwrap();
//!         assert_eq!(message, Some(format!("from {peer} to {me}")));
//!     }
//! })?;
//! for outcome in pool.join_all() {
//!     outcome?;
//! }
//! # Ok::<(), glommio::GlommioError<()>>(())
//! ```

mod gathering;
mod role;

use std::{fmt, io, sync::Arc};

pub use self::role::{Full, MeshAdapter, Partial, Role};

use self::gathering::{Gathering, Joining};
use super::shared_channel::{ConnectedReceiver, ConnectedSender};
use crate::{
    error::{GlommioError, Result},
    executor::executor,
};

/// A mesh in which everyone sends to everyone else.
pub type FullMesh<T> = MeshBuilder<T, Full>;

/// A mesh with channels from producers to consumers.
pub type PartialMesh<T> = MeshBuilder<T, Partial>;

/// A mesh that is to be joined.
///
/// Clones are the same mesh: give one to each executor. A clone that is dropped without joining may
/// leave too few: when those that are waiting can never be enough, because nobody is left who could
/// join, they get an error.
pub struct MeshBuilder<T: Send, A: MeshAdapter> {
    gathering: Arc<Gathering<T>>,
    adapter: A,
}

impl<T: 'static + Send> MeshBuilder<T, Full> {
    /// A mesh of `nr_peers` executors in which everyone sends to everyone else, over channels of
    /// `channel_size` messages.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::channels::channel_mesh::{FullMesh, MeshBuilder};
    ///
    /// let mesh: FullMesh<u64> = MeshBuilder::full(4, 128);
    /// assert_eq!(mesh.nr_peers(), 4);
    /// ```
    pub fn full(nr_peers: usize, channel_size: usize) -> Self {
        MeshBuilder::new(nr_peers, channel_size, Full)
    }

    /// Also gives each peer a channel to itself, so that one loop over all peer ids serves.
    ///
    /// This holds for all clones of the mesh; ask for it before anyone joins. Without it, sending to
    /// oneself is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::channel_mesh::MeshBuilder};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (senders, receivers) = MeshBuilder::full(1, 8).with_loopback().join().await?;
    ///     senders.send_to(0, "note to self").await.unwrap();
    ///     assert_eq!(receivers.recv_from(0).await?, Some("note to self"));
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    pub fn with_loopback(self) -> Self {
        self.gathering.set_loopback();
        self
    }

    /// Joins the mesh with the current executor, and waits until all peers have.
    ///
    /// # Errors
    ///
    /// `IoError` with `AlreadyExists` if this executor has joined before, with `InvalidInput` if all
    /// peers have joined already, and with `NotConnected` if nobody is left who could join while some
    /// are missing.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes this peer out of the mesh again if others were missing; they can
    /// still be completed by another clone. If the mesh was complete, the others see the channels
    /// of this peer closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutorBuilder, channels::channel_mesh::MeshBuilder};
    ///
    /// let mesh = MeshBuilder::full(2, 8);
    /// let peers = [mesh.clone(), mesh].map(|mesh| {
    ///     LocalExecutorBuilder::default()
    ///         .spawn(move || async move {
    ///             let (senders, receivers) = mesh.join().await.unwrap();
    ///             let other = 1 - senders.peer_id();
    ///             senders.send_to(other, senders.peer_id()).await.unwrap();
    ///             assert_eq!(receivers.recv_from(other).await.unwrap(), Some(other));
    ///         })
    ///         .unwrap()
    /// });
    /// for peer in peers {
    ///     peer.join()?;
    /// }
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub async fn join(self) -> Result<(Senders<T>, Receivers<T>), ()> {
        self.join_as(Role::Both).await
    }
}

impl<T: 'static + Send> MeshBuilder<T, Partial> {
    /// A mesh of `nr_peers` executors with a channel of `channel_size` messages from each producer
    /// to each consumer, but for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::channels::channel_mesh::{MeshBuilder, PartialMesh};
    ///
    /// let mesh: PartialMesh<u64> = MeshBuilder::partial(4, 128);
    /// assert_eq!(mesh.nr_peers(), 4);
    /// ```
    pub fn partial(nr_peers: usize, channel_size: usize) -> Self {
        MeshBuilder::new(nr_peers, channel_size, Partial)
    }

    /// Joins the mesh with the current executor in the given role, and waits until all peers have.
    ///
    /// Errors, panics and cancel safety are those of the [full mesh](MeshBuilder::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{
    ///     LocalExecutorBuilder,
    ///     channels::channel_mesh::{MeshBuilder, Role},
    /// };
    ///
    /// let mesh = MeshBuilder::partial(2, 8);
    /// let producer = LocalExecutorBuilder::default().spawn({
    ///     let mesh = mesh.clone();
    ///     || async move {
    ///         let (senders, _) = mesh.join(Role::Producer).await.unwrap();
    ///         senders.send_to(0, "work").await.unwrap();
    ///     }
    /// })?;
    /// let consumer = LocalExecutorBuilder::default().spawn(|| async move {
    ///     let (_, receivers) = mesh.join(Role::Consumer).await.unwrap();
    ///     assert_eq!(receivers.recv_from(0).await.unwrap(), Some("work"));
    /// })?;
    /// producer.join()?;
    /// consumer.join()?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub async fn join(self, role: Role) -> Result<(Senders<T>, Receivers<T>), ()> {
        self.join_as(role).await
    }
}

impl<T: 'static + Send, A: MeshAdapter> MeshBuilder<T, A> {
    fn new(nr_peers: usize, channel_size: usize, adapter: A) -> Self {
        MeshBuilder {
            gathering: Arc::new(Gathering::new(nr_peers, channel_size)),
            adapter,
        }
    }

    /// For how many peers the mesh was made.
    pub fn nr_peers(&self) -> usize {
        self.gathering.nr_peers()
    }

    async fn join_as(self, role: Role) -> Result<(Senders<T>, Receivers<T>), ()> {
        let adapter = self.adapter.clone();
        let connect = |from: &Role, to: &Role| adapter.connect(from, to);
        let joining = Joining::begin(&self.gathering, executor().id(), role, connect)?;
        // This clone cannot join any more; if it was the last that could, the others must know.
        drop(self);
        let place = joining.place().await?;
        let senders = Senders {
            peer_id: place.peer_id,
            producer_id: place.producer_id,
            senders: place
                .senders
                .into_iter()
                .map(|sender| Some(sender?.bind()))
                .collect(),
        };
        let receivers = Receivers {
            peer_id: place.peer_id,
            consumer_id: place.consumer_id,
            receivers: place
                .receivers
                .into_iter()
                .map(|receiver| Some(receiver?.bind()))
                .collect(),
        };
        Ok((senders, receivers))
    }
}

impl<T: Send, A: MeshAdapter> Clone for MeshBuilder<T, A> {
    fn clone(&self) -> Self {
        self.gathering.add_handle();
        MeshBuilder {
            gathering: self.gathering.clone(),
            adapter: self.adapter.clone(),
        }
    }
}

impl<T: Send, A: MeshAdapter> Drop for MeshBuilder<T, A> {
    fn drop(&mut self) {
        self.gathering.remove_handle();
    }
}

impl<T: Send, A: MeshAdapter> fmt::Debug for MeshBuilder<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshBuilder")
            .field("full", &self.adapter.is_full())
            .field("nr_peers", &self.gathering.nr_peers())
            .field("channel_size", &self.gathering.channel_size())
            .finish_non_exhaustive()
    }
}

/// A peer's channels to the consumers of a mesh.
///
/// Dropping it closes them.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::channel_mesh::MeshBuilder};
///
/// LocalExecutor::default().run(async {
///     let (senders, receivers) = MeshBuilder::full(1, 8).with_loopback().join().await?;
///     assert_eq!((senders.peer_id(), senders.nr_consumers()), (0, 1));
///     assert_eq!(senders.producer_id(), Some(0));
///     senders.try_send_to(0, 1).unwrap();
///     senders.close();
///     assert!(senders.try_send_to(0, 2).is_err());
///     assert_eq!(receivers.recv_from(0).await?, Some(1));
///     assert_eq!(receivers.recv_from(0).await?, None);
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct Senders<T: Send> {
    peer_id: usize,
    producer_id: Option<usize>,
    /// By the number of the consumer.
    senders: Vec<Option<ConnectedSender<T>>>,
}

impl<T: Send> Senders<T> {
    /// This peer's number among all peers.
    pub fn peer_id(&self) -> usize {
        self.peer_id
    }

    /// This peer's number among the producers, if it is one.
    pub fn producer_id(&self) -> Option<usize> {
        self.producer_id
    }

    /// How many consumers the mesh has, this peer included if it is one.
    pub fn nr_consumers(&self) -> usize {
        self.senders.len()
    }

    /// Sends a message to a consumer, and waits while the channel to it is full.
    ///
    /// # Errors
    ///
    /// [`Closed`](GlommioError::Closed) with the message if that consumer is gone or the channels were
    /// [closed](Self::close). `IoError` with `InvalidInput` if there is no channel to it: it does not
    /// exist, this peer is no producer, or it is this peer itself and there is no
    /// [loopback](MeshBuilder::with_loopback). The message is dropped then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing was sent, and the message is dropped.
    pub async fn send_to(&self, idx: usize, msg: T) -> Result<(), T> {
        self.sender(idx)?.send(msg).await
    }

    /// Sends a message to a consumer if there is room.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](GlommioError::WouldBlock) with the message if the channel to it is full; and as
    /// for [`send_to`](Self::send_to).
    pub fn try_send_to(&self, idx: usize, msg: T) -> Result<(), T> {
        self.sender(idx)?.try_send(msg)
    }

    /// Closes the channels to all consumers. They get what was sent before, and then `None`.
    pub fn close(&self) {
        for sender in self.senders.iter().flatten() {
            sender.close();
        }
    }

    fn sender(&self, idx: usize) -> Result<&ConnectedSender<T>, T> {
        match self.senders.get(idx) {
            Some(Some(sender)) => Ok(sender),
            Some(None) if self.producer_id.is_none() => Err(no_channel(format!(
                "peer {} joined this mesh as a consumer and cannot send; join as Role::Producer or \
                 Role::Both",
                self.peer_id
            ))),
            Some(None) => Err(no_channel(format!(
                "consumer {idx} of this mesh is the sender itself; handle the message here, or make \
                 the mesh with `with_loopback`"
            ))),
            None => Err(no_channel(format!(
                "there is no consumer {idx} in this mesh of {} consumers",
                self.senders.len()
            ))),
        }
    }
}

impl<T: fmt::Debug + Send> fmt::Debug for Senders<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Senders")
            .field("peer_id", &self.peer_id)
            .field("producer_id", &self.producer_id)
            .field("senders", &self.senders)
            .finish()
    }
}

/// A peer's channels from the producers of a mesh.
///
/// Dropping it closes them.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use glommio::{LocalExecutor, channels::channel_mesh::MeshBuilder};
///
/// LocalExecutor::default().run(async {
///     let (senders, mut receivers) = MeshBuilder::full(1, 8).with_loopback().join().await?;
///     assert_eq!((receivers.peer_id(), receivers.nr_producers()), (0, 1));
///     assert_eq!(receivers.consumer_id(), Some(0));
///     senders.try_send_to(0, "hello").unwrap();
///     drop(senders);
///     for (producer, stream) in receivers.streams() {
///         assert_eq!(producer, 0);
///         assert_eq!(stream.collect::<Vec<_>>().await, ["hello"]);
///     }
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct Receivers<T: Send> {
    peer_id: usize,
    consumer_id: Option<usize>,
    /// By the number of the producer.
    receivers: Vec<Option<ConnectedReceiver<T>>>,
}

impl<T: Send> Receivers<T> {
    /// This peer's number among all peers.
    pub fn peer_id(&self) -> usize {
        self.peer_id
    }

    /// This peer's number among the consumers, if it is one.
    pub fn consumer_id(&self) -> Option<usize> {
        self.consumer_id
    }

    /// How many producers the mesh has, this peer included if it is one.
    pub fn nr_producers(&self) -> usize {
        self.receivers.len()
    }

    /// Receives the next message of a producer; `None` when it has closed its channels or is gone,
    /// and everything that it sent has been received.
    ///
    /// # Errors
    ///
    /// `IoError` with `InvalidInput` if there is no channel from it: it does not exist, this peer is
    /// no consumer, it is this peer itself and there is no [loopback](MeshBuilder::with_loopback), or
    /// its stream was [taken](Self::streams).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no message was taken.
    pub async fn recv_from(&self, idx: usize) -> Result<Option<T>, ()> {
        match self.receivers.get(idx) {
            Some(Some(receiver)) => Ok(receiver.recv().await),
            Some(None) => Err(no_channel(format!(
                "there is no channel from producer {idx} of this mesh to peer {}: it is the same \
                 peer, or the peer is no consumer, or the stream was taken with `streams`",
                self.peer_id
            ))),
            None => Err(no_channel(format!(
                "there is no producer {idx} in this mesh of {} producers",
                self.receivers.len()
            ))),
        }
    }

    /// Takes all channels, each with the number of its producer, to be used as streams.
    pub fn streams(&mut self) -> Vec<(usize, ConnectedReceiver<T>)> {
        let receivers = self.receivers.iter_mut().enumerate();
        receivers
            .filter_map(|(idx, receiver)| Some((idx, receiver.take()?)))
            .collect()
    }
}

impl<T: fmt::Debug + Send> fmt::Debug for Receivers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receivers")
            .field("peer_id", &self.peer_id)
            .field("consumer_id", &self.consumer_id)
            .field("receivers", &self.receivers)
            .finish()
    }
}

fn no_channel<V>(message: String) -> GlommioError<V> {
    GlommioError::IoError(io::Error::new(io::ErrorKind::InvalidInput, message))
}
