//! The optional kernel features, and what it costs to be without them.

use super::layout::{heading, lines, never_wrap, paragraph, table};
use crate::model::Rung;

pub fn section(ladder: &[Rung], width: usize) -> String {
    if ladder.is_empty() {
        return heading("Kernel ladder") + &paragraph("", "unknown without a ring", width);
    }
    let available = ladder.iter().filter(|rung| rung.available).count();
    let mut rows = table(&["feature", "since", "here", "without it"], width);
    never_wrap(&mut rows, 0..=2);
    for rung in ladder {
        rows.add_row([
            &rung.name,
            &rung.since,
            presence(rung),
            &rung.cost_of_absence,
        ]);
    }
    let heading = heading(&format!(
        "Kernel ladder: {available} of {} rungs",
        ladder.len()
    ));
    heading + &lines(&rows)
}

fn presence(rung: &Rung) -> &'static str {
    match (rung.available, rung.disabled_by_knob) {
        (true, _) => "yes",
        (false, true) => "off",
        (false, false) => "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_rung_is_there_or_missing_or_switched_off() {
        let ladder = sample::poor().system.ladder;
        let presence: Vec<_> = ladder.iter().map(presence).collect();
        assert_eq!(presence, ["yes", "off", "no"]);
    }
}
