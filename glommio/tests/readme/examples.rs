//! Every public item of the root, of `task` and of UDP shows how it is used.
//!
//! Types, traits, functions and macros have an example of their own. A method may do without if the
//! example of its type calls it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Expr, ExprLit, File, Ident, ImplItem, Item, ItemMacro, Lit, Meta, TraitItem, Type,
    UseTree, Visibility,
};

/// Where the items are defined, relative to `src`.
const PLACES: [&str; 7] = [
    "byte_slice.rs",
    "error",
    "error.rs",
    "executor",
    "macros.rs",
    "net/udp",
    "task",
];

#[test]
fn every_public_item_has_an_example() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Found::default();
    for module in [
        "lib.rs",
        "net/udp/mod.rs",
        "task/mod.rs",
        "task/debugging.rs",
    ] {
        found.exports(&parse(&source.join(module)));
    }
    let files = PLACES.map(|place| rust_files(&source.join(place)));
    let files: Vec<File> = files.iter().flatten().map(|path| parse(path)).collect();
    // Types first: methods look at their examples, maybe from another file.
    files.iter().for_each(|file| found.items(file));
    files.iter().for_each(|file| found.methods(file));

    assert!(found.seen > 150, "saw only {} items", found.seen);
    assert!(
        found.missing.is_empty(),
        "{} of {} public items have no example:\n{}",
        found.missing.len(),
        found.seen,
        found.missing.join("\n")
    );
}

#[derive(Default)]
struct Found {
    /// The names that the crate gives out.
    public: BTreeSet<String>,
    /// The examples of each of them.
    examples: BTreeMap<String, String>,
    seen: usize,
    missing: Vec<String>,
}

impl Found {
    /// Notes the names that a module re-exports or defines as public.
    fn exports(&mut self, module: &File) {
        for item in &module.items {
            match item {
                Item::Use(item) if is_public(&item.vis, &item.attrs) => {
                    let from_here = match &item.tree {
                        UseTree::Path(path) => !matches!(
                            path.ident.to_string().as_str(),
                            "enclose" | "glommio_macros" | "scopeguard"
                        ),
                        _ => false,
                    };
                    let mut names = Vec::new();
                    leaves(&item.tree, &mut names);
                    if !from_here {
                        self.item(&names.join(", "), &item.attrs);
                    }
                    self.public.extend(names);
                }
                Item::Struct(item) if is_public(&item.vis, &item.attrs) => {
                    self.public.insert(item.ident.to_string());
                }
                Item::Enum(item) if is_public(&item.vis, &item.attrs) => {
                    self.public.insert(item.ident.to_string());
                }
                Item::Trait(item) if is_public(&item.vis, &item.attrs) => {
                    self.public.insert(item.ident.to_string());
                }
                _ => {}
            }
        }
    }

    fn items(&mut self, file: &File) {
        for item in &file.items {
            let (name, attributes) = match item {
                Item::Struct(item) => (&item.ident, &item.attrs),
                Item::Enum(item) => (&item.ident, &item.attrs),
                Item::Type(item) => (&item.ident, &item.attrs),
                Item::Trait(item) => (&item.ident, &item.attrs),
                Item::Fn(item) => (&item.sig.ident, &item.attrs),
                Item::Macro(ItemMacro { ident, attrs, .. }) if is_exported(attrs) => {
                    let name = ident.as_ref().expect("macro_rules has a name");
                    self.item(&format!("{name}!"), attrs);
                    continue;
                }
                _ => continue,
            };
            if self.public.contains(&name.to_string()) {
                self.item(&name.to_string(), attributes);
            }
        }
    }

    fn methods(&mut self, file: &File) {
        for item in &file.items {
            match item {
                Item::Impl(item) if item.trait_.is_none() => {
                    let Some(subject) = name_of(&item.self_ty) else {
                        continue;
                    };
                    for method in &item.items {
                        if let ImplItem::Fn(method) = method {
                            if is_public(&method.vis, &method.attrs) {
                                self.method(&subject, &method.sig.ident, &method.attrs);
                            }
                        }
                    }
                }
                Item::Trait(item) => {
                    for method in &item.items {
                        if let TraitItem::Fn(method) = method {
                            let subject = item.ident.to_string();
                            self.method(&subject, &method.sig.ident, &method.attrs);
                        }
                    }
                }
                Item::Macro(item) if !is_exported(&item.attrs) => {
                    if let Some(body) = body_of(item) {
                        self.methods(&body);
                    }
                }
                _ => {}
            }
        }
    }

    fn item(&mut self, name: &str, attributes: &[Attribute]) {
        self.seen += 1;
        let examples = examples(attributes);
        if examples.is_empty() {
            self.missing.push(name.to_owned());
        }
        self.examples.insert(name.to_owned(), examples);
    }

    fn method(&mut self, subject: &str, method: &Ident, attributes: &[Attribute]) {
        if subject != PLACEHOLDER && !self.public.contains(subject) {
            return;
        }
        self.seen += 1;
        let types: &[&str] = match subject {
            PLACEHOLDER => &["LocalExecutorBuilder", "LocalExecutorPoolBuilder"],
            name => &[name],
        };
        let is_called = types.iter().all(|name| {
            let calls = [format!(".{method}("), format!("{name}::{method}(")];
            let examples = self.examples.get(*name).map_or("", String::as_str);
            calls.iter().any(|call| examples.contains(call))
        });
        if !is_called && examples(attributes).is_empty() {
            self.missing.push(format!("{subject}::{method}"));
        }
    }
}

/// What a parameter of a private macro that writes methods is called here.
const PLACEHOLDER: &str = "builder";

/// The items that a macro with one rule writes.
fn body_of(item: &ItemMacro) -> Option<File> {
    let text = item.mac.tokens.to_string();
    let (_, body) = text.split_once("=>")?;
    let body = body.trim().trim_end_matches(';').trim();
    let body = body.strip_prefix('{')?.strip_suffix('}')?;
    syn::parse_str(&body.replace("$ ", "").replace('$', "")).ok()
}

/// The code of the examples in a documentation comment.
fn examples(attributes: &[Attribute]) -> String {
    let mut code = String::new();
    let mut inside: Option<bool> = None; // whether the block is an example
    for line in attributes.iter().filter_map(documentation) {
        let line = line.trim();
        match (inside, line.strip_prefix("```")) {
            (None, Some(language)) => {
                inside = Some(["", "should_panic", "no_run"].contains(&language));
            }
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => {
                code.push_str(line);
                code.push('\n');
            }
            _ => {}
        }
    }
    code
}

fn documentation(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn is_public(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    let is_hidden = |attribute: &Attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("doc")
            && list.is_ok_and(|list| list.tokens.to_string() == "hidden")
    };
    matches!(visibility, Visibility::Public(_)) && !attributes.iter().any(is_hidden)
}

fn is_exported(attributes: &[Attribute]) -> bool {
    let is_export = |attribute: &Attribute| attribute.path().is_ident("macro_export");
    attributes.iter().any(is_export)
}

/// The names at the ends of a `use`, as the files that define them know them.
fn leaves(tree: &UseTree, names: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, names),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, names)),
        UseTree::Name(name) => names.push(name.ident.to_string()),
        UseTree::Rename(name) => names.push(name.ident.to_string()),
        UseTree::Glob(_) => {}
    }
}

fn name_of(subject: &Type) -> Option<String> {
    match subject {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

fn parse(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The file, or those in the folder and the folders in it.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.is_dir() || path.extension().is_some_and(|ext| ext == "rs"))
        .flat_map(|path| rust_files(&path))
        .collect();
    files.sort();
    files
}
