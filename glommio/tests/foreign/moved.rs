//! Futures that are made in one place and polled first in another.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use futures::{FutureExt, poll};
use glommio::{
    LocalExecutor, LocalExecutorBuilder, Placement, executor,
    io::DmaFile,
    net::{TcpListener, TcpStream},
    spawn_local,
    timer::Timer,
};

use crate::Host;

type Portable<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[test]
fn a_future_made_on_one_executor_runs_on_another() {
    let (sender, receiver) = async_channel::bounded::<Portable<(usize, u32)>>(1);
    let maker = Host::Glommio.run(move || async move {
        let (answer, question) = futures::channel::oneshot::channel::<u32>();
        let waiting: Portable<(usize, u32)> = Box::pin(async move {
            let number = question.await.unwrap();
            (executor().id(), number)
        });
        sender.send(waiting).await.ok().unwrap();
        answer.send(4).unwrap();
        executor().id()
    });
    let user = Host::Glommio.run(move || async move {
        let future = receiver.recv().await.unwrap();
        let (ran_on, number) = spawn_local(future).await;
        assert_eq!((ran_on, number), (executor().id(), 4));
        ran_on
    });
    assert_ne!(maker.join().unwrap(), user.join().unwrap());
}

#[test]
fn operations_belong_to_the_executor_that_polls_them_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"made here, read there").unwrap();

    let maker = LocalExecutor::default();
    let (timer, open, connect, listener) = maker.run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (
            Timer::new(Duration::from_millis(10)),
            DmaFile::open(path.clone()),
            TcpStream::connect(address),
            listener,
        )
    });
    drop(maker);
    let user = LocalExecutor::default();
    user.run(async {
        let (file, stream) = futures::join!(open, connect);
        let read = file.as_ref().unwrap().read_at(0, 9).await.unwrap();
        assert_eq!(&read[..], b"made here");
        file.unwrap().close().await.unwrap();
        assert_eq!(
            stream.unwrap().peer_addr().unwrap(),
            listener.local_addr().unwrap()
        );
        timer.await;
    });
}

#[test]
fn an_operation_goes_on_where_it_was_started_however_it_is_polled() {
    // Both executors are alive: the first one's ring has the accept, the second one polls it.
    let first = LocalExecutor::default();
    let second = LocalExecutor::default();
    let listener = first.run(async { TcpListener::bind("127.0.0.1:0").unwrap() });
    let address = listener.local_addr().unwrap();
    let mut accept = Box::pin(listener.accept());
    first.run(async { assert!(poll!(&mut accept).is_pending()) });
    let _client = std::net::TcpStream::connect(address).unwrap();
    let polled = second.run(async { poll!(&mut accept).is_ready() });
    if !polled {
        first.run(accept).unwrap();
    }
}

#[test]
fn a_blocking_job_of_one_executor_is_awaited_on_another() {
    let (sender, receiver) = async_channel::bounded(1);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let starter = Host::Glommio.run(move || async move {
        let job = executor().spawn_blocking(move || {
            wait.recv().unwrap();
            11
        });
        sender
            .send(Box::pin(job) as Portable<i32>)
            .await
            .ok()
            .unwrap();
    });
    // The job outlives the executor that started it.
    starter.join().unwrap();
    let awaiter = Host::Glommio.run(move || async move {
        let mut job = receiver.recv().await.unwrap();
        assert!(poll!(&mut job).is_pending());
        go.send(()).unwrap();
        job.await
    });
    assert_eq!(awaiter.join(), Some(11));
}

#[test]
fn a_task_of_another_executor_of_the_thread_can_be_awaited() {
    let first = LocalExecutor::default();
    let second = LocalExecutor::default();
    let mut task = first.spawn(async { executor().id() });
    let early = second.run(async { poll!(&mut task) });
    assert_eq!(
        early,
        Poll::Pending,
        "nobody ran the first executor meanwhile"
    );
    // It runs, and wakes the second one, which is not running.
    first.run(async { executor().yield_now().await });
    assert_eq!(second.run(task), first.id());
}

#[test]
fn a_future_polled_on_two_executors_wakes_the_last_that_polled_it() {
    let (mut sender, receiver) = futures::channel::mpsc::channel::<u8>(1);
    let mut receiver: Pin<Box<dyn Future<Output = Option<u8>> + Send>> =
        Box::pin(futures::StreamExt::into_future(receiver).map(|(item, _)| item));
    // Polled and left by an executor that is gone.
    LocalExecutor::default().run(async { assert!(poll!(&mut receiver).is_pending()) });
    let second = LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(move || async move {
            let mut receiver = pin!(receiver);
            assert!(poll!(&mut receiver).is_pending());
            std::thread::spawn(move || sender.try_send(3).unwrap());
            receiver.await
        })
        .unwrap();
    assert_eq!(second.join().unwrap(), Some(3));
}
