//! Panics that nobody awaits: what the log, the policy and the executor's thread see of them.

mod support;

use std::{
    fmt::{Debug, Write as _},
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
};

use glommio::{
    BuilderErrorKind, GlommioError, Latency, LocalExecutor, LocalExecutorBuilder,
    LocalExecutorPoolBuilder, PanicOrigin, PanicPolicy, PoolPlacement, Shares, TaskQueueHandle,
    executor, spawn_local, spawn_local_into,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    executor: usize,
    name: String,
    queue: TaskQueueHandle,
    origin: PanicOrigin,
    message: String,
}

/// A builder whose executors send what panicked and do what `policy` says.
fn watched(policy: PanicPolicy) -> (LocalExecutorBuilder, Receiver<Seen>) {
    let (sender, seen) = mpsc::channel();
    let builder = LocalExecutorBuilder::default()
        .name("watched")
        .on_unobserved_panic(move |panicked| {
            let _ = sender.send(Seen {
                executor: panicked.executor,
                name: panicked.executor_name.to_owned(),
                queue: panicked.queue,
                origin: panicked.origin,
                message: panicked.message.to_owned(),
            });
            policy
        });
    (builder, seen)
}

fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else {
        panic!("it did not panic");
    };
    glommio::PanicPayload::new(payload).message().to_owned()
}

fn queue() -> TaskQueueHandle {
    executor().create_task_queue(Shares::default(), Latency::NotImportant, "side")
}

#[test]
fn the_policy_is_told_who_panicked_and_the_executor_goes_on() {
    let (builder, seen) = watched(PanicPolicy::Continue);
    let ex = builder.make().unwrap();
    ex.run(async {
        let queue = queue();
        spawn_local_into(async { panic!("detached") }, queue)
            .unwrap()
            .detach();
        let told = loop {
            match seen.try_recv() {
                Ok(told) => break told,
                Err(_) => executor().yield_task_queue_now().await,
            }
        };
        let expected = Seen {
            executor: executor().id(),
            name: "watched".to_owned(),
            queue,
            origin: PanicOrigin::Task,
            message: "detached".to_owned(),
        };
        assert_eq!(told, expected);
        assert_eq!(spawn_local(async { 5 }).await, 5);
    });
}

#[test]
fn the_queue_is_that_of_the_task_and_not_the_one_that_runs_when_the_handle_goes() {
    let (builder, seen) = watched(PanicPolicy::Continue);
    builder.make().unwrap().run(async {
        let queue = queue();
        let handle = spawn_local_into(async { panic!("unasked") }, queue)
            .unwrap()
            .detach();
        while !format!("{handle:?}").contains("panicked") {
            executor().yield_task_queue_now().await;
        }
        assert!(seen.try_recv().is_err(), "the handle could still ask");
        drop(handle);
        assert_eq!(seen.try_recv().unwrap().queue, queue);
    });
}

#[test]
fn a_panic_that_is_awaited_does_not_reach_the_policy() {
    let (builder, seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let text = panic_of(|| ex.run(async { spawn_local(async { panic!("awaited") }).await }));
    assert_eq!(text, "awaited");
    let text = panic_of(|| ex.run(async { executor().spawn_blocking(|| panic!("job")).await }));
    assert_eq!(text, "job");
    drop(ex);
    assert!(seen.try_recv().is_err());
}

#[test]
fn ending_the_executor_resumes_the_panic_where_it_runs() {
    let (builder, _seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let text = panic_of(|| {
        ex.run(async {
            spawn_local(async { panic!("fatal") }).detach();
            pending::<()>().await
        })
    });
    assert_eq!(text, "fatal");
    // As after a panic of the root, the executor can be used.
    assert_eq!(ex.run(async { spawn_local(async { 7 }).await }), 7);
}

#[test]
fn a_root_that_is_done_does_not_hide_the_panic() {
    let (builder, _seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let text = panic_of(|| {
        ex.run(async {
            let handle = spawn_local(async { panic!("fatal") }).detach();
            while !format!("{handle:?}").contains("panicked") {
                executor().yield_now().await;
            }
        })
    });
    assert_eq!(text, "fatal");
}

#[test]
fn the_panic_of_the_root_comes_first_and_leaves_the_next_run_alone() {
    let (builder, _seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let text = panic_of(|| {
        ex.run(async {
            let handle = spawn_local(async { panic!("task") }).detach();
            while !format!("{handle:?}").contains("panicked") {
                executor().yield_now().await;
            }
            drop(handle);
            panic!("root");
        })
    });
    assert_eq!(text, "root");
    assert_eq!(ex.run(async { 1 }), 1);
}

#[test]
fn joining_the_thread_of_an_ended_executor_reports_the_panic() {
    let (builder, _seen) = watched(PanicPolicy::EndExecutor);
    let handle = builder
        .spawn(|| async {
            spawn_local(async { panic!("fatal") }).detach();
            pending::<()>().await
        })
        .unwrap();
    match handle.join() {
        Err(GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(payload))) => {
            assert_eq!(payload.message(), "fatal");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn in_a_pool_the_policy_ends_the_shard_that_it_concerns() {
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2))
        .name("shard")
        .on_unobserved_panic(|panicked| match panicked.executor_name {
            "shard-1" => PanicPolicy::EndExecutor,
            _ => PanicPolicy::Continue,
        })
        .on_all_shards(|| async {
            let handle = spawn_local(async { panic!("in a shard") }).detach();
            while !format!("{handle:?}").contains("panicked") {
                executor().yield_now().await;
            }
            drop(handle);
            executor().yield_now().await;
        })
        .unwrap();
    let mut results = pool.join_all().into_iter();
    assert!(results.next().unwrap().is_ok());
    match results.next().unwrap() {
        Err(GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(payload))) => {
            assert_eq!(payload.message(), "in a shard");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blocking_job_that_nobody_awaits_ends_a_sleeping_executor() {
    let (builder, seen) = watched(PanicPolicy::EndExecutor);
    let (go, wait) = mpsc::channel::<()>();
    let handle = builder
        .spawn(|| async move {
            let queue = queue();
            let task = spawn_local_into(
                async move {
                    drop(executor().spawn_blocking(move || {
                        wait.recv().unwrap();
                        panic!("job")
                    }))
                },
                queue,
            );
            task.unwrap().await;
            go.send(()).unwrap();
            // Nothing is left to do: the executor sleeps until the job's panic ends it.
            pending::<()>().await
        })
        .unwrap();
    assert!(handle.join().is_err());
    let told = seen.recv().unwrap();
    assert_eq!(told.origin, PanicOrigin::BlockingJob);
    assert_eq!(told.queue.index(), 1);
    assert_eq!(told.message, "job");
}

#[test]
fn a_blocking_job_that_nobody_awaits_ends_a_busy_executor() {
    let (builder, _seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let text = panic_of(|| {
        ex.run(async {
            drop(executor().spawn_blocking(|| panic!("job")));
            loop {
                executor().yield_now().await;
                // The job's thread may have no other CPU, nor a better priority.
                std::thread::yield_now();
            }
        })
    });
    assert_eq!(text, "job");
}

#[test]
fn a_handler_that_panics_ends_the_executor() {
    let ex = LocalExecutorBuilder::default()
        .on_unobserved_panic(|_| panic!("handler"))
        .make()
        .unwrap();
    let text = panic_of(|| {
        ex.run(async {
            spawn_local(async { panic!("task") }).detach();
            pending::<()>().await
        })
    });
    assert_eq!(text, "task");
}

#[test]
fn the_verdict_has_no_effect_on_an_executor_that_is_being_dropped() {
    let (builder, seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    ex.run(async {
        let handle = spawn_local(async { panic!("kept") }).detach();
        while !format!("{handle:?}").contains("panicked") {
            executor().yield_now().await;
        }
        // Dropped with its future, at the executor's end.
        spawn_local(async move {
            let _handle = handle;
            pending::<()>().await
        })
        .detach();
        executor().yield_now().await;
    });
    assert!(seen.try_recv().is_err());
    drop(ex);
    assert_eq!(seen.try_recv().unwrap().message, "kept");
}

/// Panics when it is dropped, which it does with the executor.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

async fn hold(bomb: Bomb) {
    let _bomb = bomb;
    pending::<()>().await
}

#[test]
fn destructors_that_panic_at_the_end_of_the_executor_are_told_one_by_one() {
    let (builder, seen) = watched(PanicPolicy::EndExecutor);
    let ex = builder.make().unwrap();
    let id = ex.id();
    let queue = ex.run(async {
        let queue = queue();
        spawn_local(hold(Bomb("started"))).detach();
        spawn_local_into(hold(Bomb("in a queue")), queue)
            .unwrap()
            .detach();
        executor().yield_task_queue_now().await;
        queue
    });
    ex.spawn(hold(Bomb("never polled"))).detach();
    assert!(seen.try_recv().is_err());
    // The verdict comes too late to have an effect, and the other tasks are dropped all the same.
    drop(ex);
    let mut told: Vec<Seen> = seen.try_iter().collect();
    told.sort_by(|a, b| a.message.cmp(&b.message));
    let expected = [
        ("in a queue", queue),
        ("never polled", TaskQueueHandle::default()),
        ("started", TaskQueueHandle::default()),
    ]
    .map(|(message, queue)| Seen {
        executor: id,
        name: "watched".to_owned(),
        queue,
        origin: PanicOrigin::Task,
        message: message.to_owned(),
    });
    assert_eq!(told, expected);
}

#[test]
fn at_the_end_of_the_executor_a_handle_can_still_ask_for_the_panic() {
    let (builder, seen) = watched(PanicPolicy::Continue);
    let ex = builder.make().unwrap();
    let handle = ex.spawn(hold(Bomb("asked for"))).detach();
    drop(ex);
    assert!(seen.try_recv().is_err());
    let text = panic_of(|| futures_lite::future::block_on(handle));
    assert_eq!(text, "asked for");
}

#[test]
fn an_executor_that_ends_inside_of_another_tells_its_own_policy() {
    let (inner, told_inside) = watched(PanicPolicy::Continue);
    let (outer, told_outside) = watched(PanicPolicy::EndExecutor);
    let inner = inner.make().unwrap();
    inner.spawn(hold(Bomb("inside"))).detach();
    outer.make().unwrap().run(async { drop(inner) });
    assert_eq!(told_inside.try_recv().unwrap().message, "inside");
    assert!(told_outside.try_recv().is_err());
}

#[test]
fn threads_of_executors_tell_of_destructors_that_panic_at_their_end() {
    let (builder, seen) = watched(PanicPolicy::EndExecutor);
    let handle = builder
        .spawn(|| async {
            spawn_local(hold(Bomb("left behind"))).detach();
            executor().yield_now().await;
            5
        })
        .unwrap();
    assert_eq!(handle.join().unwrap(), 5);
    assert_eq!(seen.recv().unwrap().message, "left behind");
}

/// Keeps the fields of every error that glommio logs.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    /// The one log of this process: jobs run on threads of their own, so it cannot be a test's.
    fn of_process() -> Errors {
        let errors = Errors::default();
        tracing::subscriber::set_global_default(errors.clone()).unwrap();
        errors
    }

    fn with(&self, text: &str) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|e| e.contains(text)).cloned().collect()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn panics_of_tasks_and_jobs_are_logged_without_a_policy_too() {
    // Alone: where something is logged for the first time while the log is installed, `tracing` may
    // remember that nobody is interested.
    let test = "panics_of_tasks_and_jobs_are_logged_without_a_policy_too";
    support::alone(test, &[], log_panics_without_a_policy);
}

fn log_panics_without_a_policy() {
    let errors = Errors::of_process();
    LocalExecutor::default().run(async {
        let queue = queue();
        spawn_local_into(async { panic!("logged task") }, queue)
            .unwrap()
            .detach();
        drop(executor().spawn_blocking(|| panic!("logged job")));
        while errors.with("logged task").is_empty() || errors.with("logged job").is_empty() {
            executor().yield_task_queue_now().await;
            // The job's thread may have no other CPU, nor a better priority.
            std::thread::yield_now();
        }
        let task = errors.with("logged task");
        assert!(task[0].contains("queue=1 origin=task "), "{task:?}");
        let job = errors.with("logged job");
        assert!(job[0].contains("queue=0 origin=blocking job "), "{job:?}");
        assert_eq!((task.len(), job.len()), (1, 1));
    });
}
