//! Every kind of operation, given up at every stage of its life. The kernel may write to the memory
//! of an operation until it is done with it, and may produce a descriptor or fill a lent buffer for
//! a future that is long gone; nothing of that may be lost or freed too early.
//!
//! These are the tests to run under AddressSanitizer (docs/testing.md).

#[path = "support/flag.rs"]
mod flag;
mod support;

use std::{
    cell::RefCell,
    future::Future,
    io::{Read, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    process::Stdio,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::{
    LocalExecutor,
    internals::{receive_buffers_in_use, ring_counters},
    io::DmaFile,
    net::{TcpListener, TcpStream, UdpSocket},
    nop::NopSubmitter,
    process::{Child, Command},
    signal::Signals,
    timer::Timer,
};

use flag::Flag;
use support::{alone, eventually_async, open_fds};

type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// An operation under test: a future that submits something when polled.
struct Operation(Local<()>);

/// What operations work on. Made anew for each kind and stage.
struct Fixture {
    _dir: tempfile::TempDir,
    path: PathBuf,
    file: Rc<DmaFile>,
    listener: Rc<TcpListener>,
    addr: SocketAddr,
    /// The other ends of the connections that operations were given.
    peers: RefCell<Vec<std::net::TcpStream>>,
    /// Those that run.
    children: RefCell<Vec<libc::pid_t>>,
    /// The address of the last UDP socket that an operation was given.
    udp: RefCell<Option<SocketAddr>>,
    /// A listener whose backlog is full, and what fills it: a connect to it waits.
    busy: (SocketAddr, Vec<std::net::TcpStream>),
}

impl Fixture {
    async fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = DmaFile::create(&path).await.unwrap();
        let buffer = file.alloc_dma_buffer(64 << 10);
        file.write_at(buffer, 0).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Fixture {
            _dir: dir,
            path,
            file: Rc::new(file),
            listener: Rc::new(listener),
            addr,
            peers: RefCell::default(),
            children: RefCell::default(),
            udp: RefCell::default(),
            busy: busy_listener(),
        }
    }

    /// A connection whose other end the fixture keeps.
    async fn stream(&self) -> TcpStream {
        let (stream, peer) = {
            let peers = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(peers.local_addr().unwrap()).await;
            (stream.unwrap(), peers.accept().unwrap().0)
        };
        self.peers.borrow_mut().push(peer);
        stream
    }

    /// A socket that nobody has sent to.
    fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        self.udp.replace(Some(socket.local_addr().unwrap()));
        socket
    }

    /// A child that neither reads nor writes, with pipes or without.
    async fn child(&self, pipes: bool) -> Child {
        let stdio = || if pipes { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new("sleep");
        command
            .arg("1000")
            .stdin(stdio())
            .stdout(stdio())
            .kill_on_drop(true);
        let child = command.spawn().await.unwrap();
        self.children
            .borrow_mut()
            .push(child.id().unwrap() as libc::pid_t);
        child
    }

    /// A connection that takes no more data.
    async fn full_stream(&self) -> TcpStream {
        let mut stream = self.stream().await;
        let block = [1; 64 << 10];
        // Direct writes: what is left over is in the socket, not in a queue.
        while future::poll_once(stream.write(&block)).await.is_some() {}
        stream
    }
}

/// Someone who listens and has no room for another connection.
fn busy_listener() -> (SocketAddr, Vec<std::net::TcpStream>) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut guests = Vec::new();
    loop {
        let guest = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        guest.set_nonblocking(true).unwrap();
        let _ = guest.connect(&addr.into());
        std::thread::sleep(Duration::from_millis(2));
        let connected = guest.peer_addr().is_ok();
        guests.push(guest.into());
        if !connected {
            break;
        }
    }
    // The listening socket stays open as one of the streams.
    guests.push(socket.into());
    (addr, guests)
}

/// Gives the peers' side of what an operation waits for.
type Complete = fn(&Fixture);

/// It completes by itself.
const BY_ITSELF: Option<Complete> = Some(|_| ());
/// It never completes.
const NEVER: Option<Complete> = None;

struct Kind {
    name: &'static str,
    start: fn(Rc<Fixture>) -> Local<Operation>,
    complete: Option<Complete>,
}

macro_rules! kind {
    ($name:literal, $complete:expr, |$fixture:ident| $prepare:block => $operation:block) => {
        Kind {
            name: $name,
            start: |$fixture| {
                Box::pin(async move {
                    $prepare
                    Operation(Box::pin(async move { $operation }))
                })
            },
            complete: $complete,
        }
    };
}

/// `kind!` with something made beforehand, which the operation takes along.
macro_rules! kind_with {
    ($name:literal, $complete:expr, |$fixture:ident| $made:ident = $make:expr => $operation:block) => {
        Kind {
            name: $name,
            start: |$fixture| {
                Box::pin(async move {
                    #[allow(unused_mut)]
                    let mut $made = $make;
                    Operation(Box::pin(async move {
                        let _fixture = $fixture;
                        $operation
                    }))
                })
            },
            complete: $complete,
        }
    };
}

fn send_a_byte(fixture: &Fixture) {
    let mut peers = fixture.peers.borrow_mut();
    peers.last_mut().unwrap().write_all(b"x").unwrap();
}

fn send_a_datagram(fixture: &Fixture) {
    let addr = fixture.udp.borrow().expect("a socket was made");
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"hello", addr).unwrap();
}

fn end_children(fixture: &Fixture) {
    for pid in fixture.children.take() {
        // SAFETY: no preconditions; the child was not waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

fn send_a_signal(_: &Fixture) {
    // SAFETY: no preconditions; the operation that waits for the signal holds it back.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
}

/// Reads what a full connection holds, and all that follows.
fn read_everything(fixture: &Fixture) {
    for peer in &*fixture.peers.borrow() {
        let mut peer = peer.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buf = vec![0; 1 << 20];
            while peer.read(&mut buf).is_ok_and(|n| n > 0) {}
        });
    }
}

fn connect_from_outside(fixture: &Fixture) {
    let stream = std::net::TcpStream::connect(fixture.addr).unwrap();
    fixture.peers.borrow_mut().push(stream);
}

const KINDS: &[Kind] = &[
    kind!("nop", BY_ITSELF, |_fixture| {} => {
        NopSubmitter::new().run_nop().await.unwrap();
    }),
    kind!("timer", BY_ITSELF, |_fixture| {} => {
        Timer::new(Duration::from_millis(1)).await;
    }),
    kind!("timer far off", NEVER, |_fixture| {} => {
        Timer::new(Duration::from_secs(3600)).await;
    }),
    kind!("open", BY_ITSELF, |fixture| {} => {
        let _ = DmaFile::open(&fixture.path).await;
    }),
    kind!("create", BY_ITSELF, |fixture| {} => {
        let _ = DmaFile::create(fixture.path.with_extension("new")).await;
    }),
    kind!("open of a missing file", BY_ITSELF, |fixture| {} => {
        assert!(DmaFile::open(fixture.path.with_extension("none")).await.is_err());
    }),
    kind_with!("close", BY_ITSELF, |fixture| file = DmaFile::open(&fixture.path).await.unwrap() => {
        file.close().await.unwrap();
    }),
    kind!("read", BY_ITSELF, |fixture| {} => {
        fixture.file.read_at(0, 4096).await.unwrap();
    }),
    kind!("large read", BY_ITSELF, |fixture| {} => {
        // Larger than the arena: a buffer of its own.
        fixture.file.read_at(0, 32 << 20).await.unwrap();
    }),
    kind!("write", BY_ITSELF, |fixture| {} => {
        let buffer = fixture.file.alloc_dma_buffer(8192);
        fixture.file.write_at(buffer, 8192).await.unwrap();
    }),
    kind!("write of a shared buffer", BY_ITSELF, |fixture| {} => {
        let buffer = Rc::new(fixture.file.alloc_dma_buffer(8192));
        fixture.file.write_rc_at(buffer, 0).await.unwrap();
    }),
    kind!("fdatasync", BY_ITSELF, |fixture| {} => {
        fixture.file.fdatasync().await.unwrap();
    }),
    kind!("statx", BY_ITSELF, |fixture| {} => {
        fixture.file.file_size().await.unwrap();
    }),
    kind!("accept", Some(connect_from_outside), |fixture| {} => {
        fixture.listener.accept().await.unwrap();
    }),
    kind!("connect", BY_ITSELF, |fixture| {} => {
        TcpStream::connect(fixture.addr).await.unwrap();
    }),
    kind!("refused connect", BY_ITSELF, |_fixture| {} => {
        let (_reserved, addr) = support::silent_port();
        assert!(TcpStream::connect(addr).await.is_err());
    }),
    kind!("connect that waits", NEVER, |fixture| {} => {
        let _ = TcpStream::connect(fixture.busy.0).await;
    }),
    kind_with!("receive", Some(send_a_byte), |fixture| stream = fixture.stream().await => {
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 1);
    }),
    kind_with!("large receive", Some(send_a_byte), |fixture| stream = fixture.stream().await => {
        assert_eq!(stream.read(&mut vec![0; 64 << 10]).await.unwrap(), 1);
    }),
    kind_with!("queued send", BY_ITSELF, |fixture| stream = fixture.stream().await => {
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
    }),
    kind_with!("send that waits", Some(read_everything), |fixture| stream = fixture.full_stream().await => {
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
    }),
    kind_with!("direct send", BY_ITSELF, |fixture| stream = fixture.stream().await => {
        stream.write_all(&[7; 32 << 10]).await.unwrap();
    }),
    kind_with!("poll for room to send", Some(read_everything), |fixture| stream = fixture.full_stream().await => {
        stream.write_all(&[7; 32 << 10]).await.unwrap();
    }),
    kind_with!("receive of a datagram", Some(send_a_datagram), |fixture| socket = fixture.udp() => {
        assert_eq!(socket.recv_from(&mut [0; 64]).await.unwrap().0, 5);
    }),
    kind_with!("peek at a datagram", Some(send_a_datagram), |fixture| socket = fixture.udp() => {
        assert_eq!(socket.peek(&mut [0; 2]).await.unwrap(), 2);
    }),
    kind_with!("timed receive of a datagram", Some(send_a_datagram), |fixture| socket = fixture.udp() => {
        socket.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(socket.recv(&mut [0; 64]).await.unwrap(), 5);
    }),
    kind_with!("send of a datagram", BY_ITSELF, |fixture| socket = fixture.udp() => {
        let addr = socket.local_addr().unwrap();
        assert_eq!(socket.send_to(&[7; 4096], addr).await.unwrap(), 4096);
    }),
    kind_with!("connect and send of a datagram", BY_ITSELF, |fixture| socket = fixture.udp() => {
        socket.connect(socket.local_addr().unwrap()).await.unwrap();
        assert_eq!(socket.send(b"hello").await.unwrap(), 5);
    }),
    kind_with!("wait for a signal", Some(send_a_signal), |fixture| signals = Signals::new(&[libc::SIGUSR1]).unwrap() => {
        assert_eq!(signals.recv().await.unwrap(), libc::SIGUSR1);
    }),
    kind_with!("wait for a child", Some(end_children), |fixture| child = fixture.child(false).await => {
        child.wait().await.unwrap();
    }),
    kind_with!("read from a child", Some(end_children), |fixture| child = fixture.child(true).await => {
        let mut output = child.stdout.take().unwrap();
        assert_eq!(output.read(&mut [0; 64]).await.unwrap(), 0);
    }),
    kind_with!("write to a child", Some(end_children), |fixture| child = fixture.child(true).await => {
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(&[7; 200 << 10]).await;
        let _ = input.close().await;
    }),
    kind!("start of a child", BY_ITSELF, |_fixture| {} => {
        Command::new("true").kill_on_drop(true).status().await.unwrap();
    }),
    kind!("blocking job", BY_ITSELF, |_fixture| {} => {
        glommio::executor().spawn_blocking(|| ()).await;
    }),
];

/// When an operation is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Nobody has polled it.
    Unpolled,
    /// It was polled, and the executor has not entered the kernel since.
    BeforeSubmission,
    /// The kernel has it.
    InFlight,
    /// Its completion has arrived and was not looked at.
    Completed,
    /// It is not given up.
    Finished,
    /// It is still there when its executor is dropped, in a task.
    AtTearDown,
    /// It is dropped after its executor.
    AfterTearDown,
}

const STAGES: [Stage; 7] = [
    Stage::Unpolled,
    Stage::BeforeSubmission,
    Stage::InFlight,
    Stage::Completed,
    Stage::Finished,
    Stage::AtTearDown,
    Stage::AfterTearDown,
];

/// Polls once; whether the operation is still pending.
fn poll(operation: &mut Operation, flag: &Arc<Flag>) -> bool {
    let waker = Waker::from(flag.clone());
    let mut cx = Context::from_waker(&waker);
    operation.0.as_mut().poll(&mut cx).is_pending()
}

async fn submitted() {
    let before = ring_counters().enters;
    eventually_async("an enter", || ring_counters().enters > before).await;
}

/// Starts an operation and takes it to `stage`, where it is given up; or hands it out.
async fn give_up(kind: &Kind, stage: Stage, fixture: &Rc<Fixture>) -> Option<Operation> {
    let mut operation = (kind.start)(fixture.clone()).await;
    let flag = Arc::new(Flag::default());
    match stage {
        Stage::Unpolled => {}
        Stage::BeforeSubmission => {
            poll(&mut operation, &flag);
        }
        Stage::InFlight => {
            if poll(&mut operation, &flag) {
                submitted().await;
            }
        }
        Stage::Completed => {
            if poll(&mut operation, &flag) {
                submitted().await;
                (kind.complete.expect("it completes"))(fixture);
                eventually_async("the completion", || flag.is_set()).await;
            }
        }
        Stage::Finished => {
            let complete = kind.complete.expect("it completes");
            future::zip(operation.0, async {
                submitted().await;
                complete(fixture);
            })
            .await;
            return None;
        }
        Stage::AtTearDown | Stage::AfterTearDown => {
            poll(&mut operation, &flag);
            return Some(operation);
        }
    }
    drop(operation);
    None
}

const TIMES: usize = 3;

fn try_stage(kind: &Kind, stage: Stage) {
    let executor = LocalExecutor::default();
    let left = executor.run(async {
        let fixture = Rc::new(Fixture::new().await);
        let at_rest = ring_counters().in_flight;
        let mut left = Vec::new();
        for _ in 0..TIMES {
            left.extend(give_up(kind, stage, &fixture).await);
        }
        if left.is_empty() {
            if kind.name == "send that waits" {
                // What a stream accepted is sent although it is gone. Only its peer can end that.
                fixture.peers.borrow_mut().clear();
            }
            // An accept belongs to its listener and waits for the next caller.
            let may_stay = at_rest + u64::from(kind.name == "accept");
            let what = format!("{} {stage:?}: nothing is in flight", kind.name);
            eventually_async(&what, || ring_counters().in_flight <= may_stay).await;
            let kept = receive_buffers_in_use();
            assert_eq!(kept, 0, "{} {stage:?}: lent buffers are back", kind.name);
        }
        if stage == Stage::AtTearDown {
            for operation in left.drain(..) {
                glommio::spawn_local(operation.0).detach();
            }
            glommio::executor().yield_now().await;
        }
        left
    });
    drop(executor);
    drop(left);
}

/// Runs the whole table in a process of its own with these settings.
fn table(test: &str, settings: &[(&str, &str)]) {
    alone(test, settings, || {
        // What is made once per process.
        try_stage(&KINDS[0], Stage::Finished);
        try_stage(KINDS.last().unwrap(), Stage::Finished);
        // As few as there ever were at rest: a thread that has just ended may hold one for a moment more.
        let mut before = open_fds();
        for kind in KINDS {
            before = before.min(open_fds());
            for stage in STAGES {
                if kind.complete.is_none() && matches!(stage, Stage::Completed | Stage::Finished) {
                    continue;
                }
                try_stage(kind, stage);
                support::eventually(
                    &format!("{} {stage:?}: descriptors are back", kind.name),
                    || open_fds() <= before,
                );
            }
        }
    });
}

#[test]
fn nothing_is_lost_with_every_rung() {
    table("nothing_is_lost_with_every_rung", &[]);
}

#[test]
fn nothing_is_lost_without_any_rung() {
    table(
        "nothing_is_lost_without_any_rung",
        &[("GLOMMIO_DISABLE", "all")],
    );
}

#[test]
fn nothing_is_lost_with_multishot_receives() {
    let settings = [("GLOMMIO_RECV", "multishot")];
    table("nothing_is_lost_with_multishot_receives", &settings);
}
