//! Timeouts of reads, writes and connections.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, future::poll_once};
use glommio::{
    GlommioError, LocalExecutor,
    net::{TcpListener, TcpStream},
    spawn_local,
    timer::sleep,
};
use socket2::{Domain, Socket, Type};

use super::{super::support, listener, pair, pattern};

const LIMIT: Duration = Duration::from_millis(5);

fn kind<T: std::fmt::Debug>(result: Result<T, GlommioError<()>>) -> ErrorKind {
    io::Error::from(result.unwrap_err()).kind()
}

#[test]
fn zero_is_no_timeout_and_none_is_kept() {
    LocalExecutor::default().run(async {
        let (client, _server) = pair().await;
        let limits = || (client.read_timeout(), client.write_timeout());
        assert_eq!(limits(), (None, None));
        client.set_read_timeout(Some(Duration::MAX)).unwrap();
        client.set_write_timeout(Some(LIMIT)).unwrap();
        let zero = Some(Duration::ZERO);
        assert_eq!(kind(client.set_read_timeout(zero)), ErrorKind::InvalidInput);
        assert_eq!(
            kind(client.set_write_timeout(zero)),
            ErrorKind::InvalidInput
        );
        assert_eq!(limits(), (Some(Duration::MAX), Some(LIMIT)));
        client.set_read_timeout(None).unwrap();
        assert_eq!(limits(), (None, Some(LIMIT)));
    });
}

#[test]
fn a_read_that_times_out_loses_nothing() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        server.set_read_timeout(Some(LIMIT)).unwrap();
        let mut buf = [0; 8];
        for _ in 0..3 {
            let start = Instant::now();
            let error = server.read(&mut buf).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(start.elapsed() >= LIMIT, "too early");
        }
        let start = Instant::now();
        assert_eq!(kind(server.peek(&mut buf).await), ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT, "too early");
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        server.set_read_timeout(None).unwrap();
        server.read_exact(&mut buf[..5]).await.unwrap();
        assert_eq!(&buf[..5], b"hello");
    });
}

#[test]
fn a_buffered_read_times_out_too() {
    LocalExecutor::default().run(async {
        let (_client, server) = pair().await;
        let mut server = server.buffered();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        let error = server.fill_buf().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = server.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn each_wait_has_the_whole_time() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let limit = Duration::from_millis(100);
        server.set_read_timeout(Some(limit)).unwrap();
        let mut buf = [0; 8];
        // A wait that ends with data, the time of which is over before the next one begins.
        assert!(poll_once(server.read(&mut buf)).await.is_none());
        client.write_all(b"hello").await.unwrap();
        while server.read(&mut buf).await.is_err() {}
        sleep(limit * 2).await;
        let start = Instant::now();
        let error = server.read(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= limit, "it began when the read did");
    });
}

#[test]
fn a_read_that_was_dropped_leaves_its_time_running_until_it_is_set() {
    LocalExecutor::default().run(async {
        let (_client, mut server) = pair().await;
        server.set_read_timeout(Some(LIMIT)).unwrap();
        assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
        sleep(LIMIT * 2).await;
        let late = poll_once(server.read(&mut [0; 8])).await;
        assert_eq!(late.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);

        assert!(poll_once(server.read(&mut [0; 8])).await.is_none());
        sleep(LIMIT * 2).await;
        server.set_read_timeout(Some(LIMIT)).unwrap();
        let start = Instant::now();
        let error = server.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT, "it began anew");
    });
}

#[test]
fn timeouts_that_race_with_data_lose_none_of_it() {
    const ROUNDS: usize = 200;
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let limit = Duration::from_millis(1);
        server.set_read_timeout(Some(limit)).unwrap();
        let writer = spawn_local(async move {
            for i in 0..ROUNDS {
                sleep(limit + Duration::from_micros(i as u64)).await;
                client.write_all(&[pattern(i)]).await.unwrap();
            }
            client.close().await.unwrap();
        });
        let (mut received, mut timeouts) = (0, 0);
        let mut buf = [0; 8];
        loop {
            match server.read(&mut buf).await {
                Ok(0) => break,
                Ok(n) => {
                    for byte in &buf[..n] {
                        assert_eq!(*byte, pattern(received));
                        received += 1;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    timeouts += 1;
                }
            }
        }
        assert_eq!(received, ROUNDS);
        assert!(
            timeouts > 0,
            "the writer always waits longer than the reader"
        );
        writer.await;
    });
}

#[test]
fn writes_and_flushes_that_time_out_have_accepted_nothing_more() {
    for block in [1_000, 100_000] {
        LocalExecutor::default().run(async {
            let (mut client, mut server) = pair().await;
            client
                .set_write_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            let mut taken = 0;
            loop {
                let data: Vec<u8> = (taken..taken + block).map(pattern).collect();
                match client.write(&data).await {
                    Ok(n) => {
                        taken += n;
                        continue;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
                // Large writes leave nothing to flush; else there is something, unless the kernel was
                // only slow.
                match client.flush().await {
                    Ok(()) if block > 10_000 => break,
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        let error = client.close().await.unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        break;
                    }
                }
            }
            client.set_write_timeout(None).unwrap();
            let reader = spawn_local(async move {
                let mut all = Vec::new();
                server.read_to_end(&mut all).await.unwrap();
                all
            });
            client.close().await.unwrap();
            let all = reader.await;
            assert_eq!(all.len(), taken);
            assert!(all.iter().enumerate().all(|(i, byte)| *byte == pattern(i)));
        });
    }
}

/// A listener that answers nobody any more: its backlog is full.
fn busy_address() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

#[test]
fn a_connection_that_nobody_answers_times_out() {
    LocalExecutor::default().run(async {
        let (_busy, addr) = busy_address();
        let limit = Duration::from_millis(50);
        let mut streams = Vec::new();
        let error = loop {
            assert!(streams.len() < 10, "the backlog is never full");
            let start = Instant::now();
            match TcpStream::connect_timeout(addr, limit).await {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    assert!(start.elapsed() >= limit);
                    break error;
                }
            }
        };
        assert!(matches!(error, GlommioError::TimedOut(after) if after == limit));
        // For all addresses together, and the one that answers comes too late.
        let (_listener, answers) = listener();
        let both = [addr, answers];
        let error = TcpStream::connect_timeout(&both[..], limit).await;
        assert_eq!(kind(error), ErrorKind::TimedOut);
    });
}

#[test]
fn connecting_in_time_is_connecting() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        let minute = Duration::from_secs(60);
        let stream = TcpStream::connect_timeout(addr, minute).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        assert_eq!(stream.read_timeout(), None, "it was for connecting");
        listener.accept().await.unwrap();
        let zero = TcpStream::connect_timeout(addr, Duration::ZERO).await;
        assert_eq!(kind(zero), ErrorKind::InvalidInput);
        let (_reserved, addr) = support::silent_port();
        let refused = TcpStream::connect_timeout(addr, minute).await;
        assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
        let none: &[SocketAddr] = &[];
        let nowhere = TcpStream::connect_timeout(none, minute).await;
        assert_eq!(kind(nowhere), ErrorKind::InvalidInput);
    });
}

#[test]
fn hops_are_set_and_told_and_handed_down() {
    LocalExecutor::default().run(async {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                // There is no IPv6 on this host.
                assert!(any.starts_with('['));
                continue;
            };
            listener.set_ttl(33).unwrap();
            assert_eq!(listener.ttl().unwrap(), 33);
            let addr = listener.local_addr().unwrap();
            let client = TcpStream::connect(addr).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(server.ttl().unwrap(), 33, "of its listener");
            client.set_ttl(44).unwrap();
            assert_eq!(client.ttl().unwrap(), 44);
            for bad in [0, 256, u32::MAX] {
                assert!(client.set_ttl(bad).is_err(), "{bad}");
                assert!(listener.set_ttl(bad).is_err(), "{bad}");
            }
        }
    });
}
