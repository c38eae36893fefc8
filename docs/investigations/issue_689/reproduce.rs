//! Panics in tasks of every queue, at every stage of a task's life, and an executor that goes on.
//! See `README.md` next to this file. An abort would end this program, and with it the test.

use std::{
    any::Any,
    cell::Cell,
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle, executor,
    spawn_local, spawn_local_into,
};

/// The default queue, and others of every kind.
fn queues() -> Vec<TaskQueueHandle> {
    let create = |shares, latency, name| executor().create_task_queue(shares, latency, name);
    vec![
        TaskQueueHandle::default(),
        create(Shares::Static(1), Latency::NotImportant, "few shares"),
        create(Shares::Static(1000), Latency::NotImportant, "many shares"),
        create(
            Shares::Static(10),
            Latency::Matters(Duration::from_millis(1)),
            "urgent",
        ),
    ]
}

/// Awaits `future`; a panic is a value.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or("no text")
}

/// Panics when dropped, unless a panic is on its way already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a destructor");
        }
    }
}

/// Panics when dropped, and is the payload of another panic itself.
struct BadPayload(Arc<AtomicU32>);

impl Drop for BadPayload {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("the destructor of a payload");
    }
}

/// Every queue still runs tasks, the way it should.
async fn all_is_well(queues: &[TaskQueueHandle]) {
    for queue in queues {
        let there = spawn_local_into(async { executor().current_task_queue() }, *queue).unwrap();
        assert_eq!(there.await, *queue);
    }
}

#[test]
fn a_panic_in_any_queue_resumes_where_the_task_is_awaited() {
    LocalExecutor::default().run(async {
        let queues = queues();
        for queue in &queues {
            let at_once = spawn_local_into(async { panic!("at once") }, *queue).unwrap();
            let payload = caught(at_once).await.unwrap_err();
            assert_eq!(text(&*payload), "at once");

            let later = async {
                for _ in 0..3 {
                    executor().yield_task_queue_now().await;
                }
                panic!("later")
            };
            let task: glommio::Task<()> = spawn_local_into(later, *queue).unwrap();
            let payload = caught(task.detach()).await.unwrap_err();
            assert_eq!(text(&*payload), "later");
            all_is_well(&queues).await;
        }
    });
}

#[test]
fn panics_that_nobody_awaits_end_their_task_and_nothing_else() {
    let executor = LocalExecutor::default();
    executor.run(async {
        let queues = queues();
        let survivors = Rc::new(Cell::new(0));
        for round in 0..100 {
            for queue in &queues {
                let theirs = survivors.clone();
                spawn_local_into(
                    async move {
                        if round % 2 == 0 {
                            glommio::executor().yield_now().await;
                        }
                        theirs.set(theirs.get() + 1);
                        // No message: four hundred of them would hide everything else.
                        std::panic::resume_unwind(Box::new("unobserved"));
                    },
                    *queue,
                )
                .unwrap()
                .detach();
            }
        }
        while survivors.get() < 400 {
            glommio::executor().yield_task_queue_now().await;
        }
        all_is_well(&queues).await;
    });
    assert_eq!(executor.run(async { 1 }), 1, "another run");
}

#[test]
fn panics_in_destructors_of_futures_outputs_and_payloads_end_nothing() {
    let executor = LocalExecutor::default();
    let payloads = Arc::new(AtomicU32::new(0));
    executor.run(async {
        let queues = queues();
        for queue in &queues {
            // The future's destructor, when it is cancelled …
            let task = spawn_local_into(
                async {
                    let _bomb = Bomb;
                    pending::<()>().await;
                },
                *queue,
            )
            .unwrap();
            glommio::executor().yield_task_queue_now().await;
            let payload = caught(task.cancel()).await.unwrap_err();
            assert_eq!(text(&*payload), "a destructor");

            // … and when nobody is there to see it.
            let task = spawn_local_into(
                async {
                    let _bomb = Bomb;
                    pending::<()>().await;
                },
                *queue,
            )
            .unwrap();
            glommio::executor().yield_task_queue_now().await;
            drop(task);
            glommio::executor().yield_task_queue_now().await;

            // The destructor of an output that nobody takes.
            spawn_local_into(async { Bomb }, *queue).unwrap().detach();
            glommio::executor().yield_task_queue_now().await;

            // The destructor of what was panicked with.
            let bad = BadPayload(payloads.clone());
            spawn_local_into(async move { panic_any(bad) }, *queue)
                .unwrap()
                .detach();
            glommio::executor().yield_task_queue_now().await;
            all_is_well(&queues).await;
        }
        assert_eq!(payloads.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn panics_of_every_queue_during_teardown_end_with_the_executor() {
    let dropped = Rc::new(Cell::new(0));
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            // Whatever else a destructor does with its executor.
            spawn_local(async {}).detach();
            panic!("at the end");
        }
    }
    let executor = LocalExecutor::default();
    executor.run(async {
        for queue in queues() {
            for _ in 0..3 {
                let count = Count(dropped.clone());
                spawn_local_into(
                    async move {
                        let _count = count;
                        pending::<()>().await;
                    },
                    queue,
                )
                .unwrap()
                .detach();
            }
        }
        glommio::executor().yield_task_queue_now().await;
    });
    drop(executor);
    assert_eq!(dropped.get(), 12);
    assert_eq!(LocalExecutor::default().run(async { 2 }), 2, "a successor");
}

#[test]
fn a_root_future_that_panics_leaves_the_other_queues_intact() {
    let executor = LocalExecutor::default();
    let ran = Rc::new(Cell::new(false));
    let theirs = ran.clone();
    let root = catch_unwind(AssertUnwindSafe(|| {
        executor.run(async move {
            spawn_local_into(async move { theirs.set(true) }, queues()[1])
                .unwrap()
                .detach();
            panic!("the root");
        })
    }));
    assert_eq!(text(&*root.unwrap_err()), "the root");
    executor.run(async {
        while !ran.get() {
            glommio::executor().yield_task_queue_now().await;
        }
    });
}

/// Fails at its second poll, and must never be polled again.
struct PanicsOnce(u32);

impl Future for PanicsOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0 += 1;
        cx.waker().wake_by_ref();
        match self.0 {
            1 => Poll::Pending,
            2 => panic!("the second poll"),
            _ => std::process::abort(),
        }
    }
}

#[test]
fn a_task_that_woke_itself_before_it_panicked_is_not_polled_again() {
    LocalExecutor::default().run(async {
        let queues = queues();
        for queue in &queues {
            let task = spawn_local_into(PanicsOnce(0), *queue).unwrap();
            let payload = caught(task).await.unwrap_err();
            assert_eq!(text(&*payload), "the second poll");
            all_is_well(&queues).await;
        }
    });
}

#[test]
fn panics_of_a_blocking_job_resume_in_the_queue_that_awaits_it() {
    let handle = LocalExecutorBuilder::new(Placement::Unbound).spawn(|| async {
        let queues = queues();
        for queue in &queues {
            let job = async {
                let job = || -> u32 { panic!("in the pool") };
                executor().spawn_blocking(job).await
            };
            let task = spawn_local_into(job, *queue).unwrap();
            let payload = caught(task).await.unwrap_err();
            assert_eq!(text(&*payload), "in the pool");
            assert_eq!(executor().spawn_blocking(|| 3).await, 3);
        }
        all_is_well(&queues).await;
    });
    handle.unwrap().join().unwrap();
}
