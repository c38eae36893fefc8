//! glommio.

// The workloads are written against the API that glommio 0.9, its forks and this crate have in common;
// `benches/peers` compiles the same file for each of those.
mod work;

use std::io;
use std::net::TcpListener;

// What differs between the crates that share `work.rs`.
mod api {
    pub use glommio::*;

    pub fn adopt(stream: std::net::TcpStream) -> net::TcpStream {
        net::TcpStream::from(socket2::Socket::from(stream))
    }
}

use crate::contender::{Contender, Setting};
use crate::{Sample, Workload};

/// glommio as it is in this repository.
pub struct Glommio;

impl Contender for Glommio {
    fn name(&self) -> &'static str {
        "glommio"
    }

    fn takes(&self, _workload: Workload) -> bool {
        true
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        work::run(workload, n, setting)
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        work::serve(&listener, connections, size)
    }
}
