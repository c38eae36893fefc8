//! When operations pass the stations of their lives.

use std::collections::VecDeque;

use super::IoKind;
use crate::sys::clock::{Clock, Ticks};

/// When an operation passed the stations of its life.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) queued: Ticks,
    pub(super) entered: Ticks,
    pub(super) seen: Ticks,
}

/// The times of the operations in flight.
pub(super) struct Recorder {
    pub(super) clock: Clock,
    /// By slot of the table of operations.
    times: Vec<Times>,
    /// Entries that the kernel has taken so far.
    taken: u64,
    /// Operations whose entries wait, in order: the number of entries that the kernel has taken when
    /// it has taken this one, and the slot.
    waiting: VecDeque<(u64, u32)>,
    /// When completions were last looked at.
    pub(super) seen: Ticks,
}

impl Recorder {
    pub(super) fn new(clock: Clock) -> Recorder {
        Recorder {
            clock,
            times: Vec::new(),
            taken: 0,
            waiting: VecDeque::new(),
            seen: 0,
        }
    }

    pub(super) fn times_mut(&mut self, slot: u32) -> &mut Times {
        let index = slot as usize;
        if self.times.len() <= index {
            self.times.resize(index + 1, Times::default());
        }
        &mut self.times[index]
    }

    pub(super) fn micros(&self, ticks: Ticks) -> f64 {
        self.clock.nanos(ticks) as f64 / 1_000.0
    }

    pub(super) fn queued(&mut self, kind: Option<IoKind>, slot: u32) {
        if kind.is_some_and(IoKind::is_timed) {
            let now = self.clock.now();
            self.times_mut(slot).queued = now;
        }
    }

    pub(super) fn waits(&mut self, kind: Option<IoKind>, slot: u32, waiting: usize) {
        if kind.is_some_and(IoKind::is_timed) {
            self.waiting.push_back((self.taken + waiting as u64, slot));
        }
    }

    pub(super) fn entered(&mut self, count: u64, at: Ticks) {
        self.taken += count;
        while let Some(&(position, slot)) = self.waiting.front() {
            if position > self.taken {
                return;
            }
            self.waiting.pop_front();
            self.times_mut(slot).entered = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_enters_when_the_kernel_takes_its_entry() {
        let clock = Clock::get();
        let mut recorder = Recorder::new(clock);
        let kind = Some(IoKind::FileRead);
        recorder.queued(kind, 0);
        recorder.queued(kind, 1);
        // An entry of something else stands between the two.
        recorder.waits(kind, 0, 1);
        recorder.waits(kind, 1, 3);
        let first = clock.now();
        recorder.entered(2, first);
        assert_eq!(recorder.times_mut(0).entered, first);
        assert_eq!(recorder.times_mut(1).entered, 0);
        let second = clock.now();
        recorder.entered(1, second);
        assert_eq!(recorder.times_mut(0).entered, first);
        assert_eq!(recorder.times_mut(1).entered, second);
    }
}
