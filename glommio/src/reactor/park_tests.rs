//! Stress test of [`super::park`] on real threads: apart from it, because the model in
//! `tests/loom_park.rs` compiles that file with primitives which work inside a model only.

use super::park::ParkState;
use std::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

#[test]
fn wakes_that_race_with_parking_are_not_lost() {
    const WAKERS: usize = 2;
    const WAKES: usize = 100_000;
    let park = ParkState::new();
    let inbox = AtomicUsize::new(0);
    let notifications = AtomicUsize::new(0);
    let (notified, arrival) = (Mutex::new(false), Condvar::new());

    thread::scope(|scope| {
        for _ in 0..WAKERS {
            scope.spawn(|| {
                for _ in 0..WAKES {
                    inbox.fetch_add(1, Ordering::Relaxed);
                    if park.should_notify() {
                        notifications.fetch_add(1, Ordering::Relaxed);
                        *notified.lock().unwrap() = true;
                        arrival.notify_one();
                    }
                }
            });
        }
        let (mut done, mut sleeps) = (0, 0);
        while done < WAKERS * WAKES {
            sleeps += 1;
            if park.prepare_park(|| inbox.load(Ordering::Relaxed) == 0) {
                // A wait that only the deadline ends is a lost wake-up.
                let guard = notified.lock().unwrap();
                let deadline = Duration::from_secs(60);
                let (mut guard, result) = arrival
                    .wait_timeout_while(guard, deadline, |notified| !*notified)
                    .unwrap();
                assert!(!result.timed_out(), "woken {done} times, then no more");
                *guard = false;
                drop(guard);
                park.unpark();
            }
            done += inbox.swap(0, Ordering::Relaxed);
        }
        assert_eq!(done, WAKERS * WAKES);
        assert!(notifications.load(Ordering::Relaxed) <= sleeps);
    });
}
