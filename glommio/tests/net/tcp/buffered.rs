//! Streams with receive buffers.

use std::{cell::Cell, io, rc::Rc};

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt};
use glommio::{
    LocalExecutor,
    net::{Buffered, OwnedRxBuf, Preallocated, RxBuf},
    spawn_local,
};

use super::{pair, pattern};

#[test]
fn lines_are_read_and_the_end_stays_the_end() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        client.write_all(b"one\ntwo\n\nlast").await.unwrap();
        client.close().await.unwrap();
        let mut server = server.buffered();
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        assert_eq!(line, "one\n");
        let mut lines = (&mut server).lines();
        for expected in ["two", "", "last"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected);
        }
        assert!(lines.next().await.is_none());
        for _ in 0..2 {
            assert!(server.fill_buf().await.unwrap().is_empty());
            assert_eq!(server.read(&mut [0; 4]).await.unwrap(), 0);
        }
    });
}

#[test]
fn reads_of_every_size_and_kind_find_every_byte_once() {
    const LEN: usize = 1 << 20;
    LocalExecutor::default().run(async {
        for size in [1, 100, 8 << 10, 100_000] {
            let (mut client, server) = pair().await;
            let writer = spawn_local(async move {
                let data: Vec<u8> = (0..LEN).map(pattern).collect();
                client.write_all(&data).await.unwrap();
                client.close().await.unwrap();
            });
            let mut server = server.buffered_with(Preallocated::new(size));
            let mut received = 0;
            let mut check = |bytes: &[u8]| {
                let expected = (received..).map(pattern);
                assert!(bytes.iter().zip(expected).all(|(a, b)| *a == b));
                received += bytes.len();
                received
            };
            let mut buf = vec![0; 20_000];
            for room in [1, 7, 300, 20_000].into_iter().cycle() {
                let n = server.read(&mut buf[..room]).await.unwrap();
                check(&buf[..n]);
                let unread = server.fill_buf().await.unwrap();
                let some = unread.len().min(1 + room / 3);
                let done = check(&unread[..some]) == LEN;
                server.consume(some);
                if done {
                    break;
                }
            }
            assert_eq!(server.read(&mut buf).await.unwrap(), 0);
            writer.await;
        }
    });
}

#[test]
fn nothing_waits_for_an_empty_read() {
    LocalExecutor::default().run(async {
        let (_client, server) = pair().await;
        assert_eq!(server.buffered().read(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn a_buffered_stream_writes_and_tells_about_itself() {
    LocalExecutor::default().run(async {
        let (client, mut server) = pair().await;
        let mut client = client.buffered();
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        assert!(format!("{client:?}").starts_with("TcpStream"));
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        client.close().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    });
}

/// A buffer of a user, which counts how often it is filled.
struct Counting {
    inner: Preallocated,
    fills: Rc<Cell<u32>>,
    has_room: bool,
}

impl RxBuf for Counting {
    fn read(&mut self, buf: &mut [u8]) -> usize {
        self.inner.read(buf)
    }

    fn peek(&self, buf: &mut [u8]) -> usize {
        self.inner.peek(buf)
    }

    fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    fn as_bytes(&self) -> &[u8] {
        self.inner.as_bytes()
    }

    fn consume(&mut self, amt: usize) {
        self.inner.consume(amt);
    }

    fn buffer_size(&self) -> usize {
        self.inner.buffer_size()
    }

    fn handle_result(&mut self, result: usize) {
        self.fills.set(self.fills.get() + 1);
        self.inner.handle_result(result);
    }

    fn unfilled(&mut self) -> &mut [u8] {
        match self.has_room {
            true => self.inner.unfilled(),
            false => &mut [],
        }
    }

    fn take_kernel_buffer(&mut self) -> Option<OwnedRxBuf> {
        self.inner.take_kernel_buffer()
    }

    fn restore_kernel_buffer(&mut self, buf: OwnedRxBuf) {
        self.inner.restore_kernel_buffer(buf);
    }
}

impl Buffered for Counting {}

#[test]
fn large_reads_go_past_an_empty_buffer() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        let fills = Rc::new(Cell::new(0));
        let mut server = server.buffered_with(Counting {
            inner: Preallocated::new(16),
            fills: fills.clone(),
            has_room: true,
        });
        client.write_all(&[1; 40]).await.unwrap();
        assert!(server.read(&mut [0; 16]).await.unwrap() > 0);
        assert_eq!(fills.get(), 0);
        client.write_all(&[1; 16]).await.unwrap();
        assert_eq!(server.read(&mut [0; 15]).await.unwrap(), 15);
        assert_eq!(fills.get(), 1);
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 1);
        assert_eq!(fills.get(), 1, "what it holds goes first");
    });
}

#[test]
fn a_buffer_without_room_is_an_error_and_no_end() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        client.write_all(b"hello").await.unwrap();
        let mut server = server.buffered_with(Counting {
            inner: Preallocated::new(16),
            fills: Rc::default(),
            has_room: false,
        });
        let error = server.fill_buf().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}
