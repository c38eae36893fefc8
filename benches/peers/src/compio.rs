//! compio with its io_uring driver.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::path::Path;
use std::rc::Rc;

use compio::buf::{BufResult, IoBuf, IoBufMut, SetLen};
use compio::io::{AsyncRead, AsyncReadAt, AsyncWriteExt};
use compio::runtime::{Runtime, spawn};
use compio::time::sleep;
use glommio_benches::contender::{Contender, Setting, refuse};
use glommio_benches::host::Random;
use glommio_benches::{Sample, Stopwatch, Workload, client, workload};

use crate::shapes::{self, BLOCK_BYTES, Block};

pub struct Compio;

fn drive<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(Runtime::new()?.block_on(future))
}

impl IoBuf for Block {
    fn as_init(&self) -> &[u8] {
        // SAFETY: the whole block is initialized and borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), BLOCK_BYTES) }
    }
}

impl SetLen for Block {
    unsafe fn set_len(&mut self, _len: usize) {}
}

impl IoBufMut for Block {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the block is exclusively borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), BLOCK_BYTES) }
    }
}

impl Contender for Compio {
    fn name(&self) -> &'static str {
        "compio"
    }

    fn takes(&self, workload: Workload) -> bool {
        !matches!(
            workload,
            Workload::NeedPreempt
                | Workload::Nop
                | Workload::LocalChannel
                | Workload::Semaphore
                | Workload::SharedPingPong
                | Workload::SharedStream
        )
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::Yield => drive(async move { spawn(shapes::yields(n)).await.unwrap() }),
            Workload::Spawn => drive(shapes::spawns(n, |i| {
                let task = spawn(async move { i });
                async move { task.await.unwrap() }
            })),
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
                let stream = compio::net::TcpStream::from_std(stream)?;
                tasks.push(spawn(echo(stream, size)));
            }
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok(())
        })?
    }
}

async fn random_reads(path: &Path, depth: usize, n: u64) -> io::Result<Sample> {
    let file = compio::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .await?;
    let size = file.metadata().await?.len();
    let file = Rc::new(file);
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
                    let BufResult(read, back) = file.read_at(block, at).await;
                    block = back;
                    shapes::whole(read?)?;
                }
                Ok::<(), io::Error>(())
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap()?;
    }
    Ok(watch.stop(n))
}

async fn echo(mut stream: compio::net::TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let BufResult(read, back) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(written, back) = stream.write_all(back).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
