//! Within a layer, too, imports make no circles between files.
//!
//! A folder's `mod.rs` is its table of contents: a path through it counts for the file that it leads to.
//! What modules called `tests` import does not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, sources};

/// Re-exports of re-exports are followed this far.
const DEPTH: usize = 8;

#[test]
fn files_do_not_import_each_other_in_circles() {
    let circles = circles(&sources());
    assert!(
        circles.is_empty(),
        "files on circles, or between two of them:\n{}",
        circles.join("\n")
    );
}

#[test]
fn a_circle_is_found_through_tables_of_contents_and_in_every_spelling() {
    let tree = |c: &str| {
        circles(&[
            Source::new("lib.rs", "mod a;"),
            Source::new(
                "a/mod.rs",
                "mod b; mod c; mod d; pub use c::C; pub(crate) use self::{b::B as Bee, d::D};",
            ),
            Source::new("a/b.rs", "use crate::a::C; use std::fmt;"),
            Source::new("a/c.rs", c),
            Source::new("a/d.rs", "use super::b::B;"),
        ])
    };
    assert_eq!(tree("use std::{fmt, io}; struct C;"), [""; 0]);
    assert_eq!(tree("mod tests { use super::super::b::B; }"), [""; 0]);
    for circle in [
        "use super::b::B;",
        "use super::{c::C, b};",
        "use super::Bee;",
        "use crate::a::{Bee as Hornet};",
        "fn f() { crate::a::b::f::<u8>() }",
        "mod inner { use super::super::b::B; }",
    ] {
        assert_eq!(
            tree(circle),
            ["a/b.rs imports a/c.rs", "a/c.rs imports a/b.rs"],
            "{circle}"
        );
    }
    assert_eq!(
        tree("use super::D;"),
        [
            "a/b.rs imports a/c.rs",
            "a/c.rs imports a/d.rs",
            "a/d.rs imports a/b.rs"
        ]
    );
}

/// The imports that are left after all files are taken away which import nobody, or are imported by
/// nobody, of those that are left.
fn circles(sources: &[Source]) -> Vec<String> {
    let crate_ = Crate::new(sources);
    let mut imports: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in sources {
        for reference in source.references() {
            let target = crate_.target(&reference.path, DEPTH);
            let file = target.filter(|file| !reference.in_tests && *file != source.path);
            imports.extend(file.map(|file| (source.path.as_str(), file)));
        }
    }
    // A table of contents is not an import of what it lists.
    imports.retain(|(from, to)| !is_table(from) && !is_table(to));
    loop {
        let importing: BTreeSet<&str> = imports.iter().map(|(from, _)| *from).collect();
        let imported: BTreeSet<&str> = imports.iter().map(|(_, to)| *to).collect();
        let before = imports.len();
        imports.retain(|(from, to)| imported.contains(from) && importing.contains(to));
        if imports.len() == before {
            break;
        }
    }
    let text = |(from, to)| format!("{from} imports {to}");
    imports.into_iter().map(text).collect()
}

fn is_table(file: &str) -> bool {
    file == "lib.rs" || file.ends_with("mod.rs")
}

/// Which file is behind a path.
struct Crate<'a> {
    files: BTreeMap<Vec<String>, &'a Source>,
}

impl<'a> Crate<'a> {
    fn new(sources: &'a [Source]) -> Crate<'a> {
        let module = |source: &Source| source.module().into_iter().map(str::to_owned).collect();
        Crate {
            files: sources
                .iter()
                .map(|source| (module(source), source))
                .collect(),
        }
    }

    /// The file that defines what a path names; `None` if that is not in the crate.
    fn target(&self, path: &[String], depth: usize) -> Option<&'a str> {
        let length = (0..=path.len())
            .rev()
            .find(|&length| self.files.contains_key(&path[..length]))?;
        let file = self.files[&path[..length]];
        let Some(name) = path.get(length).filter(|_| is_table(&file.path)) else {
            return Some(&file.path);
        };
        let listed = file
            .references()
            .into_iter()
            .find(|listed| listed.alias == *name && listed.path.len() > length + 1)?;
        self.target(&listed.path, depth.checked_sub(1)?)
    }
}
