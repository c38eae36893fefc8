//! Widths, headings, facts, paragraphs and tables.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableComponent, presets};

const NARROWEST: usize = 80;
const WIDEST: usize = 100;
/// Indentation of everything below a heading.
const INDENT: usize = 2;
/// Column in which the text of a fact starts, after the indentation.
const LABEL_WIDTH: usize = 16;
/// Of what the rule below a table's header is.
const RULE: char = '─';

/// The width to print for: that of the terminal within the bounds, else the upper bound.
pub fn page_width() -> usize {
    let columns = console::Term::stdout()
        .size_checked()
        .map(|(_rows, columns)| columns.into());
    columns.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST)
}

pub fn title(text: &str) -> String {
    format!(
        "{text}\n{}\n",
        "═".repeat(console::measure_text_width(text))
    )
}

pub fn heading(text: &str) -> String {
    format!(
        "{text}\n{}\n",
        "─".repeat(console::measure_text_width(text))
    )
}

/// `label` and its text, which is wrapped and hangs at a column of its own.
pub fn fact(label: &str, text: &str, width: usize) -> String {
    let mut lines = wrap(text, width - INDENT - LABEL_WIDTH).into_iter();
    let first = lines.next().unwrap_or_default();
    let mut out = format!("{:INDENT$}{label:<LABEL_WIDTH$}{first}\n", "");
    for line in lines {
        out.push_str(&format!("{:1$}{line}\n", "", INDENT + LABEL_WIDTH));
    }
    out
}

/// An indented paragraph. Lines of `text` stay lines, and what is wrapped keeps the indentation of
/// its line; `first` marks the beginning of the first.
pub fn paragraph(first: &str, text: &str, width: usize) -> String {
    let mark_width = console::measure_text_width(first);
    let mut out = String::new();
    let mut mark = first.to_string();
    for line in text.lines() {
        let inner = line.len() - line.trim_start().len();
        for part in wrap(line, width - INDENT - mark_width - inner) {
            out.push_str(format!("{:INDENT$}{mark}{:inner$}{part}", "", "").trim_end());
            out.push('\n');
            mark = " ".repeat(mark_width);
        }
    }
    out
}

/// A table with a header; columns share what `width` leaves them.
pub fn table(header: &[&str], width: usize) -> Table {
    let width = u16::try_from(width - INDENT).expect("a page is at most 100 columns wide");
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, RULE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Keeps columns as wide as their widest cell, so that the others are wrapped.
pub fn never_wrap(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// The table as indented lines without trailing blanks; the rule below the header is as long as the
/// longest of them.
pub fn lines(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_string())
        .collect();
    let is_rule = |line: &str| line.starts_with(RULE);
    let width = lines
        .iter()
        .filter(|line| !is_rule(line))
        .map(|line| console::measure_text_width(line))
        .max()
        .unwrap_or_default();
    let rule = RULE.to_string().repeat(width);
    lines
        .iter()
        .map(|line| if is_rule(line) { &rule } else { line })
        .map(|line| format!("{:INDENT$}{line}\n", ""))
        .collect()
}

/// Breaks at blanks; a word that is longer than a line stays whole, so that paths can be copied.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let length = console::measure_text_width(line) + 1 + console::measure_text_width(word);
        if line.is_empty() {
            line.push_str(word);
        } else if length <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_80_to_100_columns_wide() {
        assert!((80..=100).contains(&page_width()));
    }

    #[test]
    fn text_is_wrapped_at_blanks_only() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("a /a/long/path b", 4), ["a", "/a/long/path", "b"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn the_text_of_a_fact_hangs_in_its_column() {
        let text = fact("memlock", "needs one page more than there is", 40);
        assert_eq!(
            text,
            "  memlock         needs one page more\n                  than there is\n"
        );
    }

    #[test]
    fn a_paragraph_keeps_its_lines() {
        assert_eq!(paragraph("- ", "one\n\ntwo", 80), "  - one\n\n    two\n");
        assert_eq!(
            paragraph("", "one\n  two three", 10),
            "  one\n    two\n    three\n"
        );
    }
}
