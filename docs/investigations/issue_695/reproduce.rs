//! DataDog/glommio#695: spawning a task on an executor that does not run yet.
//!
//! Runs as the test `issue_695` of the crate. See README.md next to this file.

use std::{
    cell::{Cell, RefCell},
    panic::catch_unwind,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
};

use glommio::{Latency, LocalExecutor, Shares, Task, executor, spawn_local, spawn_local_into};

/// Counts its drops.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_report_spawn_local_before_run_panics_and_says_what_is_missing() {
    let _executor = LocalExecutor::default();
    let payload = catch_unwind(|| spawn_local(async {}).detach()).unwrap_err();
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    assert!(text.unwrap().contains("needs a running glommio executor"));
}

#[test]
fn the_cure_spawn_on_the_executor_at_hand() {
    let ex = LocalExecutor::default();
    let task = ex.spawn(async { 1 + 2 });
    assert_eq!(ex.run(task), 3);
}

#[test]
fn nothing_runs_before_run_and_then_everything_in_order() {
    let ex = LocalExecutor::default();
    let order = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..10_000)
        .map(|number| {
            let order = order.clone();
            ex.spawn(async move { order.borrow_mut().push(number) })
        })
        .collect();
    assert!(order.borrow().is_empty());
    ex.run(async {
        for task in tasks {
            task.await;
        }
    });
    assert!(order.borrow().iter().copied().eq(0..10_000));
}

#[test]
fn detached_tasks_run_too() {
    let ex = LocalExecutor::default();
    let ran = Rc::new(Cell::new(false));
    let theirs = ran.clone();
    ex.spawn(async move { theirs.set(true) }).detach();
    ex.run(async {
        while !ran.get() {
            executor().yield_now().await;
        }
    });
}

#[test]
fn without_a_run_the_futures_are_dropped_once_with_the_executor() {
    let dropped = Rc::new(Cell::new(0));
    let ex = LocalExecutor::default();
    let kept: Vec<Task<()>> = (0..100)
        .map(|number| {
            let counted = Counted(dropped.clone());
            let task = ex.spawn(async move {
                let _counted = counted;
                panic!("never polled");
            });
            (number % 2 == 0, task)
        })
        .filter_map(|(keep, task)| {
            if keep {
                return Some(task);
            }
            task.detach();
            None
        })
        .collect();
    assert_eq!(dropped.get(), 0);
    drop(ex);
    assert_eq!(dropped.get(), 100);
    drop(kept);
    assert_eq!(dropped.get(), 100);
}

#[test]
fn a_task_cancelled_before_run_is_never_polled() {
    let dropped = Rc::new(Cell::new(0));
    let counted = Counted(dropped.clone());
    let ex = LocalExecutor::default();
    drop(ex.spawn(async move {
        let _counted = counted;
        panic!("polled");
    }));
    ex.run(async { executor().yield_now().await });
    assert_eq!(dropped.get(), 1);
}

/// A future that leaves its waker and then waits for the flag.
fn wait_for(slot: Arc<Mutex<(bool, Option<Waker>)>>) -> impl Future<Output = &'static str> {
    std::future::poll_fn(move |cx| {
        let mut slot = slot.lock().unwrap();
        slot.1 = Some(cx.waker().clone());
        if slot.0 {
            Poll::Ready("woken")
        } else {
            Poll::Pending
        }
    })
}

#[test]
fn a_wake_while_no_run_is_going_on_counts_for_the_next_one() {
    for from_another_thread in [false, true] {
        let ex = LocalExecutor::default();
        let slot = Arc::new(Mutex::new((false, None)));
        let task = ex.spawn(wait_for(slot.clone()));
        // It is polled, waits, and the run is over.
        ex.run(async {
            while slot.lock().unwrap().1.is_none() {
                executor().yield_now().await;
            }
        });
        let wake = move || {
            let mut slot = slot.lock().unwrap();
            slot.0 = true;
            slot.1.take().unwrap().wake();
        };
        if from_another_thread {
            thread::spawn(wake).join().unwrap();
        } else {
            wake();
        }
        assert_eq!(ex.run(task), "woken");
    }
}

#[test]
fn a_task_spawned_while_another_executor_runs_belongs_to_its_own() {
    let mine = LocalExecutor::default();
    let other = LocalExecutor::default();
    let mut task = None;
    other.run(async { task = Some(mine.spawn(async { executor().id() })) });
    assert_eq!(mine.run(task.unwrap()), mine.id());
}

#[test]
fn inside_of_run_it_goes_into_the_queue_of_the_running_task() {
    let ex = Rc::new(LocalExecutor::default());
    let queue = ex.create_task_queue(Shares::Static(7), Latency::NotImportant, "seven");
    let theirs = ex.clone();
    let (before, inside) = ex.run(async {
        let before = ex.spawn(async { executor().current_task_queue() }).await;
        let spawner = async move {
            let task = theirs.spawn(async { executor().current_task_queue() });
            task.await
        };
        (before, spawn_local_into(spawner, queue).unwrap().await)
    });
    assert_eq!((before, inside), (Default::default(), queue));
}

#[test]
fn a_panic_in_a_task_spawned_before_run_resumes_at_its_await() {
    let ex = LocalExecutor::default();
    let task = ex.spawn(async { panic!("in the task") });
    let caught = catch_unwind(std::panic::AssertUnwindSafe(|| ex.run(task)));
    let payload = caught.map(|()| "no panic").unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the task"));
    assert_eq!(ex.run(async { 1 }), 1, "the executor goes on");
}
