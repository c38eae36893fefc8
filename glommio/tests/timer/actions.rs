//! Actions with tasks of their own.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    ExecutorErrorKind, GlommioError, Latency, LocalExecutor, QueueErrorKind, Shares,
    TaskQueueHandle, executor,
    timer::{TimerActionOnce, TimerActionRepeat, sleep},
};

use super::{HOUR, MS};

fn run(test: impl Future<Output = ()>) {
    LocalExecutor::default().run(test);
}

/// A queue of another executor.
fn unknown_queue() -> TaskQueueHandle {
    LocalExecutor::default().run(async {
        for _ in 0..4 {
            executor().create_task_queue(Shares::default(), Latency::NotImportant, "gone");
        }
        executor().create_task_queue(Shares::default(), Latency::NotImportant, "gone")
    })
}

/// Says when it is dropped.
struct Held(Rc<Cell<bool>>);

impl Held {
    fn new() -> (Rc<Cell<bool>>, Held) {
        let dropped = Rc::<Cell<bool>>::default();
        (dropped.clone(), Held(dropped))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn an_action_runs_once_at_its_time_and_its_output_can_be_had() {
    run(async {
        let start = loop {
            let start = Instant::now();
            let log = Rc::new(RefCell::new(Vec::new()));
            let action = |name, wait| {
                let log = log.clone();
                TimerActionOnce::do_in(wait, async move {
                    log.borrow_mut().push(name);
                    Instant::now()
                })
            };
            let actions = [
                action("b", MS * 6),
                action("a", MS * 2),
                action("0", Duration::ZERO),
            ];
            executor().yield_now().await;
            let all_wait = start.elapsed() < MS * 2;
            let waits = [MS * 6, MS * 2, Duration::ZERO];
            for (action, wait) in actions.into_iter().zip(waits) {
                assert!(action.join().await.unwrap() >= start + wait);
            }
            // Those whose time has come before their first turn run in the order in which they were made.
            if all_wait {
                assert_eq!(*log.borrow(), ["0", "a", "b"]);
                break start;
            }
        };
        let past = TimerActionOnce::do_at(start, async { 7 });
        assert_eq!(past.join().await, Some(7));
    });
}

#[test]
fn an_action_whose_handle_is_dropped_runs_all_the_same() {
    run(async {
        let (dropped, held) = Held::new();
        let ran = Rc::<Cell<bool>>::default();
        let theirs = ran.clone();
        drop(TimerActionOnce::do_in(MS, async move {
            theirs.set(true);
            drop(held);
        }));
        while !dropped.get() {
            sleep(MS).await;
        }
        assert!(ran.get());
    });
}

#[test]
fn cancel_returns_after_the_future_is_dropped_before_its_start_and_after() {
    run(async {
        for wait in [Duration::ZERO, HOUR] {
            let (dropped, held) = Held::new();
            let started = Rc::<Cell<bool>>::default();
            let theirs = started.clone();
            let action = TimerActionOnce::do_in(wait, async move {
                let _held = held;
                theirs.set(true);
                pending::<()>().await;
            });
            while wait.is_zero() && !started.get() {
                executor().yield_now().await;
            }
            assert!(!dropped.get());
            action.cancel().await;
            assert!(dropped.get(), "after {wait:?}");
            assert_eq!(started.get(), wait.is_zero());
        }
        let done = TimerActionOnce::do_in(Duration::ZERO, async {});
        sleep(MS).await;
        done.cancel().await;
    });
}

#[test]
fn destroy_stops_an_action_and_join_then_gives_nothing() {
    run(async {
        let (dropped, held) = Held::new();
        let action = TimerActionOnce::do_in(MS, async move {
            let _held = held;
            7
        });
        action.destroy();
        action.destroy();
        action.rearm_in(MS);
        assert_eq!(action.join().await, None);
        assert!(dropped.get());
    });
}

/// An action that waits for its time, which tells when it ran. It was made after the instant.
async fn action_that_waits(wait: Duration) -> (Instant, TimerActionOnce<Instant>) {
    loop {
        let start = Instant::now();
        let action = TimerActionOnce::do_in(wait, async { Instant::now() });
        executor().yield_now().await;
        // Otherwise the machine took the CPU away, and it may have run in its first turn.
        if start.elapsed() < wait {
            return (start, action);
        }
        action.cancel().await;
    }
}

#[test]
fn an_action_can_be_put_off_and_forward_until_it_starts() {
    run(async {
        let (start, action) = action_that_waits(MS * 2).await;
        action.rearm_in(HOUR);
        action.rearm_at(start + HOUR * 2);
        sleep(MS * 4).await;
        action.rearm_at(start + MS * 10);
        let ran = action.join().await.unwrap();
        assert!(ran >= start + MS * 10 && start.elapsed() < HOUR);

        // Put off when its time has come, before it could run.
        let (start, action) = action_that_waits(MS).await;
        std::thread::sleep(MS * 3);
        action.rearm_in(MS * 4);
        assert!(action.join().await.unwrap() >= start + MS * 7);

        // Too late: it runs.
        let started = Rc::<Cell<u32>>::default();
        let theirs = started.clone();
        let action = TimerActionOnce::do_in(Duration::ZERO, async move {
            theirs.set(theirs.get() + 1);
            sleep(MS * 3).await;
        });
        while started.get() == 0 {
            executor().yield_now().await;
        }
        action.rearm_in(HOUR);
        assert_eq!(action.join().await, Some(()));
        assert_eq!(started.get(), 1);
    });
}

#[test]
fn an_action_may_rearm_and_destroy_itself() {
    run(async {
        let slot = Rc::<RefCell<Option<TimerActionOnce<()>>>>::default();
        let (dropped, held) = Held::new();
        let theirs = slot.clone();
        let action = TimerActionOnce::do_in(MS, async move {
            let _held = held;
            {
                let action = theirs.borrow();
                let action = action.as_ref().unwrap();
                action.rearm_in(HOUR);
                action.destroy();
            }
            pending::<()>().await;
        });
        *slot.borrow_mut() = Some(action);
        while !dropped.get() {
            sleep(MS).await;
        }
        let action = slot.borrow_mut().take().unwrap();
        assert_eq!(action.join().await, None);
    });
}

#[test]
fn actions_run_in_their_queue_and_an_unknown_queue_is_an_error() {
    let unknown = unknown_queue();
    run(async {
        let queue = executor().create_task_queue(Shares::default(), Latency::NotImportant, "q");
        let which = || async { executor().current_task_queue() };
        let in_it = [
            TimerActionOnce::do_in_into(MS, which(), queue).unwrap(),
            TimerActionOnce::do_at_into(Instant::now(), which(), queue).unwrap(),
        ];
        for action in in_it {
            assert_eq!(action.join().await, Some(queue));
        }
        let errors = [
            TimerActionOnce::do_in_into(MS, which(), unknown).map(drop),
            TimerActionOnce::do_at_into(Instant::now(), which(), unknown).map(drop),
            TimerActionRepeat::repeat_into(|| async { None }, unknown).map(drop),
        ];
        for error in errors {
            assert!(matches!(
                error,
                Err(GlommioError::ExecutorError(ExecutorErrorKind::QueueError {
                    kind: QueueErrorKind::NotFound,
                    ..
                }))
            ));
        }
        let seen = Rc::<Cell<_>>::default();
        let theirs = seen.clone();
        let repeated = TimerActionRepeat::repeat_into(
            move || {
                theirs.set(Some(executor().current_task_queue()));
                async { None }
            },
            queue,
        );
        assert_eq!(repeated.unwrap().join().await, Some(()));
        assert_eq!(seen.get(), Some(queue));
    });
}

#[test]
fn a_repeated_action_pauses_as_it_says_and_ends_when_it_says() {
    run(async {
        let times = Rc::new(RefCell::new(Vec::new()));
        let theirs = times.clone();
        let action = TimerActionRepeat::repeat(move || {
            theirs.borrow_mut().push(Instant::now());
            let next = match theirs.borrow().len() {
                1 => Some(MS * 2),
                2 => Some(Duration::ZERO),
                3 => Some(MS * 4),
                _ => None,
            };
            async move { next }
        });
        assert_eq!(action.join().await, Some(()));
        let times = times.borrow();
        assert_eq!(times.len(), 4);
        assert!(times[1] - times[0] >= MS * 2 && times[3] - times[2] >= MS * 4);
    });
}

#[test]
fn a_repeated_action_is_stopped_in_a_pause_and_while_it_runs() {
    run(async {
        for (wait, runs_on) in [(HOUR, false), (MS, false), (MS, true)] {
            let (dropped, held) = Held::new();
            let runs = Rc::<Cell<u32>>::default();
            let theirs = runs.clone();
            let action = TimerActionRepeat::repeat(move || {
                theirs.set(theirs.get() + 1);
                let _held = &held;
                async move {
                    if runs_on {
                        pending::<()>().await;
                    }
                    Some(wait)
                }
            });
            while runs.get() == 0 {
                executor().yield_now().await;
            }
            if runs_on {
                action.destroy();
                assert_eq!(action.join().await, None);
            } else {
                action.cancel().await;
            }
            assert!(dropped.get());
            let seen = runs.get();
            sleep(MS * 3).await;
            assert_eq!(runs.get(), seen);
        }
    });
}

#[test]
fn a_panic_of_an_action_resumes_where_it_is_joined() {
    run(async {
        let action = TimerActionOnce::do_in(MS, async { panic!("of the action") });
        let joined: Result<Option<()>, _> =
            futures_lite::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(action.join()))
                .await;
        let payload = joined.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"of the action"));
    });
}

#[test]
fn an_action_that_wants_no_pauses_leaves_time_for_others_and_can_be_stopped() {
    run(async {
        let runs = Rc::<Cell<u32>>::default();
        let theirs = runs.clone();
        let action = TimerActionRepeat::repeat(move || {
            theirs.set(theirs.get() + 1);
            async { Some(Duration::ZERO) }
        });
        // Timers fire all the same.
        sleep(MS).await;
        while runs.get() < 10 {
            executor().yield_now().await;
        }
        action.cancel().await;
        let seen = runs.get();
        executor().yield_now().await;
        assert_eq!(runs.get(), seen);
    });
}
