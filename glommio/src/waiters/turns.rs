//! Callers of one shared source, such as a socket, who are told in turn to look at it.
//!
//! What arrives at a source stands there for whoever looks first, and with one arrival one caller can
//! go on: the first in the line is told. A caller that was told and is dropped before it has looked
//! would leave what stands there to nobody, so it tells the next one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use super::{Key, WaiterCell, Waiters, poll_verdict};

/// Who waits for a source.
pub(crate) struct Turns {
    waiters: Waiters<(), ()>,
    /// Who polled last without being a future that would tell when it gives up. Told when nobody else
    /// waits.
    poller: Option<Waker>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            waiters: Waiters::new(),
            poller: None,
        }
    }
}

impl Turns {
    /// Whether nobody waits who was not told yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.poller.is_none()
    }

    /// Tells one who waits to look. Wake it outside of any borrow.
    #[must_use = "who is told must be woken"]
    pub(crate) fn tell_next(&mut self) -> Option<Waker> {
        if self.waiters.settle_front(()) {
            self.waiters.next_wake()
        } else {
            self.poller.take()
        }
    }

    /// Leaves or takes away the waker of a poll; gives back the one before, to be dropped outside of
    /// any borrow.
    pub(crate) fn set_poller(&mut self, poller: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut self.poller, poller)
    }
}

/// Something that several callers wait for.
pub(crate) trait Source {
    /// What a look at it gives.
    type News;

    /// Runs `f`, which calls no foreign code, inside the borrow.
    fn with_turns<R>(&self, f: impl FnOnce(&mut Turns) -> R) -> R;

    /// Whether nothing arrives any more. Nobody waits then.
    fn is_over(&self) -> bool;

    /// Whether something stands there to be looked at.
    fn has_news(&self) -> bool;

    /// Looks without waiting: what stands there, or that the source is over.
    fn look(&self) -> Option<Self::News>;

    /// Asks for what has not arrived, unless that was done.
    fn ask(&self);
}

/// If somebody waits: what stands there is theirs, the end too, and what does not is asked for. Call it
/// after each look that took something.
pub(crate) fn pass_on<S: Source>(source: &S) {
    if source.with_turns(|turns| turns.is_empty()) {
        return;
    }
    if source.has_news() || source.is_over() {
        let waker = source.with_turns(Turns::tell_next);
        waker.into_iter().for_each(Waker::wake);
    } else {
        source.ask();
    }
}

/// The turn of one caller: waits until there is something to look at, and looks.
pub(crate) struct Turn<'a, S: Source> {
    source: &'a S,
    waits: Option<Key>,
}

impl<'a, S: Source> Turn<'a, S> {
    pub(crate) fn of(source: &'a S) -> Self {
        Turn {
            source,
            waits: None,
        }
    }
}

struct Line<'a, S>(&'a S);

impl<S: Source> WaiterCell for Line<'_, S> {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        self.0.with_turns(|turns| f(&mut turns.waiters))
    }
}

impl<S: Source> Future for Turn<'_, S> {
    type Output = S::News;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::News> {
        let source = self.source;
        if let Some(key) = self.waits {
            if !source.is_over() {
                ready!(poll_verdict(&Line(source), key, cx));
                self.waits = None;
            }
        }
        if let Some(news) = source.look() {
            return Poll::Ready(news);
        }
        // Cloned outside of the borrow: a waker is code of others.
        let waker = cx.waker().clone();
        let key = source.with_turns(|turns| turns.waiters.push((), waker));
        self.waits = Some(key);
        source.ask();
        Poll::Pending
    }
}

impl<S: Source> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        let Some(key) = self.waits else { return };
        let removed = self.source.with_turns(|turns| turns.waiters.remove(key));
        if removed.is_some_and(|removed| removed.verdict.is_some()) {
            pass_on(self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        pin::pin,
    };

    use super::*;

    /// Numbers that arrive when `arrive` says so.
    #[derive(Default)]
    struct Numbers {
        arrived: RefCell<Vec<u32>>,
        turns: RefCell<Turns>,
        asked: Cell<u32>,
        over: Cell<bool>,
    }

    impl Numbers {
        fn arrive(&self, number: u32) {
            self.arrived.borrow_mut().push(number);
            let waker = self.turns.borrow_mut().tell_next();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    impl Source for Numbers {
        type News = Option<u32>;

        fn with_turns<R>(&self, f: impl FnOnce(&mut Turns) -> R) -> R {
            f(&mut self.turns.borrow_mut())
        }

        fn is_over(&self) -> bool {
            self.over.get()
        }

        fn has_news(&self) -> bool {
            !self.arrived.borrow().is_empty()
        }

        fn look(&self) -> Option<Option<u32>> {
            let number = self.arrived.borrow_mut().pop();
            if number.is_some() {
                pass_on(self);
            }
            match number {
                None if !self.over.get() => None,
                news => Some(news),
            }
        }

        fn ask(&self) {
            self.asked.set(self.asked.get() + 1);
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn callers_have_their_turns_in_the_order_in_which_they_came() {
        let numbers = Numbers::default();
        let (mut first, mut second) = (pin!(Turn::of(&numbers)), pin!(Turn::of(&numbers)));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        numbers.arrive(1);
        assert_eq!(poll(second.as_mut()), Poll::Pending, "it is not its turn");
        let asked = numbers.asked.get();
        assert_eq!(poll(first.as_mut()), Poll::Ready(Some(1)));
        assert_eq!(numbers.asked.get(), asked + 1, "for the second");
        numbers.arrive(2);
        assert_eq!(poll(second.as_mut()), Poll::Ready(Some(2)));
        assert_eq!(numbers.asked.get(), asked + 1, "nobody waits");
    }

    #[test]
    fn a_caller_that_is_told_and_dropped_passes_its_turn_on() {
        let numbers = Numbers::default();
        let mut second = pin!(Turn::of(&numbers));
        {
            let mut first = pin!(Turn::of(&numbers));
            assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
            numbers.arrive(1);
        }
        assert_eq!(poll(second.as_mut()), Poll::Ready(Some(1)));
        assert!(numbers.with_turns(|turns| turns.is_empty()));
    }

    #[test]
    fn a_poller_is_told_after_those_who_wait() {
        let numbers = Numbers::default();
        let poller = numbers.with_turns(|turns| turns.set_poller(Some(Waker::noop().clone())));
        assert!(poller.is_none());
        let mut turn = pin!(Turn::of(&numbers));
        assert!(poll(turn.as_mut()).is_pending());
        numbers.arrive(1);
        assert!(!numbers.with_turns(|turns| turns.is_empty()), "the poller");
        numbers.arrive(2);
        assert!(numbers.with_turns(|turns| turns.is_empty()));
    }

    #[test]
    fn the_end_is_for_everyone() {
        let numbers = Numbers::default();
        let mut turns = [(); 3].map(|()| Box::pin(Turn::of(&numbers)));
        for turn in &mut turns {
            assert!(poll(turn.as_mut()).is_pending());
        }
        numbers.over.set(true);
        let asked = numbers.asked.get();
        for turn in &mut turns {
            assert_eq!(poll(turn.as_mut()), Poll::Ready(None));
        }
        drop(turns);
        assert_eq!(numbers.asked.get(), asked);
    }
}
