//! What to change, and the bottom line.

use super::layout::{heading, paragraph};
use crate::model::{Finding, Report};

pub fn section(report: &Report, width: usize) -> String {
    let mut out = heading("Conclusion");
    out.push_str(&bottom_line(report, width));
    for finding in &report.findings {
        out.push_str(&advice(finding, width));
    }
    out
}

fn bottom_line(report: &Report, width: usize) -> String {
    match &report.verdict.error {
        Some(error) => {
            let text = format!("glommio cannot run here.\n{error}");
            paragraph("", &text, width)
        }
        None if !report.is_healthy() => {
            paragraph("", "glommio runs here, but measurements failed.", width)
        }
        None => paragraph("", "glommio runs here.", width),
    }
}

fn advice(finding: &Finding, width: usize) -> String {
    let text = format!(
        "{}: {}\n{}",
        finding.topic, finding.observation, finding.advice
    );
    paragraph("• ", &text, width)
}
