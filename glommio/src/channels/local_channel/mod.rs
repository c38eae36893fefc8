//! A channel between the tasks of one executor.
//!
//! [`new_bounded`] and [`new_unbounded`] make one. Senders can be [cloned](LocalSender), and many
//! tasks may wait for the next item with one [`LocalReceiver`]: each item goes to the one that has
//! waited longest. Items are received in the order in which they were sent.
//!
//! Nothing here is atomic, and the halves cannot leave their thread; between executors there are
//! other channels. A channel allocates as it fills, not for its whole capacity at once, and once it
//! has been as full before, sending, receiving and waiting allocate nothing.
//!
//! # Closing
//!
//! When the receiver is dropped, sending fails and hands the item back; items that nobody has
//! received are dropped with the receiver. When the last sender is dropped, what was sent before can
//! still be received, and after that receiving ends with `None`.
//!
//! # Cancel safety
//!
//! A wait may be dropped at any time. A dropped send has either sent its item or drops it with the
//! future. A dropped receive takes nothing: an item that was handed to it already goes to the next
//! that waits, or becomes the first to be received.
//!
//! # Examples
//!
//! ```
//! use futures_lite::StreamExt;
//! use glommio::{LocalExecutor, channels::local_channel, spawn_local};
//!
//! LocalExecutor::default().run(async {
//!     let (sender, receiver) = local_channel::new_bounded(2);
//!     let producer = spawn_local(async move {
//!         for number in 1..=10 {
//!             sender.send(number).await.unwrap(); // waits while there are two in it
//!         }
//!     });
//!     let sum = receiver.stream().fold(0, |sum, number| sum + number).await;
//!     producer.await;
//!     assert_eq!(sum, 55);
//! });
//! ```

mod channel;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use self::{
    receiver::{LocalReceiver, OwnedChannelStream},
    sender::{LocalSender, WeakLocalSender},
};

/// Makes a channel that holds up to `size` items.
///
/// Sending into a full one waits. Memory is allocated as the channel fills. A channel of size zero
/// passes each item directly from a sender to a receiver: sending waits until it is received.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, channels::local_channel};
///
/// let (sender, _receiver) = local_channel::new_bounded(1);
/// sender.try_send("first").unwrap();
/// let error = sender.try_send("second").unwrap_err();
/// assert!(matches!(error, GlommioError::WouldBlock(_)));
/// assert_eq!(error.into_inner(), Some("second"));
/// ```
pub fn new_bounded<T>(size: usize) -> (LocalSender<T>, LocalReceiver<T>) {
    halves(size)
}

/// Makes a channel that holds as many items as memory does.
///
/// Sending never waits.
///
/// # Examples
///
/// ```
/// use glommio::channels::local_channel;
///
/// let (sender, _receiver) = local_channel::new_unbounded();
/// for number in 0..1000 {
///     sender.try_send(number).unwrap();
/// }
/// assert!(!sender.is_full());
/// assert_eq!(sender.len(), 1000);
/// ```
pub fn new_unbounded<T>() -> (LocalSender<T>, LocalReceiver<T>) {
    halves(usize::MAX)
}

fn halves<T>(capacity: usize) -> (LocalSender<T>, LocalReceiver<T>) {
    let channel = Rc::new(channel::Channel::new(capacity));
    (
        LocalSender::first(channel.clone()),
        LocalReceiver::new(channel),
    )
}
