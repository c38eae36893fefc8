//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Longest step that is accepted, so that a slip of the finger does not run for a week.
const MAX_STEP_SECONDS: f64 = 3600.0;

/// Check whether this machine can run glommio, and measure how fast.
///
/// Reports the kernel, the io_uring features that are missing and what their absence costs, the
/// limits that apply to this process, the CPUs and a directory's storage. Then runs executors for
/// a few seconds and prints throughput and latency.
///
/// Exits with 0 when everything worked, with 1 when glommio cannot run here, when the directory
/// cannot be used or when a measurement failed, with 130 when interrupted.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "doctor", version = env!("CARGO_PKG_VERSION"), max_term_width = 100)]
pub struct Args {
    /// Directory whose storage is examined and measured.
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    pub dir: PathBuf,

    /// Duration of each measurement, in seconds (fractions are allowed).
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub seconds: Duration,

    /// Print one JSON document instead of tables; the field names are stable and carry units.
    #[arg(long)]
    pub json: bool,

    /// Report the system and the directory, measure nothing.
    #[arg(long)]
    pub no_bench: bool,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_string())?;
    if !(seconds > 0.0 && seconds <= MAX_STEP_SECONDS) {
        return Err(format!(
            "must be more than 0 and at most {MAX_STEP_SECONDS}"
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["doctor"], arguments].concat())
    }

    #[test]
    fn command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_measure_the_current_directory_for_two_seconds_a_step() {
        let expected = Args {
            dir: PathBuf::from("."),
            seconds: Duration::from_secs(2),
            json: false,
            no_bench: false,
        };
        assert_eq!(parse(&[]).unwrap(), expected);
    }

    #[test]
    fn seconds_may_be_fractions() {
        let args = parse(&["--seconds", "0.25"]).unwrap();
        assert_eq!(args.seconds, Duration::from_millis(250));
    }

    #[test]
    fn unusable_durations_are_refused() {
        for text in ["0", "-1", "NaN", "inf", "1e9", "two", ""] {
            let argument = format!("--seconds={text}");
            assert!(parse(&[&argument]).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn help_text() {
        insta::assert_snapshot!(Args::command().term_width(80).render_long_help());
    }
}
