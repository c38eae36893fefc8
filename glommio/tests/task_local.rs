//! Task-locals in tasks of an executor.

use std::{cell::Cell, future::pending, rc::Rc};

use futures_lite::future::yield_now;
use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, executor, spawn_local, spawn_local_into,
    task::AccessError, task_local,
};

task_local! {
    static REQUEST: u64;
    static DROPPED_IN: Rc<Cell<Option<u64>>>;
}

fn request() -> Result<u64, AccessError> {
    REQUEST.try_with(|request| *request)
}

#[test]
fn tasks_of_all_queues_keep_their_own_values_however_they_interleave() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(7), Latency::NotImportant, "q");
        let tasks: Vec<_> = (0..100)
            .map(|own| {
                let serve = REQUEST.scope(own, async move {
                    for round in 0..own % 7 {
                        assert_eq!(request(), Ok(own), "round {round}");
                        yield_now().await;
                    }
                    request()
                });
                let queue = if own % 2 == 0 {
                    queue
                } else {
                    Default::default()
                };
                spawn_local_into(serve, queue).unwrap()
            })
            .collect();
        for (own, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, Ok(own as u64));
        }
        assert_eq!(request(), Err(AccessError));
    });
}

#[test]
fn a_task_spawned_inside_of_a_scope_is_outside_of_it() {
    LocalExecutor::default().run(REQUEST.scope(1, async {
        assert_eq!(spawn_local(async { request() }).await, Err(AccessError));
        assert_eq!(request(), Ok(1));
    }));
}

#[test]
fn a_task_that_panics_in_a_scope_leaks_its_value_to_no_other() {
    LocalExecutor::default().run(async {
        spawn_local(REQUEST.scope(9, async { panic!("in a scope") })).detach();
        let other = spawn_local(async { request() });
        assert_eq!(other.await, Err(AccessError));
    });
}

struct NoteRequest;

impl Drop for NoteRequest {
    fn drop(&mut self) {
        DROPPED_IN.with(|seen| seen.set(request().ok()));
    }
}

#[test]
fn a_cancelled_task_is_dropped_inside_of_its_scope() {
    LocalExecutor::default().run(async {
        let seen = Rc::new(Cell::new(None));
        let task = spawn_local(DROPPED_IN.scope(
            seen.clone(),
            REQUEST.scope(4, async {
                let _note = NoteRequest;
                pending::<()>().await;
            }),
        ));
        executor().yield_now().await;
        assert_eq!(task.cancel().await, None);
        assert_eq!(seen.get(), Some(4));
        assert_eq!(Rc::strong_count(&seen), 1);
    });
}

#[test]
fn a_task_that_outlives_the_run_is_dropped_inside_of_its_scope_with_the_executor() {
    let seen = Rc::new(Cell::new(None));
    let theirs = seen.clone();
    let ex = LocalExecutor::default();
    ex.run(async {
        spawn_local(DROPPED_IN.scope(
            theirs,
            REQUEST.scope(5, async {
                let _note = NoteRequest;
                pending::<()>().await;
            }),
        ))
        .detach();
        executor().yield_now().await;
    });
    assert_eq!(seen.get(), None);
    drop(ex);
    assert_eq!(seen.get(), Some(5));
}

#[test]
fn the_value_goes_with_the_future_to_another_executor() {
    let scoped = REQUEST.scope(6, async {
        yield_now().await;
        request()
    });
    let handle = LocalExecutorBuilder::default()
        .spawn(move || async { (scoped.await, request()) })
        .unwrap();
    assert_eq!(handle.join().unwrap(), (Ok(6), Err(AccessError)));
}
