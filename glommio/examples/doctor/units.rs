//! Numbers as people read them: three significant digits and a unit.

use std::time::Duration;

const BINARY_PREFIXES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
const DECIMAL_PREFIXES: [&str; 4] = ["", "k", "M", "G"];

/// A size in binary units: `8 MiB`, `1.5 KiB`.
pub fn bytes(count: u64) -> String {
    let (value, prefix) = scale(count as f64, 1024.0, &BINARY_PREFIXES);
    format!("{} {prefix}", without_trailing_zeros(&three_digits(value)))
}

/// A data rate in binary units: `1.52 GiB/s`.
pub fn bytes_per_second(rate: f64) -> String {
    let (value, prefix) = scale(rate, 1024.0, &BINARY_PREFIXES);
    format!("{} {prefix}/s", three_digits(value))
}

/// A rate of operations in decimal units: `107 k/s`.
pub fn per_second(rate: f64) -> String {
    let (value, prefix) = scale(rate, 1000.0, &DECIMAL_PREFIXES);
    format!("{} {prefix}/s", three_digits(value))
}

/// A latency given in nanoseconds: `37 ns`, `12.4 µs`, `1.06 ms`.
pub fn latency_ns(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    if nanoseconds < 1_000 {
        return format!("{nanoseconds} ns");
    }
    let (scaled, prefix) = scale(value / 1e3, 1000.0, &["µs", "ms", "s"]);
    format!("{} {prefix}", three_digits(scaled))
}

/// A duration in seconds without needless digits: `2 s`, `0.25 s`.
pub fn seconds(duration: Duration) -> String {
    format!(
        "{} s",
        without_trailing_zeros(&format!("{:.3}", duration.as_secs_f64()))
    )
}

/// `1 CPU`, `2 CPUs`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// CPU numbers the way the kernel writes them: `0-3,8`; `none` if there is none.
pub fn number_ranges(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let ranges = sorted
        .chunk_by(|a, b| a + 1 == *b)
        .map(|range| match *range {
            [only] => only.to_string(),
            _ => format!("{}-{}", range[0], range[range.len() - 1]),
        });
    let text = ranges.collect::<Vec<_>>().join(",");
    if text.is_empty() {
        "none".to_string()
    } else {
        text
    }
}

/// Divides by `base` while the value would need more than three digits before the point.
fn scale<'a>(mut value: f64, base: f64, prefixes: &[&'a str]) -> (f64, &'a str) {
    let mut index = 0;
    while value >= 999.5 && index + 1 < prefixes.len() {
        value /= base;
        index += 1;
    }
    (value, prefixes[index])
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_use_binary_prefixes() {
        let sizes = [0, 512, 4096, 1536, 8 << 20, (252 << 30) + 1, u64::MAX];
        assert_eq!(
            sizes.map(bytes),
            [
                "0 B",
                "512 B",
                "4 KiB",
                "1.5 KiB",
                "8 MiB",
                "252 GiB",
                "16777216 TiB"
            ]
        );
    }

    #[test]
    fn rates_keep_three_digits() {
        let rates = [0.0, 7.0, 999.4, 999.9, 107_234.0, 6_700_000.0];
        assert_eq!(
            rates.map(per_second),
            [
                "0.00 /s", "7.00 /s", "999 /s", "1.00 k/s", "107 k/s", "6.70 M/s"
            ]
        );
        assert_eq!(bytes_per_second(1.5 * 1024.0 * 1024.0), "1.50 MiB/s");
    }

    #[test]
    fn latencies_go_from_nanoseconds_to_seconds() {
        let latencies = [0, 37, 999, 1_000, 12_444, 999_700, 1_060_000, 2_000_000_000];
        assert_eq!(
            latencies.map(latency_ns),
            [
                "0 ns", "37 ns", "999 ns", "1.00 µs", "12.4 µs", "1.00 ms", "1.06 ms", "2.00 s"
            ]
        );
    }

    #[test]
    fn durations_and_counts_read_naturally() {
        assert_eq!(seconds(Duration::from_secs(2)), "2 s");
        assert_eq!(seconds(Duration::from_millis(250)), "0.25 s");
        assert_eq!(plural(1, "CPU"), "1 CPU");
        assert_eq!(plural(2, "CPU"), "2 CPUs");
    }

    #[test]
    fn consecutive_numbers_are_ranges() {
        assert_eq!(number_ranges(&[]), "none");
        assert_eq!(number_ranges(&[5]), "5");
        assert_eq!(number_ranges(&[8, 2, 0, 1, 3, 10, 11]), "0-3,8,10-11");
    }
}
