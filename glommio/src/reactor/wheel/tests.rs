use super::{
    entries::NIL,
    hierarchy::{DUE, LEVELS, List, bit_of},
    *,
};
use proptest::prelude::*;

fn fired<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    std::iter::from_fn(|| wheel.pop_due(now))
        .map(|(_, payload)| payload)
        .collect()
}

/// Checks bitmaps, links, counts and the placement facts of the module's docs.
fn check<T>(wheel: &Wheel<T>) {
    let mut seen = 0;
    for (list, links) in wheel.lists.iter().enumerate() {
        let &List {
            head,
            earliest_tick,
        } = links;
        if list != DUE {
            let (level, bit) = bit_of(list);
            let marked = wheel.occupied[level] & bit != 0;
            assert_eq!(marked, head != NIL, "bitmap of list {list}");
        }
        let mut index = head;
        while index != NIL {
            let entry = wheel.entries.get(index);
            assert_eq!(entry.list as usize, list);
            assert!(wheel.is_armed(wheel.entries.key_of(index)));
            assert!(entry.tick >= earliest_tick);
            let being_handed_out = entry.tick == wheel.tick && list != DUE;
            assert!(list == DUE || being_handed_out || wheel.list_for(entry.tick) == list);
            assert_eq!(wheel.entries.get(entry.next).prev, index);
            seen += 1;
            index = if entry.next == head { NIL } else { entry.next };
        }
    }
    assert_eq!(seen, wheel.len());
}

#[test]
fn an_empty_wheel_has_no_next_tick_and_fires_nothing() {
    let mut wheel = Wheel::<()>::new(12_345);
    assert_eq!(wheel.next_tick(), None);
    assert!(fired(&mut wheel, u64::MAX).is_empty());
    assert_eq!(wheel.len(), 0);
}

#[test]
fn a_timer_fires_on_its_tick_and_not_before() {
    let mut wheel = Wheel::new(0);
    wheel.arm(1000, 'a');
    assert_eq!(wheel.next_tick(), Some(1000));
    assert!(fired(&mut wheel, 999).is_empty());
    assert_eq!(fired(&mut wheel, 1000), ['a']);
}

#[test]
fn timers_on_both_sides_of_every_level_border_fire_on_their_tick() {
    for level in 1..LEVELS as u32 {
        for start in [0, 1, 63, 64, (1 << (level * 6)) - 1] {
            let border = 1u64 << (level * 6);
            let mut wheel = Wheel::new(start);
            let mut ticks = vec![start + border - 1, start + border, start + border + 1];
            ticks.extend([2 * border - 1, 2 * border, 2 * border + 1]);
            ticks.retain(|&tick| tick > start);
            ticks.sort_unstable();
            for &tick in ticks.iter().rev() {
                wheel.arm(tick, tick);
            }
            check(&wheel);
            ticks.dedup();
            for tick in ticks {
                assert_eq!(wheel.next_tick(), Some(tick));
                assert!(fired(&mut wheel, tick - 1).is_empty());
                check(&wheel);
                let out = fired(&mut wheel, tick);
                assert!(!out.is_empty());
                assert!(out.iter().all(|&t| t == tick), "{tick}: {out:?}");
                check(&wheel);
            }
            assert_eq!(wheel.len(), 0);
        }
    }
}

#[test]
fn a_past_tick_fires_at_once_and_before_others() {
    let mut wheel = Wheel::new(10);
    wheel.arm(11, "next tick");
    wheel.arm(10, "now");
    wheel.arm(0, "past");
    check(&wheel);
    assert_eq!(wheel.next_tick(), Some(10));
    let out = fired(&mut wheel, 11);
    assert_eq!(out, ["now", "past", "next tick"]);
}

#[test]
fn the_last_tick_is_a_tick_like_any_other() {
    let mut wheel = Wheel::new(7);
    wheel.arm(u64::MAX, "end of time");
    wheel.arm(u64::MAX - 1, "almost");
    check(&wheel);
    assert_eq!(fired(&mut wheel, u64::MAX - 1), ["almost"]);
    assert_eq!(wheel.next_tick(), Some(u64::MAX));
    assert_eq!(fired(&mut wheel, u64::MAX), ["end of time"]);
    wheel.arm(u64::MAX, "past");
    assert_eq!(fired(&mut wheel, 0), ["past"]);
}

#[test]
fn a_jump_over_many_levels_fires_in_order_and_keeps_the_rest() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let mut wheel = Wheel::new(3);
    for hours in (1..=96).rev() {
        wheel.arm(HOUR_NS * hours, hours);
    }
    assert_eq!(fired(&mut wheel, 72 * HOUR_NS), Vec::from_iter(1..=72));
    check(&wheel);
    assert_eq!(wheel.len(), 24);
    assert_eq!(fired(&mut wheel, 9600 * HOUR_NS), Vec::from_iter(73..=96));
}

#[test]
fn time_that_runs_backwards_changes_nothing() {
    let mut wheel = Wheel::new(0);
    wheel.arm(100, 100);
    assert!(fired(&mut wheel, 99).is_empty());
    assert!(fired(&mut wheel, 3).is_empty());
    wheel.arm(98, 98);
    assert_eq!(fired(&mut wheel, 0), [98]);
    assert_eq!(wheel.next_tick(), Some(100));
    assert_eq!(fired(&mut wheel, 100), [100]);
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_arming_even_across_cascades() {
    let mut wheel = Wheel::new(0);
    let tick = 3 * 4096 + 2 * 64 + 1;
    wheel.arm(tick, 0);
    wheel.arm(tick, 1);
    fired(&mut wheel, 3 * 4096);
    wheel.arm(tick, 2);
    fired(&mut wheel, tick - 1);
    wheel.arm(tick, 3);
    assert_eq!(fired(&mut wheel, tick), [0, 1, 2, 3]);
}

#[test]
fn what_is_armed_while_a_tick_is_handed_out_is_handed_out_too() {
    let mut wheel = Wheel::new(0);
    let second = {
        wheel.arm(5, "first");
        wheel.arm(5, "second");
        let third = wheel.arm(5, "third");
        assert_eq!(wheel.pop_due(6).unwrap().1, "first");
        check(&wheel);
        wheel.arm(5, "late");
        wheel.arm(6, "next");
        check(&wheel);
        assert_eq!(wheel.next_tick(), Some(5));
        assert!(wheel.rearm(third, 7));
        wheel.pop_due(6).unwrap().1
    };
    assert_eq!(second, "late", "timers that were due when armed come first");
    assert_eq!(fired(&mut wheel, 6), ["second", "next"]);
    assert_eq!(fired(&mut wheel, 7), ["third"]);
}

#[test]
fn stale_keys_reach_nothing() {
    let mut wheel = Wheel::new(0);
    let fired_key = wheel.arm(1, 'a');
    assert!(wheel.is_armed(fired_key));
    assert_eq!(wheel.pop_due(1), Some((fired_key, 'a')));
    let cancelled = wheel.arm(9, 'b');
    assert_eq!(wheel.cancel(cancelled), Some('b'));
    let live = wheel.arm(9, 'c');
    assert_eq!(live.index, fired_key.index, "the entry is reused");
    let unknown = TimerKey { index: 77, ..live };
    for stale in [fired_key, cancelled, unknown] {
        assert!(!wheel.is_armed(stale));
        assert_eq!(wheel.payload_mut(stale), None);
        assert!(!wheel.rearm(stale, 3));
        assert_eq!(wheel.cancel(stale), None);
        assert_eq!(TimerKey::from_u64(stale.to_u64()), stale);
    }
    *wheel.payload_mut(live).unwrap() = 'd';
    assert_eq!(wheel.cancel(live), Some('d'));
    assert_eq!(wheel.len(), 0);
}

#[test]
fn a_moved_timer_keeps_its_key_and_payload_and_queues_behind_its_new_neighbours() {
    let mut wheel = Wheel::new(0);
    let key = wheel.arm(5, "moved");
    wheel.arm(70_000, "neighbour");
    assert!(wheel.rearm(key, 70_000));
    check(&wheel);
    assert_eq!(wheel.next_tick(), Some(70_000));
    assert!(fired(&mut wheel, 69_999).is_empty());
    assert_eq!(fired(&mut wheel, 70_000), ["neighbour", "moved"]);
    assert!(!wheel.rearm(key, 80_000), "it has fired");
}

#[test]
fn cancelling_the_earliest_costs_at_most_one_idle_wake_up() {
    let mut wheel = Wheel::new(0);
    let first = wheel.arm(5000, "first");
    wheel.arm(8000, "second");
    wheel.cancel(first);
    let early = wheel.next_tick().unwrap();
    assert!(early <= 8000);
    assert!(fired(&mut wheel, early).is_empty());
    assert_eq!(wheel.next_tick(), Some(8000));
}

#[test]
fn warm_arming_reuses_entries() {
    let mut wheel = Wheel::new(0);
    for round in 0..1000u64 {
        let keys: Vec<_> = (0..10).map(|i| wheel.arm(round + i * i * 50, i)).collect();
        for key in keys.into_iter().step_by(2) {
            wheel.cancel(key);
        }
        fired(&mut wheel, round + 5000);
    }
    assert_eq!((wheel.len(), wheel.entries.room()), (0, 10));
}

#[test]
fn draining_empties_the_wheel_and_makes_keys_stale() {
    let mut wheel = Wheel::new(100);
    let keys = [7, 100, 101, 5000, u64::MAX].map(|tick| wheel.arm(tick, tick));
    let mut drained = wheel.drain();
    drained.sort_unstable();
    assert_eq!(drained, [7, 100, 101, 5000, u64::MAX]);
    assert!(keys.into_iter().all(|key| !wheel.is_armed(key)));
    assert_eq!((wheel.next_tick(), wheel.len()), (None, 0));
    check(&wheel);
    let key = wheel.arm(102, 0);
    assert!(!keys.contains(&key));
}

#[test]
fn a_million_pending_timers_fire_exactly_once_each_at_constant_cost() {
    const COUNT: u64 = 1_000_000;
    let mut wheel = Wheel::new(0);
    // A permutation, as the multiplier and COUNT are coprime. The ticks span four levels.
    let tick = |i: u64| (i * 7_368_787 % COUNT) * 10 + 1;
    let before = crate::test_alloc::allocations();
    let mut keys = Vec::with_capacity(COUNT as usize);
    keys.extend((0..COUNT).map(|i| wheel.arm(tick(i), i)));
    assert_eq!(wheel.len(), COUNT as usize);
    assert_eq!(
        wheel.placements, COUNT,
        "one list each, however many there are"
    );
    let allocations = crate::test_alloc::allocations() - before;
    assert!(allocations < 40, "{allocations}: not amortised");
    for key in keys.iter().step_by(3) {
        assert!(wheel.cancel(*key).is_some());
    }
    let (mut next, mut last, mut left) = (wheel.next_tick(), 0, wheel.len());
    while let Some(now) = next {
        while let Some((key, i)) = wheel.pop_due(now) {
            assert!(tick(i) <= now && tick(i) >= last);
            last = tick(i);
            assert!(i % 3 != 0 && key == keys[i as usize]);
            left -= 1;
        }
        next = wheel.next_tick();
    }
    assert_eq!((left, wheel.len()), (0, 0));
    // 10^7 ticks are four levels: a timer is moved down from three of them at most.
    assert!(wheel.placements <= 4 * COUNT, "{}", wheel.placements);
}

#[derive(Clone, Debug)]
enum Step {
    Arm { delay: u64 },
    ArmPast { by: u64 },
    Cancel { nth: usize },
    Rearm { nth: usize, delay: u64 },
    Advance { by: u64 },
    Back { by: u64 },
    ToNext,
}

/// Spans of every magnitude are equally likely: a tick of the reactor's, hours, centuries.
fn span() -> impl Strategy<Value = u64> {
    (0u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(|delay| Step::Arm { delay }),
        1 => span().prop_map(|by| Step::ArmPast { by }),
        3 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
        3 => (any::<usize>(), span()).prop_map(|(nth, delay)| Step::Rearm { nth, delay }),
        2 => span().prop_map(|s| Step::Advance { by: s >> 12 }),
        1 => span().prop_map(|by| Step::Back { by }),
        4 => Just(Step::ToNext),
    ]
}

/// What the wheel should do, in a list: (tick, or 0 if due when armed; age; id; key).
#[derive(Default)]
struct Model {
    timers: Vec<(u64, usize, usize, TimerKey)>,
}

impl Model {
    fn arm(&mut self, tick: u64, latest: u64, age: usize, id: usize, key: TimerKey) {
        let tick = if tick <= latest { 0 } else { tick };
        self.timers.push((tick, age, id, key));
    }

    /// The timers that are due, in order.
    fn take_due(&mut self, now: u64) -> Vec<(TimerKey, usize)> {
        self.timers
            .sort_unstable_by_key(|&(tick, age, ..)| (tick, age));
        let due = self.timers.partition_point(|&(tick, ..)| tick <= now);
        let due = self.timers.drain(..due);
        due.map(|(_, _, id, key)| (key, id)).collect()
    }
}

proptest! {
    #![proptest_config(crate::test_cases::cases(256))]

    #[test]
    fn agrees_with_a_sorted_list(
        start in span().prop_map(|s| s >> 8),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut wheel = Wheel::new(start);
        let mut model = Model::default();
        let mut latest = start;
        for (age, step) in steps.into_iter().enumerate() {
            let now = match step {
                Step::Arm { .. } | Step::ArmPast { .. } => {
                    let tick = match step {
                        Step::Arm { delay } => latest.saturating_add(delay),
                        Step::ArmPast { by } => latest.saturating_sub(by),
                        _ => unreachable!(),
                    };
                    model.arm(tick, latest, age, age, wheel.arm(tick, age));
                    None
                }
                Step::Cancel { nth } if !model.timers.is_empty() => {
                    let (_, _, id, key) = model.timers.remove(nth % model.timers.len());
                    prop_assert_eq!(wheel.cancel(key), Some(id));
                    prop_assert_eq!(wheel.cancel(key), None);
                    prop_assert!(!wheel.rearm(key, latest));
                    None
                }
                Step::Rearm { nth, delay } if !model.timers.is_empty() => {
                    let (_, _, id, key) = model.timers.remove(nth % model.timers.len());
                    let tick = latest.saturating_add(delay);
                    prop_assert!(wheel.rearm(key, tick));
                    model.arm(tick, latest, age, id, key);
                    None
                }
                Step::Cancel { .. } | Step::Rearm { .. } => None,
                Step::Advance { by } => Some(latest.saturating_add(by)),
                Step::Back { by } => Some(latest.saturating_sub(by)),
                Step::ToNext => wheel.next_tick(),
            };
            if let Some(now) = now {
                latest = latest.max(now);
                let due = model.take_due(latest);
                let popped: Vec<_> = std::iter::from_fn(|| wheel.pop_due(now)).collect();
                prop_assert_eq!(&popped, &due);
                prop_assert!(due.iter().all(|&(key, _)| !wheel.is_armed(key)));
            }
            check(&wheel);
            prop_assert!(model.timers.iter().all(|&(.., key)| wheel.is_armed(key)));
            let earliest = model.timers.iter().map(|&(tick, ..)| tick.max(latest)).min();
            let next = wheel.next_tick();
            prop_assert_eq!(next.is_some(), earliest.is_some());
            prop_assert!(next <= earliest);
        }
        // Following next_tick alone reaches every timer, each in a few steps.
        let mut idle = 0;
        while let Some(next) = wheel.next_tick() {
            idle = if fired(&mut wheel, next).is_empty() { idle + 1 } else { 0 };
            prop_assert!(idle <= LEVELS, "no progress at {}", next);
        }
        prop_assert_eq!(wheel.len(), 0);
    }
}
