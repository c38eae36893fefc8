//! Builds a set: every test executable of the crate, and this program.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use serde_json::Value;

use crate::{
    Result,
    set::{CRATE, MANIFEST, Manifest, SOURCE, library_with},
};

const RUNNER: &str = "glommio-tests";

#[derive(Args)]
pub struct Options {
    /// The folder for the set; what an earlier build left there is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Link everything statically, so that the set needs no library of the machine it runs on
    #[arg(long = "static")]
    linked_statically: bool,

    /// The platform to build for, such as x86_64-unknown-linux-musl [default: this one]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,

    /// The folder for cargo's artifacts [default: cargo's own]
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,

    /// The profile of cargo to build with [default: the one of `cargo test`]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    /// Refuse to touch Cargo.lock
    #[arg(long)]
    locked: bool,
}

pub fn build(options: &Options) -> Result<()> {
    let cargo = Cargo::new(options)?;
    let metadata = cargo.json(&["metadata", "--format-version=1", "--no-deps"])?;
    let metadata = metadata.first().ok_or("cargo metadata printed nothing")?;
    let root = PathBuf::from(metadata["workspace_root"].as_str().ok_or("no workspace")?);
    let rules = Rules::of(metadata)?;

    let tests = ["test", "--package", CRATE, "--lib", "--tests", "--no-run"];
    let mut built = BTreeMap::from_iter(executables(&cargo.compile(&tests)?));
    if built.is_empty() {
        return Err("cargo built no test".into());
    }
    let mut libraries = Vec::new();
    for feature in &rules.features {
        let mut args = vec!["test", "--package", CRATE, "--no-run", "--lib"];
        args.extend(["--features", feature, "--test", feature]);
        for (name, file) in executables(&cargo.compile(&args)?) {
            // The whole library is about the same things as without the feature, and more.
            if name == CRATE {
                libraries.push((library_with(feature), file));
            } else {
                built.insert(name, file);
            }
        }
    }
    let runner = executables(&cargo.compile(&["build", "--package", RUNNER])?);

    if options.out.join(MANIFEST).exists() {
        fs::remove_dir_all(&options.out)?;
    }
    fs::create_dir_all(&options.out)?;
    let mut manifest = Manifest {
        commit: commit(&root),
        executables: Vec::new(),
        features: rules.features,
        left_out: Vec::new(),
        kernel_independent: rules.kernel_independent,
        alone: rules.alone,
    };
    for (name, file) in built {
        if rules.source_tree.contains(&name) {
            manifest.left_out.push(name);
            continue;
        }
        fs::copy(&file, options.out.join(&name))?;
        manifest.executables.push(name);
    }
    for (name, file) in libraries.into_iter().chain(runner) {
        fs::copy(&file, options.out.join(name))?;
    }
    copy_snapshots(&root, &root.join(CRATE), &options.out.join(SOURCE))?;
    let text = serde_json::to_string_pretty(&manifest)?;
    fs::write(options.out.join(MANIFEST), text)?;
    println!(
        "{}: {} executables, without {}",
        options.out.display(),
        manifest.executables.len(),
        manifest.left_out.join(", ")
    );
    Ok(())
}

/// cargo with the settings that all its calls share.
struct Cargo {
    program: PathBuf,
    shared: Vec<String>,
    rustflags: Option<String>,
}

impl Cargo {
    fn new(options: &Options) -> Result<Cargo> {
        let mut shared = Vec::new();
        let target = options
            .target
            .clone()
            .or(env::var("CARGO_BUILD_TARGET").ok());
        let mut rustflags = None;
        if options.linked_statically {
            let given = env::var("RUSTFLAGS").unwrap_or_default();
            rustflags = Some(
                format!("{given} -C target-feature=+crt-static")
                    .trim()
                    .to_owned(),
            );
        }
        // With a target named, the flags do not apply to procedural macros, which cannot be static.
        match target {
            Some(target) => shared.push(format!("--target={target}")),
            None if options.linked_statically => shared.push(format!("--target={}", host()?)),
            None => {}
        }
        if let Some(dir) = &options.target_dir {
            shared.push(format!("--target-dir={}", dir.display()));
        }
        if let Some(profile) = &options.profile {
            shared.push(format!("--profile={profile}"));
        }
        if options.locked {
            shared.push("--locked".to_owned());
        }
        Ok(Cargo {
            program: env::var_os("CARGO").unwrap_or("cargo".into()).into(),
            shared,
            rustflags,
        })
    }

    /// Compiles, and returns cargo's messages.
    fn compile(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut args = args.to_vec();
        args.push("--message-format=json-render-diagnostics");
        args.extend(self.shared.iter().map(String::as_str));
        self.json(&args)
    }

    /// Calls cargo, which prints a value per line.
    fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.program);
        command.args(args).stderr(Stdio::inherit());
        if let Some(flags) = &self.rustflags {
            command.env("RUSTFLAGS", flags);
        }
        let output = command.output();
        let output = output.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("cargo {}: {}", args.join(" "), output.status).into());
        }
        let mut values = Vec::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            values.push(serde_json::from_str(line)?);
        }
        Ok(values)
    }
}

/// The platform of this compiler.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or("rustc does not name its host")?.to_owned())
}

/// The names and files of the executables in cargo's messages.
fn executables(messages: &[Value]) -> Vec<(String, PathBuf)> {
    let of = |message: &Value| {
        let file = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), file.into()))
    };
    messages.iter().filter_map(of).collect()
}

/// What `[package.metadata.glommio-tests]` says about executables, and about modules of them.
#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Rules {
    /// Executables that read the source tree.
    source_tree: Vec<String>,
    /// Those whose tests end alike on every kernel.
    kernel_independent: Vec<String>,
    /// Those whose tests run while no other does.
    alone: Vec<String>,
    /// Optional features of the crate, each with an executable of its name.
    features: Vec<String>,
}

impl Rules {
    /// The rules in what `cargo metadata` printed, which name nothing that is not there.
    fn of(metadata: &Value) -> Result<Rules> {
        let packages = metadata["packages"].as_array().ok_or("no packages")?;
        let package = packages.iter().find(|package| package["name"] == CRATE);
        let package = package.ok_or("the workspace has no package glommio")?;
        let rules: Rules = serde_json::from_value(package["metadata"][RUNNER].clone())
            .map_err(|error| format!("[package.metadata.{RUNNER}] of {CRATE}: {error}"))?;
        let targets = package["targets"].as_array().ok_or("no targets")?;
        let lists = [
            &rules.source_tree,
            &rules.kernel_independent,
            &rules.alone,
            &rules.features,
        ];
        for name in lists.into_iter().flatten() {
            let executable = name.split("::").next().unwrap_or(name);
            if !targets.iter().any(|target| target["name"] == executable) {
                return Err(format!(
                    "[package.metadata.{RUNNER}] of {CRATE} names {name}, which is no target"
                )
                .into());
            }
        }
        Ok(rules)
    }
}

/// The commit that is checked out, with a `+` where files differ from it.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return String::new();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
}

/// Copies the snapshots below `from`, at the same paths from `root`: tests compare with them.
fn copy_snapshots(root: &Path, from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_dir() {
            copy_snapshots(root, &path, to)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "snap")
        {
            let copy = to.join(path.strip_prefix(root)?);
            fs::create_dir_all(copy.parent().ok_or("a file without a folder")?)?;
            fs::copy(&path, copy)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn executables_are_taken_from_the_messages_of_cargo() {
        let messages = [
            json!({"reason": "compiler-artifact", "target": {"name": "serde"}, "executable": null}),
            json!({"reason": "compiler-artifact", "target": {"name": "drops"}, "executable": "/a/drops-1"}),
            json!({"reason": "build-finished", "success": true}),
        ];
        let expected = [("drops".to_owned(), PathBuf::from("/a/drops-1"))];
        assert_eq!(executables(&messages), expected);
    }

    fn metadata(rules: Value) -> Value {
        json!({"packages": [{
            "name": "glommio",
            "targets": [{"name": "glommio"}, {"name": "readme"}],
            "metadata": {"glommio-tests": rules},
        }]})
    }

    #[test]
    fn rules_name_targets_that_exist() {
        let rules = |readers: &str| {
            Rules::of(&metadata(json!({
                "source-tree": [readers], "kernel-independent": [], "alone": [], "features": [],
            })))
        };
        assert_eq!(rules("readme").unwrap().source_tree, ["readme"]);
        let error = rules("gone").unwrap_err().to_string();
        assert!(error.contains("names gone"), "{error}");
    }

    #[test]
    fn the_rules_of_the_crate_are_in_order() {
        let options = Options {
            out: PathBuf::new(),
            linked_statically: false,
            target: None,
            target_dir: None,
            profile: None,
            locked: false,
        };
        let metadata = Cargo::new(&options)
            .and_then(|cargo| cargo.json(&["metadata", "--format-version=1", "--no-deps"]))
            .unwrap();
        assert!(!Rules::of(&metadata[0]).unwrap().source_tree.is_empty());
    }
}
