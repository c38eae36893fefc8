//! Shares that somebody manages.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, SharesManager, executor, spawn_local,
    spawn_local_into, timer::sleep,
};

use super::{hog, queue};

#[derive(Default)]
struct Manager {
    shares: Cell<usize>,
    asked: Cell<u32>,
    then: RefCell<Option<Box<dyn FnMut()>>>,
}

const PERIOD: Duration = Duration::from_millis(20);

impl SharesManager for Manager {
    fn shares(&self) -> usize {
        self.asked.set(self.asked.get() + 1);
        if let Ok(mut then) = self.then.try_borrow_mut() {
            if let Some(then) = then.as_mut() {
                then();
            }
        }
        self.shares.get()
    }

    fn adjustment_period(&self) -> Duration {
        PERIOD
    }
}

fn fast_executor() -> LocalExecutor {
    let builder = LocalExecutorBuilder::default().preempt_timer(Duration::from_millis(1));
    builder.make().unwrap()
}

#[test]
fn a_shares_manager_is_asked_at_its_period_while_its_queue_is_busy() {
    fast_executor().run(async {
        let manager = Rc::new(Manager::default());
        manager.shares.set(7);
        let managed = executor().create_task_queue(
            Shares::Dynamic(manager.clone()),
            Latency::NotImportant,
            "managed",
        );
        let shares = move || {
            executor()
                .task_queue_stats(managed)
                .unwrap()
                .current_shares()
        };
        assert_eq!((manager.asked.get(), shares()), (1, 7));

        let start = Instant::now();
        let seen = manager.clone();
        hog(managed, move || seen.asked.get() >= 11).await;
        let elapsed = start.elapsed();
        // Ten questions, each a period after the one before at least.
        assert!(elapsed >= PERIOD * 10 - PERIOD / 10, "{elapsed:?}");

        manager.shares.set(1_000_000);
        let seen = manager.asked.get();
        hog(managed, move || shares() == 1000).await;
        assert!(manager.asked.get() > seen);

        let seen = manager.asked.get();
        sleep(PERIOD * 5).await;
        assert_eq!(manager.asked.get(), seen, "asked while idle");
    });
}

#[test]
fn a_manager_that_panics_leaves_the_shares_as_they_are() {
    let ex = fast_executor();
    let manager = Rc::new(Manager::default());
    *manager.then.borrow_mut() = Some(Box::new(|| panic!("manager")));
    manager.shares.set(500);
    let managed = ex.create_task_queue(
        Shares::Dynamic(manager.clone()),
        Latency::NotImportant,
        "managed",
    );
    ex.run(async {
        let shares = move || {
            executor()
                .task_queue_stats(managed)
                .unwrap()
                .current_shares()
        };
        assert_eq!(shares(), 1, "it has never answered");
        *manager.then.borrow_mut() = None;
        hog(managed, move || shares() == 500).await;
        let seen = manager.asked.get();
        *manager.then.borrow_mut() = Some(Box::new(|| panic!("manager")));
        let asked = manager.clone();
        hog(managed, move || asked.asked.get() >= seen + 3).await;
        assert_eq!(shares(), 500);
        *manager.then.borrow_mut() = None;
    });
    ex.remove_task_queue(managed).unwrap();
}

#[test]
fn a_manager_may_make_queues_and_spawn_into_them() {
    fast_executor().run(async {
        let manager = Rc::new(Manager::default());
        manager.shares.set(10);
        let ran = Rc::new(Cell::new(0));
        let counts = ran.clone();
        *manager.then.borrow_mut() = Some(Box::new(move || {
            let made = queue(
                5,
                Latency::Matters(Duration::from_millis(1)),
                "made by a manager",
            );
            let counts = counts.clone();
            let work = async move { counts.set(counts.get() + 1) };
            spawn_local_into(work, made).unwrap().detach();
            spawn_local(async {}).detach();
        }));
        let managed = executor().create_task_queue(
            Shares::Dynamic(manager.clone()),
            Latency::NotImportant,
            "managed",
        );
        let seen = ran.clone();
        hog(managed, move || seen.get() >= 5).await;
    });
}
