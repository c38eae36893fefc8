//! A channel in which every receiver gets every message.
//!
//! Any number of [`Sender`]s, any number of [`Receiver`]s. Sending never waits: the channel keeps the
//! last so many messages, and a receiver that is further behind has missed some. It is told how many
//! ([`RecvError::Lagged`]) and goes on with the oldest that is kept.
//!
//! [`broadcast`] makes one within an executor, [`shared`] one whose halves may be sent to other
//! threads, executors or not.
//!
//! A message is dropped once every receiver has it, the last of them gets it without a clone. `Clone`
//! of a message must leave the channel alone: using it from there is a panic.
//!
//! # Examples
//!
//! ```
//! use futures_lite::StreamExt;
//! use glommio::{LocalExecutor, channels::broadcast, spawn_local};
//!
//! LocalExecutor::default().run(async {
//!     let (sender, receiver) = broadcast::broadcast(16);
//!     let listeners: Vec<_> = [receiver, sender.subscribe()]
//!         .into_iter()
//!         .map(|receiver| spawn_local(receiver.map(Result::unwrap).collect::<Vec<_>>()))
//!         .collect();
//!     for message in ["one", "two"] {
//!         assert_eq!(sender.send(message).unwrap(), 2);
//!     }
//!     drop(sender);
//!     for listener in listeners {
//!         assert_eq!(listener.await, ["one", "two"]);
//!     }
//! });
//! ```

mod error;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

pub use self::error::{RecvError, TryRecvError};

use super::storage::{Local, Shared, StateCell, Storage};
use crate::{
    error::{GlommioError, ResourceType},
    waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled},
};

/// The half of a [`shared`] channel that sends.
///
/// # Examples
///
/// ```
/// use glommio::channels::broadcast::{self, SharedSender};
///
/// let (sender, mut receiver): (SharedSender<u32>, _) = broadcast::shared(4);
/// let threads = [1, 2].map(|number| {
///     let sender = sender.clone();
///     std::thread::spawn(move || sender.send(number).unwrap())
/// });
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// assert_eq!(receiver.try_recv().unwrap() + receiver.try_recv().unwrap(), 3);
/// ```
pub type SharedSender<T> = Sender<T, Shared>;

/// The half of a [`shared`] channel that receives.
///
/// # Examples
///
/// ```
/// use glommio::channels::broadcast::{self, SharedReceiver};
///
/// let (sender, mut receiver): (_, SharedReceiver<u32>) = broadcast::shared(4);
/// let thread = std::thread::spawn(move || futures_lite::future::block_on(receiver.recv()));
/// sender.send(1).unwrap();
/// assert_eq!(thread.join().unwrap(), Ok(1));
/// ```
pub type SharedReceiver<T> = Receiver<T, Shared>;

/// Makes a channel within an executor that keeps up to `capacity` messages.
///
/// Memory is taken as messages come, not for the whole capacity at once.
///
/// # Panics
///
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// let (sender, mut receiver) = glommio::channels::broadcast::broadcast(2);
/// sender.send('a').unwrap();
/// assert_eq!(receiver.try_recv(), Ok('a'));
/// ```
pub fn broadcast<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    halves(capacity)
}

/// Makes a channel between threads that keeps up to `capacity` messages.
///
/// # Panics
///
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::broadcast};
///
/// let (sender, mut receiver) = broadcast::shared(8);
/// let thread = std::thread::spawn(move || sender.send("from a thread"));
/// LocalExecutor::default().run(async {
///     assert_eq!(receiver.recv().await, Ok("from a thread"));
/// });
/// thread.join().unwrap().unwrap();
/// ```
pub fn shared<T: Clone + Send>(capacity: usize) -> (SharedSender<T>, SharedReceiver<T>) {
    halves(capacity)
}

fn halves<T, S: Storage>(capacity: usize) -> (Sender<T, S>, Receiver<T, S>) {
    assert!(
        capacity > 0,
        "a broadcast channel of capacity 0 could keep no message for anyone: ask for 1 or more"
    );
    let channel = S::share(Channel {
        state: S::Cell::new(State {
            messages: VecDeque::new(),
            first: 0,
            capacity,
            senders: 1,
            receivers: 1,
            waiters: Waiters::new(),
        }),
    });
    (
        Sender {
            channel: channel.clone(),
        },
        Receiver {
            channel,
            next: 0,
            key: None,
        },
    )
}

struct Channel<T, S: Storage> {
    state: S::Cell<State<T>>,
}

/// Messages are numbered from 0 on. A receiver has the number of the next that it wants.
///
/// A message is unread by those receivers whose next is not beyond it. So a message is unread by at
/// most as many as the one after it, and those that nobody wants any more stand in front.
struct State<T> {
    messages: VecDeque<Message<T>>,
    /// The number of the first in `messages`.
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    waiters: Waiters<(), ()>,
}

struct Message<T> {
    value: T,
    /// How many receivers want it.
    unread: usize,
}

impl<T> State<T> {
    /// The number that the next message will have.
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Those that a receiver wants which wants `next` next.
    fn wanted_from(&mut self, next: u64) -> impl Iterator<Item = &mut Message<T>> {
        let skipped = next.saturating_sub(self.first) as usize; // at most `messages.len()`
        self.messages.range_mut(skipped..)
    }

    /// Takes out what nobody wants any more, to be dropped outside of the access.
    fn take_unwanted(&mut self) -> VecDeque<Message<T>> {
        let unwanted = self
            .messages
            .iter()
            .take_while(|message| message.unread == 0)
            .count();
        self.first += unwanted as u64;
        self.messages.drain(..unwanted).collect()
    }

    fn receive(&mut self, next: &mut u64) -> Result<T, TryRecvError>
    where
        T: Clone,
    {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Err(TryRecvError::Lagged(missed));
        }
        let at = (*next - self.first) as usize; // at most `messages.len()`
        let Some(message) = self.messages.get_mut(at) else {
            return Err(match self.senders {
                0 => TryRecvError::Closed,
                _ => TryRecvError::Empty,
            });
        };
        if message.unread > 1 {
            // If this panics, nothing has changed.
            let value = message.value.clone();
            message.unread -= 1;
            *next += 1;
            return Ok(value);
        }
        // Nobody else wants it, hence none of those before it either: it is the first.
        debug_assert_eq!(at, 0);
        let message = self.messages.pop_front().ok_or(TryRecvError::Empty)?;
        self.first += 1;
        *next += 1;
        Ok(message.value)
    }
}

impl<T, S: Storage> WaiterCell for Channel<T, S> {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        self.state.with(|state| f(&mut state.waiters))
    }
}

/// The half that sends.
///
/// It can be cloned. When the last clone is dropped, receivers get what is left and then
/// [`RecvError::Closed`]. The second parameter tells a local channel from a [`SharedSender`].
///
/// # Examples
///
/// ```
/// use glommio::channels::broadcast::{TryRecvError, broadcast};
///
/// let (sender, mut receiver) = broadcast(4);
/// let other = sender.clone();
/// other.send(1).unwrap();
/// drop((sender, other));
/// assert_eq!(receiver.try_recv(), Ok(1));
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
/// ```
pub struct Sender<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
}

impl<T: Clone, S: Storage> Sender<T, S> {
    /// Sends a message to every receiver there is now, and says how many they are.
    ///
    /// If the channel is full, the oldest message goes; receivers that want it have missed it. That
    /// they are counted does not mean that they will look.
    ///
    /// # Errors
    ///
    /// `Closed(Channel(message))`, with the message, if there is no receiver. There may be one again
    /// after [`subscribe`](Self::subscribe).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::broadcast::broadcast(4);
    /// assert_eq!(sender.send("hello").unwrap(), 1);
    /// drop(receiver);
    /// assert_eq!(sender.send("anyone?").unwrap_err().into_inner(), Some("anyone?"));
    /// ```
    pub fn send(&self, value: T) -> Result<usize, GlommioError<T>> {
        let sent = self.channel.state.with(|state| {
            let unread = state.receivers;
            if unread == 0 {
                return Err(value);
            }
            let mut oldest = None;
            if state.messages.len() == state.capacity {
                oldest = state.messages.pop_front();
                state.first += 1;
            }
            state.messages.push_back(Message { value, unread });
            state.waiters.settle_all(());
            Ok((unread, oldest))
        });
        let (receivers, missed) =
            sent.map_err(|value| GlommioError::Closed(ResourceType::Channel(value)))?;
        wake_settled(&*self.channel);
        drop(missed);
        Ok(receivers)
    }

    /// A new receiver, for what is sent from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, mut first) = glommio::channels::broadcast::broadcast(4);
    /// sender.send(1).unwrap();
    /// let mut second = sender.subscribe();
    /// sender.send(2).unwrap();
    /// assert_eq!((first.try_recv(), first.try_recv()), (Ok(1), Ok(2)));
    /// assert_eq!(second.try_recv(), Ok(2));
    /// ```
    pub fn subscribe(&self) -> Receiver<T, S> {
        let next = self.channel.state.with(|state| {
            state.receivers += 1;
            state.end()
        });
        Receiver {
            channel: self.channel.clone(),
            next,
            key: None,
        }
    }

    /// How many receivers there are.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::broadcast::broadcast::<u32>(4);
    /// let _other = sender.subscribe();
    /// assert_eq!(sender.receiver_count(), 2);
    /// ```
    pub fn receiver_count(&self) -> usize {
        self.channel.state.with(|state| state.receivers)
    }
}

impl<T, S: Storage> Clone for Sender<T, S> {
    fn clone(&self) -> Self {
        self.channel.state.with(|state| state.senders += 1);
        Sender {
            channel: self.channel.clone(),
        }
    }
}

impl<T, S: Storage> Drop for Sender<T, S> {
    fn drop(&mut self) {
        self.channel.state.with(|state| {
            state.senders -= 1;
            if state.senders == 0 {
                state.waiters.settle_all(());
            }
        });
        wake_settled(&*self.channel);
    }
}

impl<T, S: Storage> fmt::Debug for Sender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, receivers) = self
            .channel
            .state
            .with(|state| (state.messages.len(), state.receivers));
        f.debug_struct("Sender")
            .field("kept", &kept)
            .field("receivers", &receivers)
            .finish()
    }
}

/// The half that receives.
///
/// A clone gets the messages that the original has not received yet. As a stream it gives what
/// [`recv`](Self::recv) does, and ends where that says `Closed`. The second parameter tells a local
/// channel from a [`SharedReceiver`].
///
/// # Examples
///
/// ```
/// use futures_lite::{StreamExt, future::block_on};
/// use glommio::channels::broadcast::{RecvError, broadcast};
///
/// let (sender, receiver) = broadcast(2);
/// for number in 1..=3 {
///     sender.send(number).unwrap();
/// }
/// drop(sender);
/// let received: Vec<_> = block_on(receiver.collect());
/// assert_eq!(received, [Err(RecvError::Lagged(1)), Ok(2), Ok(3)]);
/// ```
pub struct Receiver<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
    /// The number of the message that it wants next.
    next: u64,
    /// Its place among those who wait.
    key: Option<Key>,
}

impl<T: Clone, S: Storage> Receiver<T, S> {
    /// Receives the next message, and waits until there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] with the number of messages missed, if the next one is not kept any more:
    /// the call after that gives the oldest that is. [`RecvError::Closed`] if all senders are gone and
    /// everything was received.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::broadcast::{RecvError, broadcast}, spawn_local};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, mut receiver) = broadcast(4);
    ///     spawn_local(async move { sender.send("hello") }).detach();
    ///     assert_eq!(receiver.recv().await, Ok("hello"));
    ///     assert_eq!(receiver.recv().await, Err(RecvError::Closed));
    /// });
    /// ```
    pub fn recv(&mut self) -> Recv<'_, T, S> {
        Recv { receiver: self }
    }

    /// Receives the next message, if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv), and [`TryRecvError::Empty`] where that would wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::channels::broadcast::{TryRecvError, broadcast};
    ///
    /// let (sender, mut receiver) = broadcast(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send('a').unwrap();
    /// sender.send('b').unwrap();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(1)));
    /// assert_eq!(receiver.try_recv(), Ok('b'));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let next = &mut self.next;
        self.channel.state.with_clones(|state| state.receive(next))
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Result<T, RecvError>> {
        if let Some(key) = self.key {
            ready!(poll_verdict(&*self.channel, key, context));
            self.key = None;
        }
        loop {
            match self.try_recv() {
                Ok(message) => return Poll::Ready(Ok(message)),
                Err(TryRecvError::Lagged(missed)) => {
                    return Poll::Ready(Err(RecvError::Lagged(missed)));
                }
                Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError::Closed)),
                Err(TryRecvError::Empty) => {}
            }
            let waker = context.waker().clone();
            let next = self.next;
            let unneeded = self.channel.state.with(|state| {
                if next != state.end() || state.senders == 0 {
                    return Some(waker);
                }
                self.key = Some(state.waiters.push((), waker));
                None
            });
            if unneeded.is_none() {
                return Poll::Pending;
            }
        }
    }
}

impl<T, S: Storage> Receiver<T, S> {
    fn stop_waiting(&mut self) {
        if let Some(key) = self.key.take() {
            let removed = self.channel.with_waiters(|waiters| waiters.remove(key));
            drop(removed);
        }
    }
}

impl<T, S: Storage> Clone for Receiver<T, S> {
    fn clone(&self) -> Self {
        self.channel.state.with(|state| {
            state.receivers += 1;
            for message in state.wanted_from(self.next) {
                message.unread += 1;
            }
        });
        Receiver {
            channel: self.channel.clone(),
            next: self.next,
            key: None,
        }
    }
}

impl<T, S: Storage> Drop for Receiver<T, S> {
    fn drop(&mut self) {
        self.stop_waiting();
        let unwanted = self.channel.state.with(|state| {
            state.receivers -= 1;
            for message in state.wanted_from(self.next) {
                message.unread -= 1;
            }
            state.take_unwanted()
        });
        drop(unwanted);
    }
}

impl<T: Clone, S: Storage> Stream for Receiver<T, S> {
    type Item = Result<T, RecvError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let received = ready!(self.get_mut().poll_recv(context));
        Poll::Ready(match received {
            Err(RecvError::Closed) => None,
            received => Some(received),
        })
    }
}

impl<T, S: Storage> fmt::Debug for Receiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, senders) = self
            .channel
            .state
            .with(|state| (state.end(), state.senders));
        f.debug_struct("Receiver")
            .field("behind", &(end - self.next))
            .field("senders", &senders)
            .finish()
    }
}

/// The wait for a message; see [`Receiver::recv`].
///
/// # Cancel safety
///
/// Dropping it loses no message.
///
/// # Examples
///
/// ```
/// use futures_lite::future::{block_on, poll_once};
///
/// let (sender, mut receiver) = glommio::channels::broadcast::broadcast(4);
/// assert!(block_on(poll_once(receiver.recv())).is_none());
/// sender.send(1).unwrap();
/// assert_eq!(block_on(poll_once(receiver.recv())), Some(Ok(1)));
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T, S: Storage = Local> {
    receiver: &'a mut Receiver<T, S>,
}

impl<T: Clone, S: Storage> Future for Recv<'_, T, S> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_recv(context)
    }
}

impl<T, S: Storage> Drop for Recv<'_, T, S> {
    fn drop(&mut self) {
        self.receiver.stop_waiting();
    }
}

impl<T, S: Storage> fmt::Debug for Recv<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("receiver", &self.receiver)
            .finish()
    }
}
