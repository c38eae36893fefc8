//! Why there is no message.

use std::{error::Error, fmt};

/// Why [`Receiver::recv`](super::Receiver::recv) gave no message.
///
/// # Examples
///
/// ```
/// use glommio::channels::broadcast::RecvError;
///
/// assert_eq!(RecvError::Lagged(3).to_string(), "the receiver missed 3 messages");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// All senders are gone, and everything was received.
    Closed,
    /// So many messages were overwritten before they were received.
    Lagged(u64),
}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) gave no message.
///
/// # Examples
///
/// ```
/// use glommio::channels::broadcast::TryRecvError;
///
/// assert_eq!(TryRecvError::Empty.to_string(), "the channel is empty");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// All senders are gone, and everything was received.
    Closed,
    /// There is no message now.
    Empty,
    /// So many messages were overwritten before they were received.
    Lagged(u64),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => write!(f, "the channel is closed"),
            RecvError::Lagged(1) => write!(f, "the receiver missed 1 message"),
            RecvError::Lagged(missed) => write!(f, "the receiver missed {missed} messages"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Closed => RecvError::Closed.fmt(f),
            TryRecvError::Empty => write!(f, "the channel is empty"),
            TryRecvError::Lagged(missed) => RecvError::Lagged(*missed).fmt(f),
        }
    }
}

impl Error for RecvError {}

impl Error for TryRecvError {}
