//! Everything that is known before the measurements, as a report.

use std::path::Path;

use crate::bench::Scratch;
use crate::cli::Args;
use crate::interrupt::Interrupt;
use crate::model::{Report, SCHEMA_VERSION};
use crate::storage::{self, BadDirectory};
use crate::{findings, system, trial};

/// Examines machine and directory, and makes the file for the measurements. The file is missing
/// only when none can be made and none is needed.
///
/// # Errors
///
/// When the directory cannot be examined, or be written to although there is something to measure.
pub fn take(args: &Args, interrupt: &Interrupt) -> Result<(Report, Option<Scratch>), BadDirectory> {
    let mut storage = storage::examine(&args.dir)?;
    let directory = Path::new(&storage.directory);
    let scratch = match Scratch::create(directory, storage.available_bytes, interrupt) {
        Ok(scratch) => Some(scratch),
        Err(_) if args.no_bench => None,
        Err(error) => return Err(BadDirectory::not_writable(directory, error)),
    };
    let system = system::examine();
    let cpu = system.topology.usable().first().copied().unwrap_or(0);
    let verdict = trial::verdict(cpu);
    if let Some(scratch) = &scratch {
        storage.direct_io = trial::direct_io(scratch.path(), verdict.can_run.then_some(cpu));
    }
    let report = Report {
        schema_version: SCHEMA_VERSION,
        glommio_version: env!("CARGO_PKG_VERSION").to_string(),
        findings: findings::of(&system, &storage, cfg!(debug_assertions)),
        verdict,
        system,
        storage,
        benchmarks: None,
    };
    Ok((report, scratch))
}
