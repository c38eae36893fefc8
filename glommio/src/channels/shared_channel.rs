//! Messages from one executor to another, or from any thread to any other.
//!
//! A shared channel has one sender and one receiver. [`new_bounded`] makes both; they are sent to
//! where they are to be used, and [connected](SharedSender::connect) there. Connecting waits for the
//! other side. From then on a half belongs to its thread; only a [`ForeignSender`] goes on travelling.
//!
//! # When one side goes away
//!
//! A half is closed when it is dropped, at whatever stage: before it is connected, while it waits,
//! together with its task or executor. The other half notices, even if it sleeps:
//!
//! - The receiver gets what was sent before, in order, and then `None`.
//! - The sender gets [`Closed`](GlommioError::Closed), with the message that was not taken. Messages
//!   that were taken and not received yet are dropped with the receiver.
//! - Who waits for the other side to connect waits no longer, and finds the channel closed.
//!
//! # Several tasks at one half
//!
//! Tasks of one thread may share a half (in an [`Rc`]): those that wait are served in
//! the order in which they began to.
//!
//! # Cost
//!
//! Sending or receiving a message is a few memory accesses and one atomic instruction, with no
//! allocation. The other side is woken only if it sleeps, and once, however many messages follow until
//! it looks. A half in the middle of a stream of messages yields to its executor for some microseconds
//! before it sleeps. Waking and sleeping work by the wakers of tasks, so either half works with any executor.
//!
//! # Examples
//!
//! ```
//! use glommio::{LocalExecutorBuilder, channels::shared_channel};
//!
//! let (sender, receiver) = shared_channel::new_bounded(8);
//!
//! let producer = LocalExecutorBuilder::default().spawn(move || async move {
//!     let sender = sender.connect().await;
//!     for number in 0..100 {
//!         sender.send(number).await.unwrap();
//!     }
//! })?;
//! let consumer = LocalExecutorBuilder::default().spawn(move || async move {
//!     let receiver = receiver.connect().await;
//!     let mut sum = 0;
//!     while let Some(number) = receiver.recv().await {
//!         sum += number;
//!     }
//!     sum
//! })?;
//!
//! producer.join()?;
//! assert_eq!(consumer.join()?, 4950);
//! # Ok::<(), glommio::GlommioError<()>>(())
//! ```

use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    link::{Receiving, Refused, Sending, link},
    pace::Pace,
    turns::{Turn, Turns},
};
use crate::error::{GlommioError, ResourceType, Result};

/// Makes a channel that holds up to `size` messages.
///
/// The memory for them is reserved at once, rounded up to a power of two. A `size` of zero counts as
/// one: a channel must be able to hold the message that is on its way.
///
/// # Panics
///
/// If the memory for `size` messages exceeds what the address space can hold.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::shared_channel};
/// use futures_lite::future;
///
/// let (sender, receiver) = shared_channel::new_bounded(1);
/// LocalExecutor::default().run(async {
///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
///     sender.send("hello").await?;
///     assert_eq!(receiver.recv().await, Some("hello"));
///     Ok::<(), glommio::GlommioError<&str>>(())
/// })
/// # .unwrap();
/// ```
pub fn new_bounded<T: Send>(size: usize) -> (SharedSender<T>, SharedReceiver<T>) {
    let (sender, receiver) = link(size.max(1), false);
    (
        SharedSender { half: sender },
        SharedReceiver { half: receiver },
    )
}

/// Makes a channel whose halves need not meet: whoever hands them out has waited for both sides.
pub(super) fn new_met<T: Send>(size: usize) -> (SharedSender<T>, SharedReceiver<T>) {
    let (sender, receiver) = link(size.max(1), true);
    (
        SharedSender { half: sender },
        SharedReceiver { half: receiver },
    )
}

/// The sending half of a shared channel, on its way to where it is used.
///
/// It can be sent to another thread; [`connect`](Self::connect) it there. Dropping it closes the
/// channel.
pub struct SharedSender<T: Send> {
    half: Sending<T>,
}

impl<T: Send> SharedSender<T> {
    /// Binds the half to this thread, and waits for the receiver to be connected.
    ///
    /// If the receiver is dropped instead, the wait ends, too, and the channel is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, LocalExecutor, channels::shared_channel};
    ///
    /// let (sender, receiver) = shared_channel::new_bounded::<u32>(8);
    /// drop(receiver);
    /// LocalExecutor::default().run(async {
    ///     let sender = sender.connect().await;
    ///     assert!(matches!(sender.send(1).await, Err(GlommioError::Closed(_))));
    /// });
    /// ```
    pub async fn connect(self) -> ConnectedSender<T> {
        let half = self.half;
        half.arrive();
        poll_fn(|context| half.poll_meeting(context)).await;
        ConnectedSender::new(half)
    }

    /// Binds a half that need not meet the other.
    pub(super) fn bind(self) -> ConnectedSender<T> {
        ConnectedSender::new(self.half)
    }
}

impl<T: Send> fmt::Debug for SharedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_sender("SharedSender", &self.half, f)
    }
}

/// The receiving half of a shared channel, on its way to where it is used.
///
/// It can be sent to another thread; [`connect`](Self::connect) it there. Dropping it closes the
/// channel.
pub struct SharedReceiver<T: Send> {
    half: Receiving<T>,
}

impl<T: Send> SharedReceiver<T> {
    /// Binds the half to this thread, and waits for the sender to be connected.
    ///
    /// If the sender is dropped instead, the wait ends, too, and the channel is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::shared_channel};
    ///
    /// let (sender, receiver) = shared_channel::new_bounded::<u32>(8);
    /// drop(sender);
    /// LocalExecutor::default().run(async {
    ///     let receiver = receiver.connect().await;
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    pub async fn connect(self) -> ConnectedReceiver<T> {
        let half = self.half;
        half.arrive();
        poll_fn(|context| half.poll_meeting(context)).await;
        ConnectedReceiver::new(half)
    }

    /// Binds a half that need not meet the other.
    pub(super) fn bind(self) -> ConnectedReceiver<T> {
        ConnectedReceiver::new(self.half)
    }
}

impl<T: Send> fmt::Debug for SharedReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_receiver("SharedReceiver", &self.half, f)
    }
}

/// The sending half of a shared channel, bound to a thread.
///
/// Dropping it closes the channel: the receiver gets what was sent, and then `None`.
pub struct ConnectedSender<T: Send> {
    half: Sending<T>,
    turns: Turns,
    pace: Pace,
    /// Bound to its thread.
    _local: PhantomData<Rc<()>>,
}

impl<T: Send> ConnectedSender<T> {
    fn new(half: Sending<T>) -> Self {
        ConnectedSender {
            half,
            turns: Turns::new(),
            pace: Pace::new(),
            _local: PhantomData,
        }
    }

    /// Sends a message, and waits while the channel is full.
    ///
    /// Tasks that wait here get room in the order in which they began to wait.
    ///
    /// # Errors
    ///
    /// [`Closed`](GlommioError::Closed) with the message, if the receiver is gone or this half was
    /// closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing was sent, and the message is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutorBuilder, channels::shared_channel};
    ///
    /// let (sender, receiver) = shared_channel::new_bounded(1);
    /// let sending = LocalExecutorBuilder::default().spawn(move || async move {
    ///     let sender = sender.connect().await;
    ///     for word in ["one", "after", "the", "other"] {
    ///         sender.send(word).await.unwrap();
    ///     }
    /// })?;
    /// let receiving = LocalExecutorBuilder::default().spawn(move || async move {
    ///     let receiver = receiver.connect().await;
    ///     assert_eq!(receiver.recv().await, Some("one"));
    ///     assert_eq!(receiver.recv().await, Some("after"));
    ///     assert_eq!(receiver.recv().await, Some("the"));
    ///     assert_eq!(receiver.recv().await, Some("other"));
    /// })?;
    /// sending.join()?;
    /// receiving.join()?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    #[inline]
    pub async fn send(&self, item: T) -> Result<(), T> {
        let item = if self.turns.is_free() {
            match self.half.try_send(item) {
                Ok(()) => {
                    self.pace.moved();
                    return Ok(());
                }
                Err(Refused::Closed(item)) => return Err(closed(item)),
                Err(Refused::Full(item)) => item,
            }
        } else {
            item
        };
        SendWait {
            half: &self.half,
            pace: &self.pace,
            turn: self.turns.turn(),
            item: Some(item),
            asleep: false,
        }
        .await
    }

    /// Sends a message if there is room.
    ///
    /// It takes no heed of tasks that wait in [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](GlommioError::WouldBlock) with the message if the channel is full,
    /// [`Closed`](GlommioError::Closed) with the message if the receiver is gone or this half was
    /// closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, LocalExecutor, channels::shared_channel};
    /// use futures_lite::future;
    ///
    /// let (sender, receiver) = shared_channel::new_bounded(1);
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
    ///     assert!(sender.try_send(1).is_ok());
    ///     let error = sender.try_send(2).unwrap_err();
    ///     assert!(matches!(error, GlommioError::WouldBlock(_)));
    ///     assert_eq!(error.into_inner(), Some(2));
    ///     assert_eq!(receiver.recv().await, Some(1));
    /// });
    /// ```
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), T> {
        self.half.try_send(item).map_err(refused)
    }

    /// Closes the channel: the receiver gets what was sent before, and then `None`.
    ///
    /// Tasks that wait in [`send`](Self::send) get [`Closed`](GlommioError::Closed). Closing again
    /// does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::shared_channel};
    /// use futures_lite::future;
    ///
    /// let (sender, receiver) = shared_channel::new_bounded(8);
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
    ///     sender.try_send("last words").unwrap();
    ///     sender.close();
    ///     assert!(sender.try_send("too late").is_err());
    ///     assert_eq!(receiver.recv().await, Some("last words"));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    pub fn close(&self) {
        self.half.close();
    }

    /// Turns the half into one for a thread without an executor, and for any other.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::shared_channel};
    /// use futures_lite::future;
    ///
    /// let (sender, receiver) = shared_channel::new_bounded(8);
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
    ///     let sender = sender.into_foreign();
    ///     let thread = std::thread::spawn(move || sender.try_send("from a thread").unwrap());
    ///     assert_eq!(receiver.recv().await, Some("from a thread"));
    ///     thread.join().unwrap();
    /// });
    /// ```
    pub fn into_foreign(self) -> ForeignSender<T> {
        ForeignSender { half: self.half }
    }
}

impl<T: Send> fmt::Debug for ConnectedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_sender("ConnectedSender", &self.half, f)
    }
}

/// The sending half of a shared channel, for any thread; see [`ConnectedSender::into_foreign`].
///
/// It cannot wait. Dropping it closes the channel.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, LocalExecutor, channels::shared_channel};
/// use futures_lite::future;
///
/// let (sender, receiver) = shared_channel::new_bounded(2);
/// LocalExecutor::default().run(async {
///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
///     let sender = sender.into_foreign();
///     let thread = std::thread::spawn(move || {
///         assert_eq!(sender.free_space(), 2);
///         sender.try_send("one").unwrap();
///         sender.try_send("two").unwrap();
///     });
///     assert_eq!(receiver.recv().await, Some("one"));
///     assert_eq!(receiver.recv().await, Some("two"));
///     assert_eq!(receiver.recv().await, None);
///     thread.join().unwrap();
/// });
/// ```
pub struct ForeignSender<T: Send> {
    half: Sending<T>,
}

impl<T: Send> ForeignSender<T> {
    /// Sends a message if there is room, and wakes the receiver if it sleeps.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](GlommioError::WouldBlock) with the message if the channel is full,
    /// [`Closed`](GlommioError::Closed) with the message if the receiver is gone.
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), T> {
        self.half.try_send(item).map_err(refused)
    }

    /// How many messages can be sent before the channel is full; more, if the receiver goes on
    /// receiving.
    pub fn free_space(&self) -> usize {
        self.half.queue.free_space()
    }
}

impl<T: Send> fmt::Debug for ForeignSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_sender("ForeignSender", &self.half, f)
    }
}

/// The receiving half of a shared channel, bound to a thread.
///
/// It is a [`Stream`] of the messages. Dropping it closes the channel, and drops the messages that
/// were not received.
pub struct ConnectedReceiver<T: Send> {
    half: Receiving<T>,
    turns: Turns,
    pace: Pace,
    /// Bound to its thread.
    _local: PhantomData<Rc<()>>,
}

impl<T: Send> ConnectedReceiver<T> {
    fn new(half: Receiving<T>) -> Self {
        ConnectedReceiver {
            half,
            turns: Turns::new(),
            pace: Pace::new(),
            _local: PhantomData,
        }
    }

    /// Receives the next message, and waits while there is none; `None` when the channel is closed
    /// and everything that was sent has been received.
    ///
    /// Tasks that wait here get messages in the order in which they began to wait.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no message was taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::shared_channel};
    /// use futures_lite::future;
    ///
    /// let (sender, receiver) = shared_channel::new_bounded(8);
    /// LocalExecutor::default().run(async {
    ///     let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
    ///     sender.try_send(7).unwrap();
    ///     drop(sender);
    ///     assert_eq!(receiver.recv().await, Some(7));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    #[inline]
    pub async fn recv(&self) -> Option<T> {
        if self.turns.is_free() {
            if let Some(message) = self.half.try_recv() {
                self.pace.moved();
                return Some(message);
            }
        }
        RecvWait {
            half: &self.half,
            pace: &self.pace,
            turn: self.turns.turn(),
            asleep: false,
        }
        .await
    }
}

impl<T: Send> Stream for ConnectedReceiver<T> {
    type Item = T;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // This half is borrowed uniquely, so nobody waits in `recv`.
        poll_recv(&self.half, &self.pace, context)
    }
}

impl<T: Send> fmt::Debug for ConnectedReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_receiver("ConnectedReceiver", &self.half, f)
    }
}

/// A message that waits for its turn, and then for room.
struct SendWait<'a, T> {
    half: &'a Sending<T>,
    pace: &'a Pace,
    turn: Turn<'a>,
    item: Option<T>,
    /// It has the turn, and its waker is where the receiver finds it.
    asleep: bool,
}

// The message is never pinned.
impl<T> Unpin for SendWait<'_, T> {}

impl<T> Future for SendWait<'_, T> {
    type Output = Result<(), T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.turn.poll(context));
        if self.pace.rest() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let Some(item) = self.item.take() else {
                panic!("`send` was polled after it had completed");
            };
            let sent = self.half.try_send(item);
            if let Err(Refused::Full(item)) = sent {
                self.item = Some(item);
                if self.pace.look_again() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.asleep = true;
                ready!(self.half.poll_room(context));
                continue;
            }
            self.pace.moved();
            // Whoever made room, or closed, has taken the waker.
            self.asleep = false;
            return Poll::Ready(sent.map_err(refused));
        }
    }
}

impl<T> Drop for SendWait<'_, T> {
    fn drop(&mut self) {
        if self.asleep {
            self.half.stop_waiting();
        }
    }
}

/// A wait for the turn, and then for a message.
struct RecvWait<'a, T> {
    half: &'a Receiving<T>,
    pace: &'a Pace,
    turn: Turn<'a>,
    /// It has the turn, and its waker is where the sender finds it.
    asleep: bool,
}

impl<T> Future for RecvWait<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(self.turn.poll(context));
        // While it only looks it has left no waker there, and taking away none does no harm.
        self.asleep = true;
        let message = ready!(poll_recv(self.half, self.pace, context));
        self.asleep = false;
        Poll::Ready(message)
    }
}

impl<T> Drop for RecvWait<'_, T> {
    fn drop(&mut self) {
        if self.asleep {
            self.half.stop_waiting();
        }
    }
}

/// Waits for a message: at the executor for a while, if there was a stream of them, and then asleep.
#[inline]
fn poll_recv<T>(half: &Receiving<T>, pace: &Pace, context: &Context<'_>) -> Poll<Option<T>> {
    if pace.rest() {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    if let Some(message) = half.try_recv() {
        pace.moved();
        return Poll::Ready(Some(message));
    }
    if pace.look_again() && !half.queue.producer_disconnected() {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    let message = ready!(half.poll_recv(context));
    pace.moved();
    Poll::Ready(message)
}

fn closed<T>(item: T) -> GlommioError<T> {
    GlommioError::Closed(ResourceType::Channel(item))
}

fn refused<T>(refused: Refused<T>) -> GlommioError<T> {
    match refused {
        Refused::Closed(item) => closed(item),
        Refused::Full(item) => GlommioError::WouldBlock(ResourceType::Channel(item)),
    }
}

fn debug_sender<T>(name: &str, half: &Sending<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("free_space", &half.queue.free_space())
        .field("closed", &half.is_closed())
        .finish_non_exhaustive()
}

fn debug_receiver<T>(name: &str, half: &Receiving<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("sender_gone", &half.queue.producer_disconnected())
        .finish_non_exhaustive()
}
