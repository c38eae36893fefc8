//! What is printed: a line per test, the output of failures, and the sums.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::process::Outcome;

/// How many lines of a failed test are shown, counted from its end.
const SHOWN_LINES: usize = 150;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    fn line(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

pub struct Report<W> {
    out: W,
    total: Counts,
    here: Counts,
    failures: Vec<String>,
    skips: Vec<(String, usize)>,
}

impl<W: Write> Report<W> {
    pub fn new(out: W) -> Report<W> {
        Report {
            out,
            total: Counts::default(),
            here: Counts::default(),
            failures: Vec::new(),
            skips: Vec::new(),
        }
    }

    pub fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A test ended. `suite` is the pass and the place.
    pub fn test(
        &mut self,
        suite: &str,
        name: &str,
        outcome: &Outcome,
        took: Duration,
    ) -> io::Result<()> {
        let seconds = took.as_secs_f64();
        match outcome {
            Outcome::Passed => {
                self.here.passed += 1;
                writeln!(self.out, "PASS [{seconds:8.3}s] {suite} {name}")?;
            }
            Outcome::Skipped(reason) => {
                self.here.skipped += 1;
                match self.skips.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, times)) => *times += 1,
                    None => self.skips.push((reason.clone(), 1)),
                }
                writeln!(self.out, "SKIP [{seconds:8.3}s] {suite} {name}: {reason}")?;
            }
            Outcome::Failed { how, output } => {
                self.here.failed += 1;
                self.failures.push(format!("{suite} {name}: {how}"));
                writeln!(self.out, "FAIL [{seconds:8.3}s] {suite} {name}: {how}")?;
                let lines: Vec<&str> = output.lines().collect();
                let hidden = lines.len().saturating_sub(SHOWN_LINES);
                if hidden > 0 {
                    writeln!(self.out, "    ({hidden} lines before)")?;
                }
                for line in &lines[hidden..] {
                    writeln!(self.out, "    {line}")?;
                }
            }
        }
        self.out.flush()
    }

    /// All tests of `suite` have ended.
    pub fn suite(&mut self, suite: &str, took: Duration) -> io::Result<()> {
        let here = std::mem::take(&mut self.here);
        self.total.passed += here.passed;
        self.total.failed += here.failed;
        self.total.skipped += here.skipped;
        let seconds = took.as_secs_f64();
        self.say(&format!("{suite}: {} in {seconds:.1} s", here.line()))
    }

    /// Everything has ended. The last line is `N passed, N failed, N skipped`.
    pub fn finish(&mut self, left_out: &str) -> io::Result<()> {
        writeln!(self.out, "{left_out}")?;
        for (reason, times) in &self.skips {
            writeln!(self.out, "skipped {times} times: {reason}")?;
        }
        for failure in &self.failures {
            writeln!(self.out, "failed: {failure}")?;
        }
        let line = self.total.line();
        self.say(&line)
    }

    pub fn all_passed(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(outcomes: &[Outcome]) -> (String, bool) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        for outcome in outcomes {
            let took = Duration::from_millis(1500);
            report
                .test("full@ext4", "timer::late", outcome, took)
                .unwrap();
        }
        report.suite("full@ext4", Duration::from_secs(9)).unwrap();
        report.finish("not in the set: readme").unwrap();
        let all_passed = report.all_passed();
        (String::from_utf8(out).unwrap(), all_passed)
    }

    #[test]
    fn the_last_line_has_the_sums() {
        let failed = Outcome::Failed {
            how: "exit code 101".to_owned(),
            output: "panicked at".to_owned(),
        };
        let skipped = Outcome::Skipped("no disk".to_owned());
        let (text, all_passed) = printed(&[Outcome::Passed, skipped, failed]);
        let expected = "\
PASS [   1.500s] full@ext4 timer::late
SKIP [   1.500s] full@ext4 timer::late: no disk
FAIL [   1.500s] full@ext4 timer::late: exit code 101
    panicked at
full@ext4: 1 passed, 1 failed, 1 skipped in 9.0 s
not in the set: readme
skipped 1 times: no disk
failed: full@ext4 timer::late: exit code 101
1 passed, 1 failed, 1 skipped
";
        assert_eq!(text, expected);
        assert!(!all_passed);
        assert!(printed(&[Outcome::Passed]).1);
    }

    #[test]
    fn of_a_long_output_the_end_is_shown() {
        let output = (0..1000).map(|n| format!("line {n}\n")).collect();
        let how = "exit code 1".to_owned();
        let (text, _) = printed(&[Outcome::Failed { how, output }]);
        assert!(text.contains("(850 lines before)") && text.contains("    line 999\n"));
        assert!(!text.contains("line 849\n"));
    }
}
