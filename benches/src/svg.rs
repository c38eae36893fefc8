//! The bar chart: speed relative to `raw`, one group of bars per workload.

use std::fmt::Write;

use crate::Workload;
use crate::report::{Series, find, nanoseconds, workloads};

const WIDTH: f64 = 960.0;
const LABELS_WIDTH: f64 = 210.0;
const NUMBERS_WIDTH: f64 = 150.0;
const BAR_HEIGHT: f64 = 16.0;
const BAR_STEP: f64 = 20.0;
const TITLE_HEIGHT: f64 = 30.0;
const GROUP_GAP: f64 = 16.0;

// Told apart by most kinds of colour vision (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#7f7f7f", "#56b4e9", "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#b59f00",
];

/// Draws the series. A bar's length is `raw`'s median over its own, the whisker runs from its slowest
/// round to its fastest, and the number is the cost per operation.
pub fn chart(all: &[Series]) -> String {
    let mut body = String::new();
    let mut y = 44.0;
    let mut contenders = Vec::new();
    for series in all {
        if !contenders.contains(&series.contender) {
            contenders.push(series.contender);
        }
    }
    for workload in workloads(all) {
        y = group(&mut body, all, workload, &contenders, y);
    }
    let height = y + 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <style>text {{ fill: #222 }} .back {{ fill: #fff }} .line {{ stroke: #222 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .back {{ fill: #111 }} \
         .line {{ stroke: #ddd }} }}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\">Speed relative to io_uring by hand \
         (longer is faster)</text>\n{body}</svg>\n"
    )
}

// Draws one workload from `top` down and returns where the next begins.
fn group(
    body: &mut String,
    all: &[Series],
    workload: Workload,
    contenders: &[&str],
    top: f64,
) -> f64 {
    let members: Vec<&Series> = all
        .iter()
        .filter(|series| series.workload == workload)
        .collect();
    let base = find(all, workload, "raw").or(members.first().copied());
    let Some(base) = base.and_then(Series::cost_ns) else {
        return top;
    };
    let fastest = members
        .iter()
        .filter_map(|series| series.cost_ns())
        .map(|cost| base.median / cost.min)
        .fold(1.0, f64::max);
    let scale = (WIDTH - LABELS_WIDTH - NUMBERS_WIDTH) / fastest;

    text(
        body,
        16.0,
        top + 18.0,
        "start",
        &format!("{workload} (per {})", workload.unit()),
    );
    let mut y = top + TITLE_HEIGHT;
    for series in members {
        let Some(cost) = series.cost_ns() else {
            continue;
        };
        let length = base.median / cost.median * scale;
        let (slow, fast) = (
            base.median / cost.max * scale,
            base.median / cost.min * scale,
        );
        let middle = y + BAR_HEIGHT / 2.0;
        let colour = COLOURS[contenders
            .iter()
            .position(|&name| name == series.contender)
            .unwrap_or(0)
            % COLOURS.len()];
        text(body, LABELS_WIDTH - 8.0, y + 13.0, "end", series.contender);
        write!(
            body,
            "<rect x=\"{LABELS_WIDTH}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" \
             fill=\"{colour}\"/>\n\
             <line class=\"line\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\n",
            LABELS_WIDTH + slow,
            LABELS_WIDTH + fast,
        )
        .expect("a String takes everything");
        let label = format!(
            "{} · {:.2}",
            nanoseconds(cost.median),
            base.median / cost.median
        );
        text(
            body,
            LABELS_WIDTH + fast.max(length) + 8.0,
            y + 13.0,
            "start",
            &label,
        );
        y += BAR_STEP;
    }
    y + GROUP_GAP
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
    )
    .expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use crate::report::Round;
    use std::time::Duration;

    fn series(contender: &'static str, ns: u64) -> Series {
        let sample = Sample {
            ops: 1,
            wall: Duration::from_nanos(ns),
            cpu: Duration::ZERO,
        };
        let rounds = vec![Round {
            sample,
            resident_kib: 1,
        }];
        Series {
            workload: Workload::PingPong,
            contender,
            rounds,
        }
    }

    #[test]
    fn a_contender_at_half_the_speed_has_half_the_bar() {
        let svg = chart(&[series("raw", 100), series("raw-multishot", 200)]);
        let full = WIDTH - LABELS_WIDTH - NUMBERS_WIDTH;
        assert!(svg.contains(&format!("width=\"{full:.1}\"")), "{svg}");
        assert!(
            svg.contains(&format!("width=\"{:.1}\"", full / 2.0)),
            "{svg}"
        );
        assert!(svg.contains("ping-pong (per round trip)") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn every_opened_element_is_closed() {
        let svg = chart(&[series("raw", 100)]);
        for element in ["svg", "style", "text"] {
            let opened = svg.matches(&format!("<{element}")).count();
            assert_eq!(
                opened,
                svg.matches(&format!("</{element}>")).count(),
                "{element}"
            );
        }
    }
}
