//! The queues that wait for their turn, and which of them is next.
//!
//! Three orders hold the same queues, known by the slot that the executor gave them:
//!
//! - *fair*: by virtual run time, which is CPU time divided by shares. The queue that has had least for its shares is first. That divides the CPU in the ratio of the
//!   shares. A queue that was asleep resumes at its own time or at the least of those that stayed,
//!   whichever is later: sleeping earns no credit, nor does it cost any.
//! - *urgent*: queues whose latency matters, by when their patience ends. From then on such a queue
//!   goes before the fair one.
//! - *the line*: by when they came. A queue that gave up its turn *rests*: it is in the line, but not
//!   in the fair order until everyone who came before it has had a turn. That could take long
//!   where somebody in front is far ahead of its shares; so while a queue rests, whoever has waited
//!   for [`PATIENCE_ROUNDS`] rounds is given a turn out of order, which it pays for like any other.
//!
//! Everything is O(log n) or better. Virtual time is 128 bits wide and does not wrap.

use super::slot_heap::SlotHeap;
use crate::sys::clock::Ticks;

/// While a queue rests, nobody waits for longer than this many rounds.
const PATIENCE_ROUNDS: u64 = 2;

/// The end of the line.
const NOBODY: u32 = u32::MAX;

/// Virtual run time, in ticks of a queue with 1,000 shares times 1,024.
pub(super) type Virtual = u128;

/// How a queue comes to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It slept. Among equals it goes first.
    Woken,
    /// Its slice is over.
    Again,
    /// It gave up its turn: everyone who waits already goes first.
    Resting,
}

/// Comes after the arrival number of any queue that was woken.
const AGAIN: u64 = 1 << 63;

/// What is known of one queue, whether it waits or not.
#[derive(Clone, Copy, Debug)]
struct Seat {
    vruntime: Virtual,
    /// Its shares while it waits.
    shares: u64,
    /// How long it may wait before it becomes urgent.
    patience: Option<Ticks>,
    /// When it came.
    since: Ticks,
    resting: bool,
    /// Neighbours in the line.
    before: u32,
    behind: u32,
}

impl Seat {
    fn new(patience: Option<Ticks>) -> Seat {
        Seat {
            vruntime: 0,
            shares: 0,
            patience,
            since: 0,
            resting: false,
            before: NOBODY,
            behind: NOBODY,
        }
    }
}

/// A queue as it begins to wait.
#[derive(Clone, Copy, Debug)]
struct Entrant {
    slot: u32,
    shares: u64,
    since: Ticks,
    entry: Entry,
    arrival: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Waiting {
    seats: Vec<Seat>,
    /// The one that waits while no other does: it is in none of the orders. Most executors have
    /// but one busy queue, and this spares it the way into three orders and out of them per turn.
    sole: Option<Entrant>,
    /// The second half decides among equals: arrival.
    fair: SlotHeap<(Virtual, u64)>,
    urgent: SlotHeap<(Ticks, u64)>,
    first: u32,
    last: u32,
    len: usize,
    resting: usize,
    shares: u64,
    arrivals: u64,
    /// No waiting queue has less virtual run time, except by resting: where a newcomer starts.
    floor: Virtual,
    /// How many urgent queues went first in a row.
    urgent_in_a_row: usize,
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting {
            seats: Vec::new(),
            sole: None,
            fair: SlotHeap::default(),
            urgent: SlotHeap::default(),
            first: NOBODY,
            last: NOBODY,
            len: 0,
            resting: 0,
            shares: 0,
            arrivals: 0,
            floor: 0,
            urgent_in_a_row: 0,
        }
    }

    /// Makes a slot ready for a new queue.
    pub(super) fn open(&mut self, slot: u32, patience: Option<Ticks>) {
        let slot = slot as usize;
        if slot == self.seats.len() {
            self.seats.push(Seat::new(patience));
        } else {
            self.seats[slot] = Seat::new(patience);
        }
    }

    /// Gives memory back: there are no queues from slot `slots` on.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.seats.truncate(slots);
        self.seats.shrink_to(slots);
        self.fair.shrink_to(slots);
        self.urgent.shrink_to(slots);
    }

    /// How many queues wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The shares of all waiting queues together.
    #[inline]
    pub(super) fn shares(&self) -> u64 {
        self.shares
    }

    /// Charges a queue that does not wait.
    #[inline]
    pub(super) fn charge(&mut self, slot: u32, cost: Virtual) {
        self.seats[slot as usize].vruntime += cost;
    }

    /// Virtual time passes for a queue that has the CPU to itself: those that sleep meanwhile lose
    /// nothing by it, and it owes them nothing.
    pub(super) fn charge_alone(&mut self, slot: u32, cost: Virtual) {
        self.charge(slot, cost);
        self.floor = self.floor.max(self.seats[slot as usize].vruntime);
    }

    /// A queue begins to wait.
    #[inline]
    pub(super) fn enter(&mut self, slot: u32, shares: u64, now: Ticks, entry: Entry) {
        let seat = &mut self.seats[slot as usize];
        seat.vruntime = seat.vruntime.max(self.floor);
        let entrant = Entrant {
            slot,
            shares,
            since: now,
            entry,
            arrival: self.arrivals,
        };
        self.arrivals += 1;
        self.len += 1;
        self.shares += shares;
        if self.len == 1 {
            self.sole = Some(entrant);
        } else {
            self.line_up(entrant);
        }
    }

    /// Puts a queue into the orders, after the one that waited alone.
    fn line_up(&mut self, entrant: Entrant) {
        if let Some(sole) = self.sole.take() {
            self.line_up(sole);
        }
        let Entrant { slot, arrival, .. } = entrant;
        let last = std::mem::replace(&mut self.last, slot);
        match last {
            NOBODY => self.first = slot,
            last => self.seats[last as usize].behind = slot,
        }
        let seat = &mut self.seats[slot as usize];
        seat.shares = entrant.shares;
        seat.since = entrant.since;
        seat.resting = entrant.entry == Entry::Resting;
        (seat.before, seat.behind) = (last, NOBODY);
        if let Some(patience) = seat.patience {
            let deadline = entrant.since.saturating_add(patience);
            self.urgent.push(slot, (deadline, arrival));
        }
        let vruntime = seat.vruntime;
        match entrant.entry {
            Entry::Woken => self.fair.push(slot, (vruntime, arrival)),
            Entry::Again => self.fair.push(slot, (vruntime, AGAIN | arrival)),
            Entry::Resting => self.resting += 1,
        }
    }

    /// How long until a queue becomes urgent: 0 if one is, `None` if none will.
    pub(super) fn urgent_in(&self, now: Ticks) -> Option<Ticks> {
        let (deadline, patience) = match self.sole {
            Some(sole) => {
                let patience = self.seats[sole.slot as usize].patience?;
                (sole.since.saturating_add(patience), patience)
            }
            None => {
                let ((deadline, _), slot) = self.urgent.peek()?;
                (deadline, self.seats[slot as usize].patience.unwrap_or(0))
            }
        };
        let left = deadline.wrapping_sub(now);
        // More than it had to begin with: the deadline has passed, or the clock went back.
        Some(if left > patience { 0 } else { left })
    }

    /// Takes out the queue whose turn it is.
    #[inline]
    pub(super) fn pick(&mut self, now: Ticks, round: Ticks) -> Option<u32> {
        let Some(sole) = self.sole.take() else {
            return self.pick_in_order(now, round);
        };
        self.len = 0;
        self.shares = 0;
        // It goes first of one: nobody was passed over.
        self.urgent_in_a_row = 0;
        self.floor = self.floor.max(self.seats[sole.slot as usize].vruntime);
        Some(sole.slot)
    }

    fn pick_in_order(&mut self, now: Ticks, round: Ticks) -> Option<u32> {
        self.end_rest();
        let slot = self.pick_urgent(now);
        self.urgent_in_a_row = match slot {
            Some(_) => self.urgent_in_a_row + 1,
            None => 0,
        };
        let slot = slot
            .or_else(|| self.pick_overdue(now, round))
            .or_else(|| self.fair.peek().map(|(_, slot)| slot))?;
        self.leave(slot);
        let vruntime = self.seats[slot as usize].vruntime;
        let least = match self.fair.peek() {
            Some(((other, _), _)) => vruntime.min(other),
            None => vruntime,
        };
        self.floor = self.floor.max(least);
        Some(slot)
    }

    /// The rest of the first in the line is over: everyone before it has had a turn.
    fn end_rest(&mut self) {
        let Some(seat) = self.seats.get_mut(self.first as usize) else {
            return;
        };
        if std::mem::take(&mut seat.resting) {
            self.resting -= 1;
            // Resting does not save up either.
            seat.vruntime = seat.vruntime.max(self.floor);
            let arrival = self.arrivals;
            self.arrivals += 1;
            self.fair.push(self.first, (seat.vruntime, AGAIN | arrival));
        }
    }

    fn pick_urgent(&self, now: Ticks) -> Option<u32> {
        if self.urgent_in(now)? > 0 {
            return None;
        }
        // Where there are more of them than the CPU has time for, the others still get a turn after
        // each of them had one.
        if self.urgent_in_a_row > self.urgent.len() && self.fair.len() > 0 {
            return None;
        }
        self.urgent.peek().map(|(_, slot)| slot)
    }

    fn pick_overdue(&self, now: Ticks, round: Ticks) -> Option<u32> {
        if self.resting == 0 {
            return None;
        }
        let waited = now.wrapping_sub(self.seats[self.first as usize].since);
        (waited >= round.saturating_mul(PATIENCE_ROUNDS)).then_some(self.first)
    }

    fn leave(&mut self, slot: u32) {
        self.fair.remove(slot);
        self.urgent.remove(slot);
        let seat = &mut self.seats[slot as usize];
        if std::mem::take(&mut seat.resting) {
            self.resting -= 1;
        }
        self.shares -= seat.shares;
        let (before, behind) = (seat.before, seat.behind);
        match before {
            NOBODY => self.first = behind,
            before => self.seats[before as usize].behind = behind,
        }
        match behind {
            NOBODY => self.last = before,
            behind => self.seats[behind as usize].before = before,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
