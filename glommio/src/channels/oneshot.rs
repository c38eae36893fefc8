//! A channel for one value, once.
//!
//! [`oneshot`] makes one within an executor, [`shared`] one whose halves may be sent to other threads,
//! executors or not. Neither half can be cloned, and sending never waits. The receiver is a future.
//!
//! # Examples
//!
//! ```
//! use glommio::{LocalExecutor, channels::oneshot, spawn_local};
//!
//! LocalExecutor::default().run(async {
//!     let (sender, receiver) = oneshot::oneshot();
//!     spawn_local(async move { sender.send("answer").unwrap() }).detach();
//!     assert_eq!(receiver.await.unwrap(), "answer");
//! });
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::storage::{Local, Shared, StateCell, Storage, poll_single};
use crate::error::{GlommioError, ResourceType};

/// The half of a [`shared`] channel that sends.
///
/// # Examples
///
/// ```
/// use glommio::channels::oneshot::{self, SharedSender};
///
/// fn answer(sender: SharedSender<u32>) {
///     sender.send(42).unwrap();
/// }
///
/// let (sender, mut receiver) = oneshot::shared();
/// std::thread::spawn(move || answer(sender)).join().unwrap();
/// assert_eq!(receiver.try_recv().unwrap(), 42);
/// ```
pub type SharedSender<T> = Sender<T, Shared>;

/// The half of a [`shared`] channel that receives.
///
/// # Examples
///
/// ```
/// use glommio::channels::oneshot::{self, SharedReceiver};
///
/// let (sender, receiver): (_, SharedReceiver<u32>) = oneshot::shared();
/// let thread = std::thread::spawn(move || futures_lite::future::block_on(receiver));
/// sender.send(42).unwrap();
/// assert_eq!(thread.join().unwrap().unwrap(), 42);
/// ```
pub type SharedReceiver<T> = Receiver<T, Shared>;

/// Makes a channel within an executor.
///
/// # Examples
///
/// ```
/// use futures_lite::future::block_on;
///
/// let (sender, receiver) = glommio::channels::oneshot::oneshot();
/// sender.send(7).unwrap();
/// assert_eq!(block_on(receiver).unwrap(), 7);
/// ```
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    halves()
}

/// Makes a channel between threads.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::oneshot};
///
/// let (sender, receiver) = oneshot::shared();
/// let thread = std::thread::spawn(move || sender.send("from a thread"));
/// LocalExecutor::default().run(async {
///     assert_eq!(receiver.await.unwrap(), "from a thread");
/// });
/// thread.join().unwrap().unwrap();
/// ```
pub fn shared<T: Send>() -> (SharedSender<T>, SharedReceiver<T>) {
    halves()
}

fn halves<T, S: Storage>() -> (Sender<T, S>, Receiver<T, S>) {
    let channel = S::share(Channel {
        state: S::Cell::new(State {
            value: None,
            sender_gone: false,
            closed: false,
            sender: None,
            receiver: None,
        }),
    });
    (
        Sender {
            channel: channel.clone(),
        },
        Receiver { channel },
    )
}

struct Channel<T, S: Storage> {
    state: S::Cell<State<T>>,
}

struct State<T> {
    value: Option<T>,
    /// It has sent or was dropped.
    sender_gone: bool,
    /// The receiver takes no value any more, but for one that is there.
    closed: bool,
    /// Waits for `closed`.
    sender: Option<Waker>,
    /// Waits for the value.
    receiver: Option<Waker>,
}

impl<T> State<T> {
    fn receive(&mut self) -> Option<Result<T, GlommioError<()>>> {
        match self.value.take() {
            Some(value) => Some(Ok(value)),
            None if self.sender_gone || self.closed => Some(Err(closed(()))),
            None => None,
        }
    }
}

fn closed<V>(value: V) -> GlommioError<V> {
    GlommioError::Closed(ResourceType::Channel(value))
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The half that sends.
///
/// Dropping it without sending ends the receiver's wait with an error. The second parameter tells a
/// local channel from a [`SharedSender`].
///
/// # Examples
///
/// ```
/// use futures_lite::future::block_on;
///
/// let (sender, receiver) = glommio::channels::oneshot::oneshot::<u32>();
/// drop(sender);
/// assert!(block_on(receiver).is_err());
/// ```
pub struct Sender<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
}

impl<T, S: Storage> Sender<T, S> {
    /// Sends the value.
    ///
    /// # Errors
    ///
    /// `Closed(Channel(value))`, with the value, if the receiver was dropped or
    /// [closed](Receiver::close). Success does not mean that the value will be received: the receiver
    /// may be dropped later, and the value with it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::oneshot::oneshot();
    /// drop(receiver);
    /// assert_eq!(sender.send(7).unwrap_err().into_inner(), Some(7));
    /// ```
    pub fn send(self, value: T) -> Result<(), GlommioError<T>> {
        let sent = self.channel.state.with(|state| {
            if state.closed {
                return Err(value);
            }
            state.value = Some(value);
            state.sender_gone = true;
            Ok(state.receiver.take())
        });
        wake(sent.map_err(closed)?);
        Ok(())
    }

    /// Whether a value would find no receiver: it was dropped or [closed](Receiver::close).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::oneshot::oneshot::<u32>();
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.channel.state.with(|state| state.closed)
    }

    /// Waits until the receiver is dropped or [closed](Receiver::close).
    ///
    /// For stopping work on a value that nobody waits for any more.
    ///
    /// # Cancel safety
    ///
    /// The wait may be dropped and begun again.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{FutureExt, future::block_on};
    ///
    /// let (mut sender, receiver) = glommio::channels::oneshot::oneshot::<u32>();
    /// drop(receiver);
    /// let work = async {
    ///     std::future::pending::<()>().await;
    ///     Some(7)
    /// };
    /// let gave_up = async {
    ///     sender.closed().await;
    ///     None
    /// };
    /// assert_eq!(block_on(gave_up.or(work)), None);
    /// ```
    pub async fn closed(&mut self) {
        ClosedWait {
            channel: &*self.channel,
        }
        .await;
    }
}

/// The wait of [`Sender::closed`].
struct ClosedWait<'a, T, S: Storage> {
    channel: &'a Channel<T, S>,
}

impl<T, S: Storage> Future for ClosedWait<'_, T, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        poll_single(
            &self.channel.state,
            context,
            |state: &mut State<T>| &mut state.sender,
            |state| state.closed.then_some(()),
        )
    }
}

impl<T, S: Storage> Drop for ClosedWait<'_, T, S> {
    fn drop(&mut self) {
        let waker = self.channel.state.with(|state| state.sender.take());
        drop(waker);
    }
}

impl<T, S: Storage> Drop for Sender<T, S> {
    fn drop(&mut self) {
        let waker = self.channel.state.with(|state| {
            state.sender_gone = true;
            state.receiver.take()
        });
        wake(waker);
    }
}

impl<T, S: Storage> fmt::Debug for Sender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The half that receives: a future of the value.
///
/// The second parameter tells a local channel from a [`SharedReceiver`].
///
/// # Errors
///
/// The future gives `Closed(Channel(()))` if the sender was dropped without sending; also if it is
/// polled again after it gave the value.
///
/// # Cancel safety
///
/// Dropping it closes the channel. A `&mut` of it may be awaited, dropped and awaited again without
/// losing the value.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::oneshot};
///
/// LocalExecutor::default().run(async {
///     let (sender, mut receiver) = oneshot::oneshot();
///     let early = futures_lite::future::poll_once(&mut receiver).await;
///     assert!(early.is_none());
///     sender.send(7).unwrap();
///     assert_eq!(receiver.await.unwrap(), 7);
/// });
/// ```
pub struct Receiver<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
}

impl<T, S: Storage> Receiver<T, S> {
    /// Receives the value, if it is there.
    ///
    /// # Errors
    ///
    /// `WouldBlock(Channel(()))` if it is not there yet, `Closed(Channel(()))` if it never will be.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, mut receiver) = glommio::channels::oneshot::oneshot();
    /// assert!(receiver.try_recv().is_err());
    /// sender.send(7).unwrap();
    /// assert_eq!(receiver.try_recv().unwrap(), 7);
    /// ```
    pub fn try_recv(&mut self) -> Result<T, GlommioError<()>> {
        let received = self.channel.state.with(State::receive);
        received.unwrap_or(Err(GlommioError::WouldBlock(ResourceType::Channel(()))))
    }

    /// Refuses a value that has not been sent yet. One that has can still be received.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, mut receiver) = glommio::channels::oneshot::oneshot();
    /// receiver.close();
    /// assert!(sender.send(7).is_err());
    /// assert!(receiver.try_recv().is_err());
    /// ```
    pub fn close(&mut self) {
        let waker = self.channel.state.with(|state| {
            state.closed = true;
            state.sender.take()
        });
        wake(waker);
    }
}

impl<T, S: Storage> Future for Receiver<T, S> {
    type Output = Result<T, GlommioError<()>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_single(
            &self.channel.state,
            context,
            |state: &mut State<T>| &mut state.receiver,
            State::receive,
        )
    }
}

impl<T, S: Storage> Drop for Receiver<T, S> {
    fn drop(&mut self) {
        self.close();
        let left = self
            .channel
            .state
            .with(|state| (state.value.take(), state.receiver.take()));
        drop(left);
    }
}

impl<T, S: Storage> fmt::Debug for Receiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, sender_gone) = self
            .channel
            .state
            .with(|state| (state.value.is_some(), state.sender_gone));
        f.debug_struct("Receiver")
            .field("sent", &sent)
            .field("sender_gone", &sender_gone)
            .finish()
    }
}
