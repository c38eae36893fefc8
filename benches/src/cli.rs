//! The comparison program: runs every workload for every contender in turn and prints what came out.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::contender::{self, Contender, Setting};
use crate::count::{Counter, count};
use crate::report::{self, Series};
use crate::runner::{self, Amount, Runner};
use crate::{Workload, host, svg};

/// Compares glommio with io_uring by hand and, in the package of `benches/peers`, with other runtimes.
///
/// Contenders take turns (A B C A B C …), each measurement in a fresh process. What counts is the
/// ratio of medians within one run: machines are noisy.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Args)]
struct Compare {
    /// Workloads to run, comma-separated; also `echo-<connections>x<bytes>` and `read-<depth>`.
    #[arg(short, long, value_delimiter = ',', value_name = "NAME")]
    workloads: Vec<Workload>,
    /// Contenders to run, comma-separated.
    #[arg(short, long, value_delimiter = ',', value_name = "NAME")]
    contenders: Vec<String>,
    /// Rounds; each runs every contender once.
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds per measurement.
    #[arg(short, long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    millis: u64,
    /// Writes a bar chart.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Counts system calls per operation instead of measuring time.
    #[arg(long)]
    count_syscalls: bool,
    /// What counts them [default: perf if it works here, else strace].
    #[arg(long, value_enum, requires = "count_syscalls")]
    counter: Option<CounterName>,
    /// CPUs to use: the contender on the first, client or counterpart on the last
    /// [default: the first two allowed].
    #[arg(long, value_delimiter = ',', value_name = "CPU")]
    cpus: Vec<usize>,
    /// Directory for the test file; its filesystem must do O_DIRECT [default: beside this program].
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Size of the test file in MiB.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    file_mib: u64,
    /// Nice value for client and contenders alike, against other load on the machine.
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
    /// Lets idle CPUs halt, as they do outside of benchmarks.
    #[arg(long)]
    no_spin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum CounterName {
    Perf,
    Strace,
}

#[derive(Subcommand)]
enum Role {
    /// Measures this process (started by the comparison).
    #[command(hide = true)]
    Measure {
        #[command(flatten)]
        child: ChildArgs,
        #[arg(long)]
        workload: Workload,
        #[arg(long, conflicts_with = "ops", required_unless_present = "ops")]
        millis: Option<u64>,
        #[arg(long)]
        ops: Option<u64>,
    },
    /// Serves echo connections (started by the comparison).
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        child: ChildArgs,
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        size: usize,
    },
}

#[derive(Args)]
struct ChildArgs {
    #[arg(long)]
    contender: String,
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    #[arg(long)]
    file: PathBuf,
}

impl ChildArgs {
    fn setting(&self) -> Setting {
        Setting {
            cpus: self.cpus.clone(),
            file: self.file.clone(),
        }
    }
}

/// Reads the command line and does what it says, with these contenders.
pub fn main(contenders: &[&'static dyn Contender]) -> ExitCode {
    let cli = Cli::parse();
    let find = |name: &str| contender::find(contenders, name);
    let result: Result<(), Box<dyn Error>> = match &cli.role {
        Some(Role::Measure {
            child,
            workload,
            millis,
            ops,
        }) => {
            let amount = match (millis, ops) {
                (_, Some(ops)) => Amount::Ops(*ops),
                (millis, None) => Amount::Time(Duration::from_millis(millis.unwrap_or(500))),
            };
            let output = &mut io::stdout().lock();
            find(&child.contender)
                .map_err(Into::into)
                .and_then(|contender| {
                    runner::measure(contender, *workload, amount, &child.setting(), output)
                        .map_err(Into::into)
                })
        }
        Some(Role::Serve {
            child,
            connections,
            size,
        }) => {
            let output = &mut io::stdout().lock();
            find(&child.contender)
                .map_err(Into::into)
                .and_then(|contender| {
                    runner::serve(contender, *connections, *size, &child.setting(), output)
                        .map_err(Into::into)
                })
        }
        None => compare(&cli.compare, contenders),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Compare, known: &[&'static dyn Contender]) -> Result<(), Box<dyn Error>> {
    let workloads = if options.workloads.is_empty() {
        Workload::ALL.to_vec()
    } else {
        options.workloads.clone()
    };
    let contenders = if options.contenders.is_empty() {
        known.to_vec()
    } else {
        let named = options.contenders.iter();
        named
            .map(|name| contender::find(known, name))
            .collect::<Result<_, _>>()?
    };
    let runner = prepare(options, &workloads)?;
    if options.count_syscalls {
        return count_all(options, &runner, &workloads, &contenders);
    }

    let _nice = match options.nice {
        Some(nice) => {
            let set = host::Nice::set(nice);
            Some(set.map_err(|error| format!("nice value {nice}: {error}"))?)
        }
        None => None,
    };
    let _spinners = if options.no_spin {
        None
    } else {
        Some(host::Spinners::start(&runner.setting.cpus)?)
    };
    if let Some(&cpu) = runner.setting.cpus.last() {
        host::pin(cpu)?;
    }
    let mut all = Vec::new();
    for &workload in &workloads {
        all.extend(alternate(options, &runner, workload, &contenders));
    }
    print!("{}", report::table(&all));
    if let Some(path) = &options.svg {
        fs::write(path, svg::chart(&all)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if all.is_empty() {
        Err("nothing was measured".into())
    } else {
        Ok(())
    }
}

fn prepare(options: &Compare, workloads: &[Workload]) -> Result<Runner, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let allowed = host::allowed_cpus();
    let cpus = if options.cpus.is_empty() {
        allowed.iter().copied().take(2).collect()
    } else {
        options.cpus.clone()
    };
    if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("CPU {cpu} is not one of those allowed here: {allowed:?}").into());
    }
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => program
            .parent()
            .ok_or("this program has no directory")?
            .to_owned(),
    };
    let file = dir.join("glommio-bench-data");
    if workloads
        .iter()
        .any(|workload| matches!(workload, Workload::Read { .. }))
    {
        host::written_file(&file, options.file_mib << 20)
            .map_err(|error| format!("test file {}: {error}", file.display()))?;
    }
    Ok(Runner {
        program,
        under: Vec::new(),
        setting: Setting { cpus, file },
    })
}

// One workload: all contenders in turn, as many times as there are rounds.
fn alternate(
    options: &Compare,
    runner: &Runner,
    workload: Workload,
    contenders: &[&'static dyn Contender],
) -> Vec<Series> {
    let amount = Amount::Time(Duration::from_millis(options.millis));
    let contenders: Vec<_> = contenders
        .iter()
        .filter(|contender| contender.takes(workload))
        .collect();
    let mut all: Vec<Series> = contenders
        .iter()
        .map(|contender| Series {
            workload,
            contender: contender.name(),
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=options.rounds {
        for (contender, series) in contenders.iter().zip(&mut all) {
            eprint!(
                "\r\x1b[K{workload}: round {round} of {}, {}",
                options.rounds, series.contender
            );
            let _ = io::stderr().flush();
            match runner.round(**contender, workload, amount) {
                Ok(round) => series.rounds.push(round),
                Err(error) => {
                    progress("");
                    eprintln!("{workload}: {error}");
                }
            }
        }
    }
    progress("");
    all.retain(|series| !series.rounds.is_empty());
    all
}

// Replaces the line on the terminal, if there is one.
fn progress(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        let _ = io::stderr().flush();
    }
}

fn count_all(
    options: &Compare,
    runner: &Runner,
    workloads: &[Workload],
    contenders: &[&'static dyn Contender],
) -> Result<(), Box<dyn Error>> {
    let counter = match options.counter {
        Some(CounterName::Perf) => Counter::Perf,
        Some(CounterName::Strace) => Counter::Strace,
        None => Counter::available().ok_or("neither perf nor strace works here")?,
    };
    if let Some(&cpu) = runner.setting.cpus.last() {
        host::pin(cpu)?;
    }
    println!("| workload | contender | system calls per operation | of which |\n|---|---|--:|---|");
    for &workload in workloads {
        for &contender in contenders
            .iter()
            .filter(|contender| contender.takes(workload))
        {
            let calls = match count(counter, runner, contender, workload) {
                Ok(calls) => calls,
                Err(error) => {
                    eprintln!("{workload}: {error}");
                    continue;
                }
            };
            let names: Vec<String> = calls
                .by_name
                .iter()
                .map(|(name, n)| format!("{name} {n:.3}"))
                .collect();
            println!(
                "| {workload} | {} | {:.3} | {} |",
                contender.name(),
                calls.total,
                names.join(", ")
            );
        }
    }
    Ok(())
}
