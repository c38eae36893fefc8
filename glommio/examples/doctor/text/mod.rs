//! The report for people: sections of facts and tables, 80 to 100 columns wide.

mod benchmarks;
mod ladder;
mod layout;
mod storage;
mod system;
mod verdict;

pub use layout::page_width;

use crate::model::{Benchmarks, Report};

/// What is known before anything is measured: machine, kernel ladder, directory.
pub fn survey(report: &Report, width: usize) -> String {
    let heading = format!("glommio doctor {}", report.glommio_version);
    let sections = [
        layout::title(&heading),
        system::section(&report.system, &report.verdict, width),
        ladder::section(&report.system.ladder, width),
        storage::section(&report.storage, width),
    ];
    sections.join("\n")
}

/// The measurements.
pub fn measurements(benchmarks: &Benchmarks, width: usize) -> String {
    benchmarks::section(benchmarks, width)
}

/// What to do about it, and whether glommio runs here.
pub fn conclusion(report: &Report, width: usize) -> String {
    verdict::section(report, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn whole(report: &Report, width: usize) -> String {
        let benchmarks = report.benchmarks.as_ref().map(|b| measurements(b, width));
        let parts = [
            Some(survey(report, width)),
            benchmarks,
            Some(conclusion(report, width)),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn report_of_a_good_machine() {
        insta::assert_snapshot!(whole(&sample::good(), 100));
    }

    #[test]
    fn report_of_a_poor_machine() {
        insta::assert_snapshot!(whole(&sample::poor(), 100));
    }

    #[test]
    fn report_of_a_machine_that_cannot_run_glommio() {
        insta::assert_snapshot!(whole(&sample::hopeless(), 100));
    }

    #[test]
    fn report_in_80_columns() {
        insta::assert_snapshot!(whole(&sample::poor(), 80));
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        for report in [sample::good(), sample::poor(), sample::hopeless()] {
            for width in [80, 90, 100] {
                for line in whole(&report, width).lines() {
                    let columns = console::measure_text_width(line);
                    assert!(columns <= width, "{columns} > {width}: {line}");
                }
            }
        }
    }
}
