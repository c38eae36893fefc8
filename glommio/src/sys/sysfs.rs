//! Reads of the small text files under `/sys` and `/proc`.
//!
//! Such files come and go with the kernel, the architecture, and the taste of
//! whoever built the container. Every reader here answers `None` for what is
//! missing, unreadable or garbled, and leaves the fallback to its caller.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// More CPUs than any kernel supports. A list that names one beyond is garbage,
/// and is refused before it makes anybody allocate.
const MAX_CPUS: usize = 1 << 16;

/// The directory under which `sys` and `proc` are looked up: `/`, unless a test
/// made up its own.
#[derive(Clone, Debug)]
pub(crate) struct KernelFiles {
    root: PathBuf,
}

impl KernelFiles {
    /// The files of the running kernel.
    pub(crate) fn host() -> Self {
        KernelFiles::at("/")
    }

    /// Files of the same names under another root.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        KernelFiles { root: root.into() }
    }

    /// The real path of a file that is named relative to the root.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn exists(&self, name: impl AsRef<Path>) -> bool {
        self.path(name).exists()
    }

    /// The text of a file, without white space around it. Bytes that are not
    /// UTF-8 (a mount point may have any name) are replaced.
    pub(crate) fn text(&self, name: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one number.
    pub(crate) fn number<N: FromStr>(&self, name: impl AsRef<Path>) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    /// A file that holds `0` or `1`.
    pub(crate) fn flag(&self, name: impl AsRef<Path>) -> Option<bool> {
        self.number::<u32>(name).map(|number| number != 0)
    }

    /// A file that holds a list of CPUs.
    pub(crate) fn cpu_list(&self, name: impl AsRef<Path>) -> Option<Vec<usize>> {
        parse_cpu_list(&self.text(name)?)
    }

    /// The numbers N for which a directory has an entry `<prefix>N`, in order.
    pub(crate) fn numbered_entries(&self, name: impl AsRef<Path>, prefix: &str) -> Vec<usize> {
        let Ok(entries) = fs::read_dir(self.path(name)) else {
            return Vec::new();
        };
        let mut numbers: Vec<usize> = entries
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix(prefix)?
                    .parse()
                    .ok()
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// A field of `/proc/<who>/status`, such as `CapEff`.
    pub(crate) fn status_field(&self, who: &str, field: &str) -> Option<String> {
        let status = self.text(format!("proc/{who}/status"))?;
        status.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == field).then(|| value.trim().to_owned())
        })
    }
}

/// Parses the kernel's notation of CPU sets, `0-3,8`, into sorted numbers. The
/// empty text is the empty set.
pub(crate) fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let mut cpus = Vec::new();
    if text.is_empty() {
        return Some(cpus);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// A root with made-up files, for the tests of everything that reads them.
#[cfg(test)]
pub(crate) mod made_up {
    use std::path::Path;

    use super::KernelFiles;

    /// Deleted when dropped.
    pub(crate) struct MadeUp {
        dir: tempfile::TempDir,
    }

    impl MadeUp {
        pub(crate) fn new() -> Self {
            MadeUp {
                dir: tempfile::tempdir().expect("a temporary directory can be made"),
            }
        }

        pub(crate) fn files(&self) -> KernelFiles {
            KernelFiles::at(self.dir.path())
        }

        pub(crate) fn root(&self) -> &Path {
            self.dir.path()
        }

        /// Writes a file and the directories above it.
        pub(crate) fn write(&self, name: &str, text: impl std::fmt::Display) -> &Self {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
            self
        }

        /// Makes a symbolic link and the directories above it.
        pub(crate) fn link(&self, name: &str, target: &str) -> &Self {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{made_up::MadeUp, *};

    #[test]
    fn cpu_lists_of_ranges_and_single_cpus() {
        let parse = |text| parse_cpu_list(text).unwrap();
        assert_eq!(parse("0"), [0]);
        assert_eq!(parse("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(parse("8,0-1\n"), [0, 1, 8]);
        assert_eq!(parse("1,0-2,2"), [0, 1, 2]);
        assert!(parse("").is_empty());
        assert!(parse("\n").is_empty());
    }

    #[test]
    fn garbled_cpu_lists_are_refused() {
        for text in [
            "x",
            "1-",
            "-1",
            "3-1",
            "1,,2",
            "0-99999999999",
            "0-65536",
            "1:2",
        ] {
            assert_eq!(parse_cpu_list(text), None, "{text}");
        }
    }

    #[test]
    fn missing_and_garbled_files_are_none() {
        let made_up = MadeUp::new();
        made_up.write("sys/word", "many").write("sys/number", "42");
        let files = made_up.files();
        assert_eq!(files.text("sys/word").as_deref(), Some("many"));
        assert_eq!(files.number::<u32>("sys/number"), Some(42));
        assert_eq!(files.flag("sys/number"), Some(true));
        assert_eq!(files.number::<u32>("sys/word"), None);
        assert_eq!(files.number::<u32>("sys/missing"), None);
        assert_eq!(files.text("sys"), None, "a directory has no text");
        assert_eq!(files.cpu_list("sys/word"), None);
        assert!(files.exists("sys/word") && !files.exists("sys/missing"));
    }

    #[test]
    fn bytes_that_are_not_text_do_not_hide_the_rest() {
        let made_up = MadeUp::new();
        made_up.write("proc/x", "");
        std::fs::write(made_up.root().join("proc/x"), b"a \xff b").unwrap();
        assert_eq!(made_up.files().text("proc/x").unwrap(), "a \u{fffd} b");
    }

    #[test]
    fn numbered_entries_are_found_among_others() {
        let made_up = MadeUp::new();
        for name in ["cpu10/x", "cpu2/x", "cpufreq/x", "cpu/x", "online"] {
            made_up.write(&format!("sys/{name}"), "");
        }
        assert_eq!(made_up.files().numbered_entries("sys", "cpu"), [2, 10]);
        assert!(made_up.files().numbered_entries("none", "cpu").is_empty());
    }

    #[test]
    fn status_fields_are_matched_by_their_whole_name() {
        let made_up = MadeUp::new();
        made_up.write(
            "proc/self/status",
            "Name:\tCapEff: 1\nCapEff:\t00000000a80425fb\nCapEffX:\t7",
        );
        let files = made_up.files();
        assert_eq!(
            files.status_field("self", "CapEff").as_deref(),
            Some("00000000a80425fb")
        );
        assert_eq!(files.status_field("self", "Cap"), None);
        assert_eq!(files.status_field("1", "CapEff"), None);
    }
}
