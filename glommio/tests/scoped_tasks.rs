//! Tasks that borrow from the scope that spawned them.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
};

use glommio::{
    ExecutorErrorKind, GlommioError, Latency, LocalExecutor, QueueErrorKind, Shares,
    TaskQueueHandle, defer, enclose, executor, spawn_scoped_local, spawn_scoped_local_into,
};

#[test]
fn a_scoped_task_writes_to_what_it_borrows() {
    LocalExecutor::default().run(async {
        let mut log = Vec::new();
        // SAFETY: the handle is awaited, and so dropped, before `log` goes.
        unsafe {
            spawn_scoped_local(async {
                log.push(1);
                executor().yield_now().await;
                log.push(2);
            })
        }
        .await;
        assert_eq!(log, [1, 2]);
    });
}

#[test]
fn a_scoped_tasks_future_is_gone_when_the_drop_of_its_handle_returns() {
    LocalExecutor::default().run(async {
        let gone = Cell::new(false);
        // SAFETY: the handle is dropped before `gone` goes.
        let task = unsafe {
            spawn_scoped_local(async {
                defer! { gone.set(true) }
                pending::<()>().await;
            })
        };
        executor().yield_now().await;
        assert!(!gone.get());
        drop(task);
        assert!(gone.get());
    });
}

#[test]
fn a_scoped_task_goes_to_the_queue_that_was_asked_for() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::default(), Latency::NotImportant, "q");
        let seen = RefCell::new(Vec::new());
        let note = async || seen.borrow_mut().push(executor().current_task_queue());
        // SAFETY: each handle is awaited, and so dropped, before `seen` and `note` go.
        unsafe {
            spawn_scoped_local_into(note(), queue).unwrap().await;
            executor()
                .spawn_scoped_local_into(note(), queue)
                .unwrap()
                .await;
            spawn_scoped_local(note()).await;
            executor().spawn_scoped_local(note()).await;
        }
        let own = TaskQueueHandle::default();
        assert_eq!(*seen.borrow(), [queue, queue, own, own]);
    });
}

#[test]
fn an_unknown_queue_is_an_error_and_the_future_is_dropped() {
    let ex = LocalExecutor::default();
    let queue = ex.create_task_queue(Shares::default(), Latency::NotImportant, "removed");
    ex.remove_task_queue(queue).unwrap();
    ex.run(async {
        let token = std::rc::Rc::new(());
        // SAFETY: no task comes of it.
        let refused =
            unsafe { spawn_scoped_local_into(enclose!((token) async move { drop(token) }), queue) };
        match refused.map(drop) {
            Err(GlommioError::ExecutorError(ExecutorErrorKind::QueueError {
                index,
                kind: QueueErrorKind::NotFound,
            })) => assert_eq!(index, queue.index()),
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert_eq!(std::rc::Rc::strong_count(&token), 1);
    });
}

#[test]
fn a_scoped_task_that_panics_resumes_at_the_await() {
    LocalExecutor::default().run(async {
        let text = String::from("borrowed");
        // SAFETY: the handle is awaited, and so dropped, before `text` goes.
        let mut task = unsafe { spawn_scoped_local(async { panic!("{text}") }) };
        let payload = std::future::poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| std::pin::Pin::new(&mut task).poll(cx)));
            match polled {
                Ok(polled) => polled.map(|(): ()| None),
                Err(payload) => std::task::Poll::Ready(Some(payload)),
            }
        })
        .await;
        let text = payload.unwrap().downcast::<String>().unwrap();
        assert_eq!(*text, "borrowed");
    });
}

#[test]
fn cancelling_a_scoped_task_waits_until_its_future_is_gone() {
    LocalExecutor::default().run(async {
        let gone = Cell::new(false);
        // SAFETY: the handle is consumed by `cancel`, whose future is awaited before `gone` goes.
        let task = unsafe {
            spawn_scoped_local(async {
                defer! { gone.set(true) }
                pending::<u8>().await
            })
        };
        executor().yield_now().await;
        assert_eq!(task.cancel().await, None);
        assert!(gone.get());
    });
}
