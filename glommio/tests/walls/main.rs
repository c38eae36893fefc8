//! The walls of the house, checked against the source itself: where `unsafe` may
//! stand, which way imports run, that they make no circles, and who may name the kernel. See
//! `docs/architecture.md` for why.
//!
//! The check reads tokens, not types: comments, strings and doc examples do not
//! count, and neither do macro-generated paths (`$crate::…`).

mod circles;
mod source;

use source::{Source, sources};

/// Files, or folders ending in `/`, that may say `unsafe`, relative to `src`. The
/// unit tests' counting allocator is one of them.
const UNSAFE_ALLOWED: &[&str] = &["sys/", "task/", "channels/spsc_queue.rs", "test_alloc.rs"];

/// Functions whose callers promise something, by the public API of 0.9. Elsewhere
/// `unsafe` may declare these, and pass the promise on inside them; nothing more.
const UNSAFE_CONTRACTS: &[&str] = &[
    "from_raw_fd",
    "slice_unchecked",
    "spawn_scoped_local",
    "spawn_scoped_local_into",
];

/// Only this folder names the ring and the C library.
const KERNEL_LAYER: &str = "sys/";
const KERNEL_CRATES: &[&str] = &["io_uring", "libc"];

/// The layers from the bottom up. A module names only modules of lower rows, and
/// itself; what stands in one row stands side by side.
const LAYERS: &[&[&str]] = &[
    &["error", "test_alloc", "test_cases"],
    &["waiters"],
    &["sys"],
    &["task"],
    &["reactor"],
    &["executor"],
    &[
        "channels", "io", "net", "process", "signal", "sync", "timer",
    ],
    &["controllers", "future", "metrics"],
];

/// Plain data structures over wakers: they stay usable outside any reactor.
const NEVER_NAMES: &[(&str, &str)] = &[
    ("channels", "reactor"),
    ("sync", "reactor"),
    ("sync", "sys"),
];

#[test]
fn unsafe_stands_only_in_the_files_allowed_to_have_it() {
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|file| {
            !UNSAFE_ALLOWED
                .iter()
                .any(|allowed| covers(allowed, &file.path))
        })
        .flat_map(Source::unsafe_beyond_contracts)
        .collect();
    assert!(
        offenders.is_empty(),
        "`unsafe` outside {UNSAFE_ALLOWED:?}:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn every_unsafe_block_and_impl_says_why_it_is_sound() {
    let offenders: Vec<String> = sources()
        .iter()
        .flat_map(Source::unsafe_without_reason)
        .collect();
    assert!(
        offenders.is_empty(),
        "no comment `SAFETY` on the lines above:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn only_the_kernel_layer_names_the_ring_and_libc() {
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|file| !covers(KERNEL_LAYER, &file.path))
        .flat_map(|file| file.lines_with(|word| KERNEL_CRATES.contains(&word)))
        .collect();
    assert!(
        offenders.is_empty(),
        "{KERNEL_CRATES:?} named outside {KERNEL_LAYER}:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn imports_run_downward_only() {
    let offenders: Vec<String> = sources().iter().flat_map(Source::upward_paths).collect();
    assert!(
        offenders.is_empty(),
        "paths that run up or sideways between layers:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn the_check_sees_real_source_files() {
    let sources = sources();
    assert!(sources.len() > 10, "found {} files", sources.len());
    assert!(
        sources.iter().any(
            |file| covers("sys/", &file.path) && !file.lines_with(|w| w == "unsafe").is_empty()
        ),
        "no `unsafe` seen in sys/: the scanner is blind"
    );
}

#[test]
fn comments_strings_and_lifetimes_are_not_code() {
    let file = Source::new(
        "io/sample.rs",
        r####"
        // unsafe
        /* unsafe /* unsafe */ unsafe */
        /// `unsafe`
        const A: &str = "unsafe \" unsafe";
        const B: &str = r##"unsafe "# unsafe"##;
        const C: &[u8] = b"unsafe";
        const D: char = '"'; const E: char = '\''; const F: u8 = b'u';
        fn unsafe_name<'unsafe_>() {}
        fn g() { unsafe {} }
        "####,
    );
    assert_eq!(
        file.lines_with(|word| word == "unsafe"),
        ["io/sample.rs:10"]
    );
}

#[test]
fn unsafe_is_excused_only_inside_a_public_contract() {
    let file = Source::new(
        "net/sample.rs",
        "impl FromRawFd for T {
             unsafe fn from_raw_fd(fd: RawFd) -> Self {
                 if fd > 0 { unsafe { adopt(fd) } } else { unsafe { g() } }
             }
             fn other() { unsafe { g() } }
         }
         unsafe fn invented() {}
         unsafe impl Send for T {}",
    );
    let found = file.unsafe_beyond_contracts();
    assert_eq!(
        found,
        ["net/sample.rs:5", "net/sample.rs:7", "net/sample.rs:8"]
    );
}

#[test]
fn a_reason_stands_directly_above_its_block_or_the_statement_around_it() {
    let file = Source::new(
        "sys/sample.rs",
        "// SAFETY: of the next line only.
         let a = unsafe { f() };
         let b = unsafe { f() };
         // SAFETY: over two lines,
         // and an attribute.
         #[inline]
         let c = unsafe { f() };
         // SAFETY: above the statement.
         let d = f(g)
             .map(|x| unsafe { x.h() });
         // SAFETY: of another statement.
         let e = 1;
         unsafe { f() };
         // No reason.
         unsafe impl Send for T {}
         unsafe fn declared() {}
         let f = [
             // SAFETY: of the first.
             unsafe { f() },
             unsafe { f() },
         ];
         // SAFETY: an empty line is in between.

         unsafe { f() };",
    );
    assert_eq!(
        file.unsafe_without_reason(),
        [
            "sys/sample.rs:3",
            "sys/sample.rs:13",
            "sys/sample.rs:15",
            "sys/sample.rs:20",
            "sys/sample.rs:24"
        ]
    );
}

#[test]
fn upward_and_sideways_paths_are_found_in_every_spelling() {
    let found = |path: &str, text: &str| Source::new(path, text).upward_paths().len();
    assert_eq!(found("sys/a.rs", "use crate::error::E;"), 0);
    assert_eq!(found("sys/a.rs", "use crate::sys::b;"), 0);
    assert_eq!(found("sys/a.rs", "use crate::task::T;"), 1);
    assert_eq!(
        found("sys/a.rs", "use crate::{error::E, task::{T, U}, io};"),
        2
    );
    assert_eq!(found("sys/a.rs", "fn f() { crate::reactor::g() }"), 1);
    assert_eq!(
        found("sys/mod.rs", "use super::error::E; use super::io::F;"),
        1
    );
    assert_eq!(found("sys/a/b.rs", "use super::super::super::io::F;"), 1);
    assert_eq!(found("sys/a/b.rs", "use super::super::io;"), 0, "sys::io");
    assert_eq!(
        found("sys/a.rs", "mod tests { use super::super::task; }"),
        0,
        "sys::task"
    );
    assert_eq!(
        found("sys/a.rs", "mod tests { use super::super::super::task; }"),
        1
    );
    assert_eq!(
        found("net/a.rs", "use crate::timer::T;"),
        1,
        "one row, side by side"
    );
    assert_eq!(found("channels/a.rs", "use crate::reactor::R;"), 1);
    assert_eq!(found("channels/a.rs", "use crate::executor::E;"), 0);
    assert_eq!(
        found("io/a.rs", "use crate::Root;"),
        1,
        "the crate's root is the top"
    );
    assert_eq!(
        found("io/a.rs", "macro_rules! m { () => { $crate::Root } }"),
        0
    );
    assert_eq!(found("lib.rs", "pub use crate::controllers::Q;"), 0);
}

/// Whether `entry` (a file, or a folder ending in `/`) covers `path`.
fn covers(entry: &str, path: &str) -> bool {
    if entry.ends_with('/') {
        path.starts_with(entry)
    } else {
        path == entry
    }
}

/// The row of a layer; `None` for what stands at the crate's root.
fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

impl Source {
    /// Where an `unsafe` block or implementation has no comment with `SAFETY`: in the lines of
    /// comment directly above it, or above the statement that it stands in.
    fn unsafe_without_reason(&self) -> Vec<String> {
        (0..self.tokens.len())
            .filter(|&at| self.text(at) == "unsafe" && matches!(self.text(at + 1), "{" | "impl"))
            .map(|at| self.tokens[at].line)
            .filter(|&line| !self.has_reason(line))
            .map(|line| format!("{}:{line}", self.path))
            .collect()
    }

    fn has_reason(&self, line: usize) -> bool {
        let is_comment = |text: &&String| text.starts_with("//");
        let before = &self.lines[..line - 1];
        let rest = before.iter().rev().skip_while(|text| {
            let ends_another = text.is_empty() || text.ends_with([';', '{', '}', ',']);
            !is_comment(text) && (text.starts_with("#[") || !ends_another)
        });
        rest.take_while(is_comment)
            .any(|text| text.contains("SAFETY"))
    }

    /// Where `unsafe` stands, except to declare one of [`UNSAFE_CONTRACTS`] and
    /// inside the body of such a function.
    fn unsafe_beyond_contracts(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut depth = 0_usize;
        let mut contract: Option<usize> = None; // the depth outside its body
        for at in 0..self.tokens.len() {
            match self.text(at) {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    contract = contract.filter(|&outside| depth > outside);
                }
                "unsafe" if self.text(at + 1) == "fn" => {
                    if UNSAFE_CONTRACTS.contains(&self.text(at + 2)) {
                        contract = Some(depth);
                    } else {
                        found.push(format!("{}:{}", self.path, self.tokens[at].line));
                    }
                }
                "unsafe" if contract.is_none() => {
                    found.push(format!("{}:{}", self.path, self.tokens[at].line));
                }
                _ => {}
            }
        }
        found
    }

    /// Paths in this file that lead to a layer at or above its own.
    fn upward_paths(&self) -> Vec<String> {
        let module = self.module();
        let Some(&own) = module.first() else {
            return Vec::new();
        };
        let Some(own_rank) = rank(own) else {
            return Vec::new();
        };
        let mut targets: Vec<(String, usize)> = self
            .references()
            .into_iter()
            .filter_map(|reference| Some((reference.path.into_iter().next()?, reference.line)))
            .collect();
        targets.dedup();
        targets
            .into_iter()
            .filter(|(target, _)| {
                target != own
                    && (rank(target).is_none_or(|rank| rank >= own_rank)
                        || NEVER_NAMES.contains(&(own, target.as_str())))
            })
            .map(|(target, line)| format!("{}:{line}: {own} names {target}", self.path))
            .collect()
    }
}
