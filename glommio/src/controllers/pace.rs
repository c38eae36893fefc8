//! The controller proper: from how fast work is done, and how fast it should be, to shares.
//!
//! It is a PI controller in its incremental form, on logarithms: of the shares, and of the ratio of
//! the speed that is needed to the one that was seen. While a queue competes with others, its speed
//! grows with its shares, at most in proportion. On logarithms that is a straight line with a slope
//! between zero and one, so one pair of gains fits queues that need 2 shares and queues that need 800,
//! against any competition.
//!
//! The needed speed is that at which everything would be done in time if it were kept up from now
//! on. It grows when work falls behind, so the controller needs no memory of how far that is.

use std::time::Duration;

/// The range of shares.
const MOST: f64 = 1000.0;

/// The reaction to the error as it is: about six periods to come down to a tenth of it.
const INTEGRAL_GAIN: f64 = 0.4;

/// The reaction to a change of the error, which damps.
const PROPORTIONAL_GAIN: f64 = 0.3;

/// Errors beyond this (a factor of seven) count as this: one measurement is not to turn everything
/// upside down.
const MOST_ERROR: f64 = 2.0;

/// The weight of the newest measurement of the speed: work comes in lumps.
const NEWEST: f64 = 0.5;

/// The state of a controller.
#[derive(Debug)]
pub(super) struct Pace {
    /// Logarithm of the shares.
    level: f64,
    /// The error of the last adjustment since the last start.
    error: Option<f64>,
    /// Units per second.
    speed: Option<f64>,
}

impl Pace {
    /// With the smallest share.
    pub(super) fn new() -> Pace {
        Pace {
            level: 0.0,
            error: None,
            speed: None,
        }
    }

    /// Work begins after a pause: earlier measurements mean nothing any more. The shares stay.
    pub(super) fn start(&mut self) {
        self.error = None;
        self.speed = None;
    }

    /// Takes note of `done` units in `time`, of which there should be `needed` per second: infinitely
    /// many if it is too late.
    pub(super) fn adjust(&mut self, done: u64, time: Duration, needed: f64) {
        // More than enough is enough: a queue that was alone for a while, and fast, is to notice
        // soon that it is not any more.
        let enough = needed * MOST_ERROR.exp();
        let enough = if enough > 0.0 { enough } else { f64::INFINITY };
        let newest = (done as f64 / time.as_secs_f64()).min(enough);
        let speed = match self.speed {
            Some(before) => {
                let before = before.min(enough);
                before + NEWEST * (newest - before)
            }
            None => newest,
        };
        self.speed = Some(speed);
        if needed == f64::INFINITY {
            self.level = MOST.ln();
            self.error = Some(MOST_ERROR);
            return;
        }
        let error = match (needed > 0.0, speed > 0.0) {
            (true, true) => (needed / speed).ln().clamp(-MOST_ERROR, MOST_ERROR),
            (true, false) => MOST_ERROR,
            (false, _) => -MOST_ERROR,
        };
        let change = error - self.error.replace(error).unwrap_or(error);
        let level = self.level + INTEGRAL_GAIN * error + PROPORTIONAL_GAIN * change;
        // What cannot be acted upon is not added up either.
        self.level = level.clamp(0.0, MOST.ln());
    }

    /// From 1 to 1000.
    pub(super) fn shares(&self) -> usize {
        self.level.exp().round().clamp(1.0, MOST) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(250);

    /// Competes with others that have `rivals` shares; alone it would do `alone` units per second.
    fn settle(pace: &mut Pace, needed: f64, rivals: f64, alone: f64) -> Vec<f64> {
        let period = |_| {
            let shares = pace.shares() as f64;
            let speed = alone * shares / (shares + rivals);
            pace.adjust((speed * PERIOD.as_secs_f64()) as u64, PERIOD, needed);
            speed
        };
        (0..80).map(period).collect()
    }

    #[test]
    fn the_speed_settles_where_it_is_needed_whatever_the_rivals_have() {
        for rivals in [1.0, 100.0, 1000.0, 5000.0] {
            for part in [0.01, 0.1, 0.5, 0.9] {
                let (alone, needed) = (1e6, part * 1e6);
                let possible = alone * 1000.0 / (1000.0 + rivals);
                let least = alone / (1.0 + rivals);
                let mut pace = Pace::new();
                let speeds = settle(&mut pace, needed, rivals, alone);
                let expected = needed.clamp(least, possible);
                for speed in &speeds[40..] {
                    let ratio = speed / expected;
                    // One share more or less is much when there are few.
                    let step = 1.0 + 1.0 / pace.shares() as f64;
                    assert!(
                        (0.9 / step..1.1 * step).contains(&ratio),
                        "{part} against {rivals}: {ratio} with {} shares",
                        pace.shares()
                    );
                }
            }
        }
    }

    #[test]
    fn it_settles_again_when_the_rivals_change() {
        let mut pace = Pace::new();
        for rivals in [1000.0, 50.0, 2000.0] {
            let speeds = settle(&mut pace, 1e5, rivals, 1e6);
            assert!(
                speeds[40..]
                    .iter()
                    .all(|speed| (0.8e5..1.2e5).contains(speed))
            );
            // It overshoots a little and does not swing.
            let most = speeds[20..].iter().copied().fold(0.0, f64::max);
            assert!(most < 1.3e5, "{most}");
        }
    }

    #[test]
    fn shares_stay_in_their_range_and_come_back_from_its_ends_at_once() {
        let mut pace = Pace::new();
        for _ in 0..1000 {
            pace.adjust(0, PERIOD, 100.0);
        }
        assert_eq!(pace.shares(), 1000);
        for _ in 0..3 {
            pace.adjust(1_000_000, PERIOD, 100.0);
        }
        assert!(pace.shares() < 300, "{}", pace.shares());
        for _ in 0..1000 {
            pace.adjust(1_000_000, PERIOD, 0.0);
        }
        assert_eq!(pace.shares(), 1);
        for _ in 0..8 {
            pace.adjust(0, PERIOD, 100.0);
        }
        assert!(pace.shares() > 10, "{}", pace.shares());
        pace.adjust(0, PERIOD, f64::INFINITY);
        assert_eq!(pace.shares(), 1000);
    }

    #[test]
    fn work_in_lumps_does_not_shake_the_shares() {
        let mut pace = Pace::new();
        // A thousand units every fourth period, 4000 per second in the mean at 100 shares.
        let mut due = 0.0;
        let mut seen = Vec::new();
        for period in 0..200 {
            let shares = pace.shares() as f64;
            due += 8000.0 * shares / (shares + 100.0) * PERIOD.as_secs_f64();
            let done = if period % 4 == 3 {
                std::mem::take(&mut due)
            } else {
                0.0
            };
            pace.adjust(done as u64, PERIOD, 4000.0);
            seen.push(shares);
        }
        let mean = seen[100..].iter().sum::<f64>() / 100.0;
        assert!((50.0..250.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_pause_is_not_taken_for_slowness() {
        let mut pace = Pace::new();
        settle(&mut pace, 1e5, 1000.0, 1e6);
        let shares = pace.shares();
        pace.start();
        assert_eq!(pace.shares(), shares);
        pace.adjust(25_000, PERIOD, 1e5);
        assert!(pace.shares().abs_diff(shares) <= 1);
    }
}
