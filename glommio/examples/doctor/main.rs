//! The tool a new user runs first: can this machine run glommio, what does it lack, how fast is it?
//!
//! ```text
//! cargo run --release --example doctor
//! cargo run --release --example doctor -- --dir /srv/data --seconds 5
//! cargo run --release --example doctor -- --json --no-bench
//! ```
//!
//! `docs/doctor.md` explains every line of the report.

mod bench;
mod cli;
mod findings;
mod interrupt;
mod model;
mod progress;
#[cfg(test)]
mod sample;
mod storage;
mod survey;
mod system;
mod text;
mod trial;
mod units;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use bench::Scratch;
use cli::Args;
use interrupt::Interrupt;
use model::Report;
use progress::Progress;

/// How it went, as the exit code tells.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Healthy = 0,
    Unhealthy = 1,
    /// By the convention of shells: 128 and the number of SIGINT.
    Interrupted = 130,
}

fn main() -> ExitCode {
    match examine_until_interrupted(&Args::parse()) {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(error) => {
            if !is_broken_pipe(&*error) {
                eprintln!("doctor: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn examine_until_interrupted(args: &Args) -> Result<Outcome, Box<dyn Error>> {
    let interrupt = Interrupt::default();
    interrupt.install()?;
    examine(args, &interrupt, &mut io::stdout())
}

/// Whoever closes standard output early, as `head` does, knows that there was more.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn examine(
    args: &Args,
    interrupt: &Interrupt,
    output: &mut dyn Write,
) -> Result<Outcome, Box<dyn Error>> {
    let width = text::page_width();
    let (mut report, scratch) = survey::take(args, interrupt)?;
    if !args.json {
        writeln!(output, "{}", text::survey(&report, width))?;
    }

    if let Some(scratch) = scratch.filter(|_| report.verdict.can_run && !args.no_bench) {
        measure(args, &mut report, &scratch, interrupt);
    }
    findings::after_measuring(&mut report);

    if args.json {
        serde_json::to_writer_pretty(&mut *output, &report).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        if let Some(benchmarks) = &report.benchmarks {
            writeln!(output, "{}", text::measurements(benchmarks, width))?;
        }
        write!(output, "{}", text::conclusion(&report, width))?;
    }

    Ok(match (interrupt.is_requested(), report.is_healthy()) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Healthy,
        (false, false) => Outcome::Unhealthy,
    })
}

fn measure(args: &Args, report: &mut Report, scratch: &Scratch, interrupt: &Interrupt) {
    let alignment = report.storage.direct_io.alignment_bytes;
    let steps = bench::plan(&report.system.topology, scratch, alignment);
    let mut progress = Progress::new(steps.len(), args.seconds, args.json);
    report.benchmarks = Some(bench::run(steps, args.seconds, interrupt, &mut progress));
    progress.clear();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn run(directory: &Path, options: &[&str]) -> (Result<Outcome, Box<dyn Error>>, String) {
        let directory = directory.to_str().unwrap();
        let arguments = [&["doctor", "--dir", directory], options].concat();
        let args = Args::parse_from(arguments);
        let mut output = Vec::new();
        let outcome = examine(&args, &Interrupt::default(), &mut output);
        (outcome, String::from_utf8(output).unwrap())
    }

    fn is_empty(directory: &Path) -> bool {
        directory.read_dir().unwrap().next().is_none()
    }

    /// Keeps the names of a document and hides its values; of lists of alike objects, it keeps one.
    fn redact(value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(redact),
            Value::Array(elements) => {
                elements.truncate(1);
                elements.iter_mut().for_each(redact);
            }
            leaf => *leaf = Value::from("[value]"),
        }
    }

    #[test]
    fn every_measurement_of_this_machine_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let (outcome, output) = run(directory.path(), &["--json", "--seconds", "0.05"]);
        let report: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(outcome.unwrap(), Outcome::Healthy, "{output}");
        assert!(is_empty(directory.path()), "the scratch file is left");

        let results = report["benchmarks"]["results"].as_array().unwrap();
        for result in results {
            assert!(result["error"].is_null(), "{result}");
            let measured = &result["measured"];
            for count in ["operations", "elapsed_s", "operations_per_s"] {
                assert!(
                    measured[count].as_f64().unwrap() > 0.0,
                    "{count} in {result}"
                );
            }
            let latency = ["p50_ns", "p99_ns", "p999_ns", "max_ns"]
                .map(|name| measured["latency"][name].as_u64().unwrap());
            assert!(latency.is_sorted(), "{result}");
        }
        let names: Vec<_> = results
            .iter()
            .map(|result| result["name"].as_str().unwrap())
            .collect();
        insta::assert_json_snapshot!("names_of_measurements", names);
    }

    #[test]
    fn json_of_this_machine_with_values_redacted() {
        let directory = tempfile::tempdir().unwrap();
        let (outcome, output) = run(directory.path(), &["--json", "--no-bench"]);
        assert_eq!(outcome.unwrap(), Outcome::Healthy, "{output}");
        assert!(is_empty(directory.path()), "the scratch file is left");
        let mut report: Value = serde_json::from_str(&output).unwrap();
        redact(&mut report);
        // Whether there are any depends on the machine.
        report["findings"] = Value::from("[findings]");
        report["storage"]["device"] = Value::from("[device]");
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn text_of_this_machine_has_all_sections_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (outcome, output) = run(directory.path(), &["--no-bench"]);
        assert_eq!(outcome.unwrap(), Outcome::Healthy, "{output}");
        let found = [
            "glommio doctor",
            "System",
            "Kernel ladder",
            "Storage of",
            "Conclusion",
        ]
        .map(|heading| {
            output
                .find(heading)
                .unwrap_or_else(|| panic!("{heading}: {output}"))
        });
        assert!(found.is_sorted(), "{output}");
        assert!(!output.contains("Measurements"), "{output}");
    }

    #[test]
    fn a_bad_directory_is_an_error_and_no_report() {
        let directory = tempfile::tempdir().unwrap();
        let (outcome, output) = run(&directory.path().join("missing"), &[]);
        assert!(outcome.unwrap_err().to_string().contains("does not exist"));
        assert_eq!(output, "");
    }

    #[test]
    fn a_reader_that_leaves_is_no_error_message() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&broken()));
        assert!(!is_broken_pipe(&io::Error::other("disk on fire")));
        let through_json = serde_json::Error::io(broken());
        assert!(is_broken_pipe(&io::Error::from(through_json)));
    }
}
