//! The table of measurements.

use comfy_table::CellAlignment;

use super::layout::{heading, lines, never_wrap, paragraph, table};
use crate::model::{BenchmarkResult, Benchmarks, Measured};
use crate::units::{bytes_per_second, latency_ns, number_ranges, per_second, seconds};

const HEADER: [&str; 7] = ["measurement", "CPUs", "rate", "data", "p50", "p99", "p99.9"];
/// Columns that hold numbers.
const NUMBERS: std::ops::RangeInclusive<usize> = 2..=6;

pub fn section(benchmarks: &Benchmarks, width: usize) -> String {
    let duration = std::time::Duration::from_secs_f64(benchmarks.seconds_per_step);
    let mut rows = table(&HEADER, width);
    never_wrap(&mut rows, 1..=6);
    for column in NUMBERS {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for result in &benchmarks.results {
        rows.add_row(row(result));
    }
    let mut out = heading(&format!("Measurements, {} each", seconds(duration)));
    out.push_str(&lines(&rows));
    out.push_str(&notes(benchmarks, width));
    out
}

fn row(result: &BenchmarkResult) -> [String; 7] {
    let cpus = number_ranges(&result.cpus);
    let Some(measured) = &result.measured else {
        let [rate, data, p50, p99, p999] = ["failed", "", "", "", ""].map(String::from);
        return [result.title.clone(), cpus, rate, data, p50, p99, p999];
    };
    let mark = if is_batched(measured) { " *" } else { "" };
    [
        format!("{}{mark}", result.title),
        cpus,
        per_second(measured.operations_per_s),
        measured
            .bytes_per_s
            .map(bytes_per_second)
            .unwrap_or_default(),
        latency_ns(measured.latency.p50_ns),
        latency_ns(measured.latency.p99_ns),
        latency_ns(measured.latency.p999_ns),
    ]
}

fn is_batched(measured: &Measured) -> bool {
    measured.latency.operations_per_sample > 1
}

fn notes(benchmarks: &Benchmarks, width: usize) -> String {
    let mut out = String::new();
    let measured = benchmarks
        .results
        .iter()
        .filter_map(|result| result.measured.as_ref());
    if let Some(batched) = measured.into_iter().find(|measured| is_batched(measured)) {
        let batch = batched.latency.operations_per_sample;
        let text = format!("percentiles of the mean of {batch} in a row");
        out.push_str(&paragraph("* ", &text, width));
    }
    for result in &benchmarks.results {
        if let Some(error) = &result.error {
            let text = format!("{} failed: {error}", result.title);
            out.push_str(&paragraph("! ", &text, width));
        }
    }
    if benchmarks.interrupted {
        out.push_str(&paragraph(
            "! ",
            "interrupted: the other measurements are missing",
            width,
        ));
    }
    out
}
