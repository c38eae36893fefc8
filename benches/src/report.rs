//! Medians, ratios and the table.

use std::fmt::Write;

use crate::{Sample, Workload};

/// The contender that the others are compared with.
const BASE: &str = "raw";

/// What one round measured.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Operations, time and CPU time.
    pub sample: Sample,
    /// Resident memory of the measured process at the end, in KiB.
    pub resident_kib: u64,
}

/// All rounds of one contender in one workload.
#[derive(Clone, Debug)]
pub struct Series {
    /// The workload.
    pub workload: Workload,
    /// The contender's name.
    pub contender: &'static str,
    /// Its rounds, in the order in which they ran.
    pub rounds: Vec<Round>,
}

/// Smallest, middle and largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The one in the middle, or the mean of the two.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Sorts the numbers and picks; `None` if there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        };
        Some(Self { min, median, max })
    }
}

impl Series {
    /// The cost by which the workload is judged: nanoseconds per operation, of the wall or of the CPU.
    pub fn cost_ns(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| {
            if self.workload.judged_by_cpu() {
                round.sample.cpu_ns_per_op()
            } else {
                round.sample.ns_per_op()
            }
        }))
    }

    /// CPU nanoseconds per operation.
    pub fn cpu_ns(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.sample.cpu_ns_per_op()))
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.resident_kib as f64))
    }
}

/// How much faster `series` is than `base` in the same workload: 1.1 is ten percent faster.
pub fn speed_ratio(series: &Series, base: &Series) -> Option<f64> {
    Some(base.cost_ns()?.median / series.cost_ns()?.median)
}

/// The series of `contender` in `workload`.
pub fn find<'a>(all: &'a [Series], workload: Workload, contender: &str) -> Option<&'a Series> {
    all.iter()
        .find(|series| series.workload == workload && series.contender == contender)
}

/// The workloads that occur, in the order of their first series.
pub fn workloads(all: &[Series]) -> Vec<Workload> {
    let mut seen = Vec::new();
    for series in all {
        if !seen.contains(&series.workload) {
            seen.push(series.workload);
        }
    }
    seen
}

/// A Markdown table with one row per workload and contender, and ratios to `raw`.
pub fn table(all: &[Series]) -> String {
    let mut out = String::from(
        "| workload | contender | median | min | max | per second | × raw | CPU per op | RSS |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for workload in workloads(all) {
        let base = find(all, workload, BASE);
        for series in all.iter().filter(|series| series.workload == workload) {
            let (Some(cost), Some(cpu), Some(resident)) =
                (series.cost_ns(), series.cpu_ns(), series.resident_kib())
            else {
                continue;
            };
            let ratio = base
                .and_then(|base| speed_ratio(series, base))
                .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            writeln!(
                out,
                "| {workload} | {} | {} | {} | {} | {} | {ratio} | {} | {:.1} MiB |",
                series.contender,
                nanoseconds(cost.median),
                nanoseconds(cost.min),
                nanoseconds(cost.max),
                quantity(1e9 / cost.median),
                nanoseconds(cpu.median),
                resident.median / 1024.0,
            )
            .expect("a String takes everything");
        }
    }
    out
}

/// A duration with three digits and its unit.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{} ns", three_digits(ns)),
        ns if ns < 1e6 => format!("{} µs", three_digits(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", three_digits(ns / 1e6)),
        ns => format!("{} s", three_digits(ns / 1e9)),
    }
}

/// A count with three digits and its magnitude.
pub fn quantity(n: f64) -> String {
    match n {
        n if n < 1e3 => three_digits(n),
        n if n < 1e6 => format!("{} k", three_digits(n / 1e3)),
        n if n < 1e9 => format!("{} M", three_digits(n / 1e6)),
        n => format!("{} G", three_digits(n / 1e9)),
    }
}

fn three_digits(n: f64) -> String {
    let decimals = match n {
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    format!("{n:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn series(contender: &'static str, ns: &[u64]) -> Series {
        let rounds = ns
            .iter()
            .map(|&ns| Round {
                sample: Sample {
                    ops: 1,
                    wall: Duration::from_nanos(ns),
                    cpu: Duration::from_nanos(ns / 2),
                },
                resident_kib: 2048,
            })
            .collect();
        Series {
            workload: Workload::PingPong,
            contender,
            rounds,
        }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 3.0]),
            Some(Spread {
                min: 1.0,
                median: 2.5,
                max: 4.0
            })
        );
    }

    #[test]
    fn half_the_cost_is_twice_the_speed() {
        let base = series("raw", &[100, 120, 140]);
        let fast = series("raw-multishot", &[60]);
        assert_eq!(speed_ratio(&fast, &base), Some(2.0));
    }

    #[test]
    fn the_table_has_a_row_per_contender() {
        let all = [
            series("raw", &[1500, 1000, 2000]),
            series("raw-multishot", &[3000]),
        ];
        let table = table(&all);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows[0],
            "| ping-pong | raw | 1.50 µs | 1.00 µs | 2.00 µs | 667 k | 1.00 | 750 ns | 2.0 MiB |"
        );
        assert!(rows[1].contains("| 0.50 |"), "{}", rows[1]);
    }

    #[test]
    fn workloads_judged_by_cpu_compare_cpu_time() {
        let mut sleeps = series("raw", &[1000]);
        sleeps.workload = Workload::Sleeps;
        assert_eq!(sleeps.cost_ns().unwrap().median, 500.0);
    }
}
