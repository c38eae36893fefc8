//! Looking at what was received.

use std::{io::ErrorKind, rc::Rc, time::Duration};

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, future::poll_once};
use glommio::{
    LocalExecutor, executor,
    net::{Preallocated, TcpStream},
    spawn_local,
    timer::timeout,
};

use super::pair;

/// Peeks until `len` bytes are there.
async fn peek_all<B: glommio::net::RxBuf>(stream: &TcpStream<B>, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    loop {
        let n = stream.peek(&mut buf).await.unwrap();
        if n == len {
            return buf;
        }
        executor().yield_task_queue_now().await;
    }
}

#[test]
fn what_is_peeked_at_is_still_there() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"hello").await.unwrap();
        for _ in 0..2 {
            assert_eq!(peek_all(&server, 5).await, b"hello");
            assert_eq!(peek_all(&server, 2).await, b"he");
        }
        let mut buf = [0; 3];
        server.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"hel");
        assert_eq!(peek_all(&server, 2).await, b"lo");
        assert_eq!(server.peek(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn whoever_asks_for_more_sees_more_arrive() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let len = 100_000;
        let writer = spawn_local(async move {
            for i in 0..len {
                client.write_all(&[i as u8]).await.unwrap();
            }
            client
        });
        let seen = peek_all(&server, len).await;
        assert!((0..len).all(|i| seen[i] == i as u8));
        let mut read = vec![0; len];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(read, seen);
        writer.await;
    });
}

#[test]
fn a_buffered_stream_shows_its_buffer_and_what_is_behind_it() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        let mut server = server.buffered_with(Preallocated::new(4));
        client.write_all(b"abcd").await.unwrap();
        assert_eq!(server.fill_buf().await.unwrap(), b"abcd");
        server.consume(2);
        assert_eq!(server.peek(&mut [0; 8]).await.unwrap(), 2);
        client.write_all(b"efgh").await.unwrap();
        assert_eq!(peek_all(&server, 6).await, b"cdefgh");
        assert_eq!(server.fill_buf().await.unwrap(), b"cd");
        client.close().await.unwrap();
        assert_eq!(peek_all(&server, 6).await, b"cdefgh");
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "cdefgh");
    });
}

#[test]
fn peeks_that_are_dropped_lose_nothing() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let mut buf = [0; 16];
        drop(server.peek(&mut buf));
        assert!(poll_once(server.peek(&mut buf)).await.is_none());
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        for _ in 0..10 {
            drop(poll_once(server.peek(&mut buf)).await);
            executor().yield_task_queue_now().await;
        }
        server.read_exact(&mut buf[..5]).await.unwrap();
        assert_eq!(&buf[..5], b"hello");
    });
}

#[test]
fn all_who_peek_and_the_one_who_reads_are_woken() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        let server = Rc::new(std::cell::RefCell::new(server));
        let peeks: Vec<_> = (0..3)
            .map(|_| {
                let server = server.clone();
                spawn_local(async move {
                    let mut buf = [0; 8];
                    let n = futures_lite::future::poll_fn(|cx| {
                        let server = server.borrow();
                        let mut peek = std::pin::pin!(server.peek(&mut buf));
                        std::future::Future::poll(peek.as_mut(), cx)
                    });
                    n.await.unwrap()
                })
            })
            .collect();
        executor().yield_now().await;
        let reader = server.clone();
        let reader = spawn_local(async move {
            let mut buf = [0; 1];
            let n = futures_lite::future::poll_fn(|cx| {
                let mut server = reader.borrow_mut();
                futures_lite::AsyncRead::poll_read(std::pin::Pin::new(&mut *server), cx, &mut buf)
            });
            n.await.unwrap()
        });
        executor().yield_now().await;
        client.write_all(b"hello").await.unwrap();
        let all = async {
            assert_eq!(reader.await, 1);
            for peek in peeks {
                assert!(peek.await >= 4);
            }
            Ok(())
        };
        timeout(Duration::from_secs(30), all).await.unwrap();
    });
}

#[test]
fn the_end_and_an_error_are_seen_and_stay() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        client.close().await.unwrap();
        for _ in 0..2 {
            assert_eq!(server.peek(&mut [0; 4]).await.unwrap(), 0);
        }

        let (client, mut server) = pair().await;
        socket2::SockRef::from(&lent(&client))
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        let error = std::io::Error::from(server.peek(&mut [0; 4]).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = server.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

fn lent(stream: &TcpStream) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the descriptor stays open as long as the stream.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(stream)) }
}
