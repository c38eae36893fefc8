//! A set of test executables: a folder with a manifest, the executables, the files they read, and
//! the runner.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::Result;

/// The crate whose tests are collected, and its library.
pub const CRATE: &str = "glommio";

pub const MANIFEST: &str = "manifest.json";

/// Where in a set the files of the source tree lie that tests read.
pub const SOURCE: &str = "source";

/// What `build` writes down.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The commit the set was built from, with a mark where it was changed; empty if unknown.
    pub commit: String,
    /// The targets of cargo, which are also the names of the files.
    pub executables: Vec<String>,
    /// Optional features of the crate: the library's tests are there once more with each.
    pub features: Vec<String>,
    /// Executables that read the source tree and are not in the set.
    pub left_out: Vec<String>,
    /// Executables, and modules as in `glommio::task`, whose tests end alike on every kernel: they
    /// run in the first pass only.
    pub kernel_independent: Vec<String>,
    /// Those whose tests change the machine, or measure it: they run while no other does.
    pub alone: Vec<String>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub executable: String,
    /// The file in the set.
    pub file: String,
    /// As the executable knows it.
    pub name: String,
    pub kernel_independent: bool,
    pub alone: bool,
}

impl Test {
    pub fn full_name(&self) -> String {
        full_name(&self.executable, &self.name)
    }
}

pub struct Set {
    dir: PathBuf,
    manifest: Manifest,
}

impl Set {
    pub fn open(dir: &Path) -> Result<Set> {
        let path = dir.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| {
            format!(
                "{}: {error}: is it a folder that `glommio-tests build` made?",
                path.display()
            )
        })?;
        Ok(Set {
            // Tests may change their working directory.
            dir: dir.canonicalize()?,
            manifest: serde_json::from_str(&text)?,
        })
    }

    pub fn commit(&self) -> &str {
        &self.manifest.commit
    }

    pub fn program(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The files of the source tree that tests read.
    pub fn source(&self) -> PathBuf {
        self.dir.join(SOURCE)
    }

    /// Asks every executable for its tests.
    pub fn tests(&self) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        for executable in &self.manifest.executables {
            tests.extend(self.tests_in(executable, executable)?);
        }
        for feature in &self.manifest.features {
            let found = self.tests_in(CRATE, &library_with(feature))?;
            add_new(&mut tests, found);
        }
        Ok(tests)
    }

    /// The tests in a file.
    fn tests_in(&self, executable: &str, file: &str) -> Result<Vec<Test>> {
        let program = self.program(file);
        let output = Command::new(&program)
            .args(["--list", "--format", "terse"])
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        if !output.status.success() {
            return Err(format!("{} --list: {}", program.display(), output.status).into());
        }
        let listed = String::from_utf8(output.stdout)?;
        let of_name = |name| self.test(executable, file, name);
        Ok(names(&listed).map(of_name).collect())
    }

    fn test(&self, executable: &str, file: &str, name: &str) -> Test {
        let full_name = full_name(executable, name);
        Test {
            executable: executable.to_owned(),
            file: file.to_owned(),
            name: name.to_owned(),
            kernel_independent: is_among(&full_name, &self.manifest.kernel_independent),
            alone: is_among(&full_name, &self.manifest.alone),
        }
    }

    /// What is not in the set, in one line.
    pub fn left_out(&self) -> String {
        format!(
            "not in the set: doc tests, and {} (they read the source tree)",
            self.manifest.left_out.join(", ")
        )
    }
}

/// The file with the tests of the library that has an optional feature.
pub fn library_with(feature: &str) -> String {
    format!("{CRATE}.{feature}")
}

/// Adds those of `found` whose names are not there.
fn add_new(tests: &mut Vec<Test>, found: Vec<Test>) {
    let known: HashSet<String> = tests.iter().map(Test::full_name).collect();
    let new = |test: &Test| !known.contains(&test.full_name());
    tests.extend(found.into_iter().filter(new));
}

fn full_name(executable: &str, name: &str) -> String {
    format!("{executable}::{name}")
}

/// Whether a test belongs to one of these executables and modules.
fn is_among(full_name: &str, groups: &[String]) -> bool {
    groups.iter().any(|group| {
        let rest = full_name.strip_prefix(group.as_str());
        rest.is_some_and(|rest| rest.starts_with("::"))
    })
}

/// The tests in the answer to `--list --format terse`.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_tests_are_found_and_benchmarks_are_not() {
        let listed = "a::b: test\nc: benchmark\nd: test\n\n";
        assert_eq!(names(listed).collect::<Vec<_>>(), ["a::b", "d"]);
    }

    #[test]
    fn tests_belong_to_executables_and_modules() {
        let groups = ["loom_park".to_owned(), "glommio::task".to_owned()];
        assert!(is_among("loom_park::a", &groups));
        assert!(is_among("glommio::task::local::tests::a", &groups));
        assert!(!is_among("glommio::task_local::a", &groups));
        assert!(!is_among("task::a", &groups));
    }

    #[test]
    fn of_a_library_with_a_feature_only_what_that_adds_is_taken() {
        let set = Set {
            dir: PathBuf::new(),
            manifest: Manifest {
                commit: String::new(),
                executables: vec![CRATE.to_owned()],
                features: vec!["debugging".to_owned()],
                left_out: Vec::new(),
                kernel_independent: vec!["glommio::task".to_owned()],
                alone: Vec::new(),
            },
        };
        let file = library_with("debugging");
        let mut tests = vec![set.test(CRATE, CRATE, "io::a")];
        let again = set.test(CRATE, &file, "io::a");
        let new = set.test(CRATE, &file, "task::debugging::b");
        add_new(&mut tests, vec![again, new.clone()]);
        assert_eq!(tests[1..], [new]);
        assert_eq!(tests[0].file, CRATE);
        assert_eq!(tests[1].full_name(), "glommio::task::debugging::b");
        assert!(tests[1].kernel_independent && !tests[0].kernel_independent);
    }

    #[test]
    fn a_folder_without_a_manifest_is_an_error_that_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = Set::open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.contains(MANIFEST) && error.contains("build"),
            "{error}"
        );
    }
}
