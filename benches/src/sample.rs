//! One measurement: how many operations, how long, how much CPU.

use std::time::{Duration, Instant};

use crate::host;

/// What one run of a workload cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Operations done.
    pub ops: u64,
    /// Wall-clock time they took.
    pub wall: Duration,
    /// CPU time, user and system, that the measured process spent meanwhile.
    pub cpu: Duration,
}

impl Sample {
    /// Nanoseconds of wall-clock time per operation.
    pub fn ns_per_op(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.ops as f64
    }

    /// Nanoseconds of CPU time per operation.
    pub fn cpu_ns_per_op(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.ops as f64
    }
}

/// Times one run, by the wall and by the process's CPU clock.
#[derive(Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        // The CPU clock is a system call; read it outside the timed stretch.
        let cpu = host::process_cpu();
        Self {
            wall: Instant::now(),
            cpu,
        }
    }

    /// Stops, and says what `ops` operations cost.
    pub fn stop(self, ops: u64) -> Sample {
        let wall = self.wall.elapsed();
        Sample {
            ops,
            wall,
            cpu: host::process_cpu().saturating_sub(self.cpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_operation() {
        let sample = Sample {
            ops: 4,
            wall: Duration::from_nanos(100),
            cpu: Duration::from_nanos(20),
        };
        assert_eq!(sample.ns_per_op(), 25.0);
        assert_eq!(sample.cpu_ns_per_op(), 5.0);
    }

    #[test]
    fn a_busy_loop_costs_cpu_time() {
        let watch = Stopwatch::start();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(5) {
            std::hint::black_box(0);
        }
        let sample = watch.stop(1);
        assert!(sample.wall >= Duration::from_millis(5));
        assert!(sample.cpu > Duration::ZERO);
    }
}
