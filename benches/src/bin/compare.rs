//! Runs every workload for glommio and for the kernel by hand, in turn, and prints what came out.

use std::process::ExitCode;

use glommio_benches::{cli, own};

fn main() -> ExitCode {
    cli::main(&own::contenders())
}
