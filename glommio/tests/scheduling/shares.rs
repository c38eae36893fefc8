//! CPU time follows shares.

use std::{cell::Cell, rc::Rc, time::Duration};

use glommio::{Latency, LocalExecutor, TaskQueueHandle, spawn_local_into};

use super::{eventually_good, hog, queue, runtime};

/// How much more CPU time one queue had than another, by the system's account and by ours.
#[derive(Debug)]
struct Ratio {
    theirs: f64,
    ours: f64,
}

/// Lets two queues compete for a second of CPU time.
fn ratio(few: usize, many: usize) -> Ratio {
    LocalExecutor::default().run(async move {
        let few = queue(few, Latency::NotImportant, "few");
        let many = queue(many, Latency::NotImportant, "many");
        let done = move || runtime(few) + runtime(many) >= Duration::from_secs(1);
        let (few_work, many_work) = (hog(few, done), hog(many, done));
        let used = (few_work.await, many_work.await);
        Ratio {
            theirs: used.1.as_secs_f64() / used.0.as_secs_f64(),
            ours: runtime(many).as_secs_f64() / runtime(few).as_secs_f64(),
        }
    })
}

#[track_caller]
fn assert_ratio(few: usize, many: usize) {
    let expected = many as f64 / few as f64;
    let range = expected * 0.9..expected * 1.1;
    eventually_good(
        || ratio(few, many),
        |Ratio { theirs, ours }| range.contains(theirs) && range.contains(ours),
    );
}

#[test]
fn cpu_time_follows_shares_of_1_to_2() {
    assert_ratio(1, 2);
    assert_ratio(500, 1000);
}

/// Whether `one` is not ahead of `other`, both in time of the queue with more shares, but for a tenth and what
/// the first turn may have begun with.
fn has_its_due(one: Duration, other: Duration) -> bool {
    one <= other.mul_f64(1.1) + Duration::from_millis(100)
}

/// Lets two queues compete until `few` has had 40 turns; `many` has `factor` times as many shares. What a host
/// takes of one turn is charged, and with few shares it is more than a second's due; so this looks at what
/// is decided: a queue gets a turn only when the other one has had its due.
async fn compete(few: TaskQueueHandle, many: TaskQueueHandle, factor: u32) {
    const TURNS: u32 = 40;
    let before = runtime(few);
    let due = move || ((runtime(few) - before) * factor, runtime(many));
    let taken = Rc::new(Cell::new(0));
    let over = {
        let taken = taken.clone();
        move || taken.get() > TURNS
    };
    let few_work = hog(few, move || {
        let (few, many) = due();
        assert!(has_its_due(few, many), "{few:?} before {many:?}");
        taken.set(taken.get() + 1);
        taken.get() > TURNS
    });
    let many_work = hog(many, move || {
        let (few, many) = due();
        assert!(over() || has_its_due(many, few), "{many:?} before {few:?}");
        over()
    });
    few_work.await;
    many_work.await;
}

fn assert_due(few: usize, many: usize) {
    LocalExecutor::default().run(async move {
        let factor = u32::try_from(many / few).unwrap();
        let few = queue(few, Latency::NotImportant, "few");
        let many = queue(many, Latency::NotImportant, "many");
        compete(few, many, factor).await;
    });
}

#[test]
fn cpu_time_follows_shares_of_1_to_10() {
    assert_due(1, 10);
    assert_due(100, 1000);
}

#[test]
fn cpu_time_follows_shares_of_1_to_1000() {
    assert_due(1, 1000);
}

#[test]
fn the_default_queue_competes_with_its_one_share() {
    LocalExecutor::default().run(async {
        let other = queue(9, Latency::NotImportant, "nine shares");
        compete(TaskQueueHandle::default(), other, 9).await;
    });
}

#[test]
fn what_the_system_takes_when_a_competition_begins_is_not_charged() {
    let charged = async || {
        let other = queue(1, Latency::NotImportant, "other");
        let charged = runtime(TaskQueueHandle::default());
        let task = spawn_local_into(async {}, other).unwrap();
        // To the accounts, a sleep in the middle of a slice is a CPU that went to another thread.
        std::thread::sleep(Duration::from_millis(300));
        task.await;
        runtime(TaskQueueHandle::default()) - charged
    };
    eventually_good(
        || LocalExecutor::default().run(charged()),
        |charged| *charged < Duration::from_millis(150),
    );
}

#[test]
fn a_queue_that_ran_alone_owes_nothing() {
    let ratio = async || {
        let early = queue(1, Latency::NotImportant, "early");
        let late = queue(1, Latency::NotImportant, "late");
        let (begun, end) = (Rc::new(Cell::new(None)), Duration::from_millis(300));
        let starts = begun.clone();
        let first = hog(early, move || match starts.get() {
            // Alone for 300 ms, then in competition until both have had 300 ms together.
            None if runtime(early) < end => false,
            None => {
                starts.set(Some(runtime(early)));
                hog(late, {
                    let starts = starts.clone();
                    move || runtime(early) + runtime(late) >= starts.get().unwrap() + end
                })
                .detach();
                false
            }
            Some(start) => runtime(early) + runtime(late) >= start + end,
        });
        first.await;
        let competing = (runtime(early) - begun.get().unwrap()).as_secs_f64();
        competing / runtime(late).as_secs_f64()
    };
    eventually_good(
        || LocalExecutor::default().run(ratio()),
        |ratio| (0.7..1.4).contains(ratio),
    );
}
