//! tokio-uring: I/O on a ring under tokio's current-thread runtime.
//!
//! Tasks, timers and channels are tokio's, so only what goes through the ring is measured here.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use glommio_benches::contender::{Contender, Setting, refuse};
use glommio_benches::host::Random;
use glommio_benches::{Sample, Stopwatch, Workload, client};
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::{no_op, spawn, start};

use crate::shapes::{self, BLOCK_BYTES, Block};

pub struct TokioUring;

// SAFETY: the memory is on the heap and stays where it is; all of it is initialized.
unsafe impl IoBuf for Block {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        BLOCK_BYTES
    }

    fn bytes_total(&self) -> usize {
        BLOCK_BYTES
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Block {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, _pos: usize) {}
}

impl Contender for TokioUring {
    fn name(&self) -> &'static str {
        "tokio-uring"
    }

    fn takes(&self, workload: Workload) -> bool {
        matches!(
            workload,
            Workload::Nop
                | Workload::PingPong
                | Workload::Executor
                | Workload::Read { .. }
                | Workload::Echo { .. }
        )
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::Nop => start(async move {
                let watch = Stopwatch::start();
                for _ in 0..n {
                    no_op().await?;
                }
                Ok(watch.stop(n))
            }),
            Workload::PingPong => shapes::ping_pong(
                &setting.cpus,
                n,
                |ping| Ok(start(ping.run())),
                |pong| {
                    start(pong.run());
                    Ok(())
                },
            ),
            Workload::Executor => {
                let watch = Stopwatch::start();
                for _ in 0..n {
                    start(async {});
                }
                Ok(watch.stop(n))
            }
            Workload::Read { depth } => start(random_reads(&setting.file, depth, n)),
            _ => Err(refuse(self, workload)),
        }
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        let streams = client::accept(&listener, connections)?;
        start(async move {
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|stream| spawn(echo(tokio_uring::net::TcpStream::from_std(stream), size)))
                .collect();
            for task in tasks {
                task.await.unwrap()?;
            }
            Ok(())
        })
    }
}

async fn random_reads(path: &Path, depth: usize, n: u64) -> io::Result<Sample> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let size = file.metadata()?.len();
    let file = Rc::new(tokio_uring::fs::File::from_std(file));
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
        reader.await.unwrap()?;
    }
    Ok(watch.stop(n))
}

async fn echo(stream: tokio_uring::net::TcpStream, size: usize) -> io::Result<()> {
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
