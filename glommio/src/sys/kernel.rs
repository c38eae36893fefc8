//! What the running kernel says about itself and about the cage we are in.

use nix::sys::utsname::uname;

use super::sysfs::KernelFiles;

/// The running kernel, and what it holds against io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kernel {
    /// The release as `uname -r` prints it.
    pub release: String,
    /// Major and minor version of the release, if it starts with them.
    pub version: Option<(u32, u32)>,
    /// The architecture that this program was built for, such as `x86_64`.
    pub architecture: &'static str,
    /// The sysctl `kernel.io_uring_disabled`, on kernels that have it (6.6): 0
    /// allows io_uring to everybody, 1 to administrators and the members of
    /// [`io_uring_group`](Self::io_uring_group), 2 to nobody.
    pub io_uring_disabled: Option<u32>,
    /// The sysctl `kernel.io_uring_group`; `None` also when no group is set.
    pub io_uring_group: Option<u32>,
    /// The system-call filter on the thread that asked: a filter need not be on all of them.
    pub seccomp: Seccomp,
    /// The kind of container that this process seems to run in, such as
    /// `docker`. A hint for messages, not a fact to decide on.
    pub container: Option<String>,
}

/// The system-call filter of a thread, see `seccomp(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seccomp {
    /// None.
    Disabled,
    /// Only a handful of system calls are allowed.
    Strict,
    /// A filter decides, as in most containers.
    Filter,
    /// The kernel does not tell.
    Unknown,
}

impl Kernel {
    /// The kernel that runs this process.
    pub(crate) fn host() -> Self {
        let release = uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        Kernel::read(&KernelFiles::host(), release)
    }

    fn read(files: &KernelFiles, release: String) -> Self {
        Kernel {
            version: parse_version(&release),
            release,
            architecture: std::env::consts::ARCH,
            io_uring_disabled: files.number("proc/sys/kernel/io_uring_disabled"),
            // Minus one, the default, is no group and does not parse.
            io_uring_group: files.number("proc/sys/kernel/io_uring_group"),
            seccomp: match files.status_field("thread-self", "Seccomp").as_deref() {
                Some("0") => Seccomp::Disabled,
                Some("1") => Seccomp::Strict,
                Some("2") => Seccomp::Filter,
                _ => Seccomp::Unknown,
            },
            container: container(files),
        }
    }
}

/// Reads `6.18.44-generic` as (6, 18).
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

/// The traces that the usual container managers leave.
fn container(files: &KernelFiles) -> Option<String> {
    if let Some(name) = files.text("run/systemd/container") {
        return Some(name).filter(|name| !name.is_empty());
    }
    if files.exists("run/.containerenv") {
        return Some("podman".to_owned());
    }
    if files.exists(".dockerenv") {
        return Some("docker".to_owned());
    }
    let groups = files.text("proc/self/cgroup")?;
    ["kubepods", "docker", "containerd", "libpod", "lxc"]
        .into_iter()
        .find(|mark| groups.contains(mark))
        .map(|mark| match mark {
            "kubepods" => "kubernetes".to_owned(),
            "libpod" => "podman".to_owned(),
            other => other.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::{super::sysfs::made_up::MadeUp, *};

    fn kernel(made_up: &MadeUp) -> Kernel {
        Kernel::read(&made_up.files(), "6.1.0-28-amd64".to_owned())
    }

    #[test]
    fn versions_of_all_fashions() {
        for (release, version) in [
            ("5.8", Some((5, 8))),
            ("5.10.0-33-amd64", Some((5, 10))),
            ("6.18.44-fc", Some((6, 18))),
            ("7.2-rc1", Some((7, 2))),
            ("6", None),
            ("", None),
            ("linux", None),
        ] {
            assert_eq!(parse_version(release), version, "{release}");
        }
    }

    #[test]
    fn kernel_without_proc_is_a_kernel_that_tells_nothing() {
        let kernel = kernel(&MadeUp::new());
        assert_eq!(kernel.version, Some((6, 1)));
        assert_eq!(kernel.io_uring_disabled, None);
        assert_eq!(kernel.io_uring_group, None);
        assert_eq!(kernel.seccomp, Seccomp::Unknown);
        assert_eq!(kernel.container, None);
    }

    #[test]
    fn sysctls_and_filter_are_read() {
        let made_up = MadeUp::new();
        made_up
            .write("proc/sys/kernel/io_uring_disabled", 1)
            .write("proc/sys/kernel/io_uring_group", 1001)
            .write("proc/self/status", "Seccomp:\t0")
            .write("proc/thread-self/status", "NoNewPrivs:\t0\nSeccomp:\t2");
        let kernel = kernel(&made_up);
        assert_eq!(kernel.io_uring_disabled, Some(1));
        assert_eq!(kernel.io_uring_group, Some(1001));
        assert_eq!(kernel.seccomp, Seccomp::Filter);
    }

    #[test]
    fn unset_group_is_none() {
        let made_up = MadeUp::new();
        made_up.write("proc/sys/kernel/io_uring_group", -1);
        assert_eq!(kernel(&made_up).io_uring_group, None);
    }

    #[test]
    fn containers_are_recognised_by_their_traces() {
        for (file, text, name) in [
            (".dockerenv", "", "docker"),
            ("run/.containerenv", "", "podman"),
            ("run/systemd/container", "systemd-nspawn", "systemd-nspawn"),
            ("proc/self/cgroup", "0::/kubepods/pod1/abc", "kubernetes"),
            ("proc/self/cgroup", "0::/machine/libpod-abc", "podman"),
            ("proc/self/cgroup", "1:cpu:/docker/abc", "docker"),
        ] {
            let made_up = MadeUp::new();
            made_up.write(file, text);
            assert_eq!(container(&made_up.files()).as_deref(), Some(name), "{file}");
        }
        let made_up = MadeUp::new();
        made_up.write("proc/self/cgroup", "0::/user.slice/session-1.scope");
        assert_eq!(container(&made_up.files()), None);
    }

    #[test]
    fn the_running_kernel_has_a_version() {
        let kernel = Kernel::host();
        assert!(kernel.version >= Some((5, 0)), "{}", kernel.release);
        assert!(!kernel.architecture.is_empty());
    }
}
