//! The tests of glommio as a set of executables that runs anywhere: in a virtual machine with
//! another kernel, in a container, on a machine without cargo.
//!
//! ```console
//! $ cargo run -p glommio-tests -- build --static --out DIR    # once
//! $ DIR/glommio-tests run --dir ext4=/mnt/a --dir xfs=/mnt/b  # wherever DIR was copied to
//! ```
//!
//! Left out of the set are doc tests, which only rustdoc can build, and the executables that
//! `[package.metadata.glommio-tests]` in `glommio/Cargo.toml` lists as readers of the source tree.

mod collect;
mod plan;
mod process;
mod report;
mod run;
mod set;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use self::{
    plan::{PASSES, PassIn, Place},
    set::{Set, Test},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Collects the tests of glommio, and runs them on any kernel without cargo.
#[derive(Parser)]
#[command(name = "glommio-tests", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build every test executable and this program, and put them into a folder
    Build(collect::Options),
    /// List the tests of a set
    List(Chosen),
    /// Run the tests of a set, each in a process of its own
    Run(RunArgs),
}

/// Which tests of which set.
#[derive(Args)]
struct Chosen {
    /// The folder that `build` made [default: the one that this program lies in]
    #[arg(long, value_name = "DIR")]
    set: Option<PathBuf>,

    /// Only tests whose `executable::test` contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// No tests that end alike on every kernel
    #[arg(long)]
    only_kernel: bool,

    /// No tests whose `executable::test` contains this
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,
}

impl Chosen {
    fn set(&self) -> Result<Set> {
        match &self.set {
            Some(dir) => Set::open(dir),
            None => {
                let program = std::env::current_exe()?;
                Set::open(program.parent().ok_or("this program lies nowhere")?)
            }
        }
    }

    fn wants(&self, test: &Test) -> bool {
        if self.only_kernel && test.kernel_independent {
            return false;
        }
        let name = test.full_name();
        let named = |text: &String| name.contains(text.as_str());
        (self.filters.is_empty() || self.filters.iter().any(named)) && !self.skip.iter().any(named)
    }
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    chosen: Chosen,

    /// A folder for the files of the tests, best named after its file system: every test gets a
    /// fresh folder in it as TMPDIR. In the second and further ones run the tests that made files
    /// in the first
    #[arg(long = "dir", value_name = "[NAME=]DIR", value_parser = Place::parse)]
    places: Vec<Place>,

    /// The passes to make, each in every folder or in those that it names [default: all of them]
    #[arg(long = "pass", value_name = "PASS[@NAME,...]", value_parser = PassIn::parse)]
    passes: Vec<PassIn>,

    /// The tests that run at the same time [default: the number of CPUs]
    #[arg(long)]
    jobs: Option<std::num::NonZeroUsize>,

    /// How long one test may take, in seconds
    #[arg(long, default_value_t = 120)]
    time_limit: u64,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Build(options) => collect::build(&options).map(|()| true),
        Command::List(chosen) => list(&chosen).map(|()| true),
        Command::Run(args) => run(args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("glommio-tests: {error}");
            ExitCode::from(2)
        }
    }
}

fn list(chosen: &Chosen) -> Result<()> {
    let set = chosen.set()?;
    for test in set.tests()? {
        if chosen.wants(&test) {
            println!("{}", test.full_name());
        }
    }
    println!("{}", set.left_out());
    Ok(())
}

/// Runs the tests; whether none failed.
fn run(args: RunArgs) -> Result<bool> {
    let set = args.chosen.set()?;
    let mut tests = set.tests()?;
    tests.retain(|test| args.chosen.wants(test));
    if tests.is_empty() {
        return Err("no test has such a name".into());
    }
    let settings = run::Settings {
        places: match args.places {
            places if places.is_empty() => vec![Place::temporary()],
            places => places,
        },
        passes: match args.passes {
            passes if passes.is_empty() => PASSES.map(PassIn::everywhere).to_vec(),
            passes => passes,
        },
        jobs: match args.jobs {
            Some(jobs) => jobs,
            None => std::thread::available_parallelism()?,
        },
        time_limit: Duration::from_secs(args.time_limit),
    };
    let mut report = report::Report::new(io::stdout());
    run::run(&set, &tests, &settings, &mut report)?;
    report.finish(&set.left_out())?;
    Ok(report.all_passed())
}
