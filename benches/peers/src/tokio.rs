//! tokio's current-thread runtime: epoll, no O_DIRECT.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::{Semaphore, mpsc};
use ::tokio::task::{LocalSet, spawn_local};
use ::tokio::time::sleep;
use glommio_benches::contender::{Contender, Setting, refuse};
use glommio_benches::{Sample, Stopwatch, Workload, client, workload};

use crate::shapes;

pub struct Tokio;

fn make() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn drive<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(LocalSet::new().block_on(&make()?, future))
}

impl Contender for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn takes(&self, workload: Workload) -> bool {
        matches!(
            workload,
            Workload::Yield
                | Workload::Spawn
                | Workload::LocalChannel
                | Workload::Semaphore
                | Workload::TimerCancel
                | Workload::Sleeps
                | Workload::PingPong
                | Workload::SharedPingPong
                | Workload::SharedStream
                | Workload::Executor
                | Workload::Echo { .. }
        )
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::Yield => drive(async move { spawn_local(shapes::yields(n)).await.unwrap() }),
            Workload::Spawn => drive(shapes::spawns(n, |i| {
                let task = spawn_local(async move { i });
                async move { task.await.unwrap() }
            })),
            Workload::LocalChannel => drive(local_channel(n)),
            Workload::TimerCancel => drive(shapes::arm_and_cancel(n, sleep)),
            Workload::Sleeps => drive(shapes::join_all(n, |i| {
                spawn_local(sleep(workload::sleep_of(i)))
            })),
            Workload::PingPong => shapes::ping_pong(
                &setting.cpus,
                n,
                |ping| drive(ping.run()),
                |pong| drive(pong.run()),
            ),
            Workload::Semaphore => drive(semaphore(n)),
            Workload::SharedPingPong => shared_ping_pong(&setting.cpus, n),
            Workload::SharedStream => shared_stream(&setting.cpus, n),
            Workload::Executor => {
                let watch = Stopwatch::start();
                for _ in 0..n {
                    drive(async {})?;
                }
                Ok(watch.stop(n))
            }
            _ => Err(refuse(self, workload)),
        }
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        let streams = client::accept(&listener, connections)?;
        drive(async move {
            let mut tasks = Vec::new();
            for stream in streams {
                stream.set_nonblocking(true)?;
                let stream = ::tokio::net::TcpStream::from_std(stream)?;
                tasks.push(spawn_local(echo(stream, size)));
            }
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok(())
        })?
    }
}

async fn local_channel(n: u64) -> Sample {
    let (sender, mut receiver) = mpsc::channel(128);
    let watch = Stopwatch::start();
    let sending = spawn_local(async move {
        for i in 0..n {
            sender.send(i).await.unwrap();
        }
    });
    let receiving = spawn_local(async move {
        for i in 0..n {
            assert_eq!(receiver.recv().await, Some(i));
        }
    });
    sending.await.unwrap();
    receiving.await.unwrap();
    watch.stop(n)
}

async fn semaphore(n: u64) -> Sample {
    let semaphore = Rc::new(Semaphore::new(1));
    let watch = Stopwatch::start();
    let tasks = [n / 2, n - n / 2].map(|share| {
        let semaphore = semaphore.clone();
        spawn_local(async move {
            for _ in 0..share {
                let permit = semaphore.acquire().await;
                shapes::give_way().await;
                drop(permit.expect("the semaphore is open"));
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    watch.stop(n)
}

fn shared_ping_pong(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (questions, mut asked) = mpsc::channel(1);
    let (answers, mut answered) = mpsc::channel(1);
    let asking = async move {
        let watch = Stopwatch::start();
        for i in 0..n {
            questions.send(i).await.unwrap();
            assert_eq!(answered.recv().await, Some(i));
        }
        watch.stop(n)
    };
    shapes::on_two_cpus(
        cpus,
        || drive(asking),
        move || {
            drive(async move {
                while let Some(i) = asked.recv().await {
                    // The last answer may find that the other side is done.
                    let _ = answers.send(i).await;
                }
            })
        },
    )
}

fn shared_stream(cpus: &[usize], n: u64) -> io::Result<Sample> {
    let (sender, mut receiver) = mpsc::channel(1024);
    let receiving = async move {
        // The first one waits until the other thread is there.
        assert_eq!(receiver.recv().await, Some(0));
        let watch = Stopwatch::start();
        for i in 1..=n {
            assert_eq!(receiver.recv().await, Some(i));
        }
        watch.stop(n)
    };
    shapes::on_two_cpus(
        cpus,
        || drive(receiving),
        move || {
            drive(async move {
                for i in 0..=n {
                    sender.send(i).await.unwrap();
                }
            })
        },
    )
}

async fn echo(mut stream: ::tokio::net::TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len]).await?;
    }
}
