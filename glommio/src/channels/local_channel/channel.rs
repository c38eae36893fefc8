//! What the halves of a local channel share, and the rules by which items move through it.
//!
//! # Invariants
//!
//! 1. While a receiver is queued there is no item for it: not in the buffer, and not with a sender
//!    that waits. An item that comes goes to the first receiver in the queue, not through the buffer.
//! 2. While a sender is queued the buffer is full. Whoever makes room moves the item of the first
//!    sender in the queue into the buffer; a sender that comes later cannot overtake it.
//! 3. Everything is settled inside one borrow; wakers are called, and items dropped, outside of it.
//!
//! # Items that were handed to a receiver that is gone
//!
//! A receiver that was given an item may be dropped before it has looked. The item then goes to the
//! next receiver in the queue; if there is none, it is *returned*: received before everything that
//! is in the buffer, and in its old place among other returned items, for which each item that is
//! handed over is numbered. So the buffer may exceed the capacity, by at most the number of receivers
//! that gave up.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{
    error::{GlommioError, ResourceType},
    waiters::{Key, WaiterCell, Waiters, poll_settled, poll_verdict, wake_settled},
};

/// A channel without its halves.
pub(super) struct Channel<T> {
    state: RefCell<State<T>>,
}

struct State<T> {
    /// What nobody has received yet, the oldest in front.
    items: VecDeque<T>,
    /// Older than all of `items`.
    returned: VecDeque<Handed<T>>,
    /// `usize::MAX` if unbounded.
    capacity: usize,
    senders: usize,
    receiver_gone: bool,
    /// How many items were handed over, to number them.
    handed: u64,
    /// `None` tells that there are no senders any more.
    receiving: Waiters<(), Option<Handed<T>>>,
    /// Each with its item. If the item is still there when the sender is settled, it was refused.
    sending: Waiters<Option<T>, ()>,
}

/// An item on its way to a receiver that waited for it.
struct Handed<T> {
    number: u64,
    item: T,
}

/// Why an item was not sent.
pub(super) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T> From<Refused<T>> for GlommioError<T> {
    fn from(refused: Refused<T>) -> Self {
        match refused {
            Refused::Full(item) => GlommioError::WouldBlock(ResourceType::Channel(item)),
            Refused::Closed(item) => GlommioError::Closed(ResourceType::Channel(item)),
        }
    }
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    Yet,
    AnyMore,
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.items.len() + self.returned.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Hands an item to the first receiver in the queue, which the caller knows to be there.
    fn hand_over(&mut self, item: T) {
        let number = self.handed;
        self.handed += 1;
        self.receiving.settle_front(Some(Handed { number, item }));
    }

    /// Takes back what was handed to a receiver that does not want it any more.
    fn give_back(&mut self, handed: Handed<T>) {
        if !self.receiving.is_empty() {
            self.receiving.settle_front(Some(handed));
            return;
        }
        let place = self
            .returned
            .partition_point(|other| other.number < handed.number);
        self.returned.insert(place, handed);
    }

    /// Takes the item of the first sender in the queue, which has sent it thereby.
    fn take_from_sender(&mut self) -> Option<T> {
        let item = self.sending.front_mut()?.take();
        self.sending.settle_front(());
        item
    }

    /// As `Channel::take`, where it is not simply the buffer's first item.
    #[cold]
    fn take_slowly(&mut self) -> Option<T> {
        let item = match self.returned.pop_front() {
            Some(returned) => Some(returned.item),
            None => self.items.pop_front(),
        };
        // A channel of capacity zero has no buffer that items could go through.
        let item = item.or_else(|| self.take_from_sender());
        while !self.is_full() {
            let Some(next) = self.take_from_sender() else {
                break;
            };
            self.items.push_back(next);
        }
        item
    }
}

/// The queue of the receivers.
struct Receiving<'a, T>(&'a RefCell<State<T>>);

impl<T> WaiterCell for Receiving<'_, T> {
    type Request = ();
    type Verdict = Option<Handed<T>>;

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), Option<Handed<T>>>) -> R) -> R {
        f(&mut self.0.borrow_mut().receiving)
    }
}

/// The queue of the senders.
struct Sending<'a, T>(&'a RefCell<State<T>>);

impl<T> WaiterCell for Sending<'_, T> {
    type Request = Option<T>;
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<Option<T>, ()>) -> R) -> R {
        f(&mut self.0.borrow_mut().sending)
    }
}

impl<T> Channel<T> {
    /// A channel with one sender.
    pub(super) fn new(capacity: usize) -> Self {
        Channel {
            state: RefCell::new(State {
                items: VecDeque::new(),
                returned: VecDeque::new(),
                capacity,
                senders: 1,
                receiver_gone: false,
                handed: 0,
                receiving: Waiters::new(),
                sending: Waiters::new(),
            }),
        }
    }

    /// How many items have been sent and not received.
    pub(super) fn len(&self) -> usize {
        self.state.borrow().len()
    }

    /// Whether an item that is offered now would find no room.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.borrow();
        state.receiving.is_empty() && state.is_full()
    }

    /// `None` if unbounded.
    pub(super) fn capacity(&self) -> Option<usize> {
        Some(self.state.borrow().capacity).filter(|&capacity| capacity != usize::MAX)
    }

    /// Whether the receiver is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().receiver_gone
    }

    /// Sends without waiting.
    #[inline]
    pub(super) fn offer(&self, item: T) -> Result<(), Refused<T>> {
        {
            let mut state = self.state.borrow_mut();
            if state.receiver_gone {
                return Err(Refused::Closed(item));
            }
            if state.receiving.is_empty() {
                if state.is_full() {
                    return Err(Refused::Full(item));
                }
                state.items.push_back(item);
                return Ok(());
            }
            state.hand_over(item);
        }
        wake_settled(&Receiving(&self.state));
        Ok(())
    }

    /// Receives without waiting.
    #[inline]
    pub(super) fn take(&self) -> Result<T, Nothing> {
        let item = {
            let mut state = self.state.borrow_mut();
            if state.sending.is_empty() && state.returned.is_empty() {
                let nothing = match state.senders {
                    0 => Nothing::AnyMore,
                    _ => Nothing::Yet,
                };
                return state.items.pop_front().ok_or(nothing);
            }
            state.take_slowly()
        };
        wake_settled(&Sending(&self.state));
        item.ok_or(Nothing::Yet)
    }

    /// Receives, or takes a place in the queue, which `key` names from then on.
    ///
    /// [`stop_waiting`](Self::stop_waiting) gives the place up.
    #[inline]
    pub(super) fn poll_take(
        &self,
        key: &mut Option<Key>,
        context: &Context<'_>,
    ) -> Poll<Option<T>> {
        if let Some(queued) = *key {
            let handed = ready!(poll_verdict(&Receiving(&self.state), queued, context));
            *key = None;
            return Poll::Ready(match handed {
                Some(handed) => Some(handed.item),
                // Another receiver may have returned an item since the last sender went.
                None => self.take().ok(),
            });
        }
        match self.take() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(Nothing::AnyMore) => Poll::Ready(None),
            Err(Nothing::Yet) => self.start_waiting(key, context),
        }
    }

    fn start_waiting(&self, key: &mut Option<Key>, context: &Context<'_>) -> Poll<Option<T>> {
        let waker = context.waker().clone();
        // Cloning is foreign code: it may have sent something, or dropped the last sender.
        match self.take() {
            Ok(item) => return Poll::Ready(Some(item)),
            Err(Nothing::AnyMore) => return Poll::Ready(None),
            Err(Nothing::Yet) => {}
        }
        *key = Some(self.state.borrow_mut().receiving.push((), waker));
        Poll::Pending
    }

    /// Gives up a receiver's place, if it has one; what it was given goes to the next.
    #[inline]
    pub(super) fn stop_waiting(&self, key: &mut Option<Key>) {
        if let Some(key) = key.take() {
            self.give_up(key);
        }
    }

    fn give_up(&self, key: Key) {
        let waker = {
            let mut state = self.state.borrow_mut();
            let Some(mut removed) = state.receiving.remove(key) else {
                return;
            };
            if let Some(handed) = removed.verdict.take().flatten() {
                state.give_back(handed);
            }
            removed
        };
        drop(waker);
        wake_settled(&Receiving(&self.state));
    }

    pub(super) fn add_sender(&self) {
        self.state.borrow_mut().senders += 1;
    }

    /// Adds a sender, unless there is none left: then nothing more may come.
    pub(super) fn revive_sender(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.senders == 0 {
            return false;
        }
        state.senders += 1;
        true
    }

    /// Takes a sender away. With the last of them, receivers that wait learn that nothing will come.
    pub(super) fn remove_sender(&self) {
        {
            let mut state = self.state.borrow_mut();
            state.senders -= 1;
            if state.senders > 0 {
                return;
            }
            while state.receiving.settle_front(None) {}
        }
        wake_settled(&Receiving(&self.state));
    }

    /// Takes the receiver away: senders that wait get their items back, what was sent is dropped.
    pub(super) fn remove_receiver(&self) {
        let unreceived = {
            let mut state = self.state.borrow_mut();
            state.receiver_gone = true;
            state.sending.settle_all(());
            (mem::take(&mut state.returned), mem::take(&mut state.items))
        };
        wake_settled(&Sending(&self.state));
        drop(unreceived);
    }
}

/// Waits for room for an item, and sends it.
pub(super) struct Send<'a, T> {
    channel: &'a Channel<T>,
    stage: Stage<T>,
}

enum Stage<T> {
    /// Not in the queue yet.
    Holding(T),
    /// The item is there.
    Queued(Key),
    Done,
}

impl<'a, T> Send<'a, T> {
    pub(super) fn new(channel: &'a Channel<T>, item: T) -> Self {
        Send {
            channel,
            stage: Stage::Holding(item),
        }
    }
}

// Nothing in it is ever pinned.
impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), GlommioError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let channel = self.channel;
        match mem::replace(&mut self.stage, Stage::Done) {
            Stage::Holding(item) => {
                let waker = context.waker().clone();
                // Cloning is foreign code: it may have made room, or dropped the receiver.
                let item = match channel.offer(item) {
                    Err(Refused::Full(item)) => item,
                    done => return Poll::Ready(done.map_err(GlommioError::from)),
                };
                let key = channel.state.borrow_mut().sending.push(Some(item), waker);
                self.stage = Stage::Queued(key);
                Poll::Pending
            }
            Stage::Queued(key) => {
                let Poll::Ready(removed) = poll_settled(&Sending(&channel.state), key, context)
                else {
                    self.stage = Stage::Queued(key);
                    return Poll::Pending;
                };
                Poll::Ready(match removed.request {
                    None => Ok(()),
                    Some(refused) => Err(Refused::Closed(refused).into()),
                })
            }
            Stage::Done => Poll::Ready(Ok(())),
        }
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        if let Stage::Queued(key) = self.stage {
            let removed = self.channel.state.borrow_mut().sending.remove(key);
            drop(removed);
        }
    }
}
