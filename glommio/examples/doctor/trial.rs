//! The proof that glommio runs here: an executor is started and put to work.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use glommio::io::DmaFile;
use glommio::nop::NopSubmitter;
use glommio::{GlommioError, LocalExecutorBuilder, Placement};
use nix::libc;

use crate::model::{DirectIo, Verdict};

/// Starts an executor on `cpu` and has it ask the kernel for something. `Err` says what is wrong
/// with the machine and how to cure it, in the library's words.
pub fn verdict(cpu: usize) -> Verdict {
    let error = start_and_submit(cpu).err().map(|error| error.to_string());
    Verdict {
        can_run: error.is_none(),
        error,
    }
}

fn start_and_submit(cpu: usize) -> Result<(), GlommioError<()>> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu)).name("doctor-trial");
    let submitted = builder
        .spawn(|| async { NopSubmitter::new().run_nop().await })?
        .join()?;
    Ok(submitted?)
}

/// Finds out how the empty file at `path` takes direct I/O. It needs no executor to say whether,
/// and one on `cpu`, if there may be one, to say how.
pub fn direct_io(path: &Path, cpu: Option<usize>) -> DirectIo {
    let mut options = std::fs::OpenOptions::new();
    let supported = match options.read(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Some(false),
        Err(_) => None,
    };
    match cpu.map(|cpu| alignment(path.to_path_buf(), cpu)) {
        None => DirectIo {
            supported,
            alignment_bytes: None,
            error: None,
        },
        Some(Ok(bytes)) => DirectIo {
            supported,
            alignment_bytes: Some(bytes),
            error: None,
        },
        Some(Err(error)) => DirectIo {
            supported,
            alignment_bytes: None,
            error: Some(error.to_string()),
        },
    }
}

fn alignment(path: PathBuf, cpu: usize) -> Result<u64, GlommioError<()>> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu)).name("doctor-trial");
    let running = builder.spawn(|| async move {
        let file = DmaFile::open(&path).await?;
        let alignment = file.alignment();
        file.close().await?;
        Ok(alignment)
    })?;
    running.join()?
}
