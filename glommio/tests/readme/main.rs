//! The README says what the source says: its ladder lists every rung, and its
//! program is the example that is compiled. And the documentation shows how every
//! item is used.

mod examples;

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of `text` from the one that is `from` up to the next that is `to`.
fn section<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| *line != from).skip(1);
    let found: Vec<&str> = lines.take_while(|line| !line.starts_with(to)).collect();
    assert!(!found.is_empty(), "no section {from:?}");
    found
}

#[test]
fn the_ladder_lists_every_rung_with_its_kernel() {
    // Rows of the README: | `name` | since | …
    let readme = read("../README.md");
    let mut listed: Vec<(&str, &str)> = section(&readme, "## The kernel ladder", "## ")
        .into_iter()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.split_once(" |")?.0))
        })
        .collect();
    listed.sort_unstable();

    // Rows of the source: Variant "name" "since" "used for"
    let features = read("src/sys/features.rs");
    let mut known: Vec<(&str, &str)> = section(&features, "rungs! {", "}")
        .into_iter()
        .filter_map(|line| {
            let mut words = line.split('"');
            let variant = words.next()?.trim();
            let (name, since) = (words.next()?, words.nth(1)?);
            variant
                .chars()
                .all(char::is_alphanumeric)
                .then_some((name, since))
        })
        .filter(|(name, _)| !name.contains(' '))
        .collect();
    known.sort_unstable();

    assert!(known.len() > 10, "found only {known:?}");
    assert_eq!(listed, known);
}

#[test]
fn the_program_is_the_example() {
    let readme = read("../README.md");
    let example = read("examples/hello.rs");
    let program = section(&readme, "```rust", "```").join("\n");
    let code: Vec<&str> = example
        .lines()
        .skip_while(|line| line.starts_with("//!") || line.is_empty())
        .collect();
    assert_eq!(program, code.join("\n"));
}
