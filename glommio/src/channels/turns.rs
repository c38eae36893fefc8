//! Whose turn it is among the tasks of one thread that wait at one half of a channel.
//!
//! A half of a channel can wait with one waker only. So of all futures that want something from it,
//! one has the turn, tries, and sleeps if need be; the others queue for the turn, first come, first
//! served. The turn is passed on when its future completes, or is dropped.

use std::{
    cell::RefCell,
    task::{Context, Poll, ready},
};

use crate::waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};

/// The turn at one half.
pub(super) struct Turns {
    line: RefCell<Line>,
}

struct Line {
    /// Somebody has the turn, or was given it and has not noticed yet.
    taken: bool,
    waiters: Waiters<(), ()>,
}

impl WaiterCell for Turns {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        f(&mut self.line.borrow_mut().waiters)
    }
}

impl Turns {
    pub(super) fn new() -> Self {
        Turns {
            line: RefCell::new(Line {
                taken: false,
                waiters: Waiters::new(),
            }),
        }
    }

    /// Whether nobody waits, so that whoever comes may try right away.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        !self.line.borrow().taken
    }

    /// A place in the line; it is taken by the first poll.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn {
            turns: self,
            stage: Stage::New,
        }
    }

    fn take(&self) -> bool {
        !std::mem::replace(&mut self.line.borrow_mut().taken, true)
    }

    fn pass_on(&self) {
        {
            let mut line = self.line.borrow_mut();
            line.taken = line.waiters.settle_front(());
        }
        wake_settled(self);
    }
}

/// One future's part in the line. Dropping it leaves the line, and passes the turn on.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    stage: Stage,
}

enum Stage {
    New,
    Queued(Key),
    Held,
}

impl Turn<'_> {
    /// Waits for the turn. Ready again and again once it is there.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        match self.stage {
            Stage::Held => return Poll::Ready(()),
            Stage::Queued(key) => ready!(poll_verdict(self.turns, key, context)),
            Stage::New if self.turns.take() => {}
            Stage::New => {
                let waker = context.waker().clone();
                // Cloning is foreign code, and may have ended the turn of another.
                if !self.turns.take() {
                    let key = self.turns.with_waiters(|waiters| waiters.push((), waker));
                    self.stage = Stage::Queued(key);
                    return Poll::Pending;
                }
            }
        }
        self.stage = Stage::Held;
        Poll::Ready(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let held = match self.stage {
            Stage::New => false,
            Stage::Held => true,
            Stage::Queued(key) => {
                let removed = self.turns.with_waiters(|waiters| waiters.remove(key));
                removed.is_some_and(|removed| removed.verdict.is_some())
            }
        };
        if held {
            self.turns.pass_on();
        }
    }
}
