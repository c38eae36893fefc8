//! A channel that keeps the latest value.
//!
//! One [`Sender`] sets the value, any number of [`Receiver`]s look at it whenever they like, and wait
//! for it to change. What is set twice between two looks is seen once: for configuration, for the
//! state of something, not for messages.
//!
//! [`watch`] makes one within an executor, [`shared`] one whose halves may be sent to other threads,
//! executors or not.
//!
//! # Looking at a value while it is set
//!
//! While a value is looked at, through [`Receiver::borrow`] or inside of a closure given to
//! [`with_current`](Receiver::with_current), it cannot be set. Setting a shared one waits, as for a
//! mutex; keep the closures short. Setting it from the same thread in the middle of that is refused
//! with `WouldBlock`, by both kinds.
//!
//! # Examples
//!
//! ```
//! use glommio::{LocalExecutor, channels::watch, spawn_local};
//!
//! LocalExecutor::default().run(async {
//!     let (sender, mut receiver) = watch::watch("starting");
//!     let observer = spawn_local(async move {
//!         while *receiver.borrow() != "ready" {
//!             receiver.changed().await.unwrap();
//!         }
//!     });
//!     sender.send("loading").unwrap();
//!     sender.send("ready").unwrap();
//!     observer.await;
//! });
//! ```

use std::{
    cell::Ref,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::storage::{Local, Shared, StateCell, Storage};
use crate::{
    error::{GlommioError, ResourceType},
    waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled},
};

/// The half of a [`shared`] channel that sets the value.
///
/// # Examples
///
/// ```
/// use glommio::channels::watch::{self, SharedSender};
///
/// fn work(progress: SharedSender<u32>) {
///     progress.send(100).unwrap();
/// }
///
/// let (progress, receiver) = watch::shared(0);
/// std::thread::spawn(move || work(progress)).join().unwrap();
/// assert_eq!(receiver.get(), 100);
/// ```
pub type SharedSender<T> = Sender<T, Shared>;

/// The half of a [`shared`] channel that looks at the value.
///
/// # Examples
///
/// ```
/// use glommio::channels::watch::{self, SharedReceiver};
///
/// let (sender, mut receiver): (_, SharedReceiver<u32>) = watch::shared(0);
/// let thread = std::thread::spawn(move || {
///     futures_lite::future::block_on(receiver.changed()).unwrap();
///     receiver.get()
/// });
/// sender.send(7).unwrap();
/// assert_eq!(thread.join().unwrap(), 7);
/// ```
pub type SharedReceiver<T> = Receiver<T, Shared>;

/// Makes a channel within an executor, with a first value.
///
/// The receiver counts the first value as seen.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = glommio::channels::watch::watch(1);
/// sender.send(2).unwrap();
/// assert_eq!(receiver.get(), 2);
/// ```
pub fn watch<T>(value: T) -> (Sender<T>, Receiver<T>) {
    halves(value)
}

/// Makes a channel between threads, with a first value.
///
/// The receiver counts the first value as seen.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, channels::watch};
///
/// let (sender, mut receiver) = watch::shared(0);
/// let thread = std::thread::spawn(move || {
///     for progress in 1..=100 {
///         sender.send(progress).unwrap();
///     }
/// });
/// LocalExecutor::default().run(async {
///     while receiver.get() < 100 {
///         receiver.changed().await.unwrap();
///     }
/// });
/// thread.join().unwrap();
/// ```
pub fn shared<T: Send>(value: T) -> (SharedSender<T>, SharedReceiver<T>) {
    halves(value)
}

fn halves<T, S: Storage>(value: T) -> (Sender<T, S>, Receiver<T, S>) {
    let channel = S::share(Channel {
        value: S::Cell::new(value),
        state: S::Cell::new(State {
            version: 0,
            sender_gone: false,
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
            seen: 0,
            key: None,
        },
    )
}

/// The value is set before its version is counted, in an access of its own: who sees a version and
/// looks afterwards finds its value, or a later one that is yet to be counted.
struct Channel<T, S: Storage> {
    value: S::Cell<T>,
    state: S::Cell<State>,
}

struct State {
    /// How often the value was set.
    version: u64,
    sender_gone: bool,
    receivers: usize,
    waiters: Waiters<(), ()>,
}

impl State {
    /// Whether there is something to see for a receiver that has seen a version: a later one, which
    /// counts as seen from now on, or the end.
    fn look(&self, seen: &mut u64) -> Option<Result<(), GlommioError<()>>> {
        if mem::replace(seen, self.version) != self.version {
            return Some(Ok(()));
        }
        self.sender_gone.then_some(Err(closed(())))
    }
}

impl<T, S: Storage> WaiterCell for Channel<T, S> {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        self.state.with(|state| f(&mut state.waiters))
    }
}

impl<T, S: Storage> Channel<T, S> {
    /// Counts a value that was set, and tells the receivers.
    fn publish(&self) {
        self.state.with(|state| {
            state.version += 1;
            state.waiters.settle_all(());
        });
        wake_settled(self);
    }
}

fn closed<V>(value: V) -> GlommioError<V> {
    GlommioError::Closed(ResourceType::Channel(value))
}

fn in_use<V>(value: V) -> GlommioError<V> {
    GlommioError::WouldBlock(ResourceType::Channel(value))
}

/// The half that sets the value.
///
/// When it is dropped, receivers keep the last value, and waiting for a change ends with an error.
/// The second parameter tells a local channel from a [`SharedSender`].
///
/// # Examples
///
/// ```
/// let (sender, receiver) = glommio::channels::watch::watch('a');
/// sender.send('b').unwrap();
/// drop(sender);
/// assert_eq!(receiver.get(), 'b');
/// ```
pub struct Sender<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
}

impl<T, S: Storage> Sender<T, S> {
    /// Sets the value and wakes everyone who waits for a change. The value before is dropped.
    ///
    /// # Errors
    ///
    /// `Closed(Channel(value))` if no receiver is left, `WouldBlock(Channel(value))` if this thread is
    /// looking at the value right now: a [`Ref`](Receiver::borrow) of it is kept, or this is called
    /// inside of a closure that looks at it. Both hand the value back, and leave the one before.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, channels::watch};
    ///
    /// let (sender, receiver) = watch::watch(1);
    /// let value = receiver.borrow();
    /// assert!(matches!(sender.send(2), Err(GlommioError::WouldBlock(_))));
    /// drop(value);
    /// sender.send(2).unwrap();
    ///
    /// drop(receiver);
    /// assert!(matches!(sender.send(3), Err(GlommioError::Closed(_))));
    /// ```
    pub fn send(&self, value: T) -> Result<(), GlommioError<T>> {
        if self.is_closed() {
            return Err(closed(value));
        }
        let before = self
            .channel
            .value
            .try_write(value, |current, value| mem::replace(current, value))
            .map_err(in_use)?;
        self.channel.publish();
        drop(before);
        Ok(())
    }

    /// Changes the value in place and wakes everyone who waits for a change.
    ///
    /// If `change` panics, what it has done to the value stays, and nobody is told.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); then `change` is not called.
    ///
    /// # Panics
    ///
    /// If `change` looks at the value of the same channel.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::watch::watch(vec![1]);
    /// sender.send_modify(|list| list.push(2)).unwrap();
    /// assert_eq!(receiver.get(), [1, 2]);
    /// ```
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) -> Result<(), GlommioError<()>> {
        if self.is_closed() {
            return Err(closed(()));
        }
        self.channel
            .value
            .try_write(change, |current, change| change(current))
            .map_err(|_| in_use(()))?;
        self.channel.publish();
        Ok(())
    }

    /// Whether no receiver is left. There will be none any more.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::watch::watch(1);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.channel.state.with(|state| state.receivers == 0)
    }

    /// Looks at the value.
    ///
    /// # Panics
    ///
    /// If `look` looks at the value of the same shared channel again, or this is called inside of
    /// [`send_modify`](Self::send_modify).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::watch::shared(String::from("four"));
    /// assert_eq!(sender.with_current(|text| text.len()), 4);
    /// ```
    pub fn with_current<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.channel.value.read(look)
    }
}

impl<T: Clone, S: Storage> Sender<T, S> {
    /// A clone of the value.
    ///
    /// # Panics
    ///
    /// As [`with_current`](Self::with_current).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::watch::watch(1);
    /// assert_eq!(sender.get(), 1);
    /// ```
    pub fn get(&self) -> T {
        self.with_current(T::clone)
    }
}

impl<T> Sender<T, Local> {
    /// Borrows the value. While it is borrowed it cannot be set.
    ///
    /// # Panics
    ///
    /// Inside of [`send_modify`](Self::send_modify).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = glommio::channels::watch::watch(String::from("four"));
    /// assert_eq!(sender.borrow().len(), 4);
    /// ```
    pub fn borrow(&self) -> Ref<'_, T> {
        self.channel.value.borrow()
    }
}

impl<T, S: Storage> Drop for Sender<T, S> {
    fn drop(&mut self) {
        self.channel.state.with(|state| {
            state.sender_gone = true;
            state.waiters.settle_all(());
        });
        wake_settled(&*self.channel);
    }
}

impl<T, S: Storage> fmt::Debug for Sender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, receivers) = self
            .channel
            .state
            .with(|state| (state.version, state.receivers));
        f.debug_struct("Sender")
            .field("version", &version)
            .field("receivers", &receivers)
            .finish()
    }
}

/// The half that looks at the value, and waits for it to change.
///
/// A clone has seen what the original has. As a stream it gives every change as
/// [`changed`](Self::changed) does, as a clone of the latest value, and ends when the sender is gone.
/// The second parameter tells a local channel from a [`SharedReceiver`].
///
/// # Examples
///
/// ```
/// use futures_lite::{StreamExt, future::block_on};
///
/// let (sender, receiver) = glommio::channels::watch::watch(1);
/// sender.send(2).unwrap();
/// sender.send(3).unwrap();
/// drop(sender);
/// assert_eq!(block_on(receiver.collect::<Vec<_>>()), [3]);
/// ```
pub struct Receiver<T, S: Storage = Local> {
    channel: S::Pointer<Channel<T, S>>,
    /// The version that it has seen.
    seen: u64,
    /// Its place among those who wait.
    key: Option<Key>,
}

impl<T, S: Storage> Receiver<T, S> {
    /// Waits until there is a value that this receiver has not seen, and counts it as seen.
    ///
    /// Returns at once if the value was set since the last time. Looking at the value does not count
    /// as seeing it; only this does.
    ///
    /// # Errors
    ///
    /// `Closed(Channel(()))` if the sender is gone and the last value was seen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the value unseen.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, channels::watch};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (sender, mut receiver) = watch::watch(1);
    ///     sender.send(2).unwrap();
    ///     drop(sender);
    ///     receiver.changed().await.unwrap();
    ///     assert_eq!(receiver.get(), 2);
    ///     assert!(receiver.changed().await.is_err());
    /// });
    /// ```
    pub fn changed(&mut self) -> Changed<'_, T, S> {
        Changed { receiver: self }
    }

    /// Whether there is a value that this receiver has not seen: [`changed`](Self::changed) would
    /// return at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = glommio::channels::watch::watch(1);
    /// assert!(!receiver.has_changed());
    /// sender.send(2).unwrap();
    /// assert!(receiver.has_changed());
    /// ```
    pub fn has_changed(&self) -> bool {
        self.channel.state.with(|state| state.version) != self.seen
    }

    /// Looks at the value.
    ///
    /// # Panics
    ///
    /// If `look` looks at the value of the same shared channel again, or this is called inside of
    /// [`Sender::send_modify`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = glommio::channels::watch::shared(String::from("four"));
    /// assert_eq!(receiver.with_current(|text| text.len()), 4);
    /// ```
    pub fn with_current<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.channel.value.read(look)
    }

    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Result<(), GlommioError<()>>> {
        let channel = &*self.channel;
        if let Some(key) = self.key {
            ready!(poll_verdict(channel, key, context));
            self.key = None;
        }
        let seen = &mut self.seen;
        if let Some(found) = channel.state.with(|state| state.look(seen)) {
            return Poll::Ready(found);
        }
        let waker = context.waker().clone();
        let (found, _unneeded) = channel.state.with(|state| match state.look(seen) {
            Some(found) => (Some(found), Some(waker)),
            None => {
                self.key = Some(state.waiters.push((), waker));
                (None, None)
            }
        });
        match found {
            Some(found) => Poll::Ready(found),
            None => Poll::Pending,
        }
    }

    fn stop_waiting(&mut self) {
        if let Some(key) = self.key.take() {
            let removed = self.channel.with_waiters(|waiters| waiters.remove(key));
            drop(removed);
        }
    }
}

impl<T: Clone, S: Storage> Receiver<T, S> {
    /// A clone of the value.
    ///
    /// # Panics
    ///
    /// As [`with_current`](Self::with_current).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = glommio::channels::watch::watch(1);
    /// assert_eq!(receiver.get(), 1);
    /// ```
    pub fn get(&self) -> T {
        self.with_current(T::clone)
    }
}

impl<T> Receiver<T, Local> {
    /// Borrows the value. While it is borrowed it cannot be set.
    ///
    /// # Panics
    ///
    /// Inside of [`Sender::send_modify`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = glommio::channels::watch::watch(String::from("four"));
    /// assert_eq!(receiver.borrow().len(), 4);
    /// ```
    pub fn borrow(&self) -> Ref<'_, T> {
        self.channel.value.borrow()
    }
}

impl<T, S: Storage> Clone for Receiver<T, S> {
    fn clone(&self) -> Self {
        self.channel.state.with(|state| state.receivers += 1);
        Receiver {
            channel: self.channel.clone(),
            seen: self.seen,
            key: None,
        }
    }
}

impl<T, S: Storage> Drop for Receiver<T, S> {
    fn drop(&mut self) {
        self.stop_waiting();
        self.channel.state.with(|state| state.receivers -= 1);
    }
}

impl<T: Clone, S: Storage> Stream for Receiver<T, S> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let receiver = self.get_mut();
        let changed = ready!(receiver.poll_changed(context));
        Poll::Ready(changed.ok().map(|()| receiver.get()))
    }
}

impl<T, S: Storage> fmt::Debug for Receiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, sender_gone) = self
            .channel
            .state
            .with(|state| (state.version, state.sender_gone));
        f.debug_struct("Receiver")
            .field("seen", &self.seen)
            .field("version", &version)
            .field("sender_gone", &sender_gone)
            .finish()
    }
}

/// The wait for a change; see [`Receiver::changed`].
///
/// # Cancel safety
///
/// Dropping it leaves the value unseen.
///
/// # Examples
///
/// ```
/// use futures_lite::future::{block_on, poll_once};
///
/// let (sender, mut receiver) = glommio::channels::watch::watch(1);
/// assert!(block_on(poll_once(receiver.changed())).is_none());
/// sender.send(2).unwrap();
/// assert!(block_on(poll_once(receiver.changed())).is_some());
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Changed<'a, T, S: Storage = Local> {
    receiver: &'a mut Receiver<T, S>,
}

impl<T, S: Storage> Future for Changed<'_, T, S> {
    type Output = Result<(), GlommioError<()>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_changed(context)
    }
}

impl<T, S: Storage> Drop for Changed<'_, T, S> {
    fn drop(&mut self) {
        self.receiver.stop_waiting();
    }
}

impl<T, S: Storage> fmt::Debug for Changed<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed")
            .field("receiver", &self.receiver)
            .finish()
    }
}
