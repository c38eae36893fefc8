//! How often a half of a channel looks again before it sleeps.
//!
//! A sleep costs a system call here and a wake-up there. Worse, two tasks that stream messages fall into
//! step: one fills the channel and sleeps, and only with that does its wake-up of the other leave; the
//! other empties the channel and sleeps. They never run at the same time, and each message pays for a
//! part of two wake-ups.
//!
//! So a half that has moved many messages since it last slept does not sleep at once. It yields to its
//! executor, which runs other tasks and sends off the wake-ups, and looks again. That costs no system
//! call, and ends after some microseconds. It does not look after every yield, so that several
//! messages, or room for several, can be there: to see each as soon as it comes would have the two
//! cores wait for the same cache line all the time. Halves that exchange single messages sleep at once, and so
//! do, mostly, those for which looking again was in vain.

use std::cell::Cell;

/// So many messages since the last sleep make a stream.
const STREAM: u32 = 16;

/// How often a half yields before it sleeps. A yield is a trip round the executor, some tens of
/// nanoseconds.
const YIELDS: u32 = 512;

/// It looks again after so many of them.
const YIELDS_PER_LOOK: u32 = 8;

/// After so many sleeps for which that was in vain, one in [`RETRY`] sleeps is preceded by any.
const PATIENCE: u32 = 4;
const RETRY: u32 = 32;

pub(super) struct Pace {
    /// Messages since the last sleep.
    moved: Cell<u32>,
    /// Yields that are left before this half sleeps; `None` while it need not wait.
    left: Cell<Option<u32>>,
    /// Sleeps in a stream since looking again has helped.
    in_vain: Cell<u32>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace {
            moved: Cell::new(0),
            left: Cell::new(None),
            in_vain: Cell::new(0),
        }
    }

    /// A message was sent or received.
    #[inline]
    pub(super) fn moved(&self) {
        self.moved.set(self.moved.get().saturating_add(1));
        if let Some(left) = self.left.get() {
            self.left.set(None);
            if left > 0 {
                self.in_vain.set(0);
            }
        }
    }

    /// Whether to yield once more before looking.
    #[inline]
    pub(super) fn rest(&self) -> bool {
        match self.left.get() {
            Some(left) if left % YIELDS_PER_LOOK != 0 => {
                self.left.set(Some(left - 1));
                true
            }
            _ => false,
        }
    }

    /// Whether to yield and look again instead of sleeping.
    pub(super) fn look_again(&self) -> bool {
        let left = self.left.get().unwrap_or_else(|| self.allowance());
        self.left.set(Some(left.saturating_sub(1)));
        if left == 0 && self.moved.replace(0) >= STREAM {
            self.in_vain.set(self.in_vain.get().wrapping_add(1));
        }
        left > 0
    }

    fn allowance(&self) -> u32 {
        let in_vain = self.in_vain.get();
        let is_due = in_vain < PATIENCE || in_vain % RETRY == 0;
        if self.moved.get() >= STREAM && is_due {
            YIELDS
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yields(pace: &Pace) -> u32 {
        let (mut yields, mut looks) = (0, 0);
        while pace.look_again() {
            looks += 1;
            yields += 1;
            while pace.rest() {
                yields += 1;
            }
        }
        assert_eq!(yields, looks * YIELDS_PER_LOOK);
        yields
    }

    fn stream(pace: &Pace) {
        (0..STREAM).for_each(|_| pace.moved());
    }

    #[test]
    fn single_messages_are_followed_by_sleep_at_once() {
        let pace = Pace::new();
        assert_eq!(yields(&pace), 0);
        for _ in 0..10 {
            pace.moved();
            assert_eq!(yields(&pace), 0);
        }
    }

    #[test]
    fn a_stream_looks_again_once_per_sleep() {
        let pace = Pace::new();
        stream(&pace);
        assert_eq!(yields(&pace), YIELDS);
        assert!(!pace.look_again(), "it was woken for nothing");
        pace.moved();
        assert_eq!(yields(&pace), 0, "no stream since");
    }

    #[test]
    fn looking_in_vain_becomes_rare_until_it_helps() {
        let pace = Pace::new();
        let sleeps = (0..4 * RETRY).map(|_| {
            stream(&pace);
            yields(&pace)
        });
        assert_eq!(
            sleeps.filter(|&yields| yields > 0).count() as u32,
            PATIENCE + 3
        );
        while {
            stream(&pace);
            !pace.look_again()
        } {}
        pace.moved(); // while it looked
        stream(&pace);
        assert_eq!(yields(&pace), YIELDS);
    }
}
