//! The hierarchical timer wheel: every pending timer of one executor, without a clock of its own.
//!
//! Time is cut into ticks of [`TICK_NS`]. A deadline is rounded *up* to a tick and fires once the
//! tick of `now`, rounded *down*, reaches it: never early, late by less than one tick plus
//! whatever delay the caller adds.
//!
//! # Structure
//!
//! Level `l` has 64 slots of `64^l` ticks each; one `u64` per level says which slots are occupied.
//! A timer's place follows from its own tick and the wheel's current one: cut both into digits of
//! six bits; the most significant digit in which they differ is the level, and the timer's digit
//! there is the slot. Three facts follow, and everything below rests on them:
//!
//! 1. An occupied slot lies strictly ahead of the current tick's digit on its level, so slots
//!    never wrap around and the lowest set bit of a level is that level's earliest slot.
//! 2. Every timer on a level is earlier than every timer on the levels above it, so the lowest
//!    occupied level holds the next one.
//! 3. Timers of equal tick share a slot at all times. Lists are first in, first out, hence so are
//!    timers of equal tick.
//!
//! When time enters a slot of a level above zero, the slot's timers are placed anew (they
//! *cascade* into lower levels, each timer at most once per level in its life). When it enters a
//! slot of level zero, which is one tick wide, they fire. A jump of days looks only at occupied
//! slots. There are enough levels for every `u64` of nanoseconds, so no deadline is too far.
//!
//! Timers live in a slab and are chained by index in circular lists: arming and cancelling are
//! O(1), and neither allocates once the slab has grown to the largest number pending at once.

/// Binary logarithm of [`TICK_NS`].
const TICK_SHIFT: u32 = 18;

/// Length of a tick: 262,144 ns. Timers whose deadlines fall into one tick fire in one go; this is
/// also the greatest lateness that the wheel itself adds.
pub(crate) const TICK_NS: u64 = 1 << TICK_SHIFT;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Rounded up, the last nanosecond of a `u64` is tick `2^(64 - TICK_SHIFT)`: one bit more.
const LEVELS: usize = (64 - TICK_SHIFT + 1).div_ceil(SLOT_BITS) as usize;

/// The list of timers that were already due when they were armed.
const DUE: usize = LEVELS * SLOTS;

/// The end of the free list, and the head of an empty list.
const NIL: u32 = u32::MAX;

/// Names one armed timer; stale as soon as that timer fires or is cancelled.
///
/// The generation tells an entry's successive users apart. It wraps after 2^32 uses of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// The tick at which the timer fires.
    tick: u64,
    /// `None` exactly while the entry is on the free list.
    payload: Option<T>,
    /// Incremented when the entry is freed.
    generation: u32,
    prev: u32,
    /// The next entry of the circular list, or of the free list.
    next: u32,
    /// Index into `Wheel::lists` of the list that holds this entry.
    list: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// Oldest entry; its `prev` is the newest.
    head: u32,
    /// No entry of the list has a smaller tick. Exact unless the earliest entry was cancelled.
    /// It saves idle executors the wake-ups at cascade points.
    earliest_tick: u64,
}

const EMPTY: List = List {
    head: NIL,
    earliest_tick: u64::MAX,
};

/// Pending timers with a payload each, a waker in the reactor.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The latest time seen. Never decreases.
    now_ns: u64,
    /// The tick up to which everything has fired; all placement is relative to it.
    tick: u64,
    /// Bit `s` of word `l` is set exactly while slot `s` of level `l` is not empty.
    occupied: [u64; LEVELS],
    /// Slot `s` of level `l` is list `l * SLOTS + s`; the last list is `DUE`.
    lists: Box<[List]>,
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

/// The first tick at which a deadline has passed.
fn tick_of_deadline(deadline_ns: u64) -> u64 {
    deadline_ns.div_ceil(TICK_NS)
}

/// The last tick that has fully come at `now_ns`. At the end of time, all of them have.
fn tick_of_now(now_ns: u64) -> u64 {
    if now_ns == u64::MAX {
        tick_of_deadline(now_ns)
    } else {
        now_ns >> TICK_SHIFT
    }
}

impl<T> Wheel<T> {
    /// An empty wheel. All times are nanoseconds since an epoch of the caller's choice.
    pub(crate) fn new(now_ns: u64) -> Self {
        Wheel {
            now_ns,
            tick: tick_of_now(now_ns),
            occupied: [0; LEVELS],
            lists: vec![EMPTY; DUE + 1].into_boxed_slice(),
            entries: Vec::new(),
            free: NIL,
            len: 0,
        }
    }

    /// Number of armed timers.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Arms a timer. One whose deadline is not after the latest time seen fires at the next
    /// [`expire`](Self::expire).
    pub(crate) fn arm(&mut self, deadline_ns: u64, payload: T) -> TimerKey {
        let tick = tick_of_deadline(deadline_ns);
        let index = self.take_entry(tick, payload);
        let list = if deadline_ns <= self.now_ns {
            DUE
        } else {
            self.list_for(tick)
        };
        self.append(list, index);
        self.len += 1;
        TimerKey {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Disarms a timer and returns its payload; `None` if it fired or was cancelled before.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        if !self.is_armed(key) {
            return None;
        }
        self.unlink(key.index);
        self.free_entry(key.index)
    }

    /// The payload of an armed timer, for instance to exchange its waker.
    pub(crate) fn payload_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        entry.payload.as_mut()
    }

    /// Whether the timer has neither fired nor been cancelled.
    pub(crate) fn is_armed(&self, key: TimerKey) -> bool {
        self.entries
            .get(key.index as usize)
            .is_some_and(|e| e.generation == key.generation && e.payload.is_some())
    }

    /// When to call [`expire`](Self::expire) next; `None` when nothing is armed.
    ///
    /// Never later than the moment at which the earliest timer may fire, and exactly that moment
    /// unless an earlier neighbour of it was cancelled. In that case the answer may be too early;
    /// the `expire` it leads to fires nothing but makes the next answer better.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        if self.lists[DUE].head != NIL {
            return Some(self.now_ns);
        }
        let (level, slot) = self.first_occupied()?;
        Some(
            self.lists[level * SLOTS + slot]
                .earliest_tick
                .saturating_mul(TICK_NS),
        )
    }

    /// Moves the payloads of all due timers to `out`, ordered by tick and, within one tick, by age;
    /// returns how many. Timers that were due when armed come first.
    ///
    /// A `now_ns` smaller than an earlier one counts as that earlier one.
    pub(crate) fn expire(&mut self, now_ns: u64, out: &mut Vec<T>) -> usize {
        let already_out = out.len();
        self.now_ns = self.now_ns.max(now_ns);
        let target = tick_of_now(self.now_ns);

        self.advance_into(DUE, out);
        if target == self.tick {
            return out.len() - already_out;
        }
        while let Some((level, slot)) = self.first_occupied() {
            let start = self.slot_start(level, slot);
            if start > target {
                break;
            }
            self.tick = start;
            self.occupied[level] &= !(1 << slot);
            self.advance_into(level * SLOTS + slot, out);
        }
        self.tick = target;
        out.len() - already_out
    }

    /// Empties a list whose time has come: due entries fire, the others move to lower levels.
    fn advance_into(&mut self, list: usize, out: &mut Vec<T>) {
        let head = std::mem::replace(&mut self.lists[list], EMPTY).head;
        if head == NIL {
            return;
        }
        let last = self.entries[head as usize].prev;
        let mut index = head;
        loop {
            let Entry { tick, next, .. } = self.entries[index as usize];
            if list == DUE || tick <= self.tick {
                out.extend(self.free_entry(index));
            } else {
                self.append(self.list_for(tick), index);
            }
            if index == last {
                return;
            }
            index = next;
        }
    }

    /// The earliest occupied slot.
    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot: the current tick with its digit replaced and lower ones zero.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let above = self.tick >> (shift + SLOT_BITS) << SLOT_BITS;
        (above | slot as u64) << shift
    }

    /// The list for a tick, relative to the current tick.
    fn list_for(&self, tick: u64) -> usize {
        if tick <= self.tick {
            return DUE;
        }
        let highest_difference = (tick ^ self.tick).ilog2();
        let level = highest_difference / SLOT_BITS;
        let slot = tick >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
        level as usize * SLOTS + slot as usize
    }

    fn append(&mut self, list: usize, index: u32) {
        let tick = self.entries[index as usize].tick;
        let List {
            head,
            earliest_tick,
        } = &mut self.lists[list];
        *earliest_tick = tick.min(*earliest_tick);
        let (prev, next) = if *head == NIL {
            *head = index;
            if list != DUE {
                self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
            }
            (index, index)
        } else {
            let next = *head;
            let prev = std::mem::replace(&mut self.entries[next as usize].prev, index);
            self.entries[prev as usize].next = index;
            (prev, next)
        };
        let entry = &mut self.entries[index as usize];
        entry.prev = prev;
        entry.next = next;
        entry.list = list as u32;
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            prev, next, list, ..
        } = self.entries[index as usize];
        let list = list as usize;
        if next == index {
            self.lists[list] = EMPTY;
            if list != DUE {
                self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
            }
            return;
        }
        self.entries[prev as usize].next = next;
        self.entries[next as usize].prev = prev;
        if self.lists[list].head == index {
            self.lists[list].head = next;
        }
    }

    /// An entry for the payload, on no list yet.
    fn take_entry(&mut self, tick: u64, payload: T) -> u32 {
        let index = self.free;
        if index != NIL {
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            entry.tick = tick;
            entry.payload = Some(payload);
            return index;
        }
        let index = self.entries.len();
        assert!(
            index < NIL as usize,
            "more than 2^32 - 2 timers are armed on one executor"
        );
        let index = index as u32;
        self.entries.push(Entry {
            tick,
            payload: Some(payload),
            generation: 0,
            prev: index,
            next: index,
            list: DUE as u32,
        });
        index
    }

    /// Returns an entry that is on no list to the free list.
    fn free_entry(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        entry.payload.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fired<T>(wheel: &mut Wheel<T>, now_ns: u64) -> Vec<T> {
        let mut out = Vec::new();
        let count = wheel.expire(now_ns, &mut out);
        assert_eq!(count, out.len());
        out
    }

    /// Checks bitmaps, links, counts and the placement facts of the module's docs.
    fn check<T>(wheel: &Wheel<T>) {
        let mut seen = 0;
        for (
            list,
            &List {
                head,
                earliest_tick,
            },
        ) in wheel.lists.iter().enumerate()
        {
            if list != DUE {
                let bit = wheel.occupied[list / SLOTS] >> (list % SLOTS) & 1;
                assert_eq!(bit == 1, head != NIL, "bitmap of list {list}");
            }
            let mut index = head;
            while index != NIL {
                let entry = &wheel.entries[index as usize];
                assert_eq!(entry.list as usize, list);
                assert!(entry.payload.is_some());
                assert!(entry.tick >= earliest_tick);
                assert!(list == DUE || wheel.list_for(entry.tick) == list);
                assert_eq!(wheel.entries[entry.next as usize].prev, index);
                seen += 1;
                index = if entry.next == head { NIL } else { entry.next };
            }
        }
        assert_eq!(seen, wheel.len());
    }

    #[test]
    fn an_empty_wheel_has_no_deadline_and_fires_nothing() {
        let mut wheel = Wheel::<()>::new(12_345);
        assert_eq!(wheel.next_deadline_ns(), None);
        assert!(fired(&mut wheel, u64::MAX).is_empty());
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn a_deadline_is_rounded_up_to_its_tick() {
        for (deadline, fires_at) in [(1, TICK_NS), (TICK_NS, TICK_NS), (TICK_NS + 1, 2 * TICK_NS)] {
            let mut wheel = Wheel::new(0);
            wheel.arm(deadline, ());
            assert_eq!(wheel.next_deadline_ns(), Some(fires_at));
            assert!(fired(&mut wheel, fires_at - 1).is_empty());
            assert_eq!(fired(&mut wheel, fires_at).len(), 1);
        }
    }

    #[test]
    fn timers_on_both_sides_of_every_level_border_fire_on_their_tick() {
        for level in 1..LEVELS as u32 - 1 {
            for start in [0, 1, 63, 64, (1 << (level * SLOT_BITS)) - 1] {
                let border = 1u64 << (level * SLOT_BITS);
                let mut wheel = Wheel::new(start * TICK_NS);
                let mut ticks = vec![start + border - 1, start + border, start + border + 1];
                ticks.extend([2 * border - 1, 2 * border, 2 * border + 1]);
                ticks.retain(|&tick| tick > start);
                ticks.sort_unstable();
                for &tick in ticks.iter().rev() {
                    wheel.arm(tick * TICK_NS, tick);
                }
                check(&wheel);
                ticks.dedup();
                for tick in ticks {
                    assert_eq!(wheel.next_deadline_ns(), Some(tick * TICK_NS));
                    assert!(fired(&mut wheel, tick * TICK_NS - 1).is_empty());
                    check(&wheel);
                    let out = fired(&mut wheel, tick * TICK_NS);
                    assert!(!out.is_empty());
                    assert!(out.iter().all(|&t| t == tick), "{tick}: {out:?}");
                    check(&wheel);
                }
                assert_eq!(wheel.len(), 0);
            }
        }
    }

    #[test]
    fn a_past_deadline_fires_at_the_next_expire_and_before_others() {
        let mut wheel = Wheel::new(10 * TICK_NS + 5);
        wheel.arm(11 * TICK_NS, "next tick");
        wheel.arm(10 * TICK_NS + 5, "now");
        wheel.arm(0, "past");
        check(&wheel);
        assert_eq!(wheel.next_deadline_ns(), Some(10 * TICK_NS + 5));
        let out = fired(&mut wheel, 11 * TICK_NS);
        assert_eq!(out, ["now", "past", "next tick"]);
    }

    #[test]
    fn the_last_nanosecond_is_a_deadline_like_any_other() {
        let mut wheel = Wheel::new(7);
        wheel.arm(u64::MAX, "end of time");
        wheel.arm(u64::MAX - TICK_NS, "almost");
        check(&wheel);
        assert_eq!(fired(&mut wheel, u64::MAX - 1), ["almost"]);
        assert_eq!(wheel.next_deadline_ns(), Some(u64::MAX));
        assert_eq!(fired(&mut wheel, u64::MAX), ["end of time"]);
        wheel.arm(u64::MAX, "past");
        assert_eq!(fired(&mut wheel, 0), ["past"]);
    }

    #[test]
    fn a_jump_over_many_levels_fires_in_order_and_keeps_the_rest() {
        const DAY_NS: u64 = 86_400_000_000_000;
        let mut wheel = Wheel::new(3);
        for hours in (1..=96).rev() {
            wheel.arm(DAY_NS / 24 * hours, hours);
        }
        assert_eq!(
            fired(&mut wheel, 3 * DAY_NS + TICK_NS),
            Vec::from_iter(1..=72)
        );
        check(&wheel);
        assert_eq!(wheel.len(), 24);
        assert_eq!(fired(&mut wheel, 400 * DAY_NS), Vec::from_iter(73..=96));
    }

    #[test]
    fn time_that_runs_backwards_changes_nothing() {
        let mut wheel = Wheel::new(0);
        wheel.arm(100 * TICK_NS, 100);
        assert!(fired(&mut wheel, 99 * TICK_NS).is_empty());
        assert!(fired(&mut wheel, 3).is_empty());
        wheel.arm(98 * TICK_NS, 98);
        assert_eq!(fired(&mut wheel, 0), [98]);
        assert_eq!(wheel.next_deadline_ns(), Some(100 * TICK_NS));
        assert_eq!(fired(&mut wheel, 100 * TICK_NS), [100]);
    }

    #[test]
    fn timers_of_one_tick_fire_in_the_order_of_arming_even_across_cascades() {
        let mut wheel = Wheel::new(0);
        let tick = 3 * 4096 + 2 * 64 + 1;
        wheel.arm(tick * TICK_NS, 0);
        wheel.arm(tick * TICK_NS - 1, 1);
        fired(&mut wheel, 3 * 4096 * TICK_NS);
        wheel.arm(tick * TICK_NS, 2);
        fired(&mut wheel, (tick - 1) * TICK_NS);
        wheel.arm(tick * TICK_NS - 7, 3);
        assert_eq!(fired(&mut wheel, tick * TICK_NS), [0, 1, 2, 3]);
    }

    #[test]
    fn stale_keys_reach_nothing() {
        let mut wheel = Wheel::new(0);
        let fired_key = wheel.arm(1, 'a');
        assert!(wheel.is_armed(fired_key));
        fired(&mut wheel, TICK_NS);
        let cancelled = wheel.arm(TICK_NS * 9, 'b');
        assert_eq!(wheel.cancel(cancelled), Some('b'));
        let live = wheel.arm(TICK_NS * 9, 'c');
        assert_eq!(live.index, fired_key.index, "the entry is reused");
        let unknown = TimerKey { index: 77, ..live };
        for stale in [fired_key, cancelled, unknown] {
            assert!(!wheel.is_armed(stale));
            assert_eq!(wheel.payload_mut(stale), None);
            assert_eq!(wheel.cancel(stale), None);
        }
        *wheel.payload_mut(live).unwrap() = 'd';
        assert_eq!(wheel.cancel(live), Some('d'));
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn cancelling_the_earliest_costs_at_most_one_idle_wake_up() {
        let mut wheel = Wheel::new(0);
        let first = wheel.arm(5000 * TICK_NS, "first");
        wheel.arm(8000 * TICK_NS, "second");
        wheel.cancel(first);
        let early = wheel.next_deadline_ns().unwrap();
        assert!(early <= 8000 * TICK_NS);
        assert!(fired(&mut wheel, early).is_empty());
        assert_eq!(wheel.next_deadline_ns(), Some(8000 * TICK_NS));
    }

    #[test]
    fn warm_arming_reuses_entries() {
        let mut wheel = Wheel::new(0);
        for round in 0..1000u64 {
            let keys: Vec<_> = (0..10)
                .map(|i| wheel.arm((round + i * i * 50) * TICK_NS, i))
                .collect();
            for key in keys.into_iter().step_by(2) {
                wheel.cancel(key);
            }
            fired(&mut wheel, (round + 5000) * TICK_NS);
        }
        assert_eq!((wheel.len(), wheel.entries.len()), (0, 10));
    }

    #[test]
    fn a_million_pending_timers_fire_exactly_once_each() {
        const COUNT: u64 = 1_000_000;
        let mut wheel = Wheel::new(0);
        // A permutation, as the multiplier and COUNT are coprime.
        let deadline = |i: u64| (i * 7_368_787 % COUNT + 1) * 10_000;
        let keys: Vec<_> = (0..COUNT).map(|i| wheel.arm(deadline(i), i)).collect();
        assert_eq!(wheel.len(), COUNT as usize);
        for key in keys.iter().step_by(3) {
            assert!(wheel.cancel(*key).is_some());
        }
        let mut seen = vec![false; COUNT as usize];
        let mut last_tick = 0;
        while let Some(next) = wheel.next_deadline_ns() {
            for i in fired(&mut wheel, next) {
                assert!(deadline(i) <= next && tick_of_deadline(deadline(i)) >= last_tick);
                last_tick = tick_of_deadline(deadline(i));
                assert!(!std::mem::replace(&mut seen[i as usize], true));
            }
        }
        assert!((0..COUNT).all(|i| seen[i as usize] != (i % 3 == 0)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm { delay_ns: u64 },
        ArmPast { by_ns: u64 },
        Cancel { nth: usize },
        Advance { by_ns: u64 },
        Back { by_ns: u64 },
        ToNext,
    }

    /// Spans of every magnitude are equally likely.
    fn span() -> impl Strategy<Value = u64> {
        (0u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => span().prop_map(|delay_ns| Step::Arm { delay_ns }),
            1 => span().prop_map(|by_ns| Step::ArmPast { by_ns }),
            3 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
            2 => span().prop_map(|s| Step::Advance { by_ns: s >> 12 }),
            1 => span().prop_map(|by_ns| Step::Back { by_ns }),
            4 => Just(Step::ToNext),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(
            start in span().prop_map(|s| s >> 8),
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut wheel = Wheel::new(start);
            // Due tick (0 if due when armed), id, key; the ids say the order of arming.
            let mut model: Vec<(u64, usize, TimerKey)> = Vec::new();
            let mut latest = start;
            for (id, step) in steps.into_iter().enumerate() {
                let now = match step {
                    Step::Arm { .. } | Step::ArmPast { .. } => {
                        let deadline = match step {
                            Step::Arm { delay_ns } => latest.saturating_add(delay_ns),
                            Step::ArmPast { by_ns } => latest.saturating_sub(by_ns),
                            _ => unreachable!(),
                        };
                        let tick = if deadline <= latest { 0 } else { tick_of_deadline(deadline) };
                        model.push((tick, id, wheel.arm(deadline, id)));
                        None
                    }
                    Step::Cancel { nth } if !model.is_empty() => {
                        let (_, id, key) = model.remove(nth % model.len());
                        prop_assert_eq!(wheel.cancel(key), Some(id));
                        prop_assert_eq!(wheel.cancel(key), None);
                        None
                    }
                    Step::Cancel { .. } => None,
                    Step::Advance { by_ns } => Some(latest.saturating_add(by_ns)),
                    Step::Back { by_ns } => Some(latest.saturating_sub(by_ns)),
                    Step::ToNext => wheel.next_deadline_ns(),
                };
                if let Some(now) = now {
                    latest = latest.max(now);
                    let due = |&(tick, ..): &(u64, usize, TimerKey)| tick <= tick_of_now(latest);
                    let mut expected: Vec<_> = model.iter().copied().filter(due).collect();
                    expected.sort_by_key(|&(tick, id, _)| (tick, id));
                    model.retain(|timer| !due(timer));
                    let ids: Vec<_> = expected.iter().map(|&(_, id, _)| id).collect();
                    prop_assert_eq!(fired(&mut wheel, now), ids);
                    prop_assert!(expected.iter().all(|&(.., key)| !wheel.is_armed(key)));
                }
                check(&wheel);
                prop_assert!(model.iter().all(|&(.., key)| wheel.is_armed(key)));
                let earliest = model.iter().map(|&(tick, ..)| tick.saturating_mul(TICK_NS)).min();
                let next = wheel.next_deadline_ns();
                prop_assert_eq!(next.is_some(), earliest.is_some());
                prop_assert!(next <= earliest.map(|at| at.max(latest)));
            }
            // Following next_deadline_ns alone reaches every timer, each in a few steps.
            let mut idle = 0;
            while let Some(next) = wheel.next_deadline_ns() {
                idle = if fired(&mut wheel, next).is_empty() { idle + 1 } else { 0 };
                prop_assert!(idle <= LEVELS, "no progress at {}", next);
            }
            prop_assert_eq!(wheel.len(), 0);
        }
    }
}
