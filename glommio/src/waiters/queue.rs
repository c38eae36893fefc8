//! The queue of futures that wait for a lock or a channel.
//!
//! Every primitive of `sync` and `channels` keeps its waiting futures in a [`Waiters`], next to the rest of
//! its state and behind the same [`RefCell`](std::cell::RefCell) (or mutex, where threads share it).
//! A waiter goes through these stages:
//!
//! ```text
//!   push             settle              next_wake           poll_verdict
//!    │                 │                    │                     │
//!    ▼                 ▼                    ▼                     ▼
//!   queued ──────► settled, to be woken ──► settled, woken ──────► gone
//!    │                 │                    │                     ▲
//!    └─────────────────┴────────────────────┴──── remove ─────────┘
//! ```
//!
//! *Settling* decides a waiter's fate (the permit is yours, the primitive was closed) inside the
//! same borrow that changes the primitive's state: whoever looks next sees both or neither. The
//! waiter learns of its verdict at its next poll. If it is dropped before, [`Waiters::remove`] hands
//! the verdict back, and the primitive passes on what came with it. That is what makes every wait
//! cancel-safe.
//!
//! *Waking* comes afterwards, one waker per borrow, with the borrow ended before the waker is
//! called ([`wake_settled`]). Wakers are foreign code: cloning, waking and dropping one may run
//! anything, a poll of another waiter of the same primitive included. Nothing here calls one.
//!
//! Waiters are slots of a slab that link each other by their keys: appending, settling and removing
//! from the middle take constant time, and allocate nothing once the slab is warm.

use std::task::{Context, Poll, Waker};

use super::slab::{Key, Slab};

/// What a queued future is told when something can be closed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has what it asked for. If it does not want it any more, it must pass it on.
    Granted,
    /// It will never get it.
    Closed,
}

/// Futures that wait, first come, first served.
///
/// `T` is what one asks for, `V` what it is told in the end.
#[derive(Debug)]
pub(crate) struct Waiters<T, V> {
    slab: Slab<Waiter<T, V>>,
    queued: List,
    to_wake: List,
}

#[derive(Debug)]
struct Waiter<T, V> {
    prev: Option<Key>,
    next: Option<Key>,
    /// There while the waiter is in one of the lists.
    waker: Option<Waker>,
    request: T,
    /// `None` while it is queued.
    verdict: Option<V>,
}

#[derive(Debug, Clone, Copy)]
struct List {
    head: Option<Key>,
    tail: Option<Key>,
    len: usize,
}

impl List {
    const EMPTY: List = List {
        head: None,
        tail: None,
        len: 0,
    };

    fn push_back<T, V>(&mut self, slab: &mut Slab<Waiter<T, V>>, key: Key) {
        let last = self.tail.replace(key);
        match last.and_then(|last| slab.get_mut(last)) {
            Some(last) => last.next = Some(key),
            None => self.head = Some(key),
        }
        if let Some(waiter) = slab.get_mut(key) {
            (waiter.prev, waiter.next) = (last, None);
        }
        self.len += 1;
    }

    fn unlink<T, V>(&mut self, slab: &mut Slab<Waiter<T, V>>, key: Key) {
        let Some(waiter) = slab.get_mut(key) else {
            return;
        };
        let (prev, next) = (waiter.prev.take(), waiter.next.take());
        match prev.and_then(|prev| slab.get_mut(prev)) {
            Some(prev) => prev.next = next,
            None => self.head = next,
        }
        match next.and_then(|next| slab.get_mut(next)) {
            Some(next) => next.prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }
}

/// What is left of a waiter that was taken out. Drop it outside of any borrow: it holds a waker.
#[derive(Debug)]
pub(crate) struct Removed<T, V> {
    pub(crate) request: T,
    /// `None` if it was still queued.
    pub(crate) verdict: Option<V>,
    _waker: Option<Waker>,
}

impl<T, V> Waiters<T, V> {
    pub(crate) const fn new() -> Self {
        Waiters {
            slab: Slab::new(),
            queued: List::EMPTY,
            to_wake: List::EMPTY,
        }
    }

    /// How many are queued.
    pub(crate) fn len(&self) -> usize {
        self.queued.len
    }

    /// How many there are at any stage.
    #[cfg(test)]
    pub(crate) fn registered(&self) -> usize {
        self.slab.len()
    }

    /// Whether nobody is queued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.head.is_none()
    }

    /// Queues a waiter behind the others.
    pub(crate) fn push(&mut self, request: T, waker: Waker) -> Key {
        let key = self.slab.insert(Waiter {
            prev: None,
            next: None,
            waker: Some(waker),
            request,
            verdict: None,
        });
        self.queued.push_back(&mut self.slab, key);
        key
    }

    /// What the first in the queue asks for.
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        Some(&self.slab.get(self.queued.head?)?.request)
    }

    /// As [`front`](Self::front), to take out of it what goes along with the verdict.
    #[inline]
    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        Some(&mut self.slab.get_mut(self.queued.head?)?.request)
    }

    /// Decides about the first in the queue; `false` if there is none. It still has to be woken.
    pub(crate) fn settle_front(&mut self, verdict: V) -> bool {
        let Some(key) = self.queued.head else {
            return false;
        };
        self.queued.unlink(&mut self.slab, key);
        if let Some(waiter) = self.slab.get_mut(key) {
            waiter.verdict = Some(verdict);
        }
        self.to_wake.push_back(&mut self.slab, key);
        true
    }

    /// Decides about everyone in the queue.
    pub(crate) fn settle_all(&mut self, verdict: V)
    where
        V: Copy,
    {
        while self.settle_front(verdict) {}
    }

    /// The waker of the next one that was settled and not woken. Call it outside of any borrow.
    #[inline]
    pub(crate) fn next_wake(&mut self) -> Option<Waker> {
        let key = self.to_wake.head?;
        self.to_wake.unlink(&mut self.slab, key);
        self.slab.get_mut(key)?.waker.take()
    }

    /// Takes a waiter out, wherever it stands.
    ///
    /// If it had a verdict, the caller passes on what came with it.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Removed<T, V>> {
        let waiter = self.slab.get(key)?;
        match (&waiter.verdict, &waiter.waker) {
            (None, _) => self.queued.unlink(&mut self.slab, key),
            (Some(_), Some(_)) => self.to_wake.unlink(&mut self.slab, key),
            (Some(_), None) => {}
        }
        let waiter = self.slab.remove(key)?;
        Some(Removed {
            request: waiter.request,
            verdict: waiter.verdict,
            _waker: waiter.waker,
        })
    }

    fn is_settled(&self, key: Key) -> bool {
        self.slab
            .get(key)
            .is_none_or(|waiter| waiter.verdict.is_some())
    }

    fn would_wake(&self, key: Key, waker: &Waker) -> bool {
        self.slab
            .get(key)
            .and_then(|waiter| waiter.waker.as_ref())
            .is_some_and(|known| known.will_wake(waker))
    }

    /// Replaces the waker of a queued waiter; the one that is not needed comes back, to be dropped
    /// outside of any borrow.
    fn set_waker(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        match self.slab.get_mut(key) {
            Some(waiter) if waiter.verdict.is_none() => waiter.waker.replace(waker),
            _ => Some(waker),
        }
    }
}

/// Something that keeps [`Waiters`] behind a borrow or a lock.
pub(crate) trait WaiterCell {
    type Request;
    type Verdict;

    /// Runs `f`, which calls no foreign code, inside the borrow.
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<Self::Request, Self::Verdict>) -> R)
    -> R;
}

/// Wakes everyone who has been settled. Call it after every change of state, outside of the borrow.
#[inline]
pub(crate) fn wake_settled<C: WaiterCell>(cell: &C) {
    while let Some(waker) = cell.with_waiters(Waiters::next_wake) {
        waker.wake();
    }
}

/// Asks for a waiter's verdict, and takes the waiter out if there is one. Otherwise it will be
/// woken when there is.
pub(crate) fn poll_verdict<C: WaiterCell>(
    cell: &C,
    key: Key,
    context: &Context<'_>,
) -> Poll<C::Verdict> {
    match poll_settled(cell, key, context) {
        Poll::Ready(Removed {
            verdict: Some(verdict),
            ..
        }) => Poll::Ready(verdict),
        _ => Poll::Pending,
    }
}

/// As [`poll_verdict`], with the request: a settled waiter comes back whole.
pub(crate) fn poll_settled<C: WaiterCell>(
    cell: &C,
    key: Key,
    context: &Context<'_>,
) -> Poll<Removed<C::Request, C::Verdict>> {
    let take = |waiters: &mut Waiters<C::Request, C::Verdict>| {
        if waiters.is_settled(key) {
            waiters.remove(key)
        } else {
            None
        }
    };
    let (removed, known) =
        cell.with_waiters(|waiters| (take(waiters), waiters.would_wake(key, context.waker())));
    if let Some(removed) = removed {
        return Poll::Ready(removed);
    }
    if known {
        return Poll::Pending;
    }
    // Cloning is foreign code: the verdict may come meanwhile, and wake whoever polled before.
    let waker = context.waker().clone();
    let (removed, _unneeded) =
        cell.with_waiters(|waiters| (take(waiters), waiters.set_waker(key, waker)));
    match removed {
        Some(removed) => Poll::Ready(removed),
        None => Poll::Pending,
    }
}
