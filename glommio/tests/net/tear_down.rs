//! Calls that wait for one socket while its executor ends.

use std::{
    future::Future,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_lite::AsyncWriteExt;
use glommio::{
    GlommioError, LocalExecutor,
    net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream},
    timer::timeout,
};

use super::{
    flag::Flag,
    support::{alone, eventually, open_fds},
};

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), GlommioError<()>>> + 'a>>;

/// Polls `calls`, ends their executor, and gives up the first `given_up` that are told of it; the others
/// must be told as well.
fn all_are_told<'a>(executor: LocalExecutor, calls: Vec<Call<'a>>, given_up: usize) {
    let mut calls: Vec<_> = calls
        .into_iter()
        .map(|call| (call, Arc::<Flag>::default()))
        .collect();
    let poll = |(call, flag): &mut (Call<'a>, Arc<Flag>)| {
        let waker = Waker::from(flag.clone());
        call.as_mut().poll(&mut Context::from_waker(&waker))
    };
    executor.run(async {
        for call in &mut calls {
            assert!(poll(call).is_pending());
        }
        executor_turns().await;
    });
    drop(executor);
    for count in 0..calls.len() {
        let told = calls.iter().position(|(_, flag)| flag.is_set());
        let mut call = calls.remove(told.expect("the next one is told"));
        if count >= given_up {
            let Poll::Ready(Err(error)) = poll(&mut call) else {
                panic!("there is no executor any more");
            };
            assert!(error.to_string().contains("executor"), "{error}");
        }
    }
}

async fn executor_turns() {
    for _ in 0..3 {
        glommio::executor().yield_task_queue_now().await;
    }
}

async fn connection() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    (listener, stream.unwrap())
}

/// A connection that has accepted more than it can send.
async fn full_connection() -> (TcpListener, TcpStream) {
    let (listener, mut stream) = connection().await;
    loop {
        let write = async { Ok(stream.write(&[7; 8 << 10]).await?) };
        if timeout(Duration::from_millis(100), write).await.is_err() {
            return (listener, stream);
        }
    }
}

#[test]
fn everyone_who_waits_for_a_socket_learns_that_its_executor_is_gone() {
    let test = "tear_down::everyone_who_waits_for_a_socket_learns_that_its_executor_is_gone";
    alone(test, &[], || {
        let round = || {
            for given_up in 0..=3 {
                let executor = LocalExecutor::default();
                let listener = executor.run(async { TcpListener::bind("127.0.0.1:0").unwrap() });
                let accept = async || listener.accept().await.map(drop);
                let calls = (0..3).map(|_| Box::pin(accept()) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let socket = executor.run(async { UdpSocket::bind("127.0.0.1:0").unwrap() });
                let receive = async || socket.recv(&mut [0; 16]).await.map(drop);
                let calls = (0..3).map(|_| Box::pin(receive()) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let name = format!("\0glommio-{}-tear-down-{given_up}", std::process::id());
                let listener = executor.run(async { UnixListener::bind(&name).unwrap() });
                let accept = async || listener.accept().await.map(drop);
                let calls = (0..3).map(|_| Box::pin(accept()) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let (socket, _peer) = executor.run(async { UnixDatagram::pair().unwrap() });
                let receive = async || socket.recv(&mut [0; 16]).await.map(drop);
                let calls = (0..3).map(|_| Box::pin(receive()) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let (stream, _peer) = executor.run(async { UnixStream::pair().unwrap() });
                let peek = async || stream.peek(&mut [0; 16]).await.map(drop);
                let calls = (0..3).map(|_| Box::pin(peek()) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let (_listener, stream) = executor.run(connection());
                let peek = async |stream: &TcpStream| stream.peek(&mut [0; 16]).await.map(drop);
                let calls = (0..3).map(|_| Box::pin(peek(&stream)) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);

                let executor = LocalExecutor::default();
                let (_listener, stream) = executor.run(full_connection());
                let end = async |stream: &TcpStream| stream.shutdown(Shutdown::Write).await;
                let calls = (0..3).map(|_| Box::pin(end(&stream)) as Call<'_>);
                all_are_told(executor, calls.collect(), given_up);
            }
        };
        round();
        let before = open_fds();
        round();
        eventually("descriptors are back", || open_fds() <= before);
    });
}
