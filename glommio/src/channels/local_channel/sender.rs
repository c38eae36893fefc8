//! The half that sends.

use std::{
    fmt,
    rc::{Rc, Weak},
};

use super::channel::{Channel, Refused, Send};
use crate::error::GlommioError;

/// The half of a local channel that sends.
///
/// It can be cloned; the receiver learns that nothing more will come when the last clone is dropped.
/// [`WeakLocalSender`] does not count.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::local_channel, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let (sender, receiver) = local_channel::new_bounded(1);
///     for number in [1, 2, 3] {
///         let sender = sender.clone();
///         spawn_local(async move { sender.send(number).await }).detach();
///     }
///     drop(sender);
///     let mut sum = 0;
///     while let Some(number) = receiver.recv().await {
///         sum += number;
///     }
///     assert_eq!(sum, 6);
/// });
/// ```
pub struct LocalSender<T> {
    channel: Rc<Channel<T>>,
}

impl<T> LocalSender<T> {
    /// The sender that a new channel counts already.
    pub(super) fn first(channel: Rc<Channel<T>>) -> Self {
        LocalSender { channel }
    }

    /// Sends an item, if that is possible without waiting.
    ///
    /// It is possible while there is room; and if a task waits for an item, it gets this one at once.
    ///
    /// # Errors
    ///
    /// `WouldBlock(Channel(item))` if the channel is full, `Closed(Channel(item))` if the receiver is
    /// gone. Both hand the item back.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, ResourceType, channels::local_channel};
    ///
    /// let (sender, receiver) = local_channel::new_bounded(1);
    /// assert!(sender.try_send(1).is_ok());
    /// assert!(matches!(
    ///     sender.try_send(2),
    ///     Err(GlommioError::WouldBlock(ResourceType::Channel(2)))
    /// ));
    /// drop(receiver);
    /// assert!(matches!(
    ///     sender.try_send(3),
    ///     Err(GlommioError::Closed(ResourceType::Channel(3)))
    /// ));
    /// ```
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), GlommioError<T>> {
        self.channel.offer(item).map_err(GlommioError::from)
    }

    /// Sends an item, and waits while the channel is full.
    ///
    /// Senders that wait are served in the order in which the waits began; nobody that comes later
    /// overtakes them.
    ///
    /// # Errors
    ///
    /// `Closed(Channel(item))`, with the item, if the receiver is gone or goes while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits gives up its place and drops the item. To keep it, use
    /// [`try_send`](Self::try_send).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::local_channel};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = local_channel::new_bounded(1);
    ///     sender.send("item").await.unwrap();
    ///     assert_eq!(receiver.recv().await, Some("item"));
    ///
    ///     drop(receiver);
    ///     let error = sender.send("lost?").await.unwrap_err();
    ///     assert_eq!(error.into_inner(), Some("lost?"));
    /// });
    /// ```
    #[inline]
    pub async fn send(&self, item: T) -> Result<(), GlommioError<T>> {
        match self.channel.offer(item) {
            Ok(()) => Ok(()),
            Err(Refused::Full(item)) => Send::new(&self.channel, item).await,
            Err(closed) => Err(closed.into()),
        }
    }

    /// Whether there is no room: [`send`](Self::send) would wait.
    ///
    /// An unbounded channel is never full.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::local_channel::new_bounded(1);
    /// assert!(!sender.is_full());
    /// sender.try_send(1).unwrap();
    /// assert!(sender.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.channel.is_full()
    }

    /// How many items were sent and not received yet.
    ///
    /// Items of senders that wait are not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::local_channel::new_unbounded();
    /// sender.try_send('a').unwrap();
    /// sender.try_send('b').unwrap();
    /// assert_eq!(sender.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Whether everything that was sent has been received.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::local_channel::new_unbounded();
    /// sender.try_send('a').unwrap();
    /// assert!(!sender.is_empty());
    /// receiver.try_recv().unwrap();
    /// assert!(sender.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reference to the channel that does not keep it open.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::local_channel};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = local_channel::new_unbounded::<u32>();
    ///     let weak = sender.downgrade();
    ///     drop(sender);
    ///     assert_eq!(receiver.recv().await, None); // `weak` does not count
    ///     assert!(weak.upgrade().is_none());
    /// });
    /// ```
    pub fn downgrade(&self) -> WeakLocalSender<T> {
        WeakLocalSender {
            channel: Rc::downgrade(&self.channel),
        }
    }
}

impl<T> Clone for LocalSender<T> {
    fn clone(&self) -> Self {
        self.channel.add_sender();
        LocalSender {
            channel: self.channel.clone(),
        }
    }
}

impl<T> Drop for LocalSender<T> {
    fn drop(&mut self) {
        self.channel.remove_sender();
    }
}

impl<T> fmt::Debug for LocalSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("LocalSender", &self.channel, f)
    }
}

/// What both halves have to say about their channel.
pub(super) fn describe<T>(
    name: &str,
    channel: &Channel<T>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.debug_struct(name)
        .field("len", &channel.len())
        .field("capacity", &channel.capacity())
        .field("closed", &channel.is_closed())
        .finish()
}

/// A reference to a local channel that does not keep it open.
///
/// Comes from [`LocalSender::downgrade`].
///
/// # Examples
///
/// ```
/// let (sender, receiver) = glommio::channels::local_channel::new_unbounded();
/// let weak = sender.downgrade();
/// weak.upgrade().unwrap().try_send(1).unwrap();
/// assert_eq!(receiver.try_recv().unwrap(), 1);
/// ```
pub struct WeakLocalSender<T> {
    channel: Weak<Channel<T>>,
}

impl<T> WeakLocalSender<T> {
    /// A sender, if there is still one.
    ///
    /// Once the last sender is gone the channel is closed for good.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::local_channel::new_unbounded::<u32>();
    /// let weak = sender.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(sender);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn upgrade(&self) -> Option<LocalSender<T>> {
        let channel = self.channel.upgrade()?;
        channel.revive_sender().then(|| LocalSender { channel })
    }
}

impl<T> Clone for WeakLocalSender<T> {
    fn clone(&self) -> Self {
        WeakLocalSender {
            channel: self.channel.clone(),
        }
    }
}

impl<T> fmt::Debug for WeakLocalSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakLocalSender").finish_non_exhaustive()
    }
}
