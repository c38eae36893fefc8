//! What things cost, in counts that do not depend on the weather: allocations, system calls,
//! clock ticks.

#[path = "../src/test_alloc.rs"]
mod alloc;
#[path = "support/cpu.rs"]
mod cpu;

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::SocketAddr,
    task::{Poll, Waker},
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{
    LocalExecutor, LocalExecutorBuilder, executor,
    internals::ring_counters,
    io::DmaFile,
    net::{TcpListener, TcpStream, UdpSocket},
    nop::NopSubmitter,
    spawn_local,
    timer::sleep,
};

use alloc::allocations;
use cpu::thread_cpu_ticks;

/// Whether the kernel may do everything that it can: the counts of system calls hold then.
fn whole_ladder() -> bool {
    std::env::var_os("GLOMMIO_DISABLE").is_none()
}

/// The allocations of this thread while `work` runs.
async fn allocations_of(work: impl Future<Output = ()>) -> u64 {
    let mut work = std::pin::pin!(work);
    let before = allocations();
    work.as_mut().await;
    allocations() - before
}

/// Someone on another thread who sends a block and waits for it to come back, `rounds` times.
fn blocking_client(addr: SocketAddr, rounds: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut back = [0; 64];
        for _ in 0..rounds {
            stream.write_all(&[7; 64]).unwrap();
            stream.read_exact(&mut back).unwrap();
        }
    })
}

async fn echo(stream: &mut TcpStream, rounds: usize) {
    let mut buf = [0; 64];
    for _ in 0..rounds {
        stream.read_exact(&mut buf).await.unwrap();
        stream.write_all(&buf).await.unwrap();
    }
}

const WARM_UP: usize = 200;
const ROUNDS: usize = 2_000;

#[test]
fn a_warm_read_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let buffer = file.alloc_dma_buffer(64 << 10);
        file.write_at(buffer, 0).await.unwrap();
        let read = async |rounds: usize| {
            for i in 0..rounds as u64 {
                let read = file.read_at(i % 15 * 4096 + 100, 4000).await.unwrap();
                assert_eq!(read.len(), 4000);
            }
        };
        read(WARM_UP).await;
        assert_eq!(allocations_of(read(ROUNDS)).await, 0);
    });
}

#[test]
fn a_warm_write_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let write = async |rounds: usize| {
            for i in 0..rounds as u64 {
                let buffer = file.alloc_dma_buffer(4096);
                file.write_at(buffer, i % 16 * 4096).await.unwrap();
            }
        };
        write(WARM_UP).await;
        assert_eq!(allocations_of(write(200)).await, 0);
    });
}

#[test]
fn a_warm_echo_allocates_nothing() {
    LocalExecutor::default().run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = blocking_client(listener.local_addr().unwrap(), WARM_UP + ROUNDS);
        let mut stream = listener.accept().await.unwrap();
        echo(&mut stream, WARM_UP).await;
        assert_eq!(allocations_of(echo(&mut stream, ROUNDS)).await, 0);
        stream.flush().await.unwrap();
        client.join().unwrap();
    });
}

#[test]
fn a_warm_echo_with_timeouts_allocates_nothing() {
    LocalExecutor::default().run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = blocking_client(listener.local_addr().unwrap(), WARM_UP + ROUNDS);
        let mut stream = listener.accept().await.unwrap();
        let minute = Some(Duration::from_secs(60));
        stream.set_read_timeout(minute).unwrap();
        stream.set_write_timeout(minute).unwrap();
        echo(&mut stream, WARM_UP).await;
        assert_eq!(allocations_of(echo(&mut stream, ROUNDS)).await, 0);
        stream.flush().await.unwrap();
        client.join().unwrap();
    });
}

async fn echo_datagrams(socket: &UdpSocket, rounds: usize) {
    let mut buf = [0; 64];
    for _ in 0..rounds {
        let (len, sender) = socket.recv_from(&mut buf).await.unwrap();
        socket.send_to(&buf[..len], sender).await.unwrap();
    }
}

/// As [`blocking_client`], with datagrams.
fn blocking_udp_client(addr: SocketAddr, rounds: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(addr).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut back = [0; 64];
        for _ in 0..rounds {
            client.send(&[7; 64]).unwrap();
            assert_eq!(client.recv(&mut back).unwrap(), 64);
        }
    })
}

#[test]
fn a_warm_echo_of_datagrams_allocates_nothing_and_enters_twice() {
    LocalExecutor::default().run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timeout = Some(Duration::from_secs(30));
        socket.set_read_timeout(timeout).unwrap();
        let addr = socket.local_addr().unwrap();
        let client = blocking_udp_client(addr, WARM_UP + ROUNDS);
        echo_datagrams(&socket, WARM_UP).await;
        let before = ring_counters();
        let allocated = allocations_of(echo_datagrams(&socket, ROUNDS)).await;
        let enters = ring_counters().enters - before.enters;
        let submitted = ring_counters().submitted - before.submitted;
        client.join().unwrap();
        assert_eq!(allocated, 0);
        if whole_ladder() {
            // One for the receive and one for the send, whose result is awaited.
            let bound = (2 * ROUNDS + ROUNDS / 100) as u64;
            assert!(enters <= bound, "{enters} enters, {ROUNDS} round trips");
            assert!(submitted <= bound, "{submitted} entries");
        }
    });
}

#[test]
fn a_warm_operation_timer_and_yield_allocate_nothing() {
    LocalExecutor::default().run(async {
        let work = async || {
            for _ in 0..100 {
                NopSubmitter::new().run_nop().await.unwrap();
                executor().yield_now().await;
                executor().yield_task_queue_now().await;
            }
            sleep(Duration::from_millis(2)).await;
            sleep(Duration::from_millis(1)).await;
        };
        work().await;
        // Slots of the wheel that were not touched so far take their memory on first use.
        sleep(Duration::from_millis(80)).await;
        let mut least = u64::MAX;
        for _ in 0..5 {
            least = least.min(allocations_of(work()).await);
        }
        assert_eq!(least, 0);
    });
}

/// What `count` tasks allocate, each of which is spawned when the one before has ended.
async fn allocations_of_tasks<const BYTES: usize>(count: u64) -> u64 {
    let spawn = async || {
        for i in 0..count {
            let large = [1_u8; BYTES];
            let task = spawn_local(async move {
                // Awaiting keeps the array in the future.
                std::future::ready(()).await;
                i + std::hint::black_box(&large).len() as u64
            });
            assert_eq!(task.await, i + BYTES as u64);
        }
    };
    spawn().await;
    allocations_of(spawn()).await
}

#[test]
fn a_task_takes_the_memory_of_one_that_has_ended() {
    // A sanitizer watches ended tasks: their memory is freed then.
    let anew = if cfg!(glommio_sanitized) { 100 } else { 0 };
    LocalExecutor::default().run(async move {
        assert_eq!(allocations_of_tasks::<0>(100).await, anew);
        assert_eq!(allocations_of_tasks::<400>(100).await, anew);
    });
}

#[test]
fn a_large_task_is_one_allocation() {
    LocalExecutor::default().run(async {
        assert_eq!(allocations_of_tasks::<4000>(100).await, 100);
    });
}

#[test]
fn one_enter_per_echo_round_trip() {
    LocalExecutor::default().run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = blocking_client(listener.local_addr().unwrap(), WARM_UP + ROUNDS);
        let mut stream = listener.accept().await.unwrap();
        echo(&mut stream, WARM_UP).await;
        let before = ring_counters();
        echo(&mut stream, ROUNDS).await;
        let after = ring_counters();
        stream.flush().await.unwrap();
        client.join().unwrap();
        let enters = after.enters - before.enters;
        assert!(enters as usize >= ROUNDS - 1, "{enters}: not counted");
        if whole_ladder() {
            // A wait may be cut short, by a signal for one: rarely.
            let bound = ROUNDS + ROUNDS / 200;
            assert!(
                enters as usize <= bound,
                "{enters} enters for {ROUNDS} round trips"
            );
            // A receive and a send each.
            let submitted = after.submitted - before.submitted;
            assert!(
                submitted as usize <= 2 * bound,
                "{submitted} entries for {ROUNDS} round trips"
            );
        }
    });
}

#[test]
fn a_yield_makes_no_system_call() {
    LocalExecutor::default().run(async {
        // What the executor submits when it starts has left with this.
        executor().yield_task_queue_now().await;
        let before = ring_counters();
        let switches = context_switches();
        for _ in 0..200_000 {
            executor().yield_now().await;
        }
        let after = ring_counters();
        assert_eq!(after.enters, before.enters, "{before:?} -> {after:?}");
        // The system may hold a thread up once in a while, for a page of memory for one.
        let slept = context_switches() - switches;
        assert!(slept < 200, "the thread has slept {slept} times");
    });
}

/// How often this thread gave up its CPU.
fn context_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn preemption_submits_no_timeout() {
    let executor = LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_millis(1))
        .make()
        .unwrap();
    executor.run(async {
        glommio::executor().yield_task_queue_now().await;
        let before = ring_counters();
        let other = spawn_local(async {
            for _ in 0..20 {
                while !glommio::executor().need_preempt() {}
                glommio::yield_if_needed().await;
            }
        });
        for _ in 0..20 {
            while !glommio::executor().need_preempt() {}
            glommio::yield_if_needed().await;
        }
        other.await;
        let after = ring_counters();
        assert_eq!(after.timeouts, before.timeouts);
        assert_eq!(after.submitted, before.submitted, "nothing was asked for");
    });
}

#[test]
fn sleeping_until_a_timer_submits_nothing() {
    LocalExecutor::default().run(async {
        sleep(Duration::from_millis(1)).await;
        let before = ring_counters();
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        let after = ring_counters();
        if whole_ladder() {
            assert_eq!(after.timeouts, before.timeouts);
            assert_eq!(after.submitted, before.submitted);
        }
        let waits = after.waits - before.waits;
        // Three: the kernel may wake a thread a little before its time. And where the machine takes the
        // CPU away for so long, there is nothing to wait for any more.
        assert!((1..=60).contains(&waits), "{waits} waits for 20 sleeps");
    });
}

#[test]
fn an_idle_executor_uses_no_cpu() {
    let executor = LocalExecutorBuilder::default().spawn(|| async {
        let (give, take) = std::sync::mpsc::channel::<Waker>();
        std::thread::spawn(move || {
            let waker = take.recv().unwrap();
            std::thread::sleep(Duration::from_secs(3));
            waker.wake();
        });
        // Idle is not the same as without anything to wait for.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        spawn_local(async move { while listener.accept().await.is_ok() {} }).detach();
        spawn_local(sleep(Duration::from_secs(3600))).detach();
        executor().yield_task_queue_now().await;
        let (before, ticks) = (ring_counters(), thread_cpu_ticks());
        let mut given = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            give.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })
        .await;
        (
            thread_cpu_ticks() - ticks,
            ring_counters().enters - before.enters,
        )
    });
    let (ticks, enters) = executor.unwrap().join().unwrap();
    // An emulated processor takes some for the three; one that spins takes all 300.
    assert!(ticks <= 30, "{ticks} clock ticks of CPU in 3 s of idling");
    assert!(enters <= 3, "{enters} enters in 3 s of idling");
}
