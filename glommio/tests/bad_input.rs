//! What cannot be had is an error that says so: no panic, no hang, and nothing leaked. Limits belong
//! to a process, so these tests run in processes of their own.

mod support;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpStream as StdStream},
    path::Path,
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::{
    BuilderErrorKind, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, StartCause,
    allocate_dma_buffer, executor,
    internals::polled_ring_counters,
    io::{DmaFile, OpenOptions},
    net::{TcpListener, TcpStream},
    timer::sleep,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{alone, eventually, open_fds, threads};

fn kind(error: GlommioError<()>) -> ErrorKind {
    std::io::Error::from(error).kind()
}

/// Files, sockets and timers work.
async fn everything_works(dir: &Path) {
    let path = dir.join("works");
    let file = DmaFile::create(&path).await.unwrap();
    let mut buffer = file.alloc_dma_buffer(64 << 10);
    buffer.as_bytes_mut().fill(7);
    file.write_at(buffer, 0).await.unwrap();
    let read = file.read_at(5000, 3000).await.unwrap();
    assert!(read.len() == 3000 && read.iter().all(|byte| *byte == 7));
    file.close().await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, server) = future::zip(TcpStream::connect(addr), listener.accept()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let sent = vec![3; 200_000];
    let send = async {
        client.write_all(&sent).await.unwrap();
        client.close().await.unwrap();
    };
    let mut got = Vec::new();
    future::zip(send, async { server.read_to_end(&mut got).await.unwrap() }).await;
    assert_eq!(got, sent);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(executor().spawn_blocking(|| 1).await, 1);
}

#[test]
fn an_unknown_cpu_is_an_error_of_the_builder_and_leaks_nothing() {
    let test = "an_unknown_cpu_is_an_error_of_the_builder_and_leaks_nothing";
    alone(test, &[], || {
        drop(LocalExecutor::default());
        let before = (open_fds(), threads());
        for _ in 0..20 {
            let builder = || LocalExecutorBuilder::new(Placement::Fixed(99_999));
            let made = builder().make().map(drop).unwrap_err();
            let spawned = builder().spawn(|| async {}).map(drop).unwrap_err();
            for error in [made, spawned] {
                assert!(
                    matches!(
                        error,
                        GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { .. })
                    ),
                    "{error}"
                );
                let text = error.to_string();
                assert!(
                    text.contains("CPU 99999 doesn't exist on the host"),
                    "{text}"
                );
            }
        }
        eventually("descriptors and threads are back", || {
            open_fds() <= before.0 && threads() <= before.1
        });
        assert_eq!(LocalExecutor::default().run(async { 1 }), 1);
    });
}

/// Everything works, and leaves no descriptor beside those that there were `before`, but for the ring that
/// polls a device, if it is one with poll queues. Returns how many there are.
async fn everything_works_and_is_closed(dir: &Path, before: usize) -> usize {
    everything_works(dir).await;
    let expected = before + usize::from(polled_ring_counters().is_some());
    support::eventually_async("what worked is closed", || open_fds() == expected).await;
    expected
}

const NOBODY: u32 = 65_534;

/// Becomes a user without privileges, if it is somebody with.
fn become_user(user: u32) {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: these calls take no pointers, but for the empty list of groups.
        let became = unsafe {
            libc::setgroups(0, std::ptr::null()) == 0
                && libc::setgid(user) == 0
                && libc::setuid(user) == 0
        };
        assert!(became, "{}", std::io::Error::last_os_error());
    }
}

/// Without memory to lock an executor works with plain memory; where the kernel counts its rings
/// too, it cannot start, and says what it would take.
#[test]
fn without_memory_to_lock_an_executor_works_or_says_how_much_it_needs() {
    let test = "without_memory_to_lock_an_executor_works_or_says_how_much_it_needs";
    alone(test, &[], || {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), all).unwrap();
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
        become_user(NOBODY);
        let before = open_fds();
        for _ in 0..3 {
            match LocalExecutorBuilder::default().make() {
                Ok(executor) => executor.run(everything_works(dir.path())),
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(error, GlommioError::ReactorError(_)), "{text}");
                    let says = "The memlock resource limit is too low: 0 (recommended ";
                    assert!(text.contains(says), "{text}");
                }
            }
        }
        eventually("descriptors are back", || open_fds() == before);
    });
}

/// The buffers of running executors do not take what the ring of another one needs.
#[test]
fn executors_start_beside_others_that_use_all_the_memory_they_may_lock() {
    let test = "executors_start_beside_others_that_use_all_the_memory_they_may_lock";
    alone(test, &[], || {
        const LIMIT: u64 = 4 << 20;
        const USER: u32 = 65_533;
        // SAFETY: geteuid(2) takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return support::skip("other processes of this user may lock memory as well");
        }
        setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).unwrap();
        become_user(USER);
        let mut busy = Vec::new();
        for _ in 0..12 {
            let executor = LocalExecutorBuilder::default().make().unwrap();
            let buffers = executor.run(async {
                let buffers: Vec<_> = (0..160).map(|_| allocate_dma_buffer(64 << 10)).collect();
                buffers
            });
            busy.push((executor, buffers));
        }
        for _ in 0..50 {
            // What has ended makes room, if a little later.
            drop(LocalExecutorBuilder::default().make().unwrap());
        }
    });
}

/// Lets the process have this many descriptors more than it has.
fn allow_more_fds(more: usize) {
    let taken: Vec<u64> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        // Not the one that this list was read with.
        .filter(|fd| Path::new(&format!("/proc/self/fd/{fd}")).exists())
        .collect();
    // The limit is on the number, and numbers are given out from below.
    let mut free = (0..).filter(|fd| !taken.contains(fd));
    let soft = free.nth(more).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard).unwrap();
}

fn assert_file_limit(error: &GlommioError<()>) {
    let text = error.to_string();
    let start = error.start_error().unwrap_or_else(|| panic!("{text}"));
    assert_eq!(start.cause(), StartCause::FileLimit, "{text}");
    assert!(start.cure().contains("ulimit -n"), "{text}");
}

#[test]
fn an_executor_that_finds_no_descriptors_says_so_and_starts_when_there_are() {
    let test = "an_executor_that_finds_no_descriptors_says_so_and_starts_when_there_are";
    alone(test, &[], || {
        let before = open_fds();
        let mut refused = 0;
        // From the probe of the kernel, which is the first to need one, to the last it takes.
        for more in 0.. {
            allow_more_fds(more);
            let made = LocalExecutorBuilder::default().make().map(drop);
            allow_more_fds(100);
            assert_eq!(open_fds(), before, "with {more} descriptors: {made:?}");
            match made {
                Ok(()) => break,
                Err(error) => assert_file_limit(&error),
            }
            refused += 1;
            assert!(refused < 20, "it takes no more than a few descriptors");
        }
        assert!(refused >= 2, "a ring and an eventfd");
        // What failed for want of descriptors is not remembered as what the kernel lacks.
        let ladder = glommio::sysinfo::ladder().unwrap();
        let fresh = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ladder_of_a_fresh_process", "--nocapture"])
            .output()
            .unwrap();
        let fresh = String::from_utf8(fresh.stdout).unwrap();
        for rung in ladder {
            let line = rung_line(&rung);
            assert!(fresh.contains(&line), "{line:?} is not in:\n{fresh}");
        }
        let dir = tempfile::tempdir().unwrap();
        LocalExecutor::default().run(everything_works(dir.path()));
    });
}

fn rung_line(rung: &glommio::sysinfo::Rung) -> String {
    format!("rung {} {}", rung.name, rung.available)
}

#[test]
fn ladder_of_a_fresh_process() {
    let ladder = glommio::sysinfo::ladder().unwrap();
    assert!(!ladder.is_empty());
    for rung in ladder {
        println!("{}", rung_line(&rung));
    }
}

const EMFILE: i32 = 24;

#[test]
fn at_the_limit_of_descriptors_operations_fail_and_go_on_when_there_are_more() {
    let test = "at_the_limit_of_descriptors_operations_fail_and_go_on_when_there_are_more";
    alone(test, &[], || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [1; 4096]).unwrap();
        let executor = LocalExecutor::default();
        executor.run(async {
            // A descriptor that is closed later would be free below.
            everything_works_and_is_closed(dir.path(), open_fds()).await;
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let mut waiting = StdStream::connect(addr).unwrap();
            let before = open_fds();
            allow_more_fds(5);
            let mut hoard = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            for _ in 0..5 {
                let open = DmaFile::open(&path).await.unwrap_err();
                assert_eq!(open.raw_os_error(), Some(EMFILE), "{open}");
                assert!(open.to_string().contains(path.to_str().unwrap()), "{open}");
                let connect = TcpStream::connect(addr).await.unwrap_err();
                assert_eq!(connect.raw_os_error(), Some(EMFILE), "{connect}");
                let bind = TcpListener::bind("127.0.0.1:0").unwrap_err();
                assert_eq!(bind.raw_os_error(), Some(EMFILE), "{bind}");
                let accept = listener.accept().await.unwrap_err();
                assert_eq!(accept.raw_os_error(), Some(EMFILE), "{accept}");
                let start = LocalExecutorBuilder::default().spawn(|| async {});
                assert_file_limit(&start.map(drop).unwrap_err());
            }
            drop(hoard);
            assert_eq!(open_fds(), before);
            allow_more_fds(100);
            let mut accepted = listener.accept().await.unwrap();
            accepted.write_all(b"served").await.unwrap();
            accepted.close().await.unwrap();
            let mut text = String::new();
            waiting.read_to_string(&mut text).unwrap();
            assert_eq!(text, "served");
            everything_works(dir.path()).await;
        });
    });
}

#[test]
fn bad_paths_and_addresses_are_errors_that_leak_nothing() {
    alone(
        "bad_paths_and_addresses_are_errors_that_leak_nothing",
        &[],
        || {
            let dir = tempfile::tempdir().unwrap();
            let executor = LocalExecutor::default();
            let before = executor.run(everything_works_and_is_closed(dir.path(), open_fds()));
            for _ in 0..10 {
                executor.run(bad_files(dir.path()));
                executor.run(bad_addresses());
            }
            executor.run(async {
                support::eventually_async("descriptors are back", || open_fds() == before).await;
            });
        },
    );
}

async fn bad_files(dir: &Path) {
    let open = async |path: &Path| DmaFile::open(path).await.map(drop).unwrap_err();
    let missing = open(&dir.join("missing")).await;
    assert!(
        missing.to_string().contains("op: Opening path: "),
        "{missing}"
    );
    assert_eq!(kind(missing), ErrorKind::NotFound);
    assert_eq!(kind(open(dir).await), ErrorKind::IsADirectory);
    assert_eq!(kind(open(Path::new("")).await), ErrorKind::NotFound);
    assert_eq!(
        kind(open(Path::new("zero\0byte")).await),
        ErrorKind::InvalidInput
    );
    let long = dir.join("x".repeat(300));
    assert_eq!(open(&long).await.raw_os_error(), Some(libc::ENAMETOOLONG));
    let create = DmaFile::create(dir).await.unwrap_err();
    assert_eq!(kind(create), ErrorKind::IsADirectory);
    let nothing = OpenOptions::new().dma_open(dir.join("works")).await;
    assert_eq!(kind(nothing.unwrap_err()), ErrorKind::InvalidInput);

    let file = DmaFile::create(dir.join("file")).await.unwrap();
    for (position, bytes) in [(7, 4096), (0, 4096 + 512 + 1), (4095, 4096)] {
        let mut buffer = file.alloc_dma_buffer(8192);
        buffer.trim_to_size(bytes);
        let error = file.write_at(buffer, position).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("op: Writing"), "{text}");
        assert_eq!(kind(error), ErrorKind::InvalidInput, "{text}");
    }
    let error = file.read_at_aligned(7, 4096).await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::InvalidInput);
    file.close().await.unwrap();

    let readable = DmaFile::open(dir.join("file")).await.unwrap();
    let buffer = readable.alloc_dma_buffer(4096);
    let error = readable.write_at(buffer, 0).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
    readable.close().await.unwrap();
}

async fn bad_addresses() {
    let (_taken, addr) = support::silent_port();
    let bind = |addr: SocketAddr| kind(TcpListener::bind(addr).map(drop).unwrap_err());
    assert_eq!(bind(addr), ErrorKind::AddrInUse);
    // An address for documentation, which no host has.
    let foreign = "192.0.2.1:80".parse().unwrap();
    assert_eq!(bind(foreign), ErrorKind::AddrNotAvailable);
    let connect = async |addr: SocketAddr| TcpStream::connect(addr).await.map(drop).unwrap_err();
    assert_eq!(kind(connect(addr).await), ErrorKind::ConnectionRefused);
    let none: &[SocketAddr] = &[];
    assert_eq!(
        kind(TcpStream::connect(none).await.unwrap_err()),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(TcpListener::bind(none).unwrap_err()),
        ErrorKind::InvalidInput
    );
    // The first that answers, whatever is before it.
    let answers = TcpListener::bind("127.0.0.1:0").unwrap();
    let both = [addr, answers.local_addr().unwrap()];
    let mut stream = TcpStream::connect(&both[..]).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.flush().await.unwrap();
}
