//! glommio 0.9.0 from crates.io.

#[path = "../../src/ours/work.rs"]
mod work;

use std::io;
use std::net::TcpListener;

use glommio_benches::contender::{Contender, Setting};
use glommio_benches::{Sample, Workload};

mod api {
    use std::os::fd::{FromRawFd, IntoRawFd};

    pub use ::glommio_upstream::*;

    pub fn adopt(stream: std::net::TcpStream) -> net::TcpStream {
        // SAFETY: the descriptor is a connected TCP socket that nobody else owns.
        unsafe { net::TcpStream::from_raw_fd(stream.into_raw_fd()) }
    }
}

/// The last release of the original.
pub struct GlommioUpstream;

impl Contender for GlommioUpstream {
    fn name(&self) -> &'static str {
        "glommio-0.9"
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
