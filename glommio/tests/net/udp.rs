//! UDP.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket},
    os::fd::{AsRawFd, FromRawFd, IntoRawFd},
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use futures_lite::future::poll_once;
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, executor, net::UdpSocket, spawn_local,
};
use socket2::{Domain, Socket, Type};

use super::flag::Flag;
use super::support::{
    alone, eventually, eventually_async, nothing_spins, open_fds, set_nonblocking, skip,
};

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Two sockets that know each other.
async fn pair() -> (UdpSocket, UdpSocket) {
    let ((one, to_one), (other, to_other)) = (socket(), socket());
    one.connect(to_other).await.unwrap();
    other.connect(to_one).await.unwrap();
    (one, other)
}

/// A socket of the standard library that does not wait for ever.
fn peer() -> (StdUdpSocket, SocketAddr) {
    let peer = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let addr = peer.local_addr().unwrap();
    (peer, addr)
}

fn kind(error: GlommioError<()>) -> io::ErrorKind {
    io::Error::from(error).kind()
}

#[test]
fn datagrams_keep_their_bounds_order_and_sender() {
    LocalExecutor::default().run(async {
        let ((server, to_server), (client, to_client)) = (socket(), socket());
        for len in [5_usize, 0, 1, 8000] {
            let sent = client.send_to(&vec![len as u8; len], to_server).await;
            assert_eq!(sent.unwrap(), len);
        }
        let mut buf = [9; 9000];
        for len in [5_usize, 0, 1, 8000] {
            let (received, sender) = server.recv_from(&mut buf).await.unwrap();
            assert_eq!((received, sender), (len, to_client));
            assert!(buf[..len].iter().all(|byte| *byte == len as u8));
        }
        assert!(poll_once(server.recv(&mut buf)).await.is_none());
    });
}

#[test]
fn connected_sockets_talk_and_hear_nobody_else() {
    LocalExecutor::default().run(async {
        let (one, other) = pair().await;
        let (stranger, _) = socket();
        assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
        let to_one = one.local_addr().unwrap();
        stranger.send_to(b"stranger", to_one).await.unwrap();
        assert_eq!(other.send(b"ping").await.unwrap(), 4);
        let mut buf = [0; 16];
        assert_eq!(one.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"ping");
        // Connected, and still told who it was; and free to send elsewhere.
        other.send(b"again").await.unwrap();
        let from = one.recv_from(&mut buf).await.unwrap();
        assert_eq!(from, (5, other.local_addr().unwrap()));
        let to_stranger = stranger.local_addr().unwrap();
        one.send_to(b"aside", to_stranger).await.unwrap();
        assert_eq!(stranger.recv_from(&mut buf).await.unwrap(), (5, to_one));
    });
}

#[test]
fn what_arrived_before_connecting_keeps_its_sender() {
    LocalExecutor::default().run(async {
        let ((socket, addr), (early, to_early)) = (socket(), socket());
        early.send_to(b"early", addr).await.unwrap();
        socket.connect("127.0.0.1:9").await.unwrap();
        let (len, sender) = socket.recv_from(&mut [0; 16]).await.unwrap();
        assert_eq!((len, sender), (5, to_early));
    });
}

#[test]
fn long_datagrams_are_cut_at_the_buffer_size_or_the_callers_buffer() {
    LocalExecutor::default().run(async {
        let (mut receiver, addr) = socket();
        let (sender, _) = socket();
        let long: Vec<u8> = (0..60_000).map(|i| (i % 251) as u8).collect();
        let mut buf = vec![0; 65_536];
        let mut send_and_receive = async |receiver: &UdpSocket, room: usize| {
            sender.send_to(&long, addr).await.unwrap();
            let len = receiver.recv(&mut buf[..room]).await.unwrap();
            assert_eq!(buf[..len], long[..len]);
            len
        };
        assert_eq!(receiver.buffer_size(), 8192);
        assert_eq!(send_and_receive(&receiver, 65_536).await, 8192);
        assert_eq!(send_and_receive(&receiver, 100).await, 100);
        assert_eq!(send_and_receive(&receiver, 0).await, 0, "and is gone");
        receiver.set_buffer_size(20);
        assert_eq!(send_and_receive(&receiver, 65_536).await, 20);
        receiver.set_buffer_size(0);
        assert_eq!(send_and_receive(&receiver, 65_536).await, 0);
        receiver.set_buffer_size(usize::MAX);
        assert_eq!(receiver.buffer_size(), usize::MAX);
        assert_eq!(send_and_receive(&receiver, 65_536).await, 60_000);
    });
}

#[test]
fn a_larger_buffer_size_counts_although_a_receive_was_given_up() {
    LocalExecutor::default().run(async {
        let (mut receiver, addr) = socket();
        let in_flight = || glommio::internals::ring_counters().in_flight;
        let at_rest = in_flight();
        let mut buf = vec![0; 40_000];
        assert!(poll_once(receiver.recv(&mut buf)).await.is_none());
        executor().yield_task_queue_now().await;
        receiver.set_buffer_size(40_000);
        eventually_async("that receive has ended", || in_flight() == at_rest).await;
        let (sender, _) = socket();
        sender.send_to(&[1; 30_000], addr).await.unwrap();
        assert_eq!(receiver.recv(&mut buf).await.unwrap(), 30_000);
    });
}

#[test]
fn a_receive_that_is_given_up_loses_nothing() {
    LocalExecutor::default().run(async {
        let (receiver, addr) = socket();
        let (sender, to_sender) = socket();
        let mut buf = [0; 16];
        for round in 0..50_u8 {
            // Before it was submitted, or in flight, with a buffer that is too small.
            assert!(poll_once(receiver.recv(&mut buf[..1])).await.is_none());
            if round % 2 == 0 {
                executor().yield_task_queue_now().await;
            }
            sender.send_to(&[round; 3], addr).await.unwrap();
            if round % 3 == 0 {
                executor().yield_task_queue_now().await;
                drop(receiver.recv(&mut buf));
            }
            let from = receiver.recv_from(&mut buf).await.unwrap();
            assert_eq!((from, buf[0]), ((3, to_sender), round));
        }
    });
}

#[test]
fn a_waiter_that_leaves_hands_on_what_woke_it() {
    LocalExecutor::default().run(async {
        let (receiver, addr) = socket();
        let receiver = Rc::new(receiver);
        let mut buf = [0; 16];
        let mut leaves = Box::pin(receiver.recv(&mut buf));
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        let polled = leaves.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        let stays = spawn_local({
            let receiver = receiver.clone();
            async move { receiver.recv(&mut [0; 16]).await.unwrap() }
        });
        executor().yield_now().await;
        peer().0.send_to(b"hello", addr).unwrap();
        eventually_async("the first is told", || flag.is_set()).await;
        drop(leaves);
        assert_eq!(stays.await, 5);
    });
}

#[test]
fn a_waiter_that_leaves_early_is_not_told_in_anothers_place() {
    LocalExecutor::default().run(async {
        let (receiver, addr) = socket();
        let receiver = Rc::new(receiver);
        let stays = |number: usize| {
            let receiver = receiver.clone();
            spawn_local(async move { receiver.recv(&mut [0; 16]).await.unwrap() + number })
        };
        let mut buf = [0; 16];
        let mut first = Box::pin(receiver.recv(&mut buf));
        assert!(poll_once(&mut first).await.is_none());
        let second = stays(100);
        executor().yield_now().await;
        let mut buf = [0; 16];
        let mut third = Box::pin(receiver.recv(&mut buf));
        assert!(poll_once(&mut third).await.is_none());
        drop(first);
        drop(third);
        peer().0.send_to(b"hello", addr).unwrap();
        assert_eq!(second.await, 105);
    });
}

#[test]
fn waiting_tasks_get_a_datagram_each_in_their_order() {
    LocalExecutor::default().run(async {
        let (receiver, addr) = socket();
        let receiver = Rc::new(receiver);
        let tasks: Vec<_> = (0..20_u8)
            .map(|number| {
                let receiver = receiver.clone();
                spawn_local(async move {
                    let mut buf = [0; 16];
                    if number % 4 == 3 {
                        // One that only looks keeps nobody from the datagram.
                        receiver.peek(&mut buf).await.unwrap();
                        return None;
                    }
                    receiver.recv(&mut buf).await.unwrap();
                    Some(buf[0])
                })
            })
            .collect();
        executor().yield_now().await;
        let (sender, _) = peer();
        // One for each that takes one, and one for the last, which only looks.
        for number in 0..16 {
            sender.send_to(&[number], addr).unwrap();
        }
        let mut got = Vec::new();
        for task in tasks {
            got.extend(task.await);
        }
        assert_eq!(got, (0..15).collect::<Vec<u8>>());
    });
}

#[test]
fn a_datagram_that_is_looked_at_stays() {
    LocalExecutor::default().run(async {
        let (receiver, addr) = socket();
        let (sender, to_sender) = socket();
        let mut buf = [0; 16];
        sender.send_to(b"hello", addr).await.unwrap();
        sender.send_to(b"world!", addr).await.unwrap();
        assert_eq!(receiver.peek(&mut buf[..2]).await.unwrap(), 2);
        for _ in 0..3 {
            let (len, from) = receiver.peek_from(&mut buf).await.unwrap();
            assert_eq!((&buf[..len], from), (&b"hello"[..], to_sender));
        }
        assert_eq!(receiver.recv(&mut buf).await.unwrap(), 5);
        assert_eq!(receiver.recv(&mut buf).await.unwrap(), 6);
    });
}

#[test]
fn nobody_at_the_port_is_an_error_once() {
    LocalExecutor::default().run(async {
        let (socket, addr) = socket();
        // Whoever holds the port at one address keeps everybody else from it at the other.
        let (_holder, held) = peer();
        let nobody = (Ipv4Addr::new(127, 0, 0, 2), held.port());
        socket.connect(nobody).await.unwrap();
        socket.send(b"anybody?").await.unwrap();
        let error = socket.recv(&mut [0; 16]).await.unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::ConnectionRefused);
        // The socket is none the worse.
        let (one_more, to_one_more) = peer();
        socket.connect(to_one_more).await.unwrap();
        one_more.send_to(b"hello", addr).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 5);
    });
}

#[test]
fn bad_input_is_an_error_that_says_so() {
    LocalExecutor::default().run(async {
        let (socket, addr) = socket();
        let (_foreign, taken) = peer();
        let error = UdpSocket::bind(taken).unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::AddrInUse);
        let nowhere: &[SocketAddr] = &[];
        let error = UdpSocket::bind(nowhere).unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::InvalidInput);
        let error = socket.connect(nowhere).await.unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::InvalidInput);
        let error = socket.send_to(b"x", nowhere).await.unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::InvalidInput);

        let no_peer = socket.send(b"x").await.unwrap_err();
        assert_eq!(no_peer.raw_os_error(), Some(libc::EDESTADDRREQ));
        assert!(socket.peer_addr().is_err());
        for len in [65_508, 65_536, 65_537, 1 << 20] {
            let too_long = socket.send_to(&vec![0; len], addr).await.unwrap_err();
            assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE), "{len}");
        }
        let everybody = (Ipv4Addr::BROADCAST, 9);
        let error = socket.send_to(b"x", everybody).await.unwrap_err();
        assert_eq!(kind(error), io::ErrorKind::PermissionDenied);
        for error in [
            socket.set_read_timeout(Some(Duration::ZERO)).unwrap_err(),
            socket.set_write_timeout(Some(Duration::ZERO)).unwrap_err(),
        ] {
            assert_eq!(kind(error), io::ErrorKind::InvalidInput);
        }
        // None of that has harmed it.
        socket.send_to(&[7; 65_507], addr).await.unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 16);
    });
}

#[test]
fn a_read_times_out_alone_and_the_next_is_unharmed() {
    LocalExecutor::default().run(async {
        let (socket, addr) = socket();
        let limit = Duration::from_millis(20);
        socket.set_read_timeout(Some(limit)).unwrap();
        assert_eq!(socket.read_timeout(), Some(limit));
        for _ in 0..3 {
            let start = Instant::now();
            let error = socket.recv(&mut [0; 16]).await.unwrap_err();
            assert!(start.elapsed() >= limit);
            assert!(matches!(error, GlommioError::TimedOut(after) if after == limit));
            let error = socket.peek_from(&mut [0; 16]).await.unwrap_err();
            assert_eq!(kind(error), io::ErrorKind::TimedOut);
        }
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket.send_to(b"in time", addr).await.unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 7);
        socket.set_read_timeout(None).unwrap();
        assert_eq!(socket.read_timeout(), None);
        assert!(poll_once(socket.recv(&mut [0; 16])).await.is_none());
        socket
            .set_write_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        assert_eq!(socket.send_to(b"fast", addr).await.unwrap(), 4);
        assert_eq!(socket.write_timeout(), Some(Duration::from_secs(30)));
    });
}

#[test]
fn ipv6_has_its_own_hops_and_options() {
    if StdUdpSocket::bind("[::1]:0").is_err() {
        return skip("no IPv6 on this machine");
    }
    LocalExecutor::default().run(async {
        let server = UdpSocket::bind("[::1]:0").unwrap();
        let client = UdpSocket::bind((IpAddr::from(Ipv6Addr::LOCALHOST), 0)).unwrap();
        client.connect(server.local_addr().unwrap()).await.unwrap();
        client.send(b"hello").await.unwrap();
        let (len, sender) = server.recv_from(&mut [0; 16]).await.unwrap();
        assert_eq!((len, sender), (5, client.local_addr().unwrap()));
        assert!(sender.is_ipv6());
        client.set_ttl(9).unwrap();
        assert_eq!(client.ttl().unwrap(), 9);
        assert!(client.set_ttl(256).is_err());
        assert!(client.multicast_loop_v6().unwrap());
        client.set_multicast_loop_v6(false).unwrap();
        assert!(!client.multicast_loop_v6().unwrap());
    });
}

#[test]
fn options_are_the_kernels() {
    LocalExecutor::default().run(async {
        let (socket, addr) = socket();
        assert!(!socket.broadcast().unwrap());
        socket.set_broadcast(true).unwrap();
        socket.set_ttl(33).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_multicast_ttl_v4(5).unwrap();
        // SAFETY: the descriptor is open, and is duplicated before it could be closed.
        let twin = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let twin = StdUdpSocket::from(twin.try_clone_to_owned().unwrap());
        assert_eq!(twin.local_addr().unwrap(), addr);
        assert!(twin.broadcast().unwrap());
        assert_eq!(twin.ttl().unwrap(), 33);
        assert!(!twin.multicast_loop_v4().unwrap());
        assert_eq!(twin.multicast_ttl_v4().unwrap(), 5);
        for zero_or_too_much in [0, 256] {
            assert!(socket.set_ttl(zero_or_too_much).is_err());
        }
    });
}

#[test]
fn members_of_a_group_receive_what_is_sent_to_it() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 200);
    let here = Ipv4Addr::LOCALHOST;
    LocalExecutor::default().run(async {
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if let Err(error) = member.join_multicast_v4(&GROUP, &here) {
            return skip(&format!("no multicast at the loopback interface: {error}"));
        }
        let twice = member.join_multicast_v4(&GROUP, &here).unwrap_err();
        assert_eq!(kind(twice), io::ErrorKind::AddrInUse);
        let sender = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        sender.set_multicast_if_v4(&here).unwrap();
        let sender = UdpSocket::from(sender);
        let port = member.local_addr().unwrap().port();
        if let Err(error) = sender.send_to(b"members", (GROUP, port)).await {
            return skip(&format!("no route to the group: {error}"));
        }
        member
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        assert_eq!(member.recv(&mut [0; 16]).await.unwrap(), 7);
        member.leave_multicast_v4(&GROUP, &here).unwrap();
        let gone = member.leave_multicast_v4(&GROUP, &here).unwrap_err();
        assert_eq!(kind(gone), io::ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn a_full_send_buffer_holds_senders_back_and_loses_nothing() {
    const COUNT: usize = 400;
    LocalExecutor::default().run(async {
        // Unlike UDP, a Unix socket has room for only so many datagrams: a send waits for it.
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        let sender = UdpSocket::from(ours);
        sender
            .set_write_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut sent = 0;
        let error = loop {
            match sender.send(&[sent as u8; 100]).await {
                Ok(100) => sent += 1,
                Ok(other) => panic!("{other} of 100 bytes were sent"),
                Err(error) => break error,
            }
            assert!(sent < 1_000_000, "never full");
        };
        assert_eq!(kind(error), io::ErrorKind::TimedOut);
        sender.set_write_timeout(None).unwrap();
        let theirs = UdpSocket::from(theirs);
        let reader = spawn_local(async move {
            let mut buf = [0; 128];
            let mut whole = 0;
            while theirs.recv(&mut buf).await.unwrap() == 100 {
                whole += 1;
            }
            whole
        });
        for _ in 0..COUNT {
            sender.send(&[1; 100]).await.unwrap();
        }
        sender.send(b"end").await.unwrap();
        // What timed out may have been sent.
        let received = reader.await;
        let certain = sent + COUNT;
        assert!(
            (certain..=certain + 1).contains(&received),
            "{received} of {certain}"
        );
    });
}

#[test]
fn a_socket_from_elsewhere_joins_the_executor() {
    LocalExecutor::default().run(async {
        let (foreign, addr) = peer();
        // One that is set not to wait too: the kernel waits for glommio.
        foreign.set_nonblocking(true).unwrap();
        // SAFETY: the descriptor was given up.
        let socket = unsafe { UdpSocket::from_raw_fd(foreign.into_raw_fd()) };
        let mut receive = pin!(async { socket.recv(&mut [0; 16]).await });
        assert!(poll_once(&mut receive).await.is_none());
        executor().yield_task_queue_now().await;
        assert!(poll_once(&mut receive).await.is_none());
        socket.send_to(b"hello", addr).await.unwrap();
        assert_eq!(receive.await.unwrap(), 5);
        assert!(format!("{socket:?}").contains(&addr.to_string()));
    });
}

#[test]
fn a_socket_that_becomes_nonblocking_waits_for_datagrams() {
    LocalExecutor::default().run(async {
        let ((one, to_one), (other, _)) = (socket(), socket());
        set_nonblocking(&one);
        let reader = spawn_local(async move {
            for len in [3, 7] {
                assert_eq!(one.recv(&mut [0; 16]).await.unwrap(), len);
            }
        });
        for text in [&b"one"[..], b"another"] {
            nothing_spins().await;
            other.send_to(text, to_one).await.unwrap();
        }
        reader.await;
    });
}

#[test]
fn executors_share_an_address_and_answer_their_part() {
    const CLIENTS: usize = 64;
    let (tell, told) = mpsc::channel();
    let (stop_one, stop_other) = (
        glommio::StopHandle::new().unwrap(),
        glommio::StopHandle::new().unwrap(),
    );
    let server = |addr: SocketAddr, stop: glommio::StopHandle| {
        let tell = tell.clone();
        let builder = LocalExecutorBuilder::default();
        let server = builder.spawn(move || async move {
            let socket = UdpSocket::bind(addr).unwrap();
            tell.send(socket.local_addr().unwrap()).unwrap();
            let mut buf = [0; 64];
            let mut served = 0_usize;
            while let Some(got) = stop.run_until_stopped(socket.recv_from(&mut buf)).await {
                let (len, sender) = got.unwrap();
                socket.send_to(&buf[..len], sender).await.unwrap();
                served += 1;
            }
            served
        });
        server.unwrap()
    };
    let one = server("127.0.0.1:0".parse().unwrap(), stop_one.clone());
    let addr = told.recv().unwrap();
    let other = server(addr, stop_other.clone());
    assert_eq!(told.recv().unwrap(), addr);
    for number in 0..CLIENTS {
        let (client, _) = peer();
        let mut back = [0; 8];
        client.send_to(&number.to_le_bytes(), addr).unwrap();
        assert_eq!(client.recv(&mut back).unwrap(), 8);
        assert_eq!(usize::from_le_bytes(back), number);
    }
    stop_one.request_stop();
    stop_other.request_stop();
    let served = [one.join().unwrap(), other.join().unwrap()];
    assert_eq!(served[0] + served[1], CLIENTS, "{served:?}");
}

#[test]
fn a_socket_that_outlives_its_executor_says_so() {
    let executor = LocalExecutor::default();
    let (socket, addr, arrived) = executor.run(async {
        let (socket, addr) = socket();
        let (arrived, to_arrived) = self::socket();
        // In flight, and with a datagram that nobody has taken.
        assert!(poll_once(socket.recv(&mut [0; 16])).await.is_none());
        arrived.send_to(b"unread", to_arrived).await.unwrap();
        assert!(poll_once(arrived.peek(&mut [0; 16])).await.is_none());
        for _ in 0..3 {
            glommio::executor().yield_task_queue_now().await;
        }
        (socket, addr, arrived)
    });
    drop(executor);
    LocalExecutor::default().run(async move {
        let error = socket.recv(&mut [0; 16]).await.unwrap_err();
        assert!(error.to_string().contains("executor"), "{error}");
        let error = socket.send_to(b"x", addr).await.unwrap_err();
        assert!(error.to_string().contains("executor"), "{error}");
        assert!(socket.connect(addr).await.is_err());
        assert_eq!(socket.local_addr().unwrap(), addr);
        // What had arrived is still there.
        assert_eq!(arrived.recv(&mut [0; 16]).await.unwrap(), 6);
        assert!(arrived.recv(&mut [0; 16]).await.is_err());
    });
}

#[test]
fn descriptors_and_operations_are_back_where_they_were() {
    let test = "udp::descriptors_and_operations_are_back_where_they_were";
    alone(test, &[], churn_leaks_nothing);
}

fn churn_leaks_nothing() {
    let churn = || {
        LocalExecutor::default().run(async {
            let at_rest = glommio::internals::ring_counters().in_flight;
            for _ in 0..50 {
                let (one, other) = pair().await;
                let mut buf = [0; 16];
                drop(one.recv(&mut buf));
                assert!(poll_once(one.recv_from(&mut buf)).await.is_none());
                drop(poll_once(other.send(b"given up, maybe sent")).await);
                drop(one.connect("127.0.0.1:9"));
            }
            let in_flight = || glommio::internals::ring_counters().in_flight;
            eventually_async("nothing is in flight", || in_flight() <= at_rest).await;
            // And one that is still waiting when its executor ends.
            let (socket, _) = socket();
            spawn_local(async move { socket.recv(&mut [0; 16]).await }).detach();
            executor().yield_task_queue_now().await;
        });
    };
    churn();
    let before = open_fds();
    for _ in 0..5 {
        churn();
    }
    eventually("descriptors are back", || open_fds() <= before);
}
