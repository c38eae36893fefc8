//! Model of falling asleep: `reactor/park.rs`, compiled against loom's primitives. A lost wake-up
//! leaves the owner parked for ever, which loom reports as a deadlock.
//!
//! The searches are bounded in preemptions (a switch away from a thread that could have gone on):
//! nearly all races need one or two, and the unbounded search of three threads does not end in
//! useful time. Within the bound every interleaving is run, and every value that the memory model
//! lets a load return.

/// Stands in for `reactor/atomic.rs`.
mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering, fence};
}

#[path = "../src/reactor/park.rs"]
mod park;

use loom::{
    model::Builder,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};
use park::ParkState;

/// What owner and wakers share. The inbox is as weak as can be: relaxed, so that the fences of the
/// protocol alone must keep wake-ups from being lost.
struct Shared {
    park: ParkState,
    inbox: AtomicUsize,
    notifications: AtomicUsize,
}

fn wake(shared: &Shared, owner: &thread::Thread) {
    shared.inbox.fetch_add(1, Relaxed);
    if shared.park.should_notify() {
        shared.notifications.fetch_add(1, Relaxed);
        // Sticky, as a completion in the ring is: it ends the park that follows, too.
        owner.unpark();
    }
}

/// Empties the inbox between sleeps until `wakes` have come in.
fn own(shared: &Shared, wakes: usize) {
    let (mut done, mut sleeps) = (0, 0);
    while done < wakes {
        sleeps += 1;
        if shared.park.prepare_park(|| shared.inbox.load(Relaxed) == 0) {
            thread::park();
            shared.park.unpark();
        }
        done += shared.inbox.swap(0, Relaxed);
    }
    assert_eq!(done, wakes);
    assert!(
        shared.notifications.load(Relaxed) <= sleeps,
        "a sleep costs at most one notification"
    );
}

fn race(wakers: usize, wakes_each: usize, preemptions: usize) {
    let mut model = Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let shared = Arc::new(Shared {
            park: ParkState::new(),
            inbox: AtomicUsize::new(0),
            notifications: AtomicUsize::new(0),
        });
        let owner = thread::current();
        for _ in 0..wakers {
            let (shared, owner) = (shared.clone(), owner.clone());
            thread::spawn(move || (0..wakes_each).for_each(|_| wake(&shared, &owner)));
        }
        // Nobody is joined: the model ends when all threads have, and loom takes a late unpark for
        // the end of a join.
        own(&shared, wakers * wakes_each);
    });
}

#[test]
fn one_wake_that_races_with_falling_asleep_is_not_lost() {
    race(1, 1, 4);
}

#[test]
fn wakes_of_one_thread_over_several_sleeps_are_not_lost() {
    race(1, 3, 3);
}

#[test]
fn wakes_of_two_threads_are_not_lost_and_notify_once_per_sleep() {
    race(2, 1, 3);
}

#[test]
fn an_owner_that_is_awake_is_not_notified() {
    loom::model(|| {
        let park = ParkState::new();
        assert!(!park.should_notify());
        assert!(!park.prepare_park(|| false), "there is work");
        assert!(!park.should_notify());
        assert!(park.prepare_park(|| true));
        assert!(park.should_notify());
        assert!(!park.should_notify(), "somebody has notified already");
        assert!(park.unpark());
        assert!(!park.should_notify());
    });
}
