//! The task debugger, on real executors.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    panic::catch_unwind,
    rc::Rc,
    sync::mpsc,
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use glommio::{
    Latency, LocalExecutor, Shares, executor, spawn_local, spawn_local_into, spawn_scoped_local,
    task::debugging::{TaskDebugger, TaskReport, TaskState},
    timer::sleep,
};

fn names(report: &TaskReport) -> Vec<&str> {
    report.tasks().iter().map(|task| &*task.name).collect()
}

/// Lets every task run until it has nothing to do.
async fn settle() {
    for _ in 0..3 {
        executor().yield_task_queue_now().await;
    }
}

async fn forgotten_by_all() {
    pending::<()>().await;
}

#[test]
fn live_tasks_are_listed_with_what_they_did() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::default(), Latency::NotImportant, "q");
        let task = spawn_local_into(forgotten_by_all(), queue).unwrap();

        let before = TaskDebugger::tasks();
        assert_eq!(before.executor(), executor().id());
        assert_eq!(before.len(), 2);
        assert_eq!(before.tasks()[0].state, TaskState::Running);
        let new = &before.tasks()[1];
        assert!(new.name.contains("forgotten_by_all"), "{}", new.name);
        assert_eq!((new.queue, new.polls), (queue.index(), 0));
        assert_eq!(new.state, TaskState::Scheduled);
        assert!(new.since_poll.is_none() && new.has_handle);

        settle().await;
        let after = TaskDebugger::tasks();
        let idle = &after.tasks()[1];
        assert_eq!((idle.id, idle.polls), (new.id, 1));
        assert_eq!(idle.state, TaskState::Idle);
        assert!(idle.since_poll.unwrap() <= idle.age && idle.since_wake <= idle.age);

        drop(task);
        assert_eq!(
            TaskDebugger::tasks().tasks()[1].state,
            TaskState::Cancelling
        );
        settle().await;
        assert_eq!(TaskDebugger::tasks().len(), 1);
    });
}

#[test]
fn wakes_and_polls_are_counted_and_timed() {
    LocalExecutor::default().run(async {
        let woken = Rc::new(RefCell::new(None::<Waker>));
        let theirs = woken.clone();
        let task = spawn_local(poll_fn::<(), _>(move |cx| {
            *theirs.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }));
        TaskDebugger::name_task(&task, "woken");
        for polls in 1..=3 {
            settle().await;
            assert_eq!(TaskDebugger::tasks().named("woken").unwrap().polls, polls);
            let waker = woken.borrow_mut().take().unwrap();
            let start = Instant::now();
            waker.wake();
            let report = TaskDebugger::tasks();
            let info = report.named("woken").unwrap();
            assert_eq!(info.state, TaskState::Scheduled);
            assert!(info.since_wake <= start.elapsed());
        }
    });
}

#[test]
fn tasks_are_named_from_inside_and_by_their_handles() {
    LocalExecutor::default().run(async {
        assert!(TaskDebugger::name_current_task("root"));
        let inner = spawn_local(async {
            assert!(TaskDebugger::name_current_task("first name"));
            assert!(TaskDebugger::name_current_task("inner"));
            pending::<()>().await;
        });
        let outer = spawn_local(pending::<()>());
        TaskDebugger::name_task(&outer, "outer");
        // SAFETY: the handle is dropped at the end of this future, which lends it nothing.
        let scoped = unsafe { spawn_scoped_local(pending::<()>()) };
        TaskDebugger::name_task(&scoped, "scoped");
        let detached = spawn_local(pending::<()>()).detach();
        TaskDebugger::name_task(&detached, "detached");
        settle().await;
        assert_eq!(
            names(&TaskDebugger::tasks()),
            ["root", "inner", "outer", "scoped", "detached"]
        );
        drop((inner, outer, scoped));
        let done = spawn_local(async {});
        settle().await;
        TaskDebugger::name_task(&done, "done");
        assert_eq!(names(&TaskDebugger::tasks()), ["root", "detached"]);
    });
    assert!(!TaskDebugger::name_current_task("nobody"));
}

#[test]
fn a_task_that_waits_for_long_is_stuck_and_one_that_runs_is_not() {
    LocalExecutor::default().run(async {
        TaskDebugger::name_current_task("root");
        let waits = spawn_local(pending::<()>());
        TaskDebugger::name_task(&waits, "waits");
        let runs = spawn_local(async {
            loop {
                executor().yield_now().await;
            }
        });
        TaskDebugger::name_task(&runs, "runs");
        assert!(TaskDebugger::stuck(Duration::MAX).is_empty());
        let start = Instant::now();
        executor().yield_now().await; // they were polled after that
        let patience = Duration::from_millis(50);
        // The machine may stop this thread for longer than that between two polls; then look again.
        while names(&TaskDebugger::stuck(patience)) != ["waits"] {
            assert!(start.elapsed() < Duration::from_secs(60));
            executor().yield_now().await;
        }
        assert!(start.elapsed() > patience);
    });
}

#[test]
fn a_task_that_was_never_polled_is_stuck_too() {
    LocalExecutor::default().run(async {
        let task = spawn_local(async {});
        TaskDebugger::name_task(&task, "starved");
        thread::sleep(Duration::from_millis(20));
        let stuck = TaskDebugger::stuck(Duration::from_millis(10));
        assert!(stuck.named("starved").is_some(), "{stuck}");
        task.await;
    });
}

#[test]
fn a_detached_task_that_nobody_can_wake_is_leaked() {
    LocalExecutor::default().run(async {
        let handle = spawn_local(pending::<()>()).detach();
        TaskDebugger::name_task(&handle, "lost");
        assert!(TaskDebugger::leaked().is_empty(), "it has yet to run");
        settle().await;
        assert!(TaskDebugger::leaked().is_empty(), "it can be cancelled");
        drop(handle);
        let leaked = TaskDebugger::leaked();
        assert_eq!(names(&leaked), ["lost"]);
        assert!(leaked.to_string().contains("lost (leaked)"), "{leaked}");
    });
}

#[test]
fn a_waker_anywhere_keeps_a_task_from_being_leaked() {
    let (to_thread, wakers) = mpsc::channel::<Waker>();
    let (go, wait) = mpsc::channel::<()>();
    let holder = thread::spawn(move || {
        let waker = wakers.recv().unwrap();
        wait.recv().unwrap();
        drop(waker);
    });
    LocalExecutor::default().run(async move {
        let mut to_thread = Some(to_thread);
        let handle = spawn_local(poll_fn(move |cx| {
            if let Some(to_thread) = to_thread.take() {
                to_thread.send(cx.waker().clone()).unwrap();
            }
            Poll::<()>::Pending
        }))
        .detach();
        TaskDebugger::name_task(&handle, "forgotten");
        drop(handle);
        settle().await;
        assert!(TaskDebugger::leaked().is_empty());
        go.send(()).unwrap();
        holder.join().unwrap();
        assert_eq!(names(&TaskDebugger::leaked()), ["forgotten"]);
    });
}

#[test]
fn tasks_that_wait_for_time_for_blocking_work_or_for_each_other_are_not_leaked() {
    LocalExecutor::default().run(async {
        let (go, wait) = mpsc::channel::<()>();
        let finished = Rc::new(Cell::new(0));
        let theirs = finished.clone();
        let job = executor().spawn_blocking(move || wait.recv().unwrap());
        spawn_local(async move {
            job.await;
            theirs.set(theirs.get() + 1);
        })
        .detach();
        let theirs = finished.clone();
        spawn_local(async move {
            spawn_local(sleep(Duration::from_millis(20))).await;
            theirs.set(theirs.get() + 1);
        })
        .detach();
        settle().await;
        while finished.get() < 1 {
            assert!(TaskDebugger::leaked().is_empty());
            executor().yield_now().await;
        }
        go.send(()).unwrap();
        while finished.get() < 2 {
            assert!(TaskDebugger::leaked().is_empty());
            executor().yield_now().await;
            // The job's thread may have no other CPU, nor a better priority.
            thread::yield_now();
        }
        assert_eq!(TaskDebugger::tasks().len(), 1);
    });
}

#[test]
fn a_chain_of_tasks_is_leaked_with_its_last_link() {
    LocalExecutor::default().run(async {
        spawn_local(async {
            TaskDebugger::name_current_task("first");
            let second = spawn_local(async {
                TaskDebugger::name_current_task("second");
                pending::<()>().await;
            });
            second.await;
        })
        .detach();
        settle().await;
        assert_eq!(names(&TaskDebugger::leaked()), ["first", "second"]);
    });
}

#[test]
fn outside_of_an_executor_the_panic_says_what_to_do() {
    let payload = catch_unwind(TaskDebugger::tasks).unwrap_err();
    let text = glommio::PanicPayload::new(payload).message().to_owned();
    assert!(text.contains("LocalExecutor::run"), "{text}");
}
