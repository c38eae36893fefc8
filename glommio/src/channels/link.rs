//! An SPSC queue whose halves can wait for each other, from any two threads.
//!
//! This is all of a shared channel that crosses threads; what is above it belongs to one thread. Each
//! half has a *seat*: where it leaves its waker when it waits, and whether it has come to the meeting
//! that precedes the exchange. A half waits for one thing at a time, so one seat will do.
//!
//! # Falling asleep without missing a wake-up
//!
//! A half that finds the queue empty (or full) leaves its waker in its seat, marks the other half's
//! position as awaited ([`Consumer::begin_wait`]), and looks whether the other half is gone. The other
//! half moves its position or disconnects, takes the mark, and if there was one wakes what is in the
//! seat. Setting and taking the mark are read-modify-writes of the same word:
//!
//! - If the mark is set first, it is found. The seat was filled before, so the waker is there.
//! - If the position moves first, setting the mark fails, and there is something to do.
//! - If the disconnection comes first, setting the mark succeeds, reads what the disconnection
//!   wrote, and so the look that follows sees it.
//!
//! Taking the mark clears it, so a sleep is ended at most once, however many messages follow. A waker
//! that is taken late, when its owner is awake and asleep again, ends that later sleep too early,
//! which costs a poll: every poll that ends in waiting puts a waker into the seat and then verifies the
//! mark.
//!
//! A seat is locked for as long as it takes to move a waker in or out, by a half that goes to sleep or
//! wakes the other, never while messages flow. Wakers are called, cloned and dropped outside of it.
//!
//! `tests/loom_channel.rs` runs this file in every interleaving of small cases.

use std::{
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use super::{
    atomic::{Arc, Mutex, MutexGuard},
    spsc_queue::{self, Consumer, Producer},
};

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Refused<T> {
    Full(T),
    Closed(T),
}

struct Link {
    sender: Seat,
    receiver: Seat,
}

struct Seat(Mutex<Seated>);

struct Seated {
    /// The half has come to the meeting, or will never come.
    arrived: bool,
    waker: Option<Waker>,
}

impl Seat {
    fn new(arrived: bool) -> Self {
        Seat(Mutex::new(Seated {
            arrived,
            waker: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Seated> {
        // No foreign code runs under the lock, so nothing in it is half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, waker: Waker) {
        let old = self.lock().waker.replace(waker);
        drop(old);
    }

    fn take(&self) -> Option<Waker> {
        self.lock().waker.take()
    }

    fn wake(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    fn clear(&self) {
        drop(self.take());
    }

    /// Returns whether it had arrived before.
    fn arrive(&self) -> bool {
        std::mem::replace(&mut self.lock().arrived, true)
    }

    fn has_arrived(&self) -> bool {
        self.lock().arrived
    }
}

/// Waits in `own` seat until the half of `peer`'s seat has arrived.
fn poll_meeting(own: &Seat, peer: &Seat, context: &Context<'_>) -> Poll<()> {
    if peer.has_arrived() {
        return Poll::Ready(());
    }
    own.put(context.waker().clone());
    // The peer arrives and then looks into this seat. If it looked too early, it has arrived by now.
    if peer.has_arrived() {
        own.clear();
        return Poll::Ready(());
    }
    Poll::Pending
}

/// Makes a queue of `capacity` messages. Halves that have `met` can wait for messages and room at
/// once, others meet first.
pub(super) fn link<T>(capacity: usize, met: bool) -> (Sending<T>, Receiving<T>) {
    let (producer, consumer) = spsc_queue::make(capacity);
    let link = Arc::new(Link {
        sender: Seat::new(met),
        receiver: Seat::new(met),
    });
    let sending = Sending {
        queue: producer,
        link: link.clone(),
    };
    let receiving = Receiving {
        queue: consumer,
        link,
    };
    (sending, receiving)
}

/// The half that sends. Dropping it closes the channel.
pub(super) struct Sending<T> {
    pub(super) queue: Producer<T>,
    link: Arc<Link>,
}

impl<T> Sending<T> {
    /// Comes to the meeting.
    pub(super) fn arrive(&self) {
        if !self.link.sender.arrive() {
            self.link.receiver.wake();
        }
    }

    /// Waits until the receiver has come to the meeting, or is gone.
    pub(super) fn poll_meeting(&self, context: &Context<'_>) -> Poll<()> {
        poll_meeting(&self.link.sender, &self.link.receiver, context)
    }

    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), Refused<T>> {
        match self.queue.push_noticing(message) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.link.receiver.wake();
                Ok(())
            }
            Err(message) if self.is_closed() => Err(Refused::Closed(message)),
            Err(message) => Err(Refused::Full(message)),
        }
    }

    /// Waits until a full queue has room again, or the channel is closed.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        self.link.sender.put(context.waker().clone());
        if self.queue.begin_wait() && !self.is_closed() {
            return Poll::Pending;
        }
        self.link.sender.clear();
        Poll::Ready(())
    }

    /// Forgets the waker of a wait that was given up.
    pub(super) fn stop_waiting(&self) {
        self.link.sender.clear();
    }

    /// Closes the channel, and ends the waits of both halves.
    pub(super) fn close(&self) {
        if self.queue.disconnect_noticing() {
            self.link.receiver.wake();
        }
        self.link.sender.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_disconnected() || self.queue.consumer_disconnected()
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.link.sender.clear();
        let awaited = self.queue.disconnect_noticing();
        let met = self.link.sender.arrive();
        if awaited || !met {
            self.link.receiver.wake();
        }
    }
}

/// The half that receives. Dropping it closes the channel and drops the messages in it.
pub(super) struct Receiving<T> {
    pub(super) queue: Consumer<T>,
    link: Arc<Link>,
}

impl<T> Receiving<T> {
    /// Comes to the meeting.
    pub(super) fn arrive(&self) {
        if !self.link.receiver.arrive() {
            self.link.sender.wake();
        }
    }

    /// Waits until the sender has come to the meeting, or is gone.
    pub(super) fn poll_meeting(&self, context: &Context<'_>) -> Poll<()> {
        poll_meeting(&self.link.receiver, &self.link.sender, context)
    }

    #[inline]
    pub(super) fn try_recv(&self) -> Option<T> {
        let (message, awaited) = self.queue.pop_noticing()?;
        if awaited {
            self.link.sender.wake();
        }
        Some(message)
    }

    /// Waits for the next message; `None` when there will be none.
    #[inline]
    pub(super) fn poll_recv(&self, context: &Context<'_>) -> Poll<Option<T>> {
        match self.try_recv() {
            Some(message) => Poll::Ready(Some(message)),
            None => self.poll_recv_empty(context),
        }
    }

    fn poll_recv_empty(&self, context: &Context<'_>) -> Poll<Option<T>> {
        self.link.receiver.put(context.waker().clone());
        if self.queue.begin_wait() && !self.queue.producer_disconnected() {
            return Poll::Pending;
        }
        self.link.receiver.clear();
        // There is a message, or the sender is gone and what it left is visible.
        Poll::Ready(self.try_recv())
    }

    /// Forgets the waker of a wait that was given up.
    pub(super) fn stop_waiting(&self) {
        self.link.receiver.clear();
    }
}

impl<T> Drop for Receiving<T> {
    fn drop(&mut self) {
        self.link.receiver.clear();
        let awaited = self.queue.disconnect_noticing();
        let met = self.link.receiver.arrive();
        if awaited || !met {
            self.link.sender.wake();
        }
        // They may hold what others wait for.
        self.queue.clear();
    }
}
