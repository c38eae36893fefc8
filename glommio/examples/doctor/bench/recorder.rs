//! Latency histograms and counts of one executor, and their sum over several.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::model::{LatencySummary, Measured};

/// Latencies above this are recorded as this.
const MAX_LATENCY_NS: u64 = 600_000_000_000;
/// Significant decimal digits of a percentile.
const PRECISION_DIGITS: u8 = 3;

/// What one executor measures while a step runs.
pub struct Recorder {
    histogram: Histogram<u64>,
    operations: u64,
    operations_per_sample: u64,
    bytes: u64,
    started: Instant,
}

/// What one executor has measured.
pub struct Sample {
    histogram: Histogram<u64>,
    operations: u64,
    operations_per_sample: u64,
    bytes: u64,
    elapsed: Duration,
}

impl Recorder {
    /// Starts the clock. Each call of [`record`](Self::record) will stand for
    /// `operations_per_sample` operations.
    pub fn start(operations_per_sample: u64) -> Recorder {
        assert!(operations_per_sample > 0);
        Recorder {
            histogram: Histogram::new_with_max(MAX_LATENCY_NS, PRECISION_DIGITS)
                .expect("the bounds are valid constants"),
            operations: 0,
            operations_per_sample,
            bytes: 0,
            started: Instant::now(),
        }
    }

    /// Takes down one sample: the time its operations took together.
    pub fn record(&mut self, elapsed: Duration) {
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.histogram
            .saturating_record(elapsed_ns / self.operations_per_sample);
        self.operations += self.operations_per_sample;
    }

    /// Takes down one sample that moved `bytes` bytes.
    pub fn record_transfer(&mut self, elapsed: Duration, bytes: u64) {
        self.record(elapsed);
        self.bytes += bytes;
    }

    /// Stops the clock.
    pub fn finish(self) -> Sample {
        Sample {
            histogram: self.histogram,
            operations: self.operations,
            operations_per_sample: self.operations_per_sample,
            bytes: self.bytes,
            elapsed: self.started.elapsed(),
        }
    }
}

impl Sample {
    /// Adds up what the executors of one step did at the same time.
    ///
    /// Rates add up executor by executor, since each has its own clock; latencies are pooled.
    /// `None` when nothing was recorded.
    pub fn sum(samples: &[Sample]) -> Option<Measured> {
        let first = samples.first()?;
        let mut pooled = Histogram::new_from(&first.histogram);
        for sample in samples {
            pooled
                .add(&sample.histogram)
                .expect("all histograms have the same bounds");
        }
        if pooled.is_empty() {
            return None;
        }
        let rate = |count: fn(&Sample) -> u64| -> f64 {
            samples
                .iter()
                .map(|s| count(s) as f64 / s.elapsed.as_secs_f64())
                .sum()
        };
        let bytes_per_s = rate(|s| s.bytes);
        Some(Measured {
            operations: samples.iter().map(|s| s.operations).sum(),
            elapsed_s: samples
                .iter()
                .map(|s| s.elapsed.as_secs_f64())
                .fold(0.0, f64::max),
            operations_per_s: rate(|s| s.operations),
            bytes_per_s: (bytes_per_s > 0.0).then_some(bytes_per_s),
            latency: LatencySummary {
                operations_per_sample: first.operations_per_sample,
                samples: pooled.len(),
                mean_ns: pooled.mean(),
                p50_ns: pooled.value_at_quantile(0.5),
                p99_ns: pooled.value_at_quantile(0.99),
                p999_ns: pooled.value_at_quantile(0.999),
                max_ns: pooled.max(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(latencies_us: &[u64], bytes_each: u64, elapsed: Duration) -> Sample {
        let mut recorder = Recorder::start(1);
        for &us in latencies_us {
            recorder.record_transfer(Duration::from_micros(us), bytes_each);
        }
        Sample {
            elapsed,
            ..recorder.finish()
        }
    }

    #[test]
    fn percentiles_are_those_of_the_recorded_latencies() {
        let latencies: Vec<u64> = (1..=1000).collect();
        let measured = Sample::sum(&[sample(&latencies, 0, Duration::from_secs(1))]).unwrap();
        let near =
            |value: u64, expected_us: u64| value.abs_diff(expected_us * 1000) < expected_us * 2;
        assert!(near(measured.latency.p50_ns, 500), "{measured:?}");
        assert!(near(measured.latency.p99_ns, 990), "{measured:?}");
        assert!(near(measured.latency.p999_ns, 999), "{measured:?}");
        assert_eq!(measured.latency.samples, 1000);
        assert_eq!(measured.bytes_per_s, None);
    }

    #[test]
    fn executors_that_ran_at_the_same_time_add_their_rates() {
        let fast = sample(&[10; 300], 4096, Duration::from_secs(1));
        let slow = sample(&[20; 100], 4096, Duration::from_secs(2));
        let measured = Sample::sum(&[fast, slow]).unwrap();
        assert_eq!(measured.operations, 400);
        assert_eq!(measured.operations_per_s, 350.0);
        assert_eq!(measured.bytes_per_s, Some(350.0 * 4096.0));
        assert_eq!(measured.elapsed_s, 2.0);
    }

    #[test]
    fn a_batch_counts_its_operations_and_records_their_mean() {
        let mut recorder = Recorder::start(64);
        recorder.record(Duration::from_nanos(6400));
        let measured = Sample::sum(&[recorder.finish()]).unwrap();
        assert_eq!(measured.operations, 64);
        assert_eq!(measured.latency.p50_ns, 100);
        assert_eq!(measured.latency.operations_per_sample, 64);
    }

    #[test]
    fn a_latency_beyond_the_histogram_is_capped_not_lost() {
        let mut recorder = Recorder::start(1);
        recorder.record(Duration::MAX);
        let measured = Sample::sum(&[recorder.finish()]).unwrap();
        assert_eq!(measured.latency.samples, 1);
        assert!(measured.latency.max_ns >= MAX_LATENCY_NS);
    }

    #[test]
    fn nothing_recorded_is_no_measurement() {
        assert_eq!(Sample::sum(&[]), None);
        assert_eq!(Sample::sum(&[Recorder::start(1).finish()]), None);
    }
}
