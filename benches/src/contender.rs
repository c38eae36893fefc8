//! Who takes part: a runtime, or the kernel by hand.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;

use crate::{Sample, Workload};

/// A runtime, or the kernel by hand.
pub trait Contender: Sync {
    /// The name on the command line and in the table.
    fn name(&self) -> &'static str;

    /// Whether the contender has an answer to the workload.
    fn takes(&self, workload: Workload) -> bool;

    /// Does `n` operations of a workload other than echo.
    ///
    /// # Errors
    ///
    /// If the workload fails, or the contender does not take it.
    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample>;

    /// Accepts `connections` connections and echoes messages of up to `size` bytes on each until the
    /// client closes it.
    ///
    /// # Errors
    ///
    /// If the server cannot be set up, accepting fails, or the contender does not take echoes.
    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()>;
}

/// What a workload needs to know about the machine.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The CPUs to use: the contender runs on the first, its counterpart on the last.
    pub cpus: Vec<usize>,
    /// The file to read; fully written.
    pub file: PathBuf,
}

/// The contender of that name.
///
/// # Errors
///
/// With the list of names, if there is none.
pub fn find(
    contenders: &[&'static dyn Contender],
    name: &str,
) -> Result<&'static dyn Contender, String> {
    let found = contenders.iter().find(|contender| contender.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = contenders
            .iter()
            .map(|contender| contender.name())
            .collect();
        format!(
            "no contender `{name}` in this build; there are {}",
            names.join(", ")
        )
    })
}

/// What a contender answers to a workload that it does not take.
pub fn refuse(contender: &dyn Contender, workload: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{} has no `{workload}`", contender.name()),
    )
}
