//! Listening and connecting.

use std::{
    io::{ErrorKind, Read},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::Path,
    rc::Rc,
    time::Duration,
};

use futures_lite::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    future::{self, poll_once},
};
use glommio::{
    LocalExecutor, LocalExecutorBuilder, executor,
    net::{UnixListener, UnixStream},
    spawn_local,
    timer::timeout,
};

use super::{
    super::support::{
        alone, eventually, eventually_async, nothing_spins, open_fds, set_nonblocking,
    },
    abstract_name, kind_and_text, path,
};

#[test]
fn paths_and_abstract_names_are_bound_and_found() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let name = abstract_name("found");
        for addr in [path.as_path(), Path::new(&name)] {
            let listener = UnixListener::bind(addr).unwrap();
            let (client, server) = future::zip(UnixStream::connect(addr), listener.accept()).await;
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            for bound in [
                listener.local_addr(),
                server.local_addr(),
                client.peer_addr(),
            ] {
                let bound = bound.unwrap();
                match bound.as_abstract_name() {
                    Some(found) => assert_eq!(found, &name.as_bytes()[1..]),
                    None => assert_eq!(bound.as_pathname(), Some(&*path)),
                }
            }
            for unnamed in [client.local_addr(), server.peer_addr()] {
                assert!(unnamed.unwrap().is_unnamed());
            }
            client.write_all(b"ping").await.unwrap();
            let mut buf = [0; 4];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"ping");
        }
    });
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let shown = path.display().to_string();

        let (kind, text) = kind_and_text(UnixStream::connect(&path).await);
        assert_eq!(kind, ErrorKind::NotFound);
        assert!(text.contains(&shown), "{text}");

        let listener = UnixListener::bind(&path).unwrap();
        let (kind, text) = kind_and_text(UnixListener::bind(&path));
        assert_eq!(kind, ErrorKind::AddrInUse);
        assert!(text.contains(&shown), "{text}");

        drop(listener);
        // The descriptor is closed by the ring.
        let refused = async {
            loop {
                match UnixStream::connect(&path).await {
                    Err(error) => return Err::<(), _>(error),
                    Ok(_) => executor().yield_task_queue_now().await,
                }
            }
        };
        let (kind, text) = kind_and_text(refused.await);
        assert_eq!(kind, ErrorKind::ConnectionRefused);
        assert!(text.contains(&shown), "{text}");
        let (kind, _) = kind_and_text(UnixListener::bind(&path));
        assert_eq!(kind, ErrorKind::AddrInUse, "the path stays");
        std::fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap();

        let nowhere = Path::new("/nonexistent/folder/socket");
        let (kind, _) = kind_and_text(UnixListener::bind(nowhere));
        assert_eq!(kind, ErrorKind::NotFound);
        let too_long = "x".repeat(108);
        for bad in ["", "a\0b", &too_long] {
            let (kind, _) = kind_and_text(UnixListener::bind(bad));
            assert_eq!(kind, ErrorKind::InvalidInput);
            let (kind, _) = kind_and_text(UnixStream::connect(bad).await);
            assert_eq!(kind, ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn an_abstract_name_goes_with_its_socket() {
    LocalExecutor::default().run(async {
        let name = abstract_name("goes");
        let listener = UnixListener::bind(&name).unwrap();
        let (kind, _) = kind_and_text(UnixListener::bind(&name));
        assert_eq!(kind, ErrorKind::AddrInUse);
        drop(listener);
        while UnixListener::bind(&name).is_err() {
            executor().yield_task_queue_now().await;
        }
    });
}

#[test]
fn connections_that_come_for_nobody_wait() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let listener = UnixListener::bind(&path).unwrap();
        drop(listener.accept());
        assert!(poll_once(listener.accept()).await.is_none());
        let _first = StdUnixStream::connect(&path).unwrap();
        let _second = StdUnixStream::connect(&path).unwrap();
        for _ in 0..3 {
            executor().yield_task_queue_now().await;
        }
        let mut incoming = listener.incoming();
        for _ in 0..2 {
            incoming.next().await.unwrap().unwrap();
        }
        assert!(poll_once(incoming.next()).await.is_none());
        drop(incoming);
        assert!(
            poll_once(future::poll_fn(|cx| listener.poll_accept(cx)))
                .await
                .is_none()
        );
    });
}

#[test]
fn every_waiting_accept_gets_a_connection() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let listener = Rc::new(UnixListener::bind(&path).unwrap());
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let listener = listener.clone();
                spawn_local(async move { listener.accept().await.unwrap() })
            })
            .collect();
        executor().yield_now().await;
        let clients: Vec<_> = (0..20)
            .map(|_| StdUnixStream::connect(&path).unwrap())
            .collect();
        for task in waiting {
            task.await;
        }
        drop(clients);
    });
}

#[test]
fn who_connects_to_a_full_listener_waits_for_its_turn() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        socket.listen(0).unwrap();
        let listener = StdUnixListener::from(std::os::fd::OwnedFd::from(socket));
        let first = UnixStream::connect(&path).await.unwrap();
        let second = spawn_local({
            let path = path.clone();
            async move { UnixStream::connect(path).await.unwrap() }
        });
        executor().yield_now().await;
        let in_flight = || glommio::internals::ring_counters().in_flight;
        let before = in_flight();
        let given_up = timeout(Duration::from_millis(50), UnixStream::connect(&path));
        assert!(given_up.await.is_err());
        eventually_async("it is not tried any more", || in_flight() <= before).await;
        drop(listener.accept().unwrap());
        drop(first);
        let minute = Duration::from_secs(60);
        timeout(minute, async { Ok(second.await) }).await.unwrap();
    });
}

#[test]
fn an_accepted_connection_moves_to_another_executor() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = StdUnixStream::connect(&path).unwrap();
        let accepted = listener.shared_accept().await.unwrap();
        let other = LocalExecutorBuilder::default().spawn(move || async move {
            let mut stream = accepted.bind_to_executor();
            stream.write_all(b"from the other executor").await.unwrap();
        });
        other.unwrap().join().unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the other executor");
    });
}

#[test]
fn a_listener_that_becomes_nonblocking_waits_for_connections() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let listener = UnixListener::bind(&path).unwrap();
        set_nonblocking(&listener);
        let guests = spawn_local(async move {
            for _ in 0..3 {
                listener.accept().await.unwrap();
            }
        });
        for _ in 0..3 {
            nothing_spins().await;
            UnixStream::connect(&path).await.unwrap();
        }
        guests.await;
    });
}

#[test]
fn descriptors_are_back_whatever_was_dropped_when() {
    let test = "unix::listener::descriptors_are_back_whatever_was_dropped_when";
    alone(test, &[], || {
        let churn = || {
            LocalExecutor::default().run(async {
                let (_dir, path) = path();
                let listener = UnixListener::bind(&path).unwrap();
                for _ in 0..50 {
                    drop(listener.accept());
                    drop(poll_once(listener.accept()).await);
                    drop(UnixStream::connect(&path));
                    drop(poll_once(UnixStream::connect(&path)).await);
                    let mut client = UnixStream::connect(&path).await.unwrap();
                    let mut server = listener.accept().await.unwrap();
                    assert!(poll_once(client.read(&mut [0; 8])).await.is_none());
                    server.write_all(b"never read").await.unwrap();
                }
                // And some that are still waiting when the executor ends.
                let (mut one, other) = UnixStream::pair().unwrap();
                spawn_local(async move { one.read(&mut [0; 8]).await }).detach();
                spawn_local(async move { other.peek(&mut [0; 8]).await }).detach();
                spawn_local(async move { listener.accept().await }).detach();
                executor().yield_task_queue_now().await;
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
