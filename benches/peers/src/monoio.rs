//! monoio with its io_uring driver.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use glommio_benches::contender::{Contender, Setting, refuse};
use glommio_benches::host::Random;
use glommio_benches::{Sample, Stopwatch, Workload, client, workload};
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::time::{TimeDriver, sleep};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder, spawn};

use crate::shapes::{self, BLOCK_BYTES, Block};

pub struct Monoio;

fn make() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    RuntimeBuilder::<IoUringDriver>::new()
        .enable_timer()
        .build()
}

fn drive<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(make()?.block_on(future))
}

// SAFETY: the memory is on the heap and stays where it is; all of it is initialized.
unsafe impl IoBuf for Block {
    fn read_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        BLOCK_BYTES
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Block {
    fn write_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        BLOCK_BYTES
    }

    unsafe fn set_init(&mut self, _pos: usize) {}
}

impl Contender for Monoio {
    fn name(&self) -> &'static str {
        "monoio"
    }

    fn takes(&self, workload: Workload) -> bool {
        !matches!(
            workload,
            Workload::NeedPreempt
                | Workload::Nop
                | Workload::SharedPingPong
                | Workload::SharedStream
        )
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::Yield => drive(async move { spawn(shapes::yields(n)).await }),
            Workload::Spawn => drive(shapes::spawns(n, |i| spawn(async move { i }))),
            Workload::LocalChannel => drive(local_channel(n)),
            Workload::Semaphore => drive(semaphore(n)),
            Workload::TimerCancel => drive(shapes::arm_and_cancel(n, sleep)),
            Workload::Sleeps => drive(shapes::join_all(n, |i| spawn(sleep(workload::sleep_of(i))))),
            Workload::PingPong => shapes::ping_pong(
                &setting.cpus,
                n,
                |ping| drive(ping.run()),
                |pong| drive(pong.run()),
            ),
            Workload::Executor => {
                let watch = Stopwatch::start();
                for _ in 0..n {
                    drive(async {})?;
                }
                Ok(watch.stop(n))
            }
            Workload::Read { depth } => drive(random_reads(&setting.file, depth, n))?,
            _ => Err(refuse(self, workload)),
        }
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        let streams = client::accept(&listener, connections)?;
        drive(async move {
            let mut tasks = Vec::new();
            for stream in streams {
                let stream = monoio::net::TcpStream::from_std(stream)?;
                tasks.push(spawn(echo(stream, size)));
            }
            for task in tasks {
                task.await?;
            }
            Ok(())
        })?
    }
}

async fn local_channel(n: u64) -> Sample {
    // monoio has no channels of its own; this is the one that its authors publish beside it.
    let (sender, mut receiver) = local_sync::mpsc::bounded::channel(128);
    let watch = Stopwatch::start();
    let sending = spawn(async move {
        for i in 0..n {
            assert!(sender.send(i).await.is_ok());
        }
    });
    let receiving = spawn(async move {
        for i in 0..n {
            assert_eq!(receiver.recv().await, Some(i));
        }
    });
    sending.await;
    receiving.await;
    watch.stop(n)
}

async fn semaphore(n: u64) -> Sample {
    let semaphore = Rc::new(local_sync::semaphore::Semaphore::new(1));
    let watch = Stopwatch::start();
    let tasks = [n / 2, n - n / 2].map(|share| {
        let semaphore = semaphore.clone();
        spawn(async move {
            for _ in 0..share {
                let permit = semaphore.acquire().await;
                shapes::give_way().await;
                drop(permit.expect("the semaphore is open"));
            }
        })
    });
    for task in tasks {
        task.await;
    }
    watch.stop(n)
}

async fn random_reads(path: &Path, depth: usize, n: u64) -> io::Result<Sample> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let size = file.metadata()?.len();
    let file = Rc::new(monoio::fs::File::from_std(file)?);
    let watch = Stopwatch::start();
    let readers: Vec<_> = (0..depth)
        .map(|reader| {
            let file = file.clone();
            let share = shapes::share(n, depth, reader);
            spawn(async move {
                let mut random = Random::new(reader as u64);
                let mut block = Block::new();
                for _ in 0..share {
                    let at = random.block(size, BLOCK_BYTES as u64);
                    let (read, back) = file.read_at(block, at).await;
                    block = back;
                    shapes::whole(read?)?;
                }
                Ok::<(), io::Error>(())
            })
        })
        .collect();
    for reader in readers {
        reader.await?;
    }
    Ok(watch.stop(n))
}

async fn echo(mut stream: monoio::net::TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (read, back) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, back) = stream.write_all(back).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
