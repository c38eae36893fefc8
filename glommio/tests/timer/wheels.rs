//! The wheels that are public, against a sorted list.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use glommio::timer::{
    staged_wheel::{DrainExpired, StagedWheel},
    timing_wheel::TimingWheel,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{HOUR, Woken};

/// What both have in common.
trait AnyWheel {
    fn insert(&mut self, deadline: Instant, waker: Waker) -> u64;
    fn remove(&mut self, id: u64) -> bool;
    fn advance_to(&mut self, now: Instant);
    fn current_time(&self) -> Instant;
    /// Takes out so many.
    fn drain(&mut self, most: usize) -> Vec<(u64, Waker)>;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool;
}

macro_rules! any_wheel {
    ($($wheel:ty),+) => { $(
        impl AnyWheel for $wheel {
            fn insert(&mut self, deadline: Instant, waker: Waker) -> u64 {
                self.insert(deadline, waker)
            }
            fn remove(&mut self, id: u64) -> bool {
                self.remove(id)
            }
            fn advance_to(&mut self, now: Instant) {
                self.advance_to(now);
            }
            fn current_time(&self) -> Instant {
                self.current_time()
            }
            fn drain(&mut self, most: usize) -> Vec<(u64, Waker)> {
                self.drain_expired().take(most).collect()
            }
            fn len(&self) -> usize {
                self.len()
            }
            fn is_empty(&self) -> bool {
                self.is_empty()
            }
        }
    )+ };
}

any_wheel!(TimingWheel, StagedWheel);

#[derive(Clone, Debug)]
enum Step {
    Insert(Duration),
    InsertPast(Duration),
    Remove(Index),
    Advance(Duration),
    Back(Duration),
    /// To the nanosecond before a timer's deadline, and then to the deadline.
    ToDeadline(Index),
    DrainSome(usize),
}

/// From nanoseconds to weeks, every magnitude equally likely.
fn span() -> impl Strategy<Value = Duration> {
    (0u32..51, any::<u64>()).prop_map(|(bits, any)| Duration::from_nanos(any >> 13 >> bits))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => span().prop_map(Step::Insert),
        1 => span().prop_map(Step::InsertPast),
        3 => any::<Index>().prop_map(Step::Remove),
        2 => span().prop_map(Step::Advance),
        1 => span().prop_map(Step::Back),
        3 => any::<Index>().prop_map(Step::ToDeadline),
        1 => (0..4usize).prop_map(Step::DrainSome),
    ]
}

/// Deadline, or the start if it had passed, id and who is to be woken, in the order in which they were inserted.
type Model = Vec<(Instant, u64, Arc<Woken>)>;

/// Takes out what is due, in order.
fn take_due(model: &mut Model, now: Instant, most: usize) -> Vec<(u64, Arc<Woken>)> {
    model.sort_by_key(|(deadline, ..)| *deadline); // stable
    let due = model
        .iter()
        .filter(|(deadline, ..)| *deadline <= now)
        .count();
    let due = model.drain(..due.min(most));
    due.map(|(_, id, woken)| (id, woken)).collect()
}

fn drain_and_compare(wheel: &mut impl AnyWheel, model: &mut Model, most: usize) {
    let expected = take_due(model, wheel.current_time(), most);
    let drained = wheel.drain(most);
    assert_eq!(
        drained.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        expected.iter().map(|(id, _)| *id).collect::<Vec<_>>()
    );
    for ((id, waker), (_, woken)) in drained.into_iter().zip(expected) {
        waker.wake();
        assert_eq!(woken.times(), 1, "the waker of another timer");
        assert!(!wheel.remove(id));
        assert_eq!(Arc::strong_count(&woken), 1);
    }
}

fn run(mut wheel: impl AnyWheel, start: Instant, steps: Vec<Step>) {
    let mut model = Model::new();
    let mut now = start;
    for step in steps {
        match step {
            Step::Insert(_) | Step::InsertPast(_) => {
                let deadline = match step {
                    Step::Insert(wait) => now + wait,
                    Step::InsertPast(by) => now - by.min(now - start),
                    _ => unreachable!(),
                };
                let (woken, waker) = Woken::new();
                let id = wheel.insert(deadline, waker);
                assert!(model.iter().all(|(_, other, _)| *other != id));
                // Those that are due already come first.
                let rank = if deadline <= now { start } else { deadline };
                model.push((rank, id, woken));
            }
            Step::Remove(nth) if !model.is_empty() => {
                let (_, id, woken) = model.remove(nth.index(model.len()));
                assert!(wheel.remove(id));
                assert!(!wheel.remove(id));
                assert_eq!(Arc::strong_count(&woken), 1, "its waker is gone");
            }
            Step::Advance(by) => now += by,
            Step::Back(by) => wheel.advance_to(now - by.min(now - start)),
            Step::ToDeadline(nth) if !model.is_empty() => {
                let deadline = model[nth.index(model.len())].0.max(now);
                let just_before = deadline - Duration::from_nanos(1);
                if just_before > now {
                    wheel.advance_to(just_before);
                    drain_and_compare(&mut wheel, &mut model, usize::MAX);
                }
                now = deadline;
            }
            Step::Remove(_) | Step::ToDeadline(_) => {}
            Step::DrainSome(most) => {
                drain_and_compare(&mut wheel, &mut model, most);
                continue;
            }
        }
        wheel.advance_to(now);
        assert_eq!(wheel.current_time(), now);
        assert_eq!(
            (wheel.len(), wheel.is_empty()),
            (model.len(), model.is_empty())
        );
        // Every other step leaves due timers where they are.
        if model.len() % 2 == 0 {
            drain_and_compare(&mut wheel, &mut model, usize::MAX);
        }
    }
    drain_and_compare(&mut wheel, &mut model, usize::MAX);
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn a_timing_wheel_agrees_with_a_sorted_list(steps in vec(step(), 1..150)) {
        let start = Instant::now();
        run(TimingWheel::new_at(start), start, steps);
    }

    #[test]
    fn a_staged_wheel_agrees_with_a_sorted_list(steps in vec(step(), 1..150)) {
        let start = Instant::now();
        run(StagedWheel::new_at(start), start, steps);
    }
}

#[test]
fn a_staged_wheel_changes_its_storage_and_keeps_its_timers() {
    let start = Instant::now();
    let mut wheel = StagedWheel::new_at(start);
    let mut ids = Vec::new();
    for i in 0..40u32 {
        let expected = if i <= 16 { "inline" } else { "wheel" };
        assert_eq!(wheel.storage_mode(), expected, "with {i} timers");
        ids.push(wheel.insert(start + HOUR * (40 - i), Waker::noop().clone()));
    }
    // From back to front, to leave the places alone.
    for place in [30, 3] {
        assert!(wheel.remove(ids.remove(place)));
    }
    wheel.advance_to(start + HOUR * 1000);
    let drained: Vec<u64> = match wheel.drain_expired() {
        DrainExpired::Wheel(timers) => timers.map(|(id, _)| id).collect(),
        DrainExpired::Inline(_) => unreachable!("it is a wheel"),
    };
    ids.reverse();
    assert_eq!(drained, ids);
    assert!(wheel.is_empty() && wheel.drain_expired().next().is_none());
}

#[test]
fn deadlines_before_the_start_and_beyond_all_time_are_now_and_never() {
    let start = Instant::now();
    let mut wheel = TimingWheel::new_at(start + HOUR);
    let past = wheel.insert(start, Waker::noop().clone());
    let far = start + HOUR * 24 * 365 * 1000;
    wheel.insert(far, Waker::noop().clone());
    let due: Vec<_> = wheel.drain_expired().map(|(id, _)| id).collect();
    assert_eq!(due, [past]);
    wheel.advance_to(start + HOUR * 24 * 365 * 500);
    assert_eq!((wheel.drain_expired().count(), wheel.len()), (0, 1));
}
