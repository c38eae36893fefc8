//! One test in a process of its own, with a time limit.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    Result,
    plan::{Pass, Place},
    set::{Set, Test},
};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// It says that it can show nothing here, and why.
    Skipped(String),
    /// How it failed, and all that it printed.
    Failed {
        how: String,
        output: String,
    },
}

pub struct Ended {
    pub outcome: Outcome,
    pub took: Duration,
    /// Whether it made files in its folder.
    pub made_files: bool,
}

/// Runs `test` and waits for its end, or ends it after `limit`.
pub fn run(set: &Set, test: &Test, pass: Pass, place: &Place, limit: Duration) -> Result<Ended> {
    let scratch = place.scratch()?;
    let untouched = SystemTime::UNIX_EPOCH;
    File::open(scratch.path())?.set_modified(untouched)?;

    let mut output = tempfile::tempfile()?;
    let mut command = Command::new(set.program(&test.file));
    command
        .args(["--exact", &test.name, "--nocapture"])
        .env("TMPDIR", scratch.path())
        .env("INSTA_WORKSPACE_ROOT", set.source())
        .env("INSTA_UPDATE", "no")
        .env_remove("GLOMMIO_DISABLE")
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        // Whatever it starts ends with it.
        .process_group(0);
    if let Some(rungs) = pass.disable {
        command.env("GLOMMIO_DISABLE", rungs);
    }

    let start = Instant::now();
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("{}: {error}", test.full_name()))?;
    let ended = wait(&mut child, start + limit)?;
    let took = start.elapsed();

    let made_files = fs::metadata(scratch.path()).map_or(true, |dir| {
        dir.modified()
            .map_or(true, |modified| modified != untouched)
    });
    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let outcome = match ended {
        Wait::Ended(status) => judge(status, text),
        Wait::TimedOut(stuck) => Outcome::Failed {
            how: format!("not done after {} s", limit.as_secs()),
            output: text + &stuck,
        },
    };
    Ok(Ended {
        outcome,
        took,
        made_files,
    })
}

enum Wait {
    Ended(ExitStatus),
    /// With a description of where its threads were.
    TimedOut(String),
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Wait> {
    let group = Pid::from_raw(child.id() as i32);
    let mut pause = Duration::from_millis(1);
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Wait::Ended(status);
        }
        if Instant::now() >= deadline {
            break Wait::TimedOut(threads_of(child.id()));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    // ESRCH where nobody is left of it.
    let _ = killpg(group, Signal::SIGKILL);
    child.wait()?;
    Ok(ended)
}

/// In which system call of the kernel each thread of a process waits.
fn threads_of(process: u32) -> String {
    let tasks = format!("/proc/{process}/task");
    let mut text = String::from("\nits threads, where they wait, and their system calls:\n");
    let Ok(threads) = fs::read_dir(&tasks) else {
        return text + "  unknown\n";
    };
    for thread in threads.flatten() {
        let read = |file: &str| {
            let text = fs::read_to_string(thread.path().join(file));
            text.unwrap_or_default().trim().to_owned()
        };
        text += &format!(
            "  {}: {} ({})\n",
            read("comm"),
            read("wchan"),
            read("syscall")
        );
    }
    text
}

/// What the end of the test's process says, and what it printed.
fn judge(status: ExitStatus, output: String) -> Outcome {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => String::new(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    };
    if !how.is_empty() {
        return Outcome::Failed { how, output };
    }
    let result = output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("test result: ok. "));
    match result {
        Some(counts) if counts.starts_with("1 passed;") => match skip_reason(&output) {
            Some(reason) => Outcome::Skipped(reason.to_owned()),
            None => Outcome::Passed,
        },
        Some(counts) if counts.contains(" 1 ignored;") => {
            Outcome::Skipped("marked as ignored".to_owned())
        }
        _ => Outcome::Failed {
            how: "it did not run".to_owned(),
            output,
        },
    }
}

/// A test that can show nothing on this machine prints `skipped: ` and why, and returns.
fn skip_reason(output: &str) -> Option<&str> {
    output.lines().find_map(|line| {
        // With one thread, the harness has begun the line with the name of the test.
        let said = match line.strip_prefix("test ") {
            Some(rest) => rest.split_once(" ... ")?.1,
            None => line,
        };
        said.strip_prefix("skipped: ").map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out";

    fn judged(wait_status: i32, output: &str) -> Outcome {
        judge(ExitStatus::from_raw(wait_status), output.to_owned())
    }

    #[test]
    fn a_pass_is_a_clean_exit_of_one_test() {
        assert_eq!(judged(0, OK), Outcome::Passed);
        for output in ["", "test result: ok. 0 passed; 0 failed; 0 ignored;"] {
            assert!(
                matches!(judged(0, output), Outcome::Failed { how, .. } if how == "it did not run")
            );
        }
    }

    #[test]
    fn a_failure_says_how_the_process_ended() {
        let how = |wait_status| match judged(wait_status, OK) {
            Outcome::Failed { how, .. } => how,
            other => panic!("{other:?}"),
        };
        assert_eq!(how(101 << 8), "exit code 101");
        assert_eq!(how(6), "killed by SIGABRT");
    }

    #[test]
    fn a_skip_is_a_pass_with_a_reason() {
        for line in ["skipped: no disk", "test a::b ... skipped: no disk"] {
            let output = format!("running 1 test\n{line}\nok\n{OK}");
            assert_eq!(judged(0, &output), Outcome::Skipped("no disk".to_owned()));
        }
        let ignored = "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured";
        assert!(matches!(judged(0, ignored), Outcome::Skipped(_)));
        assert_eq!(
            judged(0, &format!("was it skipped: no\n{OK}")),
            Outcome::Passed
        );
    }

    #[test]
    fn a_process_that_does_not_end_is_ended_with_all_it_started() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let limit = Instant::now() + Duration::from_millis(50);
        let Wait::TimedOut(stuck) = wait(&mut child, limit).unwrap() else {
            panic!("it ended by itself");
        };
        assert!(stuck.contains("sh: "), "{stuck}");
        let group = Pid::from_raw(child.id() as i32);
        let start = Instant::now();
        while killpg(group, None).is_ok() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "something is left"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}
