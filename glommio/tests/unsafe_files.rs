//! The walls of the house, checked against the source itself: where `unsafe` may
//! stand, which way imports run, and who may name the kernel. See
//! `docs/architecture.md` for why.
//!
//! The check reads tokens, not types: comments, strings and doc examples do not
//! count, and neither do macro-generated paths (`$crate::…`).

use std::fs;
use std::path::{Path, PathBuf};

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

/// Every Rust file under `src`, in a stable order.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is readable");
                let relative = path.strip_prefix(&root).expect("it lies under src");
                found.push(Source::new(&relative.display().to_string(), &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// One file, as tokens.
struct Source {
    /// Relative to `src`.
    path: String,
    lines: Vec<String>,
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    line: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            lines: text.lines().map(|line| line.trim().to_owned()).collect(),
            tokens: tokenize(text),
        }
    }

    fn lines_with(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.tokens
            .iter()
            .filter(|token| wanted(&token.text))
            .map(|token| format!("{}:{}", self.path, token.line))
            .collect()
    }

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

    /// The module path of the file itself: `io/dma/file.rs` is `[io, dma, file]`.
    fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib")) {
            parts.pop();
        }
        parts
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
        self.crate_paths(module.len())
            .into_iter()
            .filter(|(target, _)| {
                target != own
                    && (rank(target).is_none_or(|rank| rank >= own_rank)
                        || NEVER_NAMES.contains(&(own, target.as_str())))
            })
            .map(|(target, line)| format!("{}:{line}: {own} names {target}", self.path))
            .collect()
    }

    /// The first segment below the crate's root of every path that starts there,
    /// be it by `crate::` or by enough `super::`, with its line.
    fn crate_paths(&self, file_depth: usize) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut braces: Vec<bool> = Vec::new(); // true: the brace opens an inline module
        let mut at = 0;
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => braces.push(at >= 2 && self.text(at - 2) == "mod"),
                "}" => drop(braces.pop()),
                "crate" if at > 0 && self.text(at - 1) == "$" => {}
                "crate" if self.text(at + 1) == ":" => at = self.first_segments(at + 3, &mut found),
                "super" if self.text(at + 1) == ":" => {
                    let mut depth = file_depth + braces.iter().filter(|module| **module).count();
                    while self.text(at) == "super" && self.text(at + 1) == ":" && depth > 0 {
                        depth -= 1;
                        at += 3;
                    }
                    if depth == 0 {
                        at = self.first_segments(at, &mut found);
                    } else {
                        continue;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Reads `name` or `{a::…, b, …}` at `at`, where a path has just left the
    /// crate's root. Returns the index of the last token it took.
    fn first_segments(&self, at: usize, found: &mut Vec<(String, usize)>) -> usize {
        if self.text(at) != "{" {
            found.extend(
                self.tokens
                    .get(at)
                    .map(|token| (token.text.clone(), token.line)),
            );
            return at;
        }
        let (mut depth, mut here, mut starts) = (1, at + 1, true);
        while depth > 0 && here < self.tokens.len() {
            match self.text(here) {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => starts = depth == 1,
                name if starts => {
                    found.push((name.to_owned(), self.tokens[here].line));
                    starts = false;
                }
                _ => {}
            }
            here += 1;
        }
        here - 1
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }
}

/// The row of a layer; `None` for what stands at the crate's root.
fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Identifiers and single punctuation characters, without comments and literals.
fn tokenize(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if rest[0] == b'"' {
            quoted(rest, b'"')
        } else if rest[0] == b'\'' && is_char_literal(rest) {
            quoted(rest, b'\'')
        } else if rest[0] == b'\'' {
            1 + rest[1..].iter().take_while(|&&byte| is_word(byte)).count()
        } else if is_word(rest[0]) {
            let length = rest.iter().take_while(|&&byte| is_word(byte)).count();
            tokens.push(Token {
                text: text[at..at + length].to_owned(),
                line,
            });
            length
        } else {
            if !rest[0].is_ascii_whitespace() {
                tokens.push(Token {
                    text: char::from(rest[0]).to_string(),
                    line,
                });
            }
            1
        };
        line += rest[..length].iter().filter(|&&byte| byte == b'\n').count();
        at += length;
    }
    tokens
}

/// The length of a comment that starts with `/*`; such comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a raw string (`r"…"`, `r#"…"#`, `br"…"`, `cr"…"`), if one starts here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let open = prefix.len() + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The length of a literal between two `quote`s, with backslash escapes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Tells `'a'` from `'a`: a literal is escaped, or closes after one character.
fn is_char_literal(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
    let mut characters = text.chars();
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}
