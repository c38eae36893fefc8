//! Unix datagrams.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram as StdUnixDatagram},
    },
    rc::Rc,
    time::Duration,
};

use futures_lite::future::poll_once;
use glommio::{LocalExecutor, executor, net::UnixDatagram, spawn_local, timer::timeout};

use super::{
    super::support::{
        alone, eventually, eventually_async, nothing_spins, open_fds, set_nonblocking,
    },
    abstract_name, kind_and_text, path,
};

#[test]
fn datagrams_keep_their_bounds_and_order() {
    LocalExecutor::default().run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        for len in [5_usize, 0, 1, 8000] {
            assert_eq!(one.send(&vec![len as u8; len]).await.unwrap(), len);
        }
        let mut buf = [9; 9000];
        for len in [5_usize, 0, 1, 8000] {
            let (received, sender) = other.recv_from(&mut buf).await.unwrap();
            assert_eq!(received, len);
            assert!(sender.is_unnamed());
            assert!(buf[..len].iter().all(|byte| *byte == len as u8));
        }
        assert!(poll_once(other.recv(&mut buf)).await.is_none());
    });
}

#[test]
fn senders_are_told_by_path_by_name_or_as_nobody() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let name = abstract_name("sender");
        let receiver_name = abstract_name("receiver");
        let receiver = UnixDatagram::bind(&receiver_name).unwrap();
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind(&name).unwrap();
        let nobody = UnixDatagram::unbound().unwrap();
        let mut buf = [0; 8];
        // An unnamed one after a named one: nothing of that is left.
        for sender in [&by_path, &nobody, &by_name, &nobody] {
            sender.send_to(b"hi", &receiver_name).await.unwrap();
            let peeked = receiver.peek_from(&mut buf).await.unwrap();
            let (len, address) = receiver.recv_from(&mut buf).await.unwrap();
            assert_eq!(peeked, (len, address));
            assert_eq!(&buf[..len], b"hi");
            let local = sender.local_addr().unwrap();
            assert_eq!(address.path(), local.as_pathname());
            assert_eq!(address.as_abstract(), local.as_abstract_name());
            assert_eq!(address.is_unnamed(), local.is_unnamed());
        }
        // And answered.
        receiver.send_to(b"to the path", &path).await.unwrap();
        assert_eq!(by_path.recv(&mut [0; 16]).await.unwrap(), 11);
    });
}

#[test]
fn connected_sockets_know_their_peer_and_hear_nobody_else() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let server = UnixDatagram::bind(&path).unwrap();
        let name = abstract_name("client");
        let client = UnixDatagram::bind(&name).unwrap();
        assert_eq!(kind_and_text(client.peer_addr()).0, ErrorKind::NotConnected);
        assert_eq!(
            kind_and_text(client.send(b"x").await).0,
            ErrorKind::NotConnected
        );
        client.connect(&path).await.unwrap();
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        client.send(b"ping").await.unwrap();
        assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 4);
        server.connect(&name).await.unwrap();
        server.send(b"pong!").await.unwrap();
        assert_eq!(client.recv(&mut [0; 8]).await.unwrap(), 5);
        let stranger = UnixDatagram::unbound().unwrap();
        let (kind, text) = kind_and_text(stranger.send_to(b"x", &path).await);
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(text.contains(&path.display().to_string()), "{text}");
    });
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    LocalExecutor::default().run(async {
        let (_dir, path) = path();
        let shown = path.display().to_string();
        let socket = UnixDatagram::unbound().unwrap();
        for failed in [
            socket.connect(&path).await,
            socket.send_to(b"x", &path).await.map(drop),
        ] {
            let (kind, text) = kind_and_text(failed);
            assert_eq!(kind, ErrorKind::NotFound);
            assert!(text.contains(&shown), "{text}");
        }
        let bound = StdUnixDatagram::bind(&path).unwrap();
        let (kind, text) = kind_and_text(UnixDatagram::bind(&path));
        assert_eq!(kind, ErrorKind::AddrInUse);
        assert!(text.contains(&shown), "{text}");
        socket.connect(&path).await.unwrap();
        drop(bound);
        for failed in [socket.send(b"x").await, socket.send_to(b"x", &path).await] {
            assert_eq!(kind_and_text(failed).0, ErrorKind::ConnectionRefused);
        }
        let too_long = "x".repeat(108);
        for bad in ["", "a\0b", &too_long] {
            for failed in [
                UnixDatagram::bind(bad).map(drop),
                socket.connect(bad).await,
                socket.send_to(b"x", bad).await.map(drop),
            ] {
                assert_eq!(kind_and_text(failed).0, ErrorKind::InvalidInput);
            }
        }
        let (one, _other) = UnixDatagram::pair().unwrap();
        let error = one.send(&vec![0; 17 << 20]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(90), "EMSGSIZE");
    });
}

#[test]
fn long_datagrams_are_cut_at_the_buffer_size_or_the_callers_buffer() {
    LocalExecutor::default().run(async {
        let (one, mut other) = UnixDatagram::pair().unwrap();
        let long: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        let mut buf = vec![0; 200_000];
        let mut send_and_receive = async |other: &UnixDatagram, room: usize| {
            one.send(&long).await.unwrap();
            let len = other.recv(&mut buf[..room]).await.unwrap();
            assert_eq!(buf[..len], long[..len]);
            len
        };
        assert_eq!(other.buffer_size(), 8192);
        assert_eq!(send_and_receive(&other, 200_000).await, 8192);
        assert_eq!(send_and_receive(&other, 100).await, 100);
        assert_eq!(send_and_receive(&other, 0).await, 0, "and is gone");
        other.set_buffer_size(usize::MAX);
        assert_eq!(other.buffer_size(), usize::MAX);
        assert_eq!(send_and_receive(&other, 200_000).await, 100_000);
        other.set_buffer_size(10);
        assert_eq!(send_and_receive(&other, 200_000).await, 10);
    });
}

#[test]
fn a_full_receiver_holds_its_senders_back() {
    LocalExecutor::default().run(async {
        let name = abstract_name("full");
        let receiver = StdUnixDatagram::bind_addr(
            &SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap(),
        );
        let receiver = receiver.unwrap();
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(&name).await.unwrap();
        let free = UnixDatagram::unbound().unwrap();
        let mut queued = 0;
        let wait = Duration::from_millis(100);
        while timeout(wait, connected.send(&[0; 1])).await.is_ok() {
            queued += 1;
        }
        assert!(timeout(wait, free.send_to(&[0; 1], &name)).await.is_err());
        let senders = [
            spawn_local(async move { connected.send(&[1; 2]).await }),
            spawn_local(async move { free.send_to(&[1; 2], &name).await }),
        ];
        executor().yield_now().await;
        // A send that was given up may have been sent all the same.
        receiver
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let (mut empty, mut pairs) = (0, 0);
        let all = async {
            while pairs < 2 {
                match receiver.recv(&mut [0; 8]) {
                    Ok(1) => empty += 1,
                    Ok(_) => pairs += 1,
                    Err(_) => executor().yield_task_queue_now().await,
                }
            }
            Ok(())
        };
        timeout(Duration::from_secs(60), all).await.unwrap();
        assert!(
            (queued..=queued + 2).contains(&empty),
            "{empty} of {queued}"
        );
        for sender in senders {
            assert_eq!(sender.await.unwrap(), 2);
        }
    });
}

#[test]
fn everyone_who_waits_gets_a_datagram_and_who_gives_up_loses_none() {
    LocalExecutor::default().run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let other = Rc::new(other);
        drop(other.recv(&mut [0; 8]));
        assert!(poll_once(other.recv(&mut [0; 8])).await.is_none());
        assert!(poll_once(other.peek(&mut [0; 8])).await.is_none());
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let other = other.clone();
                spawn_local(async move {
                    let mut buf = [0; 8];
                    other.recv(&mut buf).await.unwrap();
                    buf[0]
                })
            })
            .collect();
        executor().yield_now().await;
        for i in 0..5 {
            one.send(&[i]).await.unwrap();
        }
        for (i, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await, i as u8, "first come, first served");
        }
    });
}

#[test]
fn a_socket_that_becomes_nonblocking_waits_for_datagrams() {
    LocalExecutor::default().run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        set_nonblocking(&one);
        let reader = spawn_local(async move {
            for len in [3, 7] {
                assert_eq!(one.recv(&mut [0; 16]).await.unwrap(), len);
            }
        });
        for text in [&b"one"[..], b"another"] {
            nothing_spins().await;
            other.send(text).await.unwrap();
        }
        reader.await;
    });
}

#[test]
fn a_socket_that_outlives_its_executor_says_so() {
    let executor = LocalExecutor::default();
    let (one, other) = executor.run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        assert!(poll_once(one.recv(&mut [0; 16])).await.is_none());
        glommio::executor().yield_task_queue_now().await;
        (one, other)
    });
    drop(executor);
    LocalExecutor::default().run(async move {
        for failed in [
            one.recv(&mut [0; 16]).await.map(drop),
            other.send(b"x").await.map(drop),
            other.connect("\0nobody").await,
        ] {
            let error = failed.unwrap_err();
            assert!(error.to_string().contains("executor"), "{error}");
        }
        assert!(one.local_addr().unwrap().is_unnamed());
    });
}

#[test]
fn descriptors_and_operations_are_back_where_they_were() {
    let test = "unix::datagram::descriptors_and_operations_are_back_where_they_were";
    alone(test, &[], || {
        let churn = || {
            LocalExecutor::default().run(async {
                let at_rest = glommio::internals::ring_counters().in_flight;
                for _ in 0..50 {
                    let (one, other) = UnixDatagram::pair().unwrap();
                    let mut buf = [0; 16];
                    drop(one.recv(&mut buf));
                    assert!(poll_once(one.recv_from(&mut buf)).await.is_none());
                    drop(poll_once(other.send(b"given up, maybe sent")).await);
                    drop(one.connect("\0nobody"));
                }
                let in_flight = || glommio::internals::ring_counters().in_flight;
                eventually_async("nothing is in flight", || in_flight() <= at_rest).await;
                // And one that is still waiting when its executor ends.
                let (socket, other) = UnixDatagram::pair().unwrap();
                spawn_local(async move { socket.recv(&mut [0; 16]).await }).detach();
                executor().yield_task_queue_now().await;
                drop(other);
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
