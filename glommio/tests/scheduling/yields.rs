//! Tasks that give way.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{
    Latency, LocalExecutor, TaskQueueHandle, executor,
    net::{TcpListener, TcpStream},
    nop::NopSubmitter,
    spawn_local_into,
    timer::sleep,
};

use super::{let_other_threads_run, queue};

/// Answers whatever arrives, in a queue of its own. Gives a connected stream, and counts.
async fn echo_server(queue: TaskQueueHandle) -> (TcpStream, Rc<Cell<u64>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let echoed = Rc::new(Cell::new(0));
    let counts = echoed.clone();
    let server = async move {
        let mut stream = listener.accept().await.unwrap();
        let mut byte = [0u8];
        while let Ok(1) = stream.read(&mut byte).await {
            if stream.write_all(&byte).await.is_err() {
                break;
            }
            counts.set(counts.get() + 1);
        }
    };
    spawn_local_into(server, queue).unwrap().detach();
    (TcpStream::connect(address).await.unwrap(), echoed)
}

async fn round_trips(mut stream: TcpStream, count: u64) {
    let mut byte = [7u8];
    for _ in 0..count {
        stream.write_all(&byte).await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
    }
}

#[test]
fn dd674_yield_task_queue_now_lets_every_other_queue_and_io_go_first() {
    LocalExecutor::default().run(async {
        let stop = Rc::new(Cell::new(false));
        let mut others = Vec::new();
        for shares in [1, 10, 100, 1000] {
            let (turns, stop) = (Rc::new(Cell::new(0u64)), stop.clone());
            let counts = turns.clone();
            let work = async move {
                while !stop.get() {
                    counts.set(counts.get() + 1);
                    executor().yield_task_queue_now().await;
                }
            };
            let other = queue(shares, Latency::NotImportant, "other");
            others.push((spawn_local_into(work, other).unwrap(), turns));
        }
        let io = queue(1, Latency::NotImportant, "I/O");
        let (stream, echoed) = echo_server(io).await;
        let client = spawn_local_into(round_trips(stream, 50), io).unwrap();

        let mine = queue(1000, Latency::NotImportant, "mine");
        let turns: Vec<_> = others.iter().map(|(_, turns)| turns.clone()).collect();
        let work = async move {
            let seen = || turns.iter().map(|turns| turns.get()).collect::<Vec<_>>();
            let mut yields = 0u64;
            while yields < 1_000 || echoed.get() < 50 {
                let before = seen();
                executor().yield_task_queue_now().await;
                yields += 1;
                let after = seen();
                for (before, after) in before.iter().zip(&after) {
                    assert!(after > before, "a queue was passed over in yield {yields}");
                }
            }
        };
        spawn_local_into(work, mine).unwrap().await;
        client.await;
        stop.set(true);
        for (task, _) in others {
            task.await;
        }
    });
}

#[test]
fn dd674_a_completion_goes_before_the_queue_that_gave_up_its_turn() {
    LocalExecutor::default().run(async {
        let io = queue(1, Latency::NotImportant, "I/O");
        let done = Rc::new(Cell::new(0u64));
        let counts = done.clone();
        let reads = async move {
            for _ in 0..100 {
                NopSubmitter::new().run_nop().await.unwrap();
                counts.set(counts.get() + 1);
            }
        };
        let reads = spawn_local_into(reads, io).unwrap();
        // Its first turn.
        executor().yield_task_queue_now().await;
        for yields in 1..=100 {
            // A NOP completes when it is submitted. One that comes next completes as well where the
            // machine took the CPU away, and so much time has passed that the ring was due again.
            executor().yield_task_queue_now().await;
            assert!(done.get() >= yields, "{} of {yields}", done.get());
        }
        reads.await;
    });
}

#[test]
fn dd431_loops_of_yields_starve_neither_io_nor_timers_nor_other_tasks() {
    LocalExecutor::default().run(async {
        let stop = Rc::new(Cell::new(false));
        let mut loops = Vec::new();
        for kind in 0..3 {
            let stop = stop.clone();
            let work = async move {
                for round in 1_u64.. {
                    if stop.get() {
                        return;
                    }
                    if round % 1_000 == 0 {
                        let_other_threads_run();
                    }
                    match kind {
                        0 => executor().yield_now().await,
                        1 => executor().yield_task_queue_now().await,
                        // As a future does that insists on being polled.
                        _ => futures_lite::future::yield_now().await,
                    }
                }
            };
            let busy = queue(1000, Latency::NotImportant, "busy");
            loops.push(spawn_local_into(work, busy).unwrap());
        }
        // In the queue with one share.
        let (stream, echoed) = echo_server(TaskQueueHandle::default()).await;
        round_trips(stream, 20).await;
        assert!(echoed.get() >= 19);
        sleep(Duration::from_millis(2)).await;
        NopSubmitter::new().run_nop().await.unwrap();
        assert_eq!(executor().spawn_blocking(|| 5).await, 5);
        stop.set(true);
        for task in loops {
            task.await;
        }
    });
}
