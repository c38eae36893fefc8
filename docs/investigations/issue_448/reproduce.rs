//! Executors are made and dropped with something of every kind pending, and the process holds in the
//! end what it held in the beginning. See `README.md` next to this file.
//!
//! One test only: what it measures belongs to the whole process. `GLOMMIO_CHURN` says how many
//! executors, 1,000 if it is not set.

#[path = "../measure.rs"]
mod measure;

use std::{
    cell::RefCell,
    env,
    future::{pending, poll_fn},
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::mpsc,
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use futures::{AsyncReadExt, FutureExt};
use glommio::{
    GlommioError, Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, executor,
    io::DmaFile,
    net::{TcpListener, TcpStream},
    spawn_local, spawn_local_into,
    timer::Timer,
};
use measure::Held;

/// So many heap blocks may differ: lazily made ones of the standard library and of the table of
/// executors, never one per executor.
const SLACK_BLOCKS: i64 = 32;

/// Pages that the allocator keeps for later, whatever the number of executors.
const SLACK_RESIDENT_KIB: usize = 8 << 10;

/// Arenas of the allocator, one per thread at most, and there is one thread at a time and its job's.
const SLACK_MAPPINGS: usize = 16;

const HOUR: Duration = Duration::from_secs(3600);

/// What outlives an executor: its wakers, and whatever waits for it elsewhere.
struct Remains {
    wakers: Vec<Waker>,
    /// Ends the job in the blocking pool.
    _release: mpsc::Sender<()>,
    /// Its receiver is pending in the executor, and gone with it.
    sender: async_channel::Sender<u64>,
    to_executor: flume::Sender<u64>,
}

/// Leaves something of every kind pending on the current executor.
async fn leave_everything_pending(file: PathBuf) -> Remains {
    let queue = executor().create_task_queue(
        Shares::Static(7),
        Latency::Matters(Duration::from_millis(1)),
        "pending",
    );

    // Timers: due in an hour, and due about now.
    for delay in [HOUR, HOUR, Duration::from_millis(1)] {
        spawn_local(Timer::new(delay)).detach();
    }

    // An accept, and reads of both ends of a connection.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("a bound address");
    let connected = TcpStream::connect(address);
    let (client, server) = futures::join!(connected, listener.accept());
    for stream in [client, server] {
        let mut stream = stream.expect("a connection within this host");
        let read = async move {
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
        };
        spawn_local_into(read, queue).expect("a queue").detach();
    }
    spawn_local(async move {
        let _ = listener.accept().await;
    })
    .detach();

    // Wakers in the hands of others: in channels, and kept beyond the end.
    let (sender, receiver) = async_channel::bounded::<u64>(4);
    spawn_local_into(async move { receiver.recv().await }, queue)
        .expect("a queue")
        .detach();
    let (to_executor, received) = flume::bounded::<u64>(4);
    spawn_local(async move { received.recv_async().await }).detach();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..4 {
        let wakers = wakers.clone();
        let keep = poll_fn(move |cx| {
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        });
        spawn_local(keep).detach();
    }

    // Tasks: detached, cancelled before and after their first poll, waiting for each other,
    // completed with an output that nobody takes.
    spawn_local(pending::<Box<u64>>()).detach();
    drop(spawn_local(pending::<()>()));
    let started = spawn_local(pending::<()>());
    let awaited = spawn_local_into(pending::<()>(), queue).expect("a queue");
    spawn_local(awaited).detach();
    let _untaken = spawn_local(async { vec![0_u8; 100] }).detach();

    // A job that outlives the executor.
    let (release, released) = mpsc::channel::<()>();
    let job = executor().spawn_blocking(move || released.recv().is_err());
    spawn_local(job).detach();

    // A file, with a read in flight. The open has completed, the read has not.
    let file = DmaFile::open(file).await.expect("the file exists");
    let file = Rc::new(file);
    drop(started);
    executor().yield_now().await;
    for position in [0, 4096] {
        let file = file.clone();
        let mut read = Box::pin(async move { file.read_at(position, 4096).await.map(drop) });
        let _ = (&mut read).now_or_never();
        spawn_local(read).detach();
    }
    let wakers = wakers.take();
    assert_eq!(wakers.len(), 4, "the tasks that hand them out were polled");
    Remains {
        wakers,
        _release: release,
        sender,
        to_executor,
    }
}

/// Everything in here happens after the executor's end.
fn outlive(remains: Remains) {
    for (number, waker) in remains.wakers.into_iter().enumerate() {
        let copy = waker.clone();
        match number % 2 {
            0 => waker.wake_by_ref(),
            _ => waker.wake(),
        }
        drop(copy);
    }
    assert!(
        remains
            .sender
            .try_send(1)
            .is_err_and(|error| error.is_closed()),
        "the receiver went with its executor"
    );
    assert!(remains.to_executor.try_send(1).is_err());
}

/// One executor on this thread or on a thread of its own, in turns.
fn one_executor(number: usize, file: &Path) -> Result<(), GlommioError<()>> {
    let file = file.to_owned();
    if number % 2 == 0 {
        let executor = LocalExecutor::default();
        // The handle of a task that never ends.
        let orphan = executor.spawn(pending::<()>());
        let remains = executor.run(leave_everything_pending(file));
        drop(executor);
        drop(orphan);
        outlive(remains);
    } else {
        let handle = LocalExecutorBuilder::new(Placement::Unbound)
            .name("churned")
            .spawn(move || leave_everything_pending(file))?;
        let remains = handle.join()?;
        thread::spawn(move || outlive(remains))
            .join()
            .expect("no assertion fails");
    }
    Ok(())
}

#[test]
fn executors_that_end_with_everything_pending_leave_nothing_behind() {
    let count: usize = match env::var("GLOMMIO_CHURN") {
        Ok(count) => count.parse().expect("GLOMMIO_CHURN is a number"),
        Err(_) => 1_000,
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, vec![7; 8192]).unwrap();

    // What is made once per process is made here.
    let idle = Held::now();
    for number in 0..20 {
        one_executor(number, &file).unwrap();
    }
    let no_more_than = |held: &Held, before: &Held| {
        held.descriptors <= before.descriptors && held.threads <= before.threads
    };
    let start = Held::settled(|held| no_more_than(held, &idle));
    let is_flat = |held: &Held| {
        no_more_than(held, &start) && held.heap_blocks <= start.heap_blocks + SLACK_BLOCKS
    };
    eprintln!("{:>6}: {start}", 0);
    for tenth in 1..=10 {
        for number in (tenth - 1) * count / 10..tenth * count / 10 {
            one_executor(number, &file).unwrap();
        }
        eprintln!("{:>6}: {}", tenth * count / 10, Held::settled(is_flat));
    }

    let end = Held::settled(is_flat);
    assert!(is_flat(&end), "{start}\n{end}");
    assert!(
        end.mappings <= start.mappings + SLACK_MAPPINGS,
        "{start}\n{end}"
    );
    assert!(
        end.resident_kib <= start.resident_kib + SLACK_RESIDENT_KIB,
        "{start}\n{end}"
    );
}
