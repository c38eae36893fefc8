//! The client: many connections, each of which sends, waits for the answer and compares.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future, io};
use glommio::{
    GlommioError, LocalExecutorBuilder, Placement,
    net::{TcpStream, UdpSocket},
    spawn_local, timer,
};
use serde::Serialize;

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// The first that answers is the server.
    pub addresses: Arc<[SocketAddr]>,
    /// Datagrams, from a socket for each connection.
    pub udp: bool,
    pub connections: usize,
    pub bytes: usize,
    pub duration: Duration,
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Seen {
    /// Connections that were open at the same time, at most.
    pub connections: usize,
    /// Messages that came back as they were sent.
    pub round_trips: u64,
    /// Datagrams that were sent again, because no answer came.
    pub resent: u64,
    /// The longest time that a message took, connecting included.
    pub longest_wait_ms: u64,
    /// Why connections failed: connections that are missing, silent, closed or wrong.
    pub failures: Vec<String>,
    #[serde(skip)]
    open: usize,
}

impl Seen {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text become JSON")
    }

    fn waited(&mut self, since: Instant) {
        let waited_ms = since.elapsed().as_millis() as u64;
        self.longest_wait_ms = self.longest_wait_ms.max(waited_ms);
    }
}

/// Runs the plan on one core.
pub fn run(plan: Plan) -> Result<Seen, GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name("load")
        .spawn(move || async move {
            let seen = Rc::new(RefCell::new(Seen::default()));
            let tasks: Vec<_> = (0..plan.connections)
                .map(|number| spawn_local(connection(number, plan.clone(), seen.clone())))
                .collect();
            for task in tasks {
                task.await;
            }
            seen.take()
        })?
        .join()
}

/// One connection, from its first message to its last.
async fn connection(number: usize, plan: Plan, seen: Rc<RefCell<Seen>>) {
    let started = Instant::now();
    let outcome = async {
        let mut peer = within(plan.patience, Peer::reach(&plan)).await?;
        seen.borrow_mut().enter(started);
        let outcome = talk(&mut peer, number, &plan, started, &seen).await;
        seen.borrow_mut().open -= 1;
        outcome
    };
    if let Err(error) = outcome.await {
        let failure = format!("connection {number}: {error}");
        seen.borrow_mut().failures.push(failure);
    }
}

impl Seen {
    fn enter(&mut self, started: Instant) {
        self.open += 1;
        self.connections = self.connections.max(self.open);
        self.waited(started);
    }
}

/// Sends messages that differ from each other and from those of other connections.
async fn talk(
    peer: &mut Peer,
    number: usize,
    plan: &Plan,
    started: Instant,
    seen: &RefCell<Seen>,
) -> io::Result<()> {
    let mut answer = vec![0; plan.bytes];
    for round in 0_usize.. {
        let sent = Instant::now();
        let message = message(number * 31 + round * 17, plan.bytes);
        let resent = within(plan.patience, peer.exchange(&message, &mut answer)).await?;
        let mut seen = seen.borrow_mut();
        seen.round_trips += 1;
        seen.resent += resent;
        seen.waited(sent);
        if started.elapsed() >= plan.duration {
            break;
        }
    }
    peer.close().await
}

/// Bytes that count on from `first`.
fn message(first: usize, bytes: usize) -> Vec<u8> {
    (first..first + bytes).map(|byte| byte as u8).collect()
}

/// After how long without an answer a datagram counts as lost.
const RESEND_AFTER: Duration = Duration::from_millis(250);

/// The server, as a client sees it.
enum Peer {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Peer {
    async fn reach(plan: &Plan) -> io::Result<Peer> {
        if !plan.udp {
            let stream = TcpStream::connect(&plan.addresses[..]).await?;
            stream.set_nodelay(true)?;
            return Ok(Peer::Tcp(stream));
        }
        let mut last = io::ErrorKind::InvalidInput.into();
        for address in &*plan.addresses {
            match udp_to(*address, plan.bytes).await {
                Ok(socket) => return Ok(Peer::Udp(socket)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a message and receives its answer; returns how often it was sent again.
    async fn exchange(&mut self, message: &[u8], answer: &mut [u8]) -> io::Result<u64> {
        let wrong = || io::Error::other("the answer is not what was sent");
        match self {
            Peer::Tcp(stream) => {
                stream.write_all(message).await?;
                stream.read_exact(answer).await?;
                if answer == message {
                    Ok(0)
                } else {
                    Err(wrong())
                }
            }
            Peer::Udp(socket) => {
                let mut resent = 0;
                loop {
                    match datagram(socket, message).await {
                        Ok(true) => return Ok(resent),
                        Ok(false) => return Err(wrong()),
                        Err(error) if is_a_loss(&error) => resent += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Peer::Tcp(stream) => stream.close().await,
            Peer::Udp(_) => Ok(()),
        }
    }
}

async fn udp_to(address: SocketAddr, bytes: usize) -> io::Result<UdpSocket> {
    let mut any = address;
    any.set_ip(match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    any.set_port(0);
    let mut socket = UdpSocket::bind(any)?;
    socket.connect(address).await?;
    // One more, so that an answer that is too long is seen.
    socket.set_buffer_size(bytes + 1);
    socket.set_read_timeout(Some(RESEND_AFTER))?;
    Ok(socket)
}

/// Sends a datagram and waits for its answer; whether that is right. Late answers to what was sent
/// before are passed over.
async fn datagram(socket: &UdpSocket, message: &[u8]) -> io::Result<bool> {
    let sent = async {
        socket.send(message).await?;
        let mut received = vec![0; message.len() + 1];
        loop {
            let len = socket.recv(&mut received).await?;
            let received = &received[..len];
            let is_late = received != message
                && received.len() == message.len()
                && received
                    .first()
                    .is_some_and(|first| *received == *self::message((*first).into(), len));
            if !is_late {
                return Ok(received == message);
            }
        }
    };
    let result: Result<bool, GlommioError<()>> = sent.await;
    let is_right = result.map_err(io::Error::from);
    if let Err(error) = &is_right {
        if is_a_loss(error) && error.kind() != io::ErrorKind::TimedOut {
            // Told at once: the next try would be too.
            timer::sleep(RESEND_AFTER).await;
        }
    }
    is_right
}

/// Whether an error says that a datagram did not get there, as on a network that is cut.
fn is_a_loss(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut
    )
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future::or(work, async {
        timer::sleep(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        thread,
    };

    use glommio::StopHandle;
    use socket2::{Domain, Socket, Type};

    use super::{Duration, Plan, SocketAddr, run};
    use crate::serve::{self, Served};

    fn plan(address: SocketAddr) -> Plan {
        Plan {
            addresses: [address].into(),
            udp: false,
            connections: 20,
            bytes: 100,
            duration: Duration::from_millis(50),
            patience: Duration::from_secs(30),
        }
    }

    /// An address that stays free for a server of this process while the socket lives.
    fn reserved_address() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// Returns once connections are taken. This was one.
    fn wait_for_a_listener(address: SocketAddr) {
        while TcpStream::connect(address).is_err() {
            thread::yield_now();
        }
    }

    #[test]
    fn every_message_comes_back_and_both_sides_count_the_same() {
        let (_reserved, address) = reserved_address();
        let stop = StopHandle::new().unwrap();
        let server = thread::spawn({
            let stop = stop.clone();
            move || serve::run(address, Some(1), false, stop).unwrap()
        });
        wait_for_a_listener(address);
        let seen = run(plan(address)).unwrap();
        stop.request_stop();
        assert_eq!((seen.connections, seen.failures.as_slice()), (20, &[][..]));
        assert!(seen.round_trips >= 20, "{seen:?}");
        let expected = Served {
            connections: 21,
            bytes: seen.round_trips * 100,
            datagrams: 0,
        };
        assert_eq!(server.join().unwrap(), expected);
    }

    /// As [`reserved_address`], for both protocols.
    fn reserved_for_both() -> (Socket, Socket, SocketAddr) {
        loop {
            let (tcp, address) = reserved_address();
            let udp = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            udp.set_reuse_port(true).unwrap();
            if udp.bind(&address.into()).is_ok() {
                // Connected to another, so that it takes none of the server's datagrams.
                let other = SocketAddr::from(([127, 0, 0, 1], 9));
                udp.connect(&other.into()).unwrap();
                return (tcp, udp, address);
            }
        }
    }

    /// One message, until it is answered.
    fn one_datagram(server: &UdpSocket) -> Plan {
        Plan {
            udp: true,
            connections: 1,
            duration: Duration::ZERO,
            ..plan(server.local_addr().unwrap())
        }
    }

    #[test]
    fn every_datagram_comes_back() {
        let (_tcp, _udp, address) = reserved_for_both();
        let stop = StopHandle::new().unwrap();
        let server = thread::spawn({
            let stop = stop.clone();
            move || serve::run(address, Some(1), true, stop).unwrap()
        });
        wait_for_a_listener(address);
        let seen = run(Plan {
            udp: true,
            ..plan(address)
        });
        stop.request_stop();
        let (seen, served) = (seen.unwrap(), server.join().unwrap());
        assert_eq!((seen.connections, seen.failures.as_slice()), (20, &[][..]));
        assert!(seen.round_trips >= 20, "{seen:?}");
        assert!(served.datagrams >= seen.round_trips, "{served} {seen:?}");
        assert!(
            served.datagrams <= seen.round_trips + seen.resent,
            "{served} {seen:?}"
        );
        assert_eq!((served.connections, served.bytes), (1, 0));
    }

    #[test]
    fn late_datagrams_are_passed_over_and_wrong_ones_found_out() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = one_datagram(&server);
        let right = thread::spawn(move || {
            let mut message = [0; 100];
            let (_, client) = server.recv_from(&mut message).unwrap();
            // As if to another message; then to none; then right, in the second run.
            server.send_to(&super::message(77, 100), client).unwrap();
            message[99] ^= 1;
            server.send_to(&message, client).unwrap();
            let (_, client) = server.recv_from(&mut message).unwrap();
            server.send_to(&super::message(77, 100), client).unwrap();
            server.send_to(&message, client).unwrap();
        });
        let wrong = run(plan.clone()).unwrap();
        assert!(wrong.failures[0].contains("not what was sent"), "{wrong:?}");
        let well = run(plan).unwrap();
        right.join().unwrap();
        assert_eq!((well.failures.as_slice(), well.round_trips), (&[][..], 1));
    }

    #[test]
    fn datagrams_without_an_answer_are_sent_again_until_patience_is_over() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = one_datagram(&server);
        let silent = run(Plan {
            patience: Duration::from_millis(20),
            ..plan.clone()
        })
        .unwrap();
        assert_eq!(silent.failures.len(), 1, "{silent:?}");
        assert!(silent.failures[0].contains("timed out"), "{silent:?}");

        // What that one sent has arrived, if it was sent.
        server.set_nonblocking(true).unwrap();
        while server.recv(&mut [0; 100]).is_ok() {}
        server.set_nonblocking(false).unwrap();

        let deaf_once = thread::spawn(move || {
            let mut first = [0; 100];
            let (_, client) = server.recv_from(&mut first).unwrap();
            let mut again = [0; 100];
            server.recv(&mut again).unwrap();
            assert_eq!(first, again);
            server.send_to(&again, client).unwrap();
        });
        let heard = run(plan).unwrap();
        deaf_once.join().unwrap();
        assert_eq!((heard.failures.as_slice(), heard.round_trips), (&[][..], 1));
        assert!(heard.resent >= 1, "{heard:?}");
    }

    #[test]
    fn a_server_that_answers_something_else_is_found_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut message = [0; 100];
            stream.read_exact(&mut message).unwrap();
            message[99] ^= 1;
            stream.write_all(&message).unwrap();
        });
        let seen = run(Plan {
            connections: 1,
            ..plan(address)
        });
        server.join().unwrap();
        let seen = seen.unwrap();
        assert_eq!(seen.failures.len(), 1, "{seen:?}");
        assert!(seen.failures[0].contains("not what was sent"), "{seen:?}");
        assert_eq!(seen.round_trips, 0);
    }

    #[test]
    fn a_silent_server_is_a_failure_of_each_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seen = run(Plan {
            patience: Duration::from_millis(20),
            ..plan(listener.local_addr().unwrap())
        })
        .unwrap();
        assert_eq!(seen.failures.len(), 20, "{seen:?}");
        assert!(seen.failures[0].contains("timed out"), "{seen:?}");
    }
}
