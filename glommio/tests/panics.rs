//! A panic ends the task that panics, and nothing else: not the process, not the executor, not the
//! next executor of the thread (DataDog/glommio#689).

mod support;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use glommio::{
    Latency, LocalExecutor, Shares, SharesManager, TaskQueueHandle, executor,
    io::DmaFile,
    net::{TcpListener, TcpStream},
    spawn_local, spawn_local_into,
    timer::sleep,
};

type Payload = Box<dyn Any + Send>;

fn text(payload: &Payload) -> &str {
    let literal = payload.downcast_ref::<&'static str>().copied();
    literal
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}

async fn catch<F: Future>(future: F) -> Result<F::Output, Payload> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

/// A new executor on this thread does everything that executors do.
fn next_executor_works() {
    LocalExecutor::default().run(async {
        let queue = executor().create_task_queue(Shares::Static(5), Latency::NotImportant, "q");
        let slept = spawn_local_into(sleep(Duration::from_millis(1)), queue).unwrap();
        assert_eq!(spawn_local(async { 6 * 7 }).await, 42);
        slept.await;
        assert_eq!(executor().spawn_blocking(|| 3).await, 3);
    });
}

/// Queues of every sort.
fn queues() -> Vec<TaskQueueHandle> {
    let make = |shares, latency| executor().create_task_queue(shares, latency, "q");
    let urgent = Latency::Matters(Duration::from_millis(1));
    vec![
        TaskQueueHandle::default(),
        make(Shares::Static(1), Latency::NotImportant),
        make(Shares::Static(1000), urgent),
    ]
}

/// Panics when dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(self.0);
    }
}

/// Counts its drops.
#[derive(Clone, Default)]
struct Witness(Rc<Cell<usize>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_panic_in_any_queue_at_any_poll_resumes_at_the_await() {
    LocalExecutor::default().run(async {
        for queue in queues() {
            for polls_before in 0..3 {
                let task = async move {
                    for _ in 0..polls_before {
                        executor().yield_now().await;
                    }
                    panic!("boom");
                };
                let awaited = spawn_local_into(task, queue).unwrap();
                let payload = catch(awaited).await.unwrap_err();
                assert_eq!(text(&payload), "boom");
            }
            assert_eq!(spawn_local_into(async { 1 }, queue).unwrap().await, 1);
        }
    });
    next_executor_works();
}

#[test]
fn a_panic_of_a_detached_task_is_nobodys() {
    LocalExecutor::default().run(async {
        for queue in queues() {
            let joined = spawn_local_into(async { panic!("boom") }, queue)
                .unwrap()
                .detach();
            drop(joined);
            spawn_local_into(async { panic!("boom") }, queue)
                .unwrap()
                .detach();
            executor().yield_task_queue_now().await;
            executor().yield_task_queue_now().await;
        }
        sleep(Duration::from_millis(1)).await;
    });
    next_executor_works();
}

#[test]
fn a_panic_of_a_future_that_is_cancelled_or_dropped_hurts_nobody() {
    let executor = LocalExecutor::default();
    executor.run(async {
        for queue in queues() {
            let pending = async {
                let _bomb = Bomb("destructor");
                std::future::pending::<()>().await;
            };
            let task = spawn_local_into(pending, queue).unwrap();
            glommio::executor().yield_task_queue_now().await;
            glommio::executor().yield_task_queue_now().await;
            drop(task);
            glommio::executor().yield_task_queue_now().await;
            let pending = async {
                let _bomb = Bomb("destructor");
                std::future::pending::<()>().await;
            };
            let task = spawn_local_into(pending, queue).unwrap();
            glommio::executor().yield_task_queue_now().await;
            glommio::executor().yield_task_queue_now().await;
            let _ = catch(task.cancel()).await;
        }
        assert_eq!(spawn_local(async { 1 }).await, 1);
    });
    drop(executor);
    next_executor_works();
}

#[test]
fn an_output_and_a_payload_whose_destructors_panic_hurt_nobody() {
    let executor = LocalExecutor::default();
    executor.run(async {
        for queue in queues() {
            // An output that nobody takes, of a task that is detached and of one that is dropped.
            spawn_local_into(async { Bomb("output") }, queue)
                .unwrap()
                .detach();
            let done = spawn_local_into(async { Bomb("output") }, queue).unwrap();
            glommio::executor().yield_task_queue_now().await;
            glommio::executor().yield_task_queue_now().await;
            let _ = catch_unwind(AssertUnwindSafe(|| drop(done)));
            // A payload of that sort.
            struct Cargo(#[allow(dead_code)] Bomb);
            spawn_local_into(async { panic_any(Cargo(Bomb("payload"))) }, queue)
                .unwrap()
                .detach();
            glommio::executor().yield_task_queue_now().await;
        }
        assert_eq!(spawn_local(async { 1 }).await, 1);
    });
    drop(executor);
    next_executor_works();
}

#[test]
fn the_root_panics_and_its_executor_runs_again() {
    let executor = LocalExecutor::default();
    let witness = Witness::default();
    let theirs = witness.clone();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        executor.run(async move {
            let _witness = theirs;
            sleep(Duration::from_millis(1)).await;
            spawn_local(async { panic!("root, by way of a task") }).await
        })
    }))
    .unwrap_err();
    assert_eq!(text(&payload), "root, by way of a task");
    assert_eq!(witness.0.get(), 1, "the root is dropped");
    assert_eq!(executor.run(async { 1 }), 1);
    drop(executor);
    next_executor_works();
}

#[test]
fn an_executor_that_is_dropped_by_a_panic_drops_tasks_whose_destructors_panic() {
    let witness = Witness::default();
    let theirs = witness.clone();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        let executor = LocalExecutor::default();
        executor.run(async move {
            for queue in queues() {
                let witness = theirs.clone();
                let task = async move {
                    let _held = (Bomb("while unwinding"), witness);
                    std::future::pending::<()>().await;
                };
                spawn_local_into(task, queue).unwrap().detach();
            }
            sleep(Duration::from_millis(1)).await;
            panic!("the first of them");
        })
    }))
    .unwrap_err();
    assert_eq!(text(&payload), "the first of them");
    // Three held ones, and the root's own.
    assert_eq!(witness.0.get(), 4);
    next_executor_works();
}

/// A destructor that does, during teardown, everything that a task may do.
struct Busy {
    dir: std::path::PathBuf,
    log: Rc<RefCell<Vec<&'static str>>>,
    file: Option<DmaFile>,
    stream: Option<TcpStream>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let log = |what| self.log.borrow_mut().push(what);
        spawn_local(async {}).detach();
        log("spawned");
        let witness = Witness::default();
        let theirs = witness.clone();
        drop(spawn_local(async move {
            let _theirs = theirs;
            sleep(Duration::from_secs(1)).await;
        }));
        log("spawned and cancelled");
        // Operations that begin now: polled once, and dropped with their executor.
        let path = self.dir.join("new");
        spawn_local(async move {
            let _ = DmaFile::create(path).await;
        })
        .detach();
        let mut open = Box::pin(DmaFile::create(self.dir.join("other")));
        let waker = std::task::Waker::noop();
        let _ = open
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        let mut nap = Box::pin(sleep(Duration::from_secs(1)));
        let _ = nap
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        spawn_local(async move {
            let _late = (open, nap);
            std::future::pending::<()>().await;
        })
        .detach();
        log("slept and opened");
        drop(self.file.take());
        drop(self.stream.take());
        log("closed");
        panic!("and it panics");
    }
}

#[test]
fn destructors_spawn_sleep_open_close_and_panic_during_teardown() {
    support::alone(
        "destructors_spawn_sleep_open_close_and_panic_during_teardown",
        &[],
        || {
            let dir = tempfile::tempdir().unwrap();
            let threads = support::threads();
            next_executor_works();
            // A thread of the blocking pool that has just woken its executor may hold the
            // executor's descriptors for a moment more.
            support::eventually("its threads have ended", || support::threads() == threads);
            let before = support::open_fds();
            let log = Rc::<RefCell<Vec<_>>>::default();
            let executor = LocalExecutor::default();
            executor.run(async {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                for queue in queues() {
                    let addr = listener.local_addr().unwrap();
                    let busy = Busy {
                        dir: dir.path().to_owned(),
                        log: log.clone(),
                        file: Some(DmaFile::create(dir.path().join("file")).await.unwrap()),
                        stream: Some(TcpStream::connect(addr).await.unwrap()),
                    };
                    let task = async move {
                        let _busy = busy;
                        std::future::pending::<()>().await;
                    };
                    spawn_local_into(task, queue).unwrap().detach();
                }
                sleep(Duration::from_millis(1)).await;
            });
            drop(executor);
            assert_eq!(log.borrow().len(), 3 * 4, "{:?}", log.borrow());
            next_executor_works();
            support::eventually("descriptors are back", || support::open_fds() == before);
        },
    );
}

#[test]
fn a_panic_of_a_blocking_job_resumes_at_the_await_and_the_next_job_runs() {
    LocalExecutor::default().run(async {
        for _ in 0..3 {
            let job = executor().spawn_blocking(|| panic!("job"));
            assert_eq!(text(&catch(job).await.unwrap_err()), "job");
            assert_eq!(executor().spawn_blocking(|| 1).await, 1);
        }
    });
    next_executor_works();
}

/// Panics when it is asked for the second time.
#[derive(Default)]
struct Erratic(Cell<usize>);

impl SharesManager for Erratic {
    fn shares(&self) -> usize {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() != 2, "the manager panics");
        10
    }

    fn adjustment_period(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_shares_manager_that_panics_leaves_its_queue_as_it_was() {
    let executor = LocalExecutor::default();
    executor.run(async {
        let manager = Rc::new(Erratic::default());
        let shares = Shares::Dynamic(manager.clone());
        let queue = glommio::executor().create_task_queue(shares, Latency::NotImportant, "q");
        let start = std::time::Instant::now();
        while manager.0.get() <= 2 {
            assert!(start.elapsed() < Duration::from_secs(30), "not asked again");
            let task = async { glommio::executor().yield_now().await };
            spawn_local_into(task, queue).unwrap().await;
        }
    });
    drop(executor);
    next_executor_works();
}
