//! Asking executors to stop.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::{block_on, poll_once},
};
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, PoolPlacement,
    StopHandle, executor,
    net::{TcpListener, TcpStream},
    spawn_local,
    timer::Timer,
};

fn pool_builder(shards: usize) -> LocalExecutorPoolBuilder {
    LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(shards))
}

#[test]
fn every_task_of_every_shard_is_told() {
    const TASKS: usize = 1_000;
    let waiting = Arc::new(AtomicUsize::new(0));
    let theirs = waiting.clone();
    let pool = pool_builder(2)
        .on_all_shards(move || async move {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let waiting = theirs.clone();
                    spawn_local(async move {
                        let stop = executor().stop_handle();
                        let mut requested = pin!(stop.requested());
                        assert!(poll_once(&mut requested).await.is_none());
                        waiting.fetch_add(1, Ordering::SeqCst);
                        requested.await;
                        assert!(stop.is_requested());
                    })
                })
                .collect();
            let mut told = 0;
            for task in tasks {
                task.await;
                told += 1;
            }
            told
        })
        .unwrap();
    while waiting.load(Ordering::SeqCst) < 2 * TASKS {
        thread::yield_now();
    }
    pool.stop_handle().request_stop();
    for told in pool.join_all() {
        assert_eq!(told.unwrap(), TASKS);
    }
}

#[test]
fn a_request_made_before_the_executors_start_is_seen_at_once() {
    let stop = StopHandle::new().unwrap();
    stop.request_stop();
    let pool = pool_builder(2).stop_handle(stop).on_all_shards(|| async {
        let stop = executor().stop_handle();
        assert!(stop.is_requested());
        stop.requested().await;
        stop.run_until_stopped(async { "not polled" }).await
    });
    for output in pool.unwrap().join_all() {
        assert_eq!(output.unwrap(), None);
    }
}

#[test]
fn a_request_that_races_with_the_first_wait_is_never_lost() {
    for _ in 0..300 {
        let handle = LocalExecutorBuilder::default().spawn(|| async {
            let stop = executor().stop_handle();
            stop.requested().await;
        });
        let handle = handle.unwrap();
        handle.stop_handle().request_stop();
        handle.join().unwrap();
    }
}

#[test]
fn a_request_after_the_executors_have_ended_does_nothing() {
    let pool = pool_builder(2).on_all_shards(|| async {}).unwrap();
    let stop = pool.stop_handle().clone();
    for output in pool.join_all() {
        output.unwrap();
    }
    stop.request_stop();
    stop.request_stop();
    assert!(stop.is_requested());
    // The executor of the past watched the handle; another one can do so again.
    LocalExecutor::default().run(async { stop.requested().await });
}

#[test]
fn a_task_can_stop_its_own_pool() {
    let turn = Arc::new(AtomicUsize::new(0));
    let pool = pool_builder(3).on_all_shards(move || async move {
        let stop = executor().stop_handle();
        if turn.fetch_add(1, Ordering::SeqCst) == 1 {
            Timer::new(Duration::from_millis(1)).await;
            stop.request_stop();
        }
        stop.requested().await;
    });
    for output in pool.unwrap().join_all() {
        output.unwrap();
    }
}

#[test]
fn executors_of_several_builders_stop_together() {
    let stop = StopHandle::new().unwrap();
    let wait = || async { executor().stop_handle().requested().await };
    let one = LocalExecutorBuilder::default().stop_handle(stop.clone());
    let one = one.spawn(wait).unwrap();
    let pool = pool_builder(2).stop_handle(stop.clone());
    let pool = pool.on_all_shards(wait).unwrap();
    LocalExecutor::default().run(async { stop.request_stop() });
    one.join().unwrap();
    for output in pool.join_all() {
        output.unwrap();
    }
}

#[test]
fn dropped_waiters_leave_nothing_and_take_nothing_from_others() {
    let ex = LocalExecutor::default();
    let stop = ex.stop_handle();
    ex.run(async {
        let mut kept = pin!(stop.requested());
        assert!(poll_once(&mut kept).await.is_none());
        // As a loop does that waits for the next of something, or for the end.
        for round in 0..10_000 {
            assert_eq!(stop.run_until_stopped(async { round }).await, Some(round));
            assert!(poll_once(stop.requested()).await.is_none());
        }
        let cancelled = spawn_local({
            let stop = stop.clone();
            async move { stop.requested().await }
        });
        executor().yield_now().await;
        assert_eq!(cancelled.cancel().await, None);
        stop.request_stop();
        kept.await;
    });
}

#[test]
fn waiting_makes_no_system_call_after_the_first() {
    let ex = LocalExecutor::default();
    let stop = ex.stop_handle();
    ex.run(async {
        assert!(poll_once(stop.requested()).await.is_none());
        // What the first wait and the start of the executor submit has left with this.
        executor().yield_task_queue_now().await;
        let before = glommio::internals::ring_counters();
        for _ in 0..10_000 {
            assert!(poll_once(stop.requested()).await.is_none());
        }
        let after = glommio::internals::ring_counters();
        assert_eq!(after.enters, before.enters);
        executor().yield_task_queue_now().await;
        let after = glommio::internals::ring_counters();
        assert!(
            after.submitted - before.submitted <= 1,
            "{before:?} {after:?}"
        );
    });
}

#[test]
fn an_endless_supply_does_not_keep_a_loop_from_stopping() {
    let ex = LocalExecutor::default();
    let stop = ex.stop_handle();
    let thread = thread::spawn({
        let stop = stop.clone();
        move || stop.request_stop()
    });
    ex.run(async {
        while stop.run_until_stopped(async {}).await.is_some() {
            // On one CPU in real time, the other thread runs only if this one gives way.
            thread::yield_now();
        }
    });
    thread.join().unwrap();
}

#[test]
fn threads_and_other_executors_can_wait_too() {
    let stop = StopHandle::new().unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (stop, (ready, is_ready)) = (stop.clone(), mpsc::channel());
            let thread = thread::spawn(move || {
                block_on(async {
                    let mut requested = pin!(stop.requested());
                    assert!(poll_once(&mut requested).await.is_none());
                    ready.send(()).unwrap();
                    requested.await;
                });
            });
            is_ready.recv().unwrap();
            thread
        })
        .collect();
    stop.request_stop();
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

#[test]
fn a_wait_that_moves_to_another_executor_is_told_there() {
    let stop = StopHandle::new().unwrap();
    let mut requested = stop.requested();
    LocalExecutor::default().run(async {
        assert!(poll_once(&mut requested).await.is_none());
    });
    assert!(block_on(poll_once(&mut requested)).is_none(), "outside");
    let request = thread::scope(|scope| {
        let request = scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            stop.request_stop();
        });
        LocalExecutor::default().run(requested);
        request.join()
    });
    request.unwrap();
}

fn helper_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "glommio-stop").count()
}

#[test]
fn a_handle_that_is_dropped_takes_its_helper_thread_along() {
    for _ in 0..100 {
        let stop = StopHandle::new().unwrap();
        assert!(block_on(poll_once(stop.requested())).is_none());
    }
    // Other tests of this process may have a few of their own for a while.
    while helper_threads() > 10 {
        thread::yield_now();
    }
}

#[test]
fn handles_come_and_go_while_an_executor_lives() {
    fn descriptors() -> usize {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().contains("eventfd"))
            .count()
    }
    LocalExecutor::default().run(async {
        for _ in 0..2_000 {
            let stop = StopHandle::new().unwrap();
            assert!(poll_once(stop.requested()).await.is_none());
            drop(stop);
            executor().yield_task_queue_now().await;
        }
        // What other tests of this process have is far from 2,000.
        while descriptors() > 500 {
            executor().yield_task_queue_now().await;
        }
    });
}

// ---- a server, stopped by a signal ----

static FROM_SIGNAL: OnceLock<StopHandle> = OnceLock::new();

extern "C" fn on_signal(_: libc::c_int) {
    if let Some(stop) = FROM_SIGNAL.get() {
        stop.request_stop();
    }
}

/// Serves until a stop is requested, then finishes what its connections have begun.
async fn echo_server(addresses: mpsc::Sender<SocketAddr>) -> Result<usize, GlommioError<()>> {
    let stop = executor().stop_handle();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    addresses.send(listener.local_addr()?).unwrap();
    let mut connections = Vec::new();
    while let Some(connection) = stop.run_until_stopped(listener.accept()).await {
        connections.push(spawn_local(echo(connection?)));
    }
    // From here on nobody is let in.
    drop(listener);
    for connection in &mut connections {
        connection.await.map_err(GlommioError::from)?;
    }
    Ok(connections.len())
}

/// Echoes until the client has nothing more to say.
async fn echo(mut connection: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match connection.read(&mut buffer).await? {
            0 => return Ok(()),
            n => connection.write_all(&buffer[..n]).await?,
        }
    }
}

#[test]
fn a_signal_stops_accept_loops_and_connections_in_flight_are_served_to_their_ends() {
    use std::io::{Read, Write};

    let stop = FROM_SIGNAL.get_or_init(|| StopHandle::new().unwrap());
    // SAFETY: the structure is live, and the handler does nothing but request a stop.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()),
            0
        );
    }

    let (sender, addresses) = mpsc::channel();
    let pool = pool_builder(2)
        .name("echo")
        .stop_handle(stop.clone())
        .on_all_shards(move || echo_server(sender))
        .unwrap();
    let addresses: Vec<_> = addresses.iter().take(2).collect();
    let ping = |connection: &mut std::net::TcpStream| {
        let mut answer = [0; 4];
        connection.write_all(b"ping").unwrap();
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    };
    let mut connections: Vec<_> = (0..8)
        .map(|number| std::net::TcpStream::connect(addresses[number % 2]).unwrap())
        .collect();
    connections.iter_mut().for_each(ping);

    // SAFETY: no preconditions; the handler was installed above.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) }, 0);

    // The listeners go: from then on connecting is refused.
    for address in addresses {
        while std::net::TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
    }
    assert!(stop.is_requested());
    // Whoever was in is still served, and nobody has stopped yet.
    connections.iter_mut().for_each(ping);
    assert!(pool.handles().iter().all(|handle| !handle.is_finished()));
    drop(connections);
    let served = pool
        .join_all()
        .into_iter()
        .map(|shard| shard.unwrap().unwrap());
    // Connections that came while the listeners closed may have been let in.
    assert!(served.sum::<usize>() >= 8);
}

// ---- traffic between executors ----

/// A channel of one place, made of what any program has.
#[derive(Default)]
struct Channel {
    state: Mutex<(VecDeque<u64>, Vec<Waker>)>,
}

impl Channel {
    async fn access<R>(&self, mut f: impl FnMut(&mut VecDeque<u64>) -> Option<R>) -> R {
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            let Some(result) = f(&mut state.0) else {
                state.1.push(cx.waker().clone());
                return Poll::Pending;
            };
            let wakers = std::mem::take(&mut state.1);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
            Poll::Ready(result)
        })
        .await
    }

    async fn send(&self, item: u64) {
        let room = |queue: &mut VecDeque<u64>| queue.is_empty().then(|| queue.push_back(item));
        self.access(room).await
    }

    async fn receive(&self) -> u64 {
        self.access(VecDeque::pop_front).await
    }
}

/// Two shards send to each other all the time, and receive if `receiving`.
fn stop_under_traffic(receiving: bool, until: u64) {
    let channels: Arc<[Channel; 2]> = Arc::default();
    let sent = Arc::new(AtomicUsize::new(0));
    let (theirs, next) = (sent.clone(), Arc::new(AtomicUsize::new(0)));
    let pool = pool_builder(2)
        .on_all_shards(move || async move {
            let me = next.fetch_add(1, Ordering::SeqCst);
            let stop = executor().stop_handle();
            let (to, from) = (channels.clone(), channels);
            let receiver = receiving.then(|| {
                let stop = stop.clone();
                spawn_local(async move {
                    while stop.run_until_stopped(from[me].receive()).await.is_some() {}
                })
            });
            let mut item = 0;
            while stop
                .run_until_stopped(to[1 - me].send(item))
                .await
                .is_some()
            {
                item += 1;
                theirs.fetch_add(1, Ordering::SeqCst);
            }
            if let Some(receiver) = receiver {
                receiver.await;
            }
        })
        .unwrap();
    while (sent.load(Ordering::SeqCst) as u64) < until {
        thread::yield_now();
    }
    pool.stop_handle().request_stop();
    for output in pool.join_all() {
        output.unwrap();
    }
}

#[test]
fn a_stop_with_every_channel_full_ends_all_executors() {
    // One item each fits; after that both shards wait for room that nobody makes.
    stop_under_traffic(false, 2);
}

#[test]
fn a_stop_in_the_middle_of_traffic_ends_all_executors() {
    for _ in 0..20 {
        stop_under_traffic(true, 1_000);
    }
}

#[test]
fn the_futures_can_cross_threads() {
    fn is_send<T: Send + Sync>(_: &T) {}
    let stop = StopHandle::new().unwrap();
    is_send(&stop);
    let mut requested = stop.requested();
    is_send(&requested);
    stop.request_stop();
    assert!(block_on(poll_once(Pin::new(&mut requested))).is_some());
    assert!(format!("{stop:?}").contains("requested: true"));
}
