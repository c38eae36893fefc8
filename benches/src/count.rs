//! System calls per operation.
//!
//! A count does not depend on the weather. Each workload runs twice in a fresh process, once with
//! three times as many operations; the difference belongs to the operations alone, without start-up and
//! end. `perf stat` counts at full speed; `strace -f -c` needs no tracepoints, but slows every call
//! down, so that loaded servers batch more than they would.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Workload;
use crate::contender::Contender;
use crate::runner::{Amount, Runner};

/// The program that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `perf stat` with tracepoints; needs root or a lowered `kernel.perf_event_paranoid`.
    Perf,
    /// `strace -f -c`.
    Strace,
}

/// How often a workload makes each system call.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// All calls per operation.
    pub total: f64,
    /// Calls per operation by name, most frequent first, without those below 0.0005.
    pub by_name: Vec<(String, f64)>,
}

// Opening a tracepoint takes perf tens of milliseconds, so not all of them; the rest is the difference
// to the total.
const NAMED: [&str; 12] = [
    "io_uring_enter",
    "io_uring_register",
    "read",
    "write",
    "pread64",
    "recvfrom",
    "sendto",
    "epoll_wait",
    "futex",
    "timerfd_settime",
    "clock_gettime",
    "sched_yield",
];

impl Counter {
    /// `perf` if it works here, else `strace`; `None` if neither does.
    pub fn available() -> Option<Self> {
        [Counter::Perf, Counter::Strace]
            .into_iter()
            .find(|counter| counter.works())
    }

    /// Whether the program is installed and allowed.
    pub fn works(self) -> bool {
        let arguments: &[&str] = match self {
            Counter::Perf => &["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"],
            Counter::Strace => &["strace", "-c", "true"],
        };
        Command::new(arguments[0])
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn command(self, into: &Path) -> Vec<OsString> {
        let mut command: Vec<OsString> = match self {
            Counter::Perf => {
                let mut events = String::from("raw_syscalls:sys_enter");
                for name in NAMED {
                    events.push_str(&format!(",syscalls:sys_enter_{name}"));
                }
                vec![
                    "perf".into(),
                    "stat".into(),
                    "-x,".into(),
                    "-e".into(),
                    events.into(),
                ]
            }
            Counter::Strace => vec!["strace".into(), "-f".into(), "-c".into(), "-q".into()],
        };
        command.extend(["-o".into(), into.into()]);
        if self == Counter::Perf {
            command.push("--".into());
        }
        command
    }

    fn parse(self, report: &str) -> io::Result<Vec<(String, u64)>> {
        let calls: Vec<(String, u64)> = match self {
            Counter::Perf => report.lines().filter_map(perf_line).collect(),
            Counter::Strace => report.lines().filter_map(strace_line).collect(),
        };
        if calls.iter().any(|(name, _)| name == TOTAL) {
            Ok(calls)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the counter's report has no total",
            ))
        }
    }
}

const TOTAL: &str = "total";

// count,unit,event,run time,percentage
fn perf_line(line: &str) -> Option<(String, u64)> {
    let mut fields = line.split(',');
    let count = fields.next()?.parse().ok()?;
    let event = fields.nth(1)?;
    let name = match event.strip_prefix("syscalls:sys_enter_") {
        Some(name) => name,
        None if event == "raw_syscalls:sys_enter" => TOTAL,
        None => return None,
    };
    Some((name.to_owned(), count))
}

// % time, seconds, usecs/call, calls, errors (may be absent), name
fn strace_line(line: &str) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (name, count) = (fields.last()?, fields.get(3)?);
    fields.first()?.parse::<f64>().ok()?;
    Some(((*name).to_owned(), count.parse().ok()?))
}

/// Counts the system calls of one workload of one contender. `runner.under` is ignored.
///
/// # Errors
///
/// If a run fails or the counter's report cannot be read.
pub fn count(
    counter: Counter,
    runner: &Runner,
    contender: &dyn Contender,
    workload: Workload,
) -> io::Result<Calls> {
    let report = std::env::temp_dir().join(format!("glommio-count-{}", std::process::id()));
    let mut runner = runner.clone();
    runner.under = counter.command(&report);
    let ops = match workload {
        Workload::Executor => 100,
        Workload::Sleeps => 2_000,
        Workload::Read { .. } | Workload::PingPong => 10_000,
        _ => 50_000,
    };
    let counted = |ops| {
        runner.round(contender, workload, Amount::Ops(ops))?;
        counter.parse(&fs::read_to_string(&report)?)
    };
    let (few, many) = (counted(ops)?, counted(ops * 3)?);
    fs::remove_file(&report)?;
    Ok(difference(&few, &many, ops * 2))
}

fn difference(few: &[(String, u64)], many: &[(String, u64)], ops: u64) -> Calls {
    let before = |name: &str| {
        few.iter()
            .find(|(other, _)| other == name)
            .map_or(0, |&(_, calls)| calls)
    };
    let mut calls = Calls {
        total: 0.0,
        by_name: Vec::new(),
    };
    for (name, count) in many {
        let per_op = count.saturating_sub(before(name)) as f64 / ops as f64;
        if name == TOTAL {
            calls.total = per_op;
        } else if per_op >= 0.0005 {
            calls.by_name.push((name.clone(), per_op));
        }
    }
    calls.by_name.sort_by(|a, b| b.1.total_cmp(&a.1));
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_perf_writes() {
        let report = "# started on Mon\n\n29,,raw_syscalls:sys_enter,648593,100.00,,\n\
                      7,,syscalls:sys_enter_io_uring_enter,648593,100.00,,\n";
        let calls = Counter::Perf.parse(report).unwrap();
        assert_eq!(
            calls,
            [("total".to_owned(), 29), ("io_uring_enter".to_owned(), 7)]
        );
        assert!(
            Counter::Perf
                .parse("<not supported>,,cycles,0,100.00,,")
                .is_err()
        );
    }

    #[test]
    fn reads_what_strace_writes() {
        let report = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      \u{20}91.00    0.000640           1       412           io_uring_enter\n\
                      \u{20} 9.00    0.000300          42         7         1 access\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.000940           2       419         1 total\n";
        let calls = Counter::Strace.parse(report).unwrap();
        let find = |name: &str| calls.iter().find(|(other, _)| other == name).unwrap().1;
        assert_eq!(
            (find("io_uring_enter"), find("access"), find("total")),
            (412, 7, 419)
        );
    }

    #[test]
    fn start_up_cancels_out() {
        let named = |total, enters| {
            vec![
                ("total".to_owned(), total),
                ("io_uring_enter".to_owned(), enters),
            ]
        };
        let calls = difference(&named(130, 100), &named(330, 300), 200);
        assert_eq!(calls.total, 1.0);
        assert_eq!(calls.by_name, [("io_uring_enter".to_owned(), 1.0)]);
    }
}
