//! The progress bar, on standard error and only where somebody looks at it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::StepObserver;

/// Progress of all steps together, in milliseconds of measuring time.
pub struct Progress {
    bar: ProgressBar,
    step_ms: u64,
    finished_ms: u64,
}

impl Progress {
    /// A bar for `steps` steps of `step_duration` each. It stays invisible if `hidden`, and where
    /// standard error is not a terminal.
    pub fn new(steps: usize, step_duration: Duration, hidden: bool) -> Progress {
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let step_ms = u64::try_from(step_duration.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let length = step_ms.saturating_mul(steps as u64);
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let style = ProgressStyle::with_template("  measuring {bar:30} {percent:>3} %  {msg}");
        bar.set_style(style.expect("the template is valid").progress_chars("█▓░"));
        Progress {
            bar,
            step_ms,
            finished_ms: 0,
        }
    }

    /// Wipes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl StepObserver for Progress {
    fn step_started(&mut self, title: &str) {
        self.bar.set_message(title.to_string());
        self.bar.set_position(self.finished_ms);
    }

    fn time_passed(&mut self, in_step: Duration) {
        let in_step_ms = u64::try_from(in_step.as_millis()).unwrap_or(u64::MAX);
        self.bar
            .set_position(self.finished_ms + in_step_ms.min(self.step_ms));
    }

    fn step_finished(&mut self) {
        self.finished_ms += self.step_ms;
        self.bar.set_position(self.finished_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_follows_the_steps_and_never_runs_ahead() {
        let mut progress = Progress::new(2, Duration::from_secs(1), true);
        progress.step_started("first");
        progress.time_passed(Duration::from_millis(400));
        assert_eq!(progress.bar.position(), 400);
        progress.time_passed(Duration::from_secs(9));
        assert_eq!(progress.bar.position(), 1000);
        progress.step_finished();
        progress.step_started("second");
        progress.time_passed(Duration::from_millis(1));
        assert_eq!(progress.bar.position(), 1001);
        progress.step_finished();
        assert_eq!(progress.bar.position(), 2000);
        assert_eq!(progress.bar.length(), Some(2000));
    }
}
