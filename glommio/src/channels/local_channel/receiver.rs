//! The half that receives, and the streams over it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{
    channel::{Channel, Nothing},
    sender::describe,
};
use crate::{
    error::{GlommioError, ResourceType},
    waiters::Key,
};

/// The half of a local channel that receives.
///
/// Many tasks may receive through one receiver, say through an `Rc`: each item goes to one of them,
/// to the one that has waited longest.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use glommio::{LocalExecutor, channels::local_channel, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let (sender, receiver) = local_channel::new_unbounded();
///     let receiver = Rc::new(receiver);
///     let workers: Vec<_> = (0..3)
///         .map(|_| {
///             let receiver = receiver.clone();
///             spawn_local(async move {
///                 let mut done = 0;
///                 while let Some(_job) = receiver.recv().await {
///                     done += 1;
///                 }
///                 done
///             })
///         })
///         .collect();
///     for job in 0..30 {
///         sender.send(job).await.unwrap();
///     }
///     drop(sender);
///     let mut done = 0;
///     for worker in workers {
///         done += worker.await;
///     }
///     assert_eq!(done, 30);
/// });
/// ```
pub struct LocalReceiver<T> {
    channel: Rc<Channel<T>>,
}

impl<T> LocalReceiver<T> {
    pub(super) fn new(channel: Rc<Channel<T>>) -> Self {
        LocalReceiver { channel }
    }

    /// Receives the next item, and waits until there is one; `None` once all senders are gone and
    /// everything they sent has been received.
    ///
    /// Tasks that wait are served in the order in which the waits began.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no item: one that was handed to it already goes to the next that
    /// waits, or becomes the first to be received.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::local_channel};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = local_channel::new_bounded(1);
    ///     sender.send(1).await.unwrap();
    ///     drop(sender);
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    #[inline]
    pub async fn recv(&self) -> Option<T> {
        match self.channel.take() {
            Ok(item) => Some(item),
            Err(Nothing::AnyMore) => None,
            Err(Nothing::Yet) => Recv(Place::new(&self.channel)).await,
        }
    }

    /// Receives the next item, if there is one now.
    ///
    /// # Errors
    ///
    /// `WouldBlock(Channel(()))` if the channel is empty, `Closed(Channel(()))` if it is and all
    /// senders are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, channels::local_channel};
    ///
    /// let (sender, receiver) = local_channel::new_bounded(1);
    /// assert!(matches!(receiver.try_recv(), Err(GlommioError::WouldBlock(_))));
    /// sender.try_send(1).unwrap();
    /// assert_eq!(receiver.try_recv().unwrap(), 1);
    /// drop(sender);
    /// assert!(matches!(receiver.try_recv(), Err(GlommioError::Closed(_))));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, GlommioError<()>> {
        self.channel.take().map_err(|nothing| match nothing {
            Nothing::Yet => GlommioError::WouldBlock(ResourceType::Channel(())),
            Nothing::AnyMore => GlommioError::Closed(ResourceType::Channel(())),
        })
    }

    /// The items as a stream that borrows the receiver; it ends where [`recv`](Self::recv) gives
    /// `None`.
    ///
    /// There may be several at a time; each item comes out of one of them. The stream can be dropped
    /// and made anew without losing an item.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use glommio::{LocalExecutor, channels::local_channel};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = local_channel::new_unbounded();
    ///     for letter in ['a', 'b', 'c'] {
    ///         sender.try_send(letter).unwrap();
    ///     }
    ///     drop(sender);
    ///     assert_eq!(receiver.stream().collect::<String>().await, "abc");
    /// });
    /// ```
    pub fn stream(&self) -> impl Stream<Item = T> + '_ {
        ChannelStream(Place::new(&self.channel))
    }

    /// The items as a stream that owns the receiver.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use glommio::{LocalExecutor, channels::local_channel, spawn_local};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = local_channel::new_bounded(1);
    ///     let task = spawn_local(receiver.into_stream().map(|n| n * 2).collect::<Vec<_>>());
    ///     for number in 1..4 {
    ///         sender.send(number).await.unwrap();
    ///     }
    ///     drop(sender);
    ///     assert_eq!(task.await, [2, 4, 6]);
    /// });
    /// ```
    pub fn into_stream(self) -> OwnedChannelStream<T> {
        OwnedChannelStream {
            receiver: self,
            key: None,
        }
    }
}

impl<T> Drop for LocalReceiver<T> {
    fn drop(&mut self) {
        self.channel.remove_receiver();
    }
}

impl<T> fmt::Debug for LocalReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("LocalReceiver", &self.channel, f)
    }
}

/// A place among those who wait for an item, given up when it is dropped.
struct Place<'a, T> {
    channel: &'a Channel<T>,
    key: Option<Key>,
}

impl<'a, T> Place<'a, T> {
    fn new(channel: &'a Channel<T>) -> Self {
        Place { channel, key: None }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        self.channel.poll_take(&mut self.key, context)
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.channel.stop_waiting(&mut self.key);
    }
}

struct Recv<'a, T>(Place<'a, T>);

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll(context)
    }
}

struct ChannelStream<'a, T>(Place<'a, T>);

impl<T> Stream for ChannelStream<'_, T> {
    type Item = T;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll(context)
    }
}

/// The items of a channel as a stream that owns the receiver; see [`LocalReceiver::into_stream`].
///
/// Dropping it closes the channel, as dropping the receiver does.
///
/// # Examples
///
/// ```
/// use futures_lite::{StreamExt, future::block_on};
/// use glommio::channels::local_channel;
///
/// let (sender, receiver) = local_channel::new_unbounded();
/// let mut stream = receiver.into_stream();
/// sender.try_send(1).unwrap();
/// assert_eq!(block_on(stream.next()), Some(1));
/// drop(stream);
/// assert!(sender.try_send(2).is_err());
/// ```
pub struct OwnedChannelStream<T> {
    receiver: LocalReceiver<T>,
    key: Option<Key>,
}

impl<T> Stream for OwnedChannelStream<T> {
    type Item = T;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let stream = self.get_mut();
        stream.receiver.channel.poll_take(&mut stream.key, context)
    }
}

impl<T> Drop for OwnedChannelStream<T> {
    fn drop(&mut self) {
        self.receiver.channel.stop_waiting(&mut self.key);
    }
}

impl<T> fmt::Debug for OwnedChannelStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("OwnedChannelStream", &self.receiver.channel, f)
    }
}
