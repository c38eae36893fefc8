//! The wheel proper: lists of timers by level and slot.

use super::entries::{Entries, NIL, TimerKey};

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Enough for every tick.
pub(super) const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;

/// The list of timers whose tick has come. Slot `s` of level `l` is list `1 + l * SLOTS + s`.
pub(super) const DUE: usize = 0;

#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    /// Oldest entry; its `prev` is the newest.
    pub(super) head: u32,
    /// No entry of the list has a smaller tick. Exact unless the earliest entry was cancelled.
    /// It saves idle executors the wake-ups at cascade points.
    pub(super) earliest_tick: u64,
}

const EMPTY: List = List {
    head: NIL,
    earliest_tick: u64::MAX,
};

/// Pending timers with a payload each, which is a waker as a rule.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The latest tick that was reached; all placement is relative to it. Never decreases.
    pub(super) tick: u64,
    /// Bit `l` is set exactly while level `l` is not empty.
    levels: u32,
    /// Bit `s` of word `l` is set exactly while slot `s` of level `l` is not empty.
    pub(super) occupied: [u64; LEVELS],
    /// As many as the highest level that was ever in use needs.
    pub(super) lists: Vec<List>,
    pub(super) entries: Entries<T>,
    /// How often a timer was put into a list: what the wheel's work is measured by.
    #[cfg(test)]
    pub(super) placements: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel.
    pub(crate) fn new(tick: u64) -> Self {
        Wheel {
            tick,
            levels: 0,
            occupied: [0; LEVELS],
            lists: Vec::new(),
            entries: Entries::new(),
            #[cfg(test)]
            placements: 0,
        }
    }

    /// Number of timers that have neither been handed out nor cancelled.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Arms a timer. One whose tick was reached before is due at once.
    #[inline]
    pub(crate) fn arm(&mut self, tick: u64, payload: T) -> TimerKey {
        let index = self.entries.insert(tick, payload);
        self.append(self.list_for(tick), index);
        self.entries.key_of(index)
    }

    /// Moves an armed timer to another tick, as if it had been armed there just now; `false` if it
    /// is armed no more.
    pub(crate) fn rearm(&mut self, key: TimerKey, tick: u64) -> bool {
        let Some(index) = self.entries.find(key) else {
            return false;
        };
        self.unlink(index);
        self.entries.get_mut(index).tick = tick;
        self.append(self.list_for(tick), index);
        true
    }

    /// Disarms a timer and returns its payload; `None` if it fired or was cancelled before.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let index = self.entries.find(key)?;
        self.unlink(index);
        self.entries.remove(index)
    }

    /// The payload of an armed timer, for instance to exchange its waker.
    pub(crate) fn payload_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let index = self.entries.find(key)?;
        self.entries.payload_mut(index)
    }

    /// Whether the timer has neither fired nor been cancelled.
    #[cfg(test)]
    pub(crate) fn is_armed(&self, key: TimerKey) -> bool {
        self.entries.find(key).is_some()
    }

    /// The tick to ask [`pop_due`](Self::pop_due) for next; `None` when nothing is armed.
    ///
    /// Never later than the earliest timer, and exactly its tick unless an earlier neighbour of it
    /// was cancelled. In that case the answer may be too early; asking then finds nothing, but
    /// makes the next answer better.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        if self.lists.get(DUE).is_some_and(|due| due.head != NIL) {
            return Some(self.tick);
        }
        let (level, slot) = self.first_occupied()?;
        Some(self.lists[list_of(level, slot)].earliest_tick)
    }

    /// The next timer whose tick has come when it is tick `now`, and its payload.
    ///
    /// Timers that were due when they were armed come first, then the others, by tick and, within
    /// one tick, by age. A `now` smaller than an earlier one counts as that earlier one.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(TimerKey, T)> {
        let target = now.max(self.tick);
        loop {
            match self.lists.get(DUE) {
                Some(due) if due.head != NIL => return self.pop(due.head),
                _ => {}
            }
            let Some((level, slot)) = self.first_occupied() else {
                self.tick = target;
                return None;
            };
            let start = self.slot_start(level, slot);
            if start > target {
                self.tick = target;
                return None;
            }
            self.tick = start;
            let list = list_of(level, slot);
            if level == 0 {
                return self.pop(self.lists[list].head);
            }
            self.cascade(list);
        }
    }

    /// Takes out every timer, due or not.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut payloads = Vec::with_capacity(self.len());
        for list in 0..self.lists.len() {
            while self.lists[list].head != NIL {
                payloads.extend(self.pop(self.lists[list].head).map(|(_, payload)| payload));
            }
        }
        payloads
    }

    fn pop(&mut self, index: u32) -> Option<(TimerKey, T)> {
        let key = self.entries.key_of(index);
        self.unlink(index);
        Some((key, self.entries.remove(index)?))
    }

    /// Moves the timers of a slot that time has entered to lower levels, or to the due ones.
    fn cascade(&mut self, list: usize) {
        let head = self.detach(list);
        if head == NIL {
            return;
        }
        let last = self.entries.get(head).prev;
        let mut index = head;
        loop {
            let entry = self.entries.get(index);
            let (tick, next) = (entry.tick, entry.next);
            self.append(self.list_for(tick), index);
            if index == last {
                return;
            }
            index = next;
        }
    }

    /// The earliest occupied slot.
    #[inline]
    fn first_occupied(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot: the current tick with its digit replaced and lower ones zero.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let above = self
            .tick
            .checked_shr(shift + SLOT_BITS)
            .map_or(0, |digits| digits << SLOT_BITS);
        (above | slot as u64) << shift
    }

    /// The list for a tick, relative to the current tick.
    #[inline]
    pub(super) fn list_for(&self, tick: u64) -> usize {
        if tick <= self.tick {
            return DUE;
        }
        let highest_difference = (tick ^ self.tick).ilog2();
        let level = highest_difference / SLOT_BITS;
        let slot = tick >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
        list_of(level as usize, slot as usize)
    }

    #[inline]
    fn append(&mut self, list: usize, index: u32) {
        #[cfg(test)]
        {
            self.placements += 1;
        }
        if list >= self.lists.len() {
            self.add_levels(list);
        }
        let tick = self.entries.get(index).tick;
        let List {
            head,
            earliest_tick,
        } = &mut self.lists[list];
        *earliest_tick = tick.min(*earliest_tick);
        let (prev, next) = if *head == NIL {
            *head = index;
            self.mark(list, true);
            (index, index)
        } else {
            let next = *head;
            let prev = std::mem::replace(&mut self.entries.get_mut(next).prev, index);
            self.entries.get_mut(prev).next = index;
            (prev, next)
        };
        let entry = self.entries.get_mut(index);
        entry.prev = prev;
        entry.next = next;
        entry.list = list as u32;
    }

    #[cold]
    fn add_levels(&mut self, list: usize) {
        let levels = list.saturating_sub(1) / SLOTS + 1;
        self.lists.resize(1 + levels * SLOTS, EMPTY);
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let entry = self.entries.get(index);
        let (prev, next, list) = (entry.prev, entry.next, entry.list as usize);
        if next == index {
            self.detach(list);
            return;
        }
        self.entries.get_mut(prev).next = next;
        self.entries.get_mut(next).prev = prev;
        if self.lists[list].head == index {
            self.lists[list].head = next;
        }
    }

    /// Empties a list, and gives its former head.
    #[inline]
    fn detach(&mut self, list: usize) -> u32 {
        self.mark(list, false);
        std::mem::replace(&mut self.lists[list], EMPTY).head
    }

    /// Notes whether the slot of a list is occupied.
    #[inline]
    fn mark(&mut self, list: usize, occupied: bool) {
        let Some(slot) = list.checked_sub(1) else {
            return;
        };
        let level = slot / SLOTS;
        let bit = 1 << (slot % SLOTS);
        if occupied {
            self.occupied[level] |= bit;
            self.levels |= 1 << level;
        } else {
            self.occupied[level] &= !bit;
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }
}

#[inline]
fn list_of(level: usize, slot: usize) -> usize {
    1 + level * SLOTS + slot
}

/// The bit of a list in the map of occupied slots.
#[cfg(test)]
pub(super) fn bit_of(list: usize) -> (usize, u64) {
    let slot = list - 1;
    (slot / SLOTS, 1 << (slot % SLOTS))
}
