//! Unix connections.

use std::{
    io::{ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    os::{
        fd::{FromRawFd, IntoRawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    time::Duration,
};

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt, future::poll_once};
use glommio::{
    LocalExecutor,
    net::{Preallocated, UnixStream},
    spawn_local,
    timer::timeout,
};

use super::super::{
    support::{nothing_spins, set_nonblocking},
    tcp::pattern,
};

#[test]
fn what_is_written_is_read_and_the_end_is_seen() {
    LocalExecutor::default().run(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert!(one.local_addr().unwrap().is_unnamed());
        assert!(one.peer_addr().unwrap().is_unnamed());
        one.write_all(b"hello").await.unwrap();
        one.write_all(b", world").await.unwrap();
        one.close().await.unwrap();
        let mut text = String::new();
        other.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello, world");
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
        other.write_all(b"half-closed").await.unwrap();
        drop(other);
        text.clear();
        one.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "half-closed", "written just before the drop");
    });
}

#[test]
fn large_transfers_arrive_whole() {
    const LEN: usize = 8 << 20;
    LocalExecutor::default().run(async {
        for (write, read) in [(3_000, 100_000), (100_000, 3_000)] {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let writer = spawn_local(async move {
                let data: Vec<u8> = (0..LEN).map(pattern).collect();
                for part in data.chunks(write) {
                    one.write_all(part).await.unwrap();
                }
                one.close().await.unwrap();
            });
            let mut buf = vec![0; read];
            let mut received = 0;
            loop {
                let n = other.read(&mut buf).await.unwrap();
                if n == 0 {
                    break;
                }
                let right = |(i, byte): (usize, &u8)| *byte == pattern(received + i);
                assert!(buf[..n].iter().enumerate().all(right));
                received += n;
            }
            assert_eq!(received, LEN);
            writer.await;
        }
    });
}

#[test]
fn a_slow_reader_holds_the_writer_back_and_loses_nothing() {
    LocalExecutor::default().run(async {
        for nonblocking in [false, true] {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            if nonblocking {
                set_nonblocking(&one);
                set_nonblocking(&other);
            }
            let mut taken = 0;
            loop {
                let block: Vec<u8> = (taken..taken + 5_000).map(pattern).collect();
                let write = async { Ok(one.write(&block).await?) };
                match timeout(Duration::from_millis(100), write).await {
                    Ok(n) => taken += n,
                    Err(_) => break,
                }
            }
            nothing_spins().await;
            drop(one);
            let mut all = Vec::new();
            other.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), taken);
            assert!(all.iter().enumerate().all(|(i, byte)| *byte == pattern(i)));
        }
    });
}

#[test]
fn writing_to_a_closed_peer_is_an_error_and_no_signal() {
    LocalExecutor::default().run(async {
        let (mut one, other) = UnixStream::pair().unwrap();
        drop(other);
        let error = loop {
            let result = async {
                one.write_all(b"x").await?;
                one.flush().await
            };
            if let Err(error) = result.await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        // Too long to be queued.
        let error = one.write(&[0; 100_000]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn buffers_peeks_and_vectors_work_as_over_tcp() {
    LocalExecutor::default().run(async {
        let (mut one, other) = UnixStream::pair().unwrap();
        let other = other.buffered();
        let parts = [
            IoSlice::new(b"one\n"),
            IoSlice::new(b""),
            IoSlice::new(b"two\n"),
        ];
        assert_eq!(one.write_vectored(&parts).await.unwrap(), 8);
        assert!(poll_once(other.peek(&mut [0; 8])).await.is_none());
        let mut buf = [0; 16];
        while other.peek(&mut buf).await.unwrap() < 8 {
            glommio::executor().yield_task_queue_now().await;
        }
        assert_eq!(&buf[..8], b"one\ntwo\n");
        one.shutdown(Shutdown::Both).await.unwrap();
        let mut lines = other.lines();
        assert_eq!(lines.next().await.unwrap().unwrap(), "one");
        assert_eq!(lines.next().await.unwrap().unwrap(), "two");
        assert!(lines.next().await.is_none());

        let (one, other) = UnixStream::pair().unwrap();
        let mut other = other.buffered_with(Preallocated::new(1));
        std::future::poll_fn(|cx| one.poll_shutdown(cx, Shutdown::Write))
            .await
            .unwrap();
        assert!(other.fill_buf().await.unwrap().is_empty());
    });
}

#[test]
fn reads_and_peeks_that_are_dropped_lose_nothing() {
    LocalExecutor::default().run(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        for i in 0..100_u8 {
            drop(poll_once(other.peek(&mut [0; 8])).await);
            let dropped = poll_once(other.read(&mut [0; 8])).await;
            assert!(dropped.is_none());
            one.write_all(&[i]).await.unwrap();
            let mut buf = [0; 8];
            assert_eq!(other.peek(&mut buf).await.unwrap(), 1);
            assert_eq!(other.read(&mut buf).await.unwrap(), 1);
            assert_eq!(buf[0], i);
        }
    });
}

#[test]
fn a_stream_of_others_is_taken_over() {
    LocalExecutor::default().run(async {
        let (theirs, mut peer) = StdUnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        // SAFETY: the descriptor is handed over.
        let mut ours = unsafe { UnixStream::from_raw_fd(theirs.into_raw_fd()) };
        assert!(poll_once(ours.read(&mut [0; 8])).await.is_none());
        nothing_spins().await;
        peer.write_all(b"hello").unwrap();
        let mut buf = [0; 5];
        ours.read_exact(&mut buf).await.unwrap();
        ours.write_all(&buf).await.unwrap();
        ours.flush().await.unwrap();
        peer.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
        assert!(format!("{ours:?}").starts_with("UnixStream"));
    });
}
