//! The order of the queues, against a model that looks at every queue each time.

use proptest::prelude::*;

use super::*;

const ROUND: Ticks = 1_000;

/// With `patiences.len()` open slots.
fn waiting(patiences: &[Option<Ticks>]) -> Waiting {
    let mut waiting = Waiting::new();
    for (slot, patience) in patiences.iter().enumerate() {
        waiting.open(slot as u32, *patience);
    }
    waiting
}

fn enter(waiting: &mut Waiting, slot: u32) {
    waiting.enter(slot, 1, 0, Entry::Again);
}

/// Lets the queue whose turn it is run for `cost` and wait again; which one was it?
fn turn(waiting: &mut Waiting, now: Ticks, cost: Virtual) -> u32 {
    let slot = waiting.pick(now, ROUND).expect("somebody waits");
    waiting.charge(slot, cost);
    waiting.enter(slot, 1, now, Entry::Again);
    slot
}

#[test]
fn the_one_that_had_least_is_next_and_equals_take_turns() {
    let mut waiting = waiting(&[None; 3]);
    for slot in 0..3 {
        enter(&mut waiting, slot);
    }
    let order: Vec<u32> = (0..6).map(|_| turn(&mut waiting, 0, 10)).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    assert_eq!(turn(&mut waiting, 0, 25), 0);
    let order: Vec<u32> = (0..6).map(|_| turn(&mut waiting, 0, 10)).collect();
    assert_eq!(order, [1, 2, 1, 2, 1, 2]);
}

#[test]
fn sleeping_earns_no_credit() {
    let mut waiting = waiting(&[None; 2]);
    enter(&mut waiting, 0);
    enter(&mut waiting, 1);
    // Queue 0 falls asleep after its first turn, queue 1 has a hundred more.
    assert_eq!(waiting.pick(0, ROUND), Some(0));
    waiting.charge(0, 10);
    for _ in 0..100 {
        turn(&mut waiting, 0, 10);
    }
    enter(&mut waiting, 0);
    let turns = (0..10).filter(|_| turn(&mut waiting, 0, 10) == 0).count();
    assert_eq!(turns, 5);
}

#[test]
fn a_short_sleep_is_not_punished() {
    // Queue 2 is far ahead of its shares and was just picked, because it is urgent.
    let mut waiting = waiting(&[None, None, Some(100)]);
    waiting.charge(2, 1_000_000);
    for slot in 0..3 {
        enter(&mut waiting, slot);
    }
    assert_eq!(waiting.pick(100, ROUND), Some(2));
    waiting.enter(2, 1, 100, Entry::Again);
    // Queue 0 sleeps for one turn of queue 1: it comes back level with it.
    assert_eq!(waiting.pick(100, ROUND), Some(0));
    waiting.charge(0, 10);
    turn(&mut waiting, 100, 10);
    enter(&mut waiting, 0);
    let turns = (0..10).filter(|_| turn(&mut waiting, 100, 10) == 0).count();
    assert_eq!(turns, 5);
}

#[test]
fn who_ran_alone_owes_nothing_and_goes_after_who_wakes_up() {
    let mut waiting = waiting(&[None; 2]);
    // Queue 1 is ahead of its shares and falls asleep; then queue 0 has the CPU to itself.
    waiting.charge(1, 500);
    waiting.charge_alone(0, 1_000);
    waiting.enter(0, 1, 0, Entry::Again);
    waiting.enter(1, 1, 0, Entry::Woken);
    let order: Vec<u32> = (0..4).map(|_| turn(&mut waiting, 0, 10)).collect();
    assert_eq!(order, [1, 0, 1, 0]);
}

#[test]
fn virtual_time_beyond_64_bits_keeps_its_order() {
    let mut waiting = waiting(&[None; 2]);
    for slot in 0..2 {
        waiting.charge(slot, Virtual::from(u64::MAX) - 5);
        enter(&mut waiting, slot);
    }
    let order: Vec<u32> = (0..8)
        .map(|_| match waiting.pick(0, ROUND) {
            Some(slot) => {
                waiting.charge(slot, if slot == 0 { 3 } else { 9 });
                enter(&mut waiting, slot);
                slot
            }
            None => unreachable!("both wait"),
        })
        .collect();
    assert_eq!(
        order.iter().filter(|slot| **slot == 0).count(),
        6,
        "{order:?}"
    );
}

#[test]
fn a_queue_becomes_urgent_when_its_patience_ends() {
    let mut waiting = waiting(&[None, Some(100)]);
    waiting.charge(1, 1_000_000);
    waiting.enter(0, 1, 500, Entry::Again);
    waiting.enter(1, 1, 500, Entry::Again);
    assert_eq!(waiting.urgent_in(500), Some(100));
    assert_eq!(turn(&mut waiting, 599, 10), 0);
    assert_eq!(waiting.urgent_in(600), Some(0));
    assert_eq!(turn(&mut waiting, 600, 10), 1);
    assert_eq!(turn(&mut waiting, 600, 10), 0);
}

#[test]
fn a_clock_that_goes_back_makes_waiting_queues_urgent_not_late() {
    let mut waiting = waiting(&[None, Some(100)]);
    waiting.enter(1, 1, 1_000_000, Entry::Again);
    waiting.enter(0, 1, 1_000_000, Entry::Again);
    assert_eq!(waiting.urgent_in(5), Some(0));
    assert_eq!(waiting.pick(5, ROUND), Some(1));
}

#[test]
fn urgent_queues_that_never_have_enough_do_not_starve_the_others() {
    let mut waiting = waiting(&[None, Some(1), Some(1), Some(1)]);
    for slot in 0..4 {
        enter(&mut waiting, slot);
    }
    let mut turns = [0; 4];
    for now in 0..1_000 {
        turns[turn(&mut waiting, now * 10, 1_000) as usize] += 1;
    }
    assert!(turns.iter().all(|turns| *turns >= 150), "{turns:?}");
}

#[test]
fn whoever_rests_lets_everyone_who_waits_go_first() {
    let mut waiting = waiting(&[None; 4]);
    for slot in 1..4 {
        waiting.charge(slot, 10 * Virtual::from(slot));
        enter(&mut waiting, slot);
    }
    // Queue 0 has had nothing and would be next for ever.
    waiting.enter(0, 1, 0, Entry::Resting);
    let mut order: Vec<u32> = (0..4).map(|_| turn(&mut waiting, 0, 1_000)).collect();
    assert_eq!(order.pop(), Some(0));
    order.sort_unstable();
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn all_may_rest_at_once() {
    let mut waiting = waiting(&[None; 3]);
    for slot in 0..3 {
        waiting.enter(slot, 1, 0, Entry::Resting);
    }
    for round in 0..5 {
        for expected in 0..3 {
            assert_eq!(waiting.pick(0, ROUND), Some(expected), "round {round}");
            waiting.enter(expected, 1, 0, Entry::Resting);
        }
    }
}

#[test]
fn a_rest_ends_although_somebody_in_front_is_far_ahead_of_its_shares() {
    let mut waiting = waiting(&[None; 3]);
    waiting.charge(1, 1_000_000_000);
    enter(&mut waiting, 1);
    enter(&mut waiting, 2);
    waiting.enter(0, 1, 0, Entry::Resting);
    let mut order = Vec::new();
    for now in (0..10 * ROUND).step_by(ROUND as usize / 4) {
        order.push(turn(&mut waiting, now, 10));
        if order.last() == Some(&0) {
            break;
        }
    }
    assert!(order.contains(&1), "{order:?}");
    assert_eq!(order.last(), Some(&0), "{order:?}");
}

#[test]
fn a_slot_is_new_to_its_next_tenant() {
    let mut waiting = waiting(&[None, None]);
    waiting.charge(1, 1_000);
    waiting.open(1, None);
    enter(&mut waiting, 1);
    enter(&mut waiting, 0);
    assert_eq!(waiting.pick(0, ROUND), Some(1));
}

/// A queue that waits, in the model.
#[derive(Clone, Debug)]
struct Member {
    slot: u32,
    vruntime: Virtual,
    since: Ticks,
    arrival: (bool, u64),
    resting: bool,
}

/// The rules of the module, applied by looking at everybody.
#[derive(Debug)]
struct Model {
    /// In the order of the line.
    line: Vec<Member>,
    vruntimes: Vec<Virtual>,
    patiences: Vec<Option<Ticks>>,
    floor: Virtual,
    arrivals: u64,
    urgent_in_a_row: usize,
}

impl Model {
    fn enter(&mut self, slot: u32, since: Ticks, entry: Entry) {
        let resting = entry == Entry::Resting;
        let vruntime = self.vruntimes[slot as usize].max(self.floor);
        self.vruntimes[slot as usize] = vruntime;
        // Those that were woken go first among equals.
        let arrival = (entry != Entry::Woken, self.arrivals);
        self.arrivals += 1;
        self.line.push(Member {
            slot,
            vruntime,
            since,
            arrival,
            resting,
        });
    }

    fn fair(&self) -> Option<&Member> {
        let fair = self.line.iter().filter(|member| !member.resting);
        fair.min_by_key(|member| (member.vruntime, member.arrival))
    }

    fn pick(&mut self, now: Ticks, round: Ticks) -> Option<u32> {
        if let Some(first) = self.line.first_mut() {
            if first.resting {
                first.resting = false;
                first.vruntime = first.vruntime.max(self.floor);
                first.arrival = (true, self.arrivals);
                self.arrivals += 1;
            }
        }
        let patient = |member: &&Member| self.patiences[member.slot as usize].is_some();
        let deadline = |member: &&Member| {
            let patience = self.patiences[member.slot as usize].unwrap();
            member.since + patience
        };
        let latencies = self.line.iter().filter(patient).count();
        let urgent = self.line.iter().filter(patient);
        let urgent = urgent.filter(|member| deadline(member) <= now);
        let urgent = urgent.min_by_key(|member| deadline(member)).map(|m| m.slot);
        let urgent = urgent.filter(|_| self.urgent_in_a_row <= latencies || self.fair().is_none());
        let overdue = self
            .line
            .first()
            .filter(|first| self.line.iter().any(|m| m.resting) && now - first.since >= 2 * round);
        let next = urgent
            .or(overdue.map(|m| m.slot))
            .or(self.fair().map(|m| m.slot));
        self.urgent_in_a_row = match urgent {
            Some(_) => self.urgent_in_a_row + 1,
            None => 0,
        };
        let next = next?;
        let at = self.line.iter().position(|m| m.slot == next).unwrap();
        let picked = self.line.remove(at);
        self.vruntimes[next as usize] = picked.vruntime;
        let least = self
            .fair()
            .map_or(picked.vruntime, |m| m.vruntime.min(picked.vruntime));
        self.floor = self.floor.max(least);
        Some(next)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A queue becomes runnable.
    Wake(u32),
    /// The next queue runs for a time and then sleeps, waits again, or rests.
    Run(u16, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u32..8).prop_map(Step::Wake),
        (1u16..2_000, 0u8..4).prop_map(|(ran, then)| Step::Run(ran, then)),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(crate::test_cases::cases(256))]

    #[test]
    fn it_agrees_with_the_model(
        steps in steps(),
        patiences in prop::collection::vec(prop::option::of(1u64..5_000), 8),
        shares in prop::collection::vec(1u64..=1000, 8),
    ) {
        let mut waiting = waiting(&patiences);
        let mut model = Model {
            line: Vec::new(),
            vruntimes: vec![0; 8],
            patiences,
            floor: 0,
            arrivals: 0,
            urgent_in_a_row: 0,
        };
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wake(slot) if model.line.iter().any(|m| m.slot == slot) => {}
                Step::Wake(slot) => {
                    waiting.enter(slot, shares[slot as usize], now, Entry::Woken);
                    model.enter(slot, now, Entry::Woken);
                }
                Step::Run(ran, then) => {
                    let picked = waiting.pick(now, ROUND);
                    prop_assert_eq!(picked, model.pick(now, ROUND));
                    now += Ticks::from(ran);
                    if let Some(slot) = picked {
                        let cost = Virtual::from(ran) * 1_000 / Virtual::from(shares[slot as usize]);
                        waiting.charge(slot, cost);
                        model.vruntimes[slot as usize] += cost;
                        if then > 0 {
                            let entry = if then == 3 { Entry::Resting } else { Entry::Again };
                            waiting.enter(slot, shares[slot as usize], now, entry);
                            model.enter(slot, now, entry);
                        }
                    }
                }
            }
            prop_assert_eq!(waiting.len(), model.line.len());
            let sum: u64 = model.line.iter().map(|m| shares[m.slot as usize]).sum();
            prop_assert_eq!(waiting.shares(), sum);
        }
    }

    /// Nobody waits for ever, whatever the others do.
    #[test]
    fn everyone_gets_a_turn(
        costs in prop::collection::vec((1u64..100_000, any::<bool>()), 8),
        patiences in prop::collection::vec(prop::option::of(1u64..5_000), 8),
    ) {
        let mut waiting = waiting(&patiences);
        let mut turns = [0u32; 8];
        for slot in 0..8 {
            enter(&mut waiting, slot);
        }
        let mut now = 0;
        // Each charges the others' worst at most once per turn, so a hundred thousand is plenty.
        for _ in 0..200_000 {
            let slot = waiting.pick(now, ROUND).expect("all wait");
            let (cost, rest) = costs[slot as usize];
            turns[slot as usize] += 1;
            if turns.iter().all(|turns| *turns >= 2) {
                return Ok(());
            }
            now += 50;
            waiting.charge(slot, Virtual::from(cost));
            let entry = if rest { Entry::Resting } else { Entry::Again };
            waiting.enter(slot, 1, now, entry);
        }
        prop_assert!(false, "{:?}", turns);
    }
}
