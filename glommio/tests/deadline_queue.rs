//! `DeadlineQueue` on a real executor.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::{poll_once, zip};
use glommio::{
    Latency, LocalExecutor, Shares,
    controllers::{ControllerStatus, DeadlineQueue, DeadlineSource},
    executor, spawn_local, spawn_local_into,
    timer::sleep,
    yield_if_needed,
};

const MS: Duration = Duration::from_millis(1);

/// Units of so many microseconds of CPU time each.
struct Work {
    time: Duration,
    total: u64,
    unit: Duration,
    processed: Cell<u64>,
    /// The longest time that a unit took.
    longest: Cell<Duration>,
    /// The most shares that its queue had.
    most_shares: Cell<usize>,
    log: RefCell<Vec<&'static str>>,
}

impl Work {
    fn new(time: Duration, total: u64, unit: Duration) -> Rc<Work> {
        Rc::new(Work {
            time,
            total,
            unit,
            processed: Cell::new(0),
            longest: Cell::default(),
            most_shares: Cell::default(),
            log: RefCell::default(),
        })
    }
}

/// Notes that an action has ended, in whatever way.
struct Ended(Rc<Work>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.log.borrow_mut().push("ended");
    }
}

impl DeadlineSource for Work {
    type Output = u64;

    fn expected_duration(&self) -> Duration {
        self.time
    }

    fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = u64> + 'static>> {
        Box::pin(async move {
            self.log.borrow_mut().push("begun");
            let _ended = Ended(self.clone());
            while self.processed.get() < self.total {
                self.longest.set(self.longest.get().max(burn(self.unit)));
                self.processed.set(self.processed.get() + 1);
                let stats = executor().task_queue_stats(executor().current_task_queue());
                let shares = stats.unwrap().current_shares();
                self.most_shares.set(self.most_shares.get().max(shares));
                yield_if_needed().await;
            }
            self.total
        })
    }

    fn total_units(&self) -> u64 {
        self.total
    }

    fn processed_units(&self) -> u64 {
        self.processed.get()
    }
}

/// How long it took, which is more where another thread got the CPU.
fn burn(time: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let took = start.elapsed();
        if took >= time {
            return took;
        }
    }
}

fn shares(queue: &DeadlineQueue<u64>) -> usize {
    let stats = executor().task_queue_stats(queue.task_queue());
    stats.unwrap().current_shares()
}

#[test]
fn work_gives_its_output_one_after_the_other_in_its_queue() {
    LocalExecutor::default().run(async {
        let queue = DeadlineQueue::new("deadline", MS * 10);
        let (first, second) = (Work::new(MS * 50, 3, MS), Work::new(MS * 50, 2, MS));
        let waiting = async {
            while second.log.borrow().is_empty() {
                executor().yield_now().await;
            }
            assert_eq!(*first.log.borrow(), ["begun", "ended"], "one at a time");
        };
        let both = zip(
            queue.push_work(first.clone()),
            queue.push_work(second.clone()),
        );
        let (outputs, ()) = zip(both, waiting).await;
        assert_eq!((outputs.0.unwrap(), outputs.1.unwrap()), (3, 2));
        let stats = executor().task_queue_stats(queue.task_queue()).unwrap();
        assert!(stats.runtime() > Duration::ZERO);
        assert_eq!(
            (Rc::strong_count(&first), Rc::strong_count(&second)),
            (1, 1)
        );
    });
}

#[test]
fn an_earlier_deadline_than_that_of_queued_work_is_invalid_input() {
    LocalExecutor::default().run(async {
        let queue = DeadlineQueue::new("deadline", MS * 10);
        let mut queued = std::pin::pin!(queue.push_work(Work::new(MS * 3_600_000, 3, MS)));
        assert!(poll_once(&mut queued).await.is_none());
        let early = queue.push_work(Work::new(MS * 4000, 1, MS)).await;
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(queued.await.unwrap(), 3);
        assert_eq!(queue.push_work(Work::new(MS, 1, MS)).await.unwrap(), 1);
    });
}

#[test]
fn dropping_the_future_stops_the_work_or_takes_it_out_and_the_next_one_goes_on() {
    LocalExecutor::default().run(async {
        let queue = DeadlineQueue::new("deadline", MS * 10);
        let endless = Work::new(MS * 5000, u64::MAX, MS / 10);
        let waits = Work::new(MS * 5000, 1, MS);
        let last = Work::new(MS * 5000, 4, MS / 10);
        let mut running = Box::pin(queue.push_work(endless.clone()));
        let mut waiting = Box::pin(queue.push_work(waits.clone()));
        let mut next = Box::pin(queue.push_work(last.clone()));
        assert!(poll_once(&mut running).await.is_none());
        assert!(poll_once(&mut waiting).await.is_none());
        assert!(poll_once(&mut next).await.is_none());
        while endless.processed.get() == 0 {
            executor().yield_now().await;
        }
        drop((waiting, running));
        assert_eq!(next.await.unwrap(), 4);
        assert_eq!(*endless.log.borrow(), ["begun", "ended"]);
        assert!(waits.log.borrow().is_empty());
        assert_eq!(
            (Rc::strong_count(&endless), Rc::strong_count(&waits)),
            (1, 1)
        );
    });
}

#[test]
fn a_panic_of_the_work_resumes_where_it_is_awaited_and_the_queue_goes_on() {
    struct Panics;

    impl DeadlineSource for Panics {
        type Output = u64;

        fn expected_duration(&self) -> Duration {
            MS
        }

        fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = u64> + 'static>> {
            Box::pin(async { panic!("of the work") })
        }

        fn total_units(&self) -> u64 {
            1
        }

        fn processed_units(&self) -> u64 {
            0
        }
    }

    LocalExecutor::default().run(async {
        let queue = Rc::new(DeadlineQueue::new("deadline", MS * 10));
        let theirs = queue.clone();
        let pushing = spawn_local(async move { theirs.push_work(Rc::new(Panics)).await });
        let caught = std::panic::AssertUnwindSafe(pushing);
        let payload = futures_lite::FutureExt::catch_unwind(caught)
            .await
            .unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"of the work"));
        assert_eq!(queue.push_work(Work::new(MS, 1, MS)).await.unwrap(), 1);
    });
}

#[test]
fn fixed_shares_and_bumps_take_effect_on_the_task_queue() {
    LocalExecutor::default().run(async {
        let queue = Rc::new(DeadlineQueue::new("deadline", MS));
        assert_eq!(shares(&queue), 1);
        // More than enough time: the controller has no reason for more than one share.
        let theirs = queue.clone();
        let work = Work::new(MS * 3_600_000, u64::MAX, MS / 10);
        let busy = spawn_local(async move { theirs.push_work(work).await });
        let settles_at = async |expected: usize| {
            let start = Instant::now();
            while shares(&queue) != expected {
                assert!(start.elapsed() < MS * 30_000, "{} shares", shares(&queue));
                sleep(MS).await;
            }
        };
        queue.disable(321);
        assert_eq!(queue.status(), ControllerStatus::Disabled(321));
        settles_at(321).await;
        queue.disable(100_000);
        settles_at(1000).await;
        queue.disable(7);
        settles_at(7).await;
        let bump = queue.bump_priority();
        settles_at(250).await;
        queue.disable(400);
        settles_at(400).await;
        queue.disable(3);
        settles_at(250).await;
        drop(bump);
        settles_at(3).await;
        queue.enable();
        assert_eq!(queue.status(), ControllerStatus::Enabled);
        busy.cancel().await;
    });
}

/// With one share the work would take fifty seconds beside a queue of a thousand that never pauses,
/// and with a thousand a tenth of its time.
#[test]
fn work_beside_a_busy_queue_gets_the_shares_that_it_needs_and_not_many_more() {
    const DEADLINE: Duration = Duration::from_millis(1000);
    LocalExecutor::default().run(async {
        let rival = async {
            loop {
                burn(MS / 20);
                yield_if_needed().await;
            }
        };
        let rival_queue =
            executor().create_task_queue(Shares::Static(1000), Latency::NotImportant, "rival");
        let rival = spawn_local_into(rival, rival_queue).unwrap();
        let queue = DeadlineQueue::new("deadline", MS * 10);
        // 50 ms of CPU time, a twentieth of the time that there is.
        let work = Work::new(DEADLINE, 1000, MS / 20);
        let (start, busy) = (
            Instant::now(),
            executor().executor_stats().executor_runtime(),
        );
        let done = queue.push_work(work.clone()).await;
        let took = start.elapsed();
        let busy = executor().executor_stats().executor_runtime() - busy;
        rival.cancel().await;
        assert_eq!(done.unwrap(), 1000);
        let most = work.most_shares.get();
        assert!(most > 10, "{most} shares");
        assert!(took > DEADLINE / 4, "{took:?}: it was not held back");
        // Where the machine takes the CPU away, the deadline cannot be kept; in a virtual one that
        // counts as time of whoever runs, and weighs most in a queue of few shares.
        if busy > took.mul_f64(0.9) && work.longest.get() < MS {
            assert!(
                took < DEADLINE * 3 / 2,
                "{took:?} with {most} shares at most"
            );
        }
    });
}
