//! The workloads in glommio's API.
//!
//! This file is compiled once for every crate that has this API (see `benches/peers`); `super::api` is
//! the crate in question.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::api::{
    self, LocalExecutor, LocalExecutorBuilder, Placement,
    channels::{local_channel, shared_channel},
    executor,
    io::DmaFile,
    nop::NopSubmitter,
    spawn_local,
    sync::Semaphore,
    timer::Timer,
};
use glommio_benches::contender::Setting;
use glommio_benches::host::Random;
use glommio_benches::{Sample, Stopwatch, Workload, client, exchange, workload};

const BLOCK_BYTES: usize = 4096;

fn failed<T>(error: api::GlommioError<T>) -> io::Error
where
    T: Send + Sync + std::fmt::Debug + 'static,
{
    io::Error::other(error.to_string())
}

fn make() -> io::Result<LocalExecutor> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .map_err(failed)
}

/// Does `n` operations of a workload other than echo.
pub(super) fn run(workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
    match workload {
        Workload::Executor => make_and_drop(n),
        Workload::PingPong => ping_pong(&setting.cpus, n),
        Workload::SharedPingPong => shared_ping_pong(&setting.cpus, n),
        Workload::SharedStream => shared_stream(&setting.cpus, n),
        Workload::LocalChannel => Ok(make()?.run(through_channel(n))),
        Workload::Semaphore => Ok(make()?.run(hand_over(n))),
        Workload::NeedPreempt => Ok(make()?.run(need_preempt(n))),
        Workload::Yield => Ok(make()?.run(yields(n))),
        Workload::Spawn => Ok(make()?.run(spawns(n))),
        Workload::TimerCancel => Ok(make()?.run(arm_and_cancel(n))),
        Workload::Sleeps => Ok(make()?.run(sleeps(n))),
        Workload::Nop => make()?.run(nops(n)),
        Workload::Read { depth } => make()?.run(random_reads(&setting.file, depth, n)),
        Workload::Echo { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn need_preempt(n: u64) -> Sample {
    let executor = executor();
    let mut preempted = 0;
    let watch = Stopwatch::start();
    for _ in 0..n {
        // The slice ends now and then, and asking goes on: what is measured is the question.
        preempted += u64::from(black_box(executor.need_preempt()));
    }
    let sample = watch.stop(n);
    black_box(preempted);
    sample
}

async fn yields(n: u64) -> Sample {
    let watch = Stopwatch::start();
    for _ in 0..n {
        give_way().await;
    }
    watch.stop(n)
}

// Not `yield_now`, which 0.9 has not: the waker by hand, as in every other contender.
async fn give_way() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn through_channel(n: u64) -> Sample {
    let (sender, receiver) = local_channel::new_bounded(128);
    let watch = Stopwatch::start();
    let sending = spawn_local(async move {
        for i in 0..n {
            assert!(sender.send(i).await.is_ok());
        }
    });
    let receiving = spawn_local(async move {
        for i in 0..n {
            assert_eq!(receiver.recv().await, Some(i));
        }
    });
    sending.await;
    receiving.await;
    watch.stop(n)
}

async fn hand_over(n: u64) -> Sample {
    let semaphore = Rc::new(Semaphore::new(1));
    let watch = Stopwatch::start();
    let tasks = [n / 2, n - n / 2].map(|share| {
        let semaphore = semaphore.clone();
        spawn_local(async move {
            for _ in 0..share {
                let permit = semaphore.acquire_permit(1).await;
                give_way().await;
                drop(permit.expect("the semaphore is open"));
            }
        })
    });
    for task in tasks {
        task.await;
    }
    watch.stop(n)
}

async fn spawns(n: u64) -> Sample {
    let watch = Stopwatch::start();
    for i in 0..n {
        assert_eq!(spawn_local(async move { i }).await, i);
    }
    watch.stop(n)
}

async fn arm_and_cancel(n: u64) -> Sample {
    let watch = Stopwatch::start();
    for _ in 0..n {
        let mut timer = pin!(Timer::new(Duration::from_secs(1)));
        let fired = poll_fn(|context| Poll::Ready(timer.as_mut().poll(context).is_ready())).await;
        assert!(!fired);
    }
    watch.stop(n)
}

async fn sleeps(n: u64) -> Sample {
    let watch = Stopwatch::start();
    let tasks: Vec<_> = (0..n)
        .map(|i| {
            spawn_local(async move {
                let _ = Timer::new(workload::sleep_of(i)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    watch.stop(n)
}

async fn nops(n: u64) -> io::Result<Sample> {
    let submitter = NopSubmitter::new();
    let watch = Stopwatch::start();
    for _ in 0..n {
        submitter.run_nop().await?;
    }
    Ok(watch.stop(n))
}

fn make_and_drop(n: u64) -> io::Result<Sample> {
    let watch = Stopwatch::start();
    for _ in 0..n {
        make()?.run(async {});
    }
    Ok(watch.stop(n))
}

/// Runs `first` in an executor on the first CPU and `last` in one on the last.
fn on_two_cpus<F, L>(
    cpus: &[usize],
    first: impl FnOnce() -> F + Send + 'static,
    last: impl FnOnce() -> L + Send + 'static,
) -> io::Result<Sample>
where
    F: Future<Output = Sample> + 'static,
    L: Future<Output = ()> + 'static,
{
    let placement =
        |cpu: Option<&usize>| cpu.map_or(Placement::Unbound, |&cpu| Placement::Fixed(cpu));
    let last = LocalExecutorBuilder::new(placement(cpus.last()))
        .spawn(last)
        .map_err(failed)?;
    let first = LocalExecutorBuilder::new(placement(cpus.first()))
        .spawn(first)
        .map_err(failed)?;
    let sample = first.join().map_err(failed)?;
    last.join().map_err(failed)?;
    Ok(sample)
}

fn ping_pong(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (ping, pong) = exchange::pair();
    let asking = move || async move {
        // The first one waits until the other thread is there.
        ping.ping(1, 2).await;
        let watch = Stopwatch::start();
        ping.ping(2, n + 2).await;
        watch.stop(n)
    };
    on_two_cpus(cpus, asking, move || async move {
        pong.pong(1, n + 2).await;
    })
}

fn shared_ping_pong(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (questions, asked) = shared_channel::new_bounded(1);
    let (answers, answered) = shared_channel::new_bounded(1);
    let asking = move || async move {
        let questions = questions.connect().await;
        let answered = answered.connect().await;
        let watch = Stopwatch::start();
        for i in 0..n {
            assert!(questions.send(i).await.is_ok());
            assert_eq!(answered.recv().await, Some(i));
        }
        watch.stop(n)
    };
    on_two_cpus(cpus, asking, move || async move {
        let asked = asked.connect().await;
        let answers = answers.connect().await;
        while let Some(i) = asked.recv().await {
            // The last answer may find that the other side is done.
            let _ = answers.send(i).await;
        }
    })
}

fn shared_stream(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (sender, receiver) = shared_channel::new_bounded(1024);
    let receiving = move || async move {
        let receiver = receiver.connect().await;
        let watch = Stopwatch::start();
        for i in 0..n {
            assert_eq!(receiver.recv().await, Some(i));
        }
        watch.stop(n)
    };
    on_two_cpus(cpus, receiving, move || async move {
        let sender = sender.connect().await;
        for i in 0..n {
            assert!(sender.send(i).await.is_ok());
        }
    })
}

async fn random_reads(path: &Path, depth: usize, n: u64) -> io::Result<Sample> {
    let file = Rc::new(DmaFile::open(path).await.map_err(failed)?);
    let size = file.file_size().await.map_err(failed)?;
    let watch = Stopwatch::start();
    let readers: Vec<_> = (0..depth as u64)
        .map(|reader| {
            let file = file.clone();
            // The remainder goes to the first ones.
            let share = n / depth as u64 + u64::from(reader < n % depth as u64);
            spawn_local(async move {
                let mut random = Random::new(reader);
                for _ in 0..share {
                    let at = random.block(size, BLOCK_BYTES as u64);
                    let read = file
                        .read_at_aligned(at, BLOCK_BYTES)
                        .await
                        .map_err(failed)?;
                    if read.len() != BLOCK_BYTES {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok::<(), io::Error>(())
            })
        })
        .collect();
    for reader in readers {
        reader.await?;
    }
    let sample = watch.stop(n);
    if let Ok(file) = Rc::try_unwrap(file) {
        file.close().await.map_err(failed)?;
    }
    Ok(sample)
}

/// Accepts and echoes until every client has closed.
pub(super) fn serve(listener: &TcpListener, connections: usize, size: usize) -> io::Result<()> {
    let streams = client::accept(listener, connections)?;
    make()?.run(async move {
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| spawn_local(echo(api::adopt(stream), size)))
            .collect();
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn echo(mut stream: api::net::TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len]).await?;
    }
}
