//! Addresses as users give them.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_lite::future::poll_once;
use glommio::{
    GlommioError, LocalExecutor, executor,
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

use super::support::alone;

/// Connects and sends to `addr`, with what can.
async fn reach(addr: impl ToSocketAddrs + Clone) {
    let minute = Duration::from_secs(60);
    TcpStream::connect(&addr).await.unwrap();
    TcpStream::connect_timeout(&addr, minute).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"hello", &addr).await.unwrap();
    socket.connect(addr.clone()).await.unwrap();
    socket.send(b"hello").await.unwrap();
}

/// A port of 127.0.0.1 where somebody listens and somebody receives.
fn servers() -> (TcpListener, UdpSocket, u16) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        if let Ok(socket) = UdpSocket::bind(addr) {
            return (listener, socket, addr.port());
        }
    }
}

#[test]
fn addresses_of_every_kind_are_reached() {
    LocalExecutor::default().run(async {
        let (_listener, socket, port) = servers();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let SocketAddr::V4(v4) = addr else {
            unreachable!("made from an address of IPv4");
        };
        reach(addr).await;
        reach(v4).await;
        reach((IpAddr::from(Ipv4Addr::LOCALHOST), port)).await;
        reach((Ipv4Addr::LOCALHOST, port)).await;
        reach(("127.0.0.1", port)).await;
        reach(("127.0.0.1".to_owned(), port)).await;
        reach(&*addr.to_string()).await;
        reach(addr.to_string()).await;
        reach(&[addr][..]).await;
        reach(vec![addr]).await;
        let mut buf = [0; 8];
        for _ in 0..20 {
            assert_eq!(socket.recv(&mut buf).await.unwrap(), 5);
        }
    });
}

#[test]
fn one_address_after_the_other_is_tried() {
    LocalExecutor::default().run(async {
        let (_listener, _socket, port) = servers();
        let (_reserved, silent) = super::support::silent_port();
        let listening = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect(vec![silent, listening]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listening);
        let bound = TcpListener::bind(
            &[
                "192.0.2.1:0".parse().unwrap(),
                "127.0.0.1:0".parse().unwrap(),
            ][..],
        );
        assert!(bound.unwrap().local_addr().unwrap().ip().is_loopback());
    });
}

/// The threads of blocking pools.
fn pool_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.contains("block")).count()
}

#[test]
fn names_are_looked_up_by_another_thread_and_numbers_by_none() {
    let test = "resolve::names_are_looked_up_by_another_thread_and_numbers_by_none";
    alone(test, &[], || {
        LocalExecutor::default().run(async {
            let (_listener, _socket, port) = servers();
            let numbers = format!("127.0.0.1:{port}");
            reach(&*numbers).await;
            reach(("127.0.0.1", port)).await;
            assert_eq!(pool_threads(), 0);
            // Whatever it finds: a host may have no such name.
            drop(TcpStream::connect(("localhost", port)).await);
            assert_eq!(pool_threads(), 1);
        });
    });
}

#[test]
fn a_lookup_that_is_given_up_ends_by_itself() {
    LocalExecutor::default().run(async {
        for _ in 0..5 {
            drop(TcpStream::connect("localhost:9"));
            assert!(poll_once(TcpStream::connect("localhost:9")).await.is_none());
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(
            poll_once(socket.send_to(b"x", "localhost:9"))
                .await
                .is_none()
        );
        executor().yield_now().await;
    });
}

fn kind_and_text<T: std::fmt::Debug>(result: Result<T, GlommioError<()>>) -> (ErrorKind, String) {
    let error = io::Error::from(result.unwrap_err());
    (error.kind(), error.to_string())
}

#[test]
fn what_is_no_address_is_refused_and_named() {
    LocalExecutor::default().run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for bad in ["no-port", "host:", "host:99999", "host:http", "[::1]"] {
            for failed in [
                TcpStream::connect(bad).await.map(drop),
                TcpStream::connect_timeout(bad, Duration::MAX)
                    .await
                    .map(drop),
                TcpListener::bind(bad).map(drop),
                UdpSocket::bind(bad).map(drop),
                socket.connect(bad).await,
                socket.send_to(b"x", bad).await.map(drop),
            ] {
                let (kind, text) = kind_and_text(failed);
                assert_eq!(kind, ErrorKind::InvalidInput, "{bad}");
                assert!(text.contains(bad), "{text}");
            }
        }
        let none: &[SocketAddr] = &[];
        for failed in [
            TcpStream::connect(none).await.map(drop),
            TcpListener::bind(none).map(drop),
            UdpSocket::bind(none).map(drop),
            socket.connect(none).await,
            socket.send_to(b"x", none).await.map(drop),
        ] {
            assert_eq!(kind_and_text(failed).0, ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_name_that_nobody_has_is_an_error_that_says_so() {
    LocalExecutor::default().run(async {
        // Longer than a name may be: no server is asked.
        let nobody = "x".repeat(300);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for failed in [
            TcpStream::connect((&*nobody, 80)).await.map(drop),
            TcpListener::bind((&*nobody, 80)).map(drop),
            socket.send_to(b"x", (&*nobody, 80)).await.map(drop),
        ] {
            let (_, text) = kind_and_text(failed);
            assert!(text.contains(&nobody), "{text}");
        }
    });
}
