//! The executor as its users see it.

#[path = "support/cpu.rs"]
mod cpu;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, executor, nop::NopSubmitter, spawn_local,
    spawn_local_into,
};

use cpu::thread_cpu;

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().unwrap_or(&"").to_string(),
    }
}

#[test]
fn run_gives_the_output_of_a_future_that_borrows() {
    let text = String::from("borrowed");
    let len = LocalExecutor::default().run(async { text.len() });
    assert_eq!(len, 8);
}

#[test]
fn tasks_left_by_one_run_go_on_in_the_next() {
    let ex = LocalExecutor::default();
    let done = Rc::new(Cell::new(false));
    let theirs = done.clone();
    ex.run(async move {
        spawn_local(async move {
            executor().yield_now().await;
            theirs.set(true);
        })
        .detach();
    });
    assert!(!done.get());
    ex.run(async {
        while !done.get() {
            executor().yield_now().await;
        }
    });
}

#[test]
fn an_executor_inside_an_executor_is_refused() {
    let ex = LocalExecutor::default();
    let inner = catch_unwind(AssertUnwindSafe(|| {
        ex.run(async { LocalExecutorBuilder::default().make().is_ok() })
    }));
    let text = message(inner.unwrap_err());
    assert!(text.contains("executor inception"), "{text}");
    assert_eq!(
        ex.run(async { 1 }),
        1,
        "the executor survives its root's panic"
    );
}

#[test]
fn outside_of_an_executor_the_panic_says_what_to_do() {
    let text = message(catch_unwind(|| executor().id()).unwrap_err());
    assert!(text.contains("LocalExecutor::run"), "{text}");
}

#[test]
fn an_unknown_queue_and_an_active_one_are_told_apart() {
    let ex = LocalExecutor::default();
    let queue = ex.create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
    ex.run(async move {
        spawn_local_into(std::future::pending::<()>(), queue)
            .unwrap()
            .detach();
    });
    let text = ex.remove_task_queue(queue).unwrap_err().to_string();
    assert!(text.contains("Queue #1 is still active"), "{text}");

    let ex = LocalExecutor::default();
    let queue = ex.create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
    ex.remove_task_queue(queue).unwrap();
    let error = ex
        .run(async move { spawn_local_into(async {}, queue).map(drop) })
        .unwrap_err();
    assert!(
        error.to_string().contains("Queue #1 is not found"),
        "{error}"
    );
}

#[test]
fn a_task_inherits_the_queue_of_its_spawner() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
        let seen = spawn_local_into(
            async { spawn_local(async { executor().current_task_queue() }).await },
            queue,
        );
        assert_eq!(seen.unwrap().await, queue);
    });
}

#[test]
fn yielding_the_queues_turn_lets_the_other_queue_run() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "q");
        let ran = Rc::new(Cell::new(false));
        let theirs = ran.clone();
        spawn_local_into(async move { theirs.set(true) }, queue)
            .unwrap()
            .detach();
        // The current queue has used nothing yet, so only giving up its turn lets the other run.
        executor().yield_task_queue_now().await;
        executor().yield_task_queue_now().await;
        assert!(ran.get());
    });
}

#[test]
fn a_yield_loop_does_not_starve_io() {
    LocalExecutor::default().run(async {
        let done = Rc::new(Cell::new(false));
        let theirs = done.clone();
        spawn_local(async move {
            NopSubmitter::new().run_nop().await.unwrap();
            theirs.set(true);
        })
        .detach();
        let mut turns = 0u64;
        while !done.get() {
            executor().yield_now().await;
            turns += 1;
            assert!(turns < 100_000_000, "I/O is starved");
        }
    });
}

#[test]
fn need_preempt_is_said_after_the_preempt_timer() {
    let ex = LocalExecutorBuilder::default()
        .preempt_timer(std::time::Duration::from_millis(10))
        .make()
        .unwrap();
    ex.run(async {
        // Read before the slice begins, so that its time is no longer than what passed since.
        let start = std::time::Instant::now();
        executor().yield_task_queue_now().await;
        while !executor().need_preempt() {}
        assert!(start.elapsed().as_millis() >= 9);
        let start = std::time::Instant::now();
        executor().yield_if_needed().await;
        assert!(
            !executor().need_preempt() || start.elapsed().as_millis() >= 9,
            "a new slice has begun"
        );
    });
}

#[test]
fn a_panicking_root_is_reported_by_join() {
    let handle = LocalExecutorBuilder::default()
        .spawn(|| async { panic!("root") })
        .unwrap();
    let error = handle.join().unwrap_err();
    assert!(error.to_string().contains("thread panicked"), "{error}");
}

#[test]
fn spawn_blocking_gives_its_result() {
    let sum = LocalExecutor::default()
        .run(async { executor().spawn_blocking(|| (1..=10).sum::<u32>()).await });
    assert_eq!(sum, 55);
}

#[test]
fn removing_a_queue_costs_the_same_however_many_tasks_wait_in_others() {
    const TASKS: usize = 50_000;
    const QUEUES: usize = 1_000;
    let ex = LocalExecutor::default();
    let queue = |number: usize| {
        let shares = Shares::Static(1 + number);
        ex.create_task_queue(shares, Latency::NotImportant, "one of many")
    };
    let cost_of_removing = || {
        let queues: Vec<_> = (0..QUEUES).map(queue).collect();
        let start = thread_cpu();
        for queue in queues {
            ex.remove_task_queue(queue).unwrap();
        }
        thread_cpu() - start
    };
    let alone = cost_of_removing();
    let busy = queue(0);
    let waiting = ex.run(async {
        let sleepers: Vec<_> = (0..TASKS)
            .map(|_| spawn_local_into(std::future::pending::<()>(), busy).unwrap())
            .collect();
        executor().yield_now().await;
        sleepers
    });
    // What a host takes of the time of a virtual machine counts, too: the best of a few tells.
    let among_many = (0..5).map(|_| cost_of_removing()).min().unwrap();
    // A look at each of the tasks would cost a thousand times as much.
    assert!(
        among_many < alone * 20 + Duration::from_millis(5),
        "{alone:?} alone, {among_many:?} with {TASKS} tasks in another queue"
    );
    assert!(ex.remove_task_queue(busy).is_err());
    drop(waiting);
    // The slice of the queue may end before all of them are gone.
    while ex.remove_task_queue(busy).is_err() {
        ex.run(async { executor().yield_task_queue_now().await });
    }
}
