//! Source files as tokens, and the paths that they name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file under `src`, in a stable order.
pub fn sources() -> Vec<Source> {
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
pub struct Source {
    /// Relative to `src`.
    pub path: String,
    pub lines: Vec<String>,
    pub tokens: Vec<Token>,
}

pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            lines: text.lines().map(|line| line.trim().to_owned()).collect(),
            tokens: tokenize(text),
        }
    }

    pub fn lines_with(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.tokens
            .iter()
            .filter(|token| wanted(&token.text))
            .map(|token| format!("{}:{}", self.path, token.line))
            .collect()
    }

    /// The module path of the file itself: `io/dma/file.rs` is `[io, dma, file]`.
    pub fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib")) {
            parts.pop();
        }
        parts
    }

    /// Every path that starts with `crate`, `super` or `self`, and every import.
    pub fn references(&self) -> Vec<Reference> {
        let mut inline: Vec<Option<&str>> = Vec::new(); // the module that a brace opens, if it does
        let mut reader = Reader {
            source: self,
            in_tests: false,
            found: Vec::new(),
        };
        let mut at = 0;
        while at < self.tokens.len() {
            let here = inline.iter().flatten().copied();
            reader.in_tests = here.clone().any(|module| module == "tests");
            let module = || -> Vec<String> {
                let file = self.module().into_iter();
                file.chain(here.clone()).map(str::to_owned).collect()
            };
            let import = at > 0 && self.text(at - 1) == "use";
            match self.text(at) {
                "{" if at >= 2 && self.text(at - 2) == "mod" => {
                    inline.push(Some(self.text(at - 1)))
                }
                "{" => inline.push(None),
                "}" => drop(inline.pop()),
                "crate" if at > 0 && self.text(at - 1) == "$" => {}
                "crate" if self.goes_on(at) => {
                    at = reader.tree(at + 3, Vec::new());
                    continue;
                }
                "super" if self.goes_on(at) => {
                    let mut base = module();
                    while self.text(at) == "super" && self.goes_on(at) {
                        base.pop();
                        at += 3;
                    }
                    at = reader.tree(at, base);
                    continue;
                }
                "self" if self.goes_on(at) => {
                    at = reader.tree(at + 3, module());
                    continue;
                }
                _ if import => {
                    at = reader.tree(at, module());
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        reader.found
    }

    /// Whether `::` and more of a path follow the name at `at`.
    fn goes_on(&self, at: usize) -> bool {
        self.text(at + 1) == ":" && self.text(at + 2) == ":" && self.text(at + 3) != "<"
    }

    pub fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }
}

/// A path in the code of a file.
pub struct Reference {
    /// From the root of the crate. What a `use` names without `crate`, `super` or `self` counts from the
    /// module that it stands in, be it a crate of another name or not.
    pub path: Vec<String>,
    /// The name by which the file knows it, if it is imported.
    pub alias: String,
    pub line: usize,
    pub in_tests: bool,
}

/// Reads paths out of the tokens of one file.
struct Reader<'a> {
    source: &'a Source,
    in_tests: bool,
    found: Vec<Reference>,
}

impl Reader<'_> {
    /// Reads what follows `prefix` at `at`, which is a name with its own continuation, a star, or a group
    /// of these. Returns where the next token is.
    fn tree(&mut self, mut at: usize, mut prefix: Vec<String>) -> usize {
        if self.source.text(at) == "{" {
            at += 1;
            while !matches!(self.source.text(at), "}" | "") {
                at = match self.source.text(at) {
                    "," => at + 1,
                    _ => self.tree(at, prefix.clone()),
                };
            }
            return at + 1;
        }
        let Some(token) = self.source.tokens.get(at) else {
            return at;
        };
        if token.text != "self" {
            prefix.push(token.text.clone());
        }
        if self.source.goes_on(at) {
            return self.tree(at + 3, prefix);
        }
        let renamed = self.source.text(at + 1) == "as";
        let alias = match renamed {
            true => self.source.text(at + 2),
            false => prefix.last().map_or("", |name| name),
        };
        self.found.push(Reference {
            alias: alias.to_owned(),
            line: token.line,
            in_tests: self.in_tests,
            path: prefix,
        });
        at + if renamed { 3 } else { 1 }
    }
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
