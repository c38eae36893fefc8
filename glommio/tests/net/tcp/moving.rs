//! Connections that come from elsewhere, or go there.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream as StdTcpStream,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd},
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future::poll_once};
use glommio::{
    LocalExecutor, LocalExecutorBuilder,
    net::{AcceptedTcpStream, TcpListener, TcpStream},
    timer::timeout,
};

use super::{
    super::support::{alone, eventually, nothing_spins, open_fds, set_nonblocking},
    listener, pair, pattern,
};

/// Has an executor of its own read `len` bytes and write `answer`.
fn elsewhere(stream: AcceptedTcpStream, len: usize, answer: &'static [u8]) -> Vec<u8> {
    let other = LocalExecutorBuilder::default().spawn(move || async move {
        let mut stream = stream.bind_to_executor();
        let mut data = vec![0; len];
        stream.read_exact(&mut data).await.unwrap();
        stream.write_all(answer).await.unwrap();
        data
    });
    other.unwrap().join().unwrap()
}

#[test]
fn what_was_received_and_not_read_moves_along() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"abcdef").await.unwrap();
        let mut buf = [0; 8];
        while server.peek(&mut buf).await.unwrap() < 6 {
            glommio::executor().yield_task_queue_now().await;
        }
        server.read_exact(&mut buf[..2]).await.unwrap();
        let server = server.into_accepted();
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        // What comes later comes later.
        client.write_all(b"ghi").await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(elsewhere(server, 7, b"done"), b"cdefghi");
        client.read_exact(&mut buf[..4]).await.unwrap();
        assert_eq!(&buf[..4], b"done");
    });
}

#[test]
fn a_receive_in_flight_takes_nothing_from_the_one_who_gets_the_connection() {
    LocalExecutor::default().run(async {
        for nonblocking in [false, true] {
            let (mut client, mut server) = pair().await;
            if nonblocking {
                set_nonblocking(&server);
            }
            assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
            nothing_spins().await;
            let server = server.into_accepted();
            client.write_all(b"hello").await.unwrap();
            client.flush().await.unwrap();
            assert_eq!(elsewhere(server, 5, b""), b"hello");
        }
    });
}

#[test]
fn what_was_written_and_not_sent_moves_along_in_order() {
    LocalExecutor::default().run(async {
        for nonblocking in [false, true] {
            let (mut client, mut server) = pair().await;
            if nonblocking {
                set_nonblocking(&server);
            }
            let mut taken = 0;
            loop {
                let block: Vec<u8> = (taken..taken + 5_000).map(pattern).collect();
                let write = async { Ok(server.write(&block).await?) };
                match timeout(Duration::from_millis(100), write).await {
                    Ok(n) => taken += n,
                    Err(_) => break,
                }
            }
            let server = server.into_accepted();
            let last = b"and this comes last";
            let other = LocalExecutorBuilder::default().spawn(move || async move {
                let mut server = server.bind_to_executor();
                server.write_all(last).await.unwrap();
                server.close().await.unwrap();
            });
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            other.unwrap().join().unwrap();
            assert_eq!(all.len(), taken + last.len());
            let (before, after) = all.split_at(taken);
            let right = |(i, byte): (usize, &u8)| *byte == pattern(i);
            assert!(before.iter().enumerate().all(right));
            assert_eq!(after, last);
        }
    });
}

#[test]
fn small_writes_that_have_not_left_yet_move_along() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        server.write_all(b"one ").await.unwrap();
        assert_eq!(elsewhere(server.into_accepted(), 0, b"two"), b"");
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
    });
}

#[test]
fn the_end_of_a_connection_moves_along() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        client.close().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        let mut server = server.into_accepted().bind_to_executor();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_connection_can_leave_an_executor_that_is_gone() {
    let first = LocalExecutor::default();
    let (mut client, server) = first.run(async {
        let (listener, addr) = listener();
        let client = StdTcpStream::connect(addr).unwrap();
        let mut server = listener.accept().await.unwrap();
        assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
        (client, server)
    });
    drop(first);
    let server = server.into_accepted();
    client.write_all(b"hello").unwrap();
    assert_eq!(elsewhere(server, 5, b"hi"), b"hello");
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hi");
}

#[test]
fn a_descriptor_leaves_with_nothing_pending_on_it() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
        server.write_all(b"still sent, ").await.unwrap();
        server.flush().await.unwrap();
        // SAFETY: the descriptor is handed over.
        let mut server = unsafe { StdTcpStream::from_raw_fd(server.into_raw_fd()) };
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        let mut buf = [0; 5];
        server.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
        server.write_all(b"and sent").unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still sent, and sent");
    });
}

#[test]
fn a_descriptor_that_leaves_before_a_small_write_does_sends_it() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        server.write_all(b"hello").await.unwrap();
        // SAFETY: the descriptor is handed over.
        drop(unsafe { StdTcpStream::from_raw_fd(server.into_raw_fd()) });
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    });
}

#[test]
fn sockets_of_others_are_taken_over() {
    LocalExecutor::default().run(async {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        theirs.set_nonblocking(true).unwrap();
        let addr = theirs.local_addr().unwrap();
        // SAFETY: the descriptor is handed over.
        let listener = unsafe { TcpListener::from_raw_fd(theirs.into_raw_fd()) };
        assert_eq!(listener.local_addr().unwrap(), addr);
        assert!(poll_once(listener.accept()).await.is_none());
        nothing_spins().await;

        let theirs = StdTcpStream::connect(addr).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let fd = theirs.into_raw_fd();
        // SAFETY: the descriptor is handed over.
        let mut client = unsafe { TcpStream::from_raw_fd(fd) };
        assert_eq!(client.as_raw_fd(), fd);
        let mut server = listener.accept().await.unwrap();
        server.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"hello");
    });
}

#[test]
fn what_is_no_connection_is_an_error_and_no_panic() {
    LocalExecutor::default().run(async {
        let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let mut stream = TcpStream::from(unconnected.unwrap());
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(stream.peer_addr().is_err());

        let file = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: the descriptor is handed over.
        let listener = unsafe { TcpListener::from_raw_fd(file.into_raw_fd()) };
        assert!(listener.accept().await.is_err());
        assert!(listener.ttl().is_err());
        assert!(listener.local_addr().is_err());
    });
}

#[test]
fn connections_that_move_leave_no_descriptor_behind() {
    let test = "tcp::moving::connections_that_move_leave_no_descriptor_behind";
    alone(test, &[], || {
        let churn = || {
            LocalExecutor::default().run(async {
                for round in 0..50 {
                    let (mut client, mut server) = pair().await;
                    if round % 2 == 0 {
                        assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
                        drop(poll_once(server.peek(&mut [0; 8])).await);
                    }
                    client.write_all(b"unread").await.unwrap();
                    server.write_all(b"unsent").await.unwrap();
                    let server = server.into_accepted();
                    match round % 3 {
                        0 => drop(server),
                        1 => drop(server.bind_to_executor()),
                        _ => drop(server.bind_to_executor().buffered()),
                    }
                    // SAFETY: the descriptor is handed over.
                    drop(unsafe { StdTcpStream::from_raw_fd(client.into_raw_fd()) });
                }
            });
        };
        churn();
        let before = open_fds();
        for _ in 0..5 {
            churn();
        }
        eventually("descriptors are back", || open_fds() <= before);
    });
}
