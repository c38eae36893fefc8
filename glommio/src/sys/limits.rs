//! What the operating system allows this process: locked memory and open files.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::sysfs::KernelFiles;

/// The number of the capability `CAP_IPC_LOCK`, as in `capabilities(7)`.
const CAP_IPC_LOCK: u32 = 14;

/// A resource limit of this process, see `getrlimit(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// What the kernel enforces; `None` is no limit.
    pub soft: Option<u64>,
    /// How far the process may raise the soft limit by itself; `None` is no
    /// limit.
    pub hard: Option<u64>,
}

impl Limit {
    /// Whether the kernel lets the process have this many.
    pub fn allows(&self, amount: u64) -> bool {
        self.soft.is_none_or(|soft| amount <= soft)
    }
}

/// What the operating system allows this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Memory that may be locked (`RLIMIT_MEMLOCK`), in bytes. Registered
    /// buffers count against it, and the rings themselves, but for Linux 5.12
    /// to 6.13.
    pub memlock_bytes: Limit,
    /// Whether the limit of locked memory is not enforced, because the process
    /// holds `CAP_IPC_LOCK` on the host and not only in its container.
    pub memlock_exempt: bool,
    /// File descriptors (`RLIMIT_NOFILE`).
    pub open_files: Limit,
    /// How many file descriptors were open when this was read, if `/proc`
    /// tells.
    pub open_files_now: Option<usize>,
}

impl Limits {
    /// Whether this process may lock this many bytes, as far as limits tell:
    /// what other processes of the same user have locked counts too.
    pub fn allows_locking(&self, bytes: u64) -> bool {
        self.memlock_exempt || self.memlock_bytes.allows(bytes)
    }

    /// The limits of this process now.
    pub(crate) fn host() -> Self {
        Limits::read(&KernelFiles::host())
    }

    fn read(files: &KernelFiles) -> Self {
        Limits {
            memlock_bytes: limit(Resource::RLIMIT_MEMLOCK),
            memlock_exempt: is_memlock_exempt(files),
            open_files: limit(Resource::RLIMIT_NOFILE),
            // One of them is the directory that is being read.
            open_files_now: Some(files.numbered_entries("proc/self/fd", "").len())
                .filter(|count| *count > 0)
                .map(|count| count - 1),
        }
    }
}

/// How many bytes of locked memory the kernel allows this process; `None` if it enforces no limit.
///
/// For executors: unlike [`Limits::host`], this takes no longer the more descriptors are open.
pub(crate) fn enforced_memlock_bytes() -> Option<u64> {
    let memlock = limit(Resource::RLIMIT_MEMLOCK);
    enforced(memlock, &KernelFiles::host())
}

fn enforced(memlock: Limit, files: &KernelFiles) -> Option<u64> {
    memlock.soft.filter(|_| !is_memlock_exempt(files))
}

fn limit(resource: Resource) -> Limit {
    let finite = |value| (value != RLIM_INFINITY).then_some(value);
    match getrlimit(resource) {
        Ok((soft, hard)) => Limit {
            soft: finite(soft),
            hard: finite(hard),
        },
        // Only an unknown resource fails; what is not enforced is not limited.
        Err(_) => Limit {
            soft: None,
            hard: None,
        },
    }
}

fn is_memlock_exempt(files: &KernelFiles) -> bool {
    holds_ipc_lock(files) && is_in_initial_user_namespace(files)
}

/// Whether the effective capabilities include `CAP_IPC_LOCK`.
fn holds_ipc_lock(files: &KernelFiles) -> bool {
    files
        .status_field("thread-self", "CapEff")
        .or_else(|| files.status_field("self", "CapEff"))
        .and_then(|hex| u64::from_str_radix(&hex, 16).ok())
        .is_some_and(|effective| effective & (1 << CAP_IPC_LOCK) != 0)
}

/// Capabilities inside a user namespace count for nothing when the kernel
/// accounts locked memory. Of the namespaces only the initial one maps every
/// user id to itself.
fn is_in_initial_user_namespace(files: &KernelFiles) -> bool {
    let Some(map) = files.text("proc/self/uid_map") else {
        // A kernel without user namespaces has no such file.
        return true;
    };
    map.split_ascii_whitespace()
        .eq(["0", "0", &u32::MAX.to_string()])
}

#[cfg(test)]
mod tests {
    use super::{super::sysfs::made_up::MadeUp, *};

    const IDENTITY: &str = "         0          0 4294967295";

    fn process(cap_eff: &str, uid_map: &str) -> MadeUp {
        let made_up = MadeUp::new();
        made_up
            .write("proc/self/status", format!("CapEff:\t{cap_eff}"))
            .write("proc/self/uid_map", uid_map);
        made_up
    }

    fn exempt(cap_eff: &str, uid_map: &str) -> bool {
        Limits::read(&process(cap_eff, uid_map).files()).memlock_exempt
    }

    #[test]
    fn ipc_lock_exempts_on_the_host_only() {
        assert!(exempt("0000000000004000", IDENTITY));
        assert!(exempt("000001ffffffffff", IDENTITY));
        assert!(!exempt("0000000000000000", IDENTITY));
        assert!(
            !exempt("00000000a80425fb", IDENTITY),
            "docker's default set"
        );
        assert!(
            !exempt("000001ffffffffff", "0 1000 1"),
            "rootless container"
        );
        assert!(!exempt("not hex", IDENTITY));
    }

    #[test]
    fn the_soft_limit_is_enforced_unless_exempt() {
        let (host, container) = (process("4000", IDENTITY), process("4000", "0 1000 1"));
        let soft = |soft| Limit { soft, hard: None };
        assert_eq!(enforced(soft(Some(0)), &host.files()), None);
        assert_eq!(enforced(soft(Some(0)), &container.files()), Some(0));
        assert_eq!(enforced(soft(None), &container.files()), None);
        let (all, bytes) = (Limits::host(), enforced_memlock_bytes());
        assert_eq!(
            bytes,
            all.memlock_bytes.soft.filter(|_| !all.memlock_exempt)
        );
    }

    #[test]
    fn unreadable_proc_is_no_exemption() {
        let limits = Limits::read(&MadeUp::new().files());
        assert!(!limits.memlock_exempt);
        assert_eq!(limits.open_files_now, None);
    }

    #[test]
    fn limits_of_this_process_are_read() {
        let limits = Limits::host();
        let now = limits.open_files_now.expect("/proc is mounted");
        assert!(now >= 3, "standard streams are open, {now}");
        assert!(limits.open_files.allows(now as u64));
        let hard = limits.open_files.hard.unwrap_or(u64::MAX);
        assert!(limits.open_files.soft.is_none_or(|soft| soft <= hard));
    }

    #[test]
    fn locking_is_bounded_unless_exempt_or_unlimited() {
        let mut limits = Limits {
            memlock_bytes: Limit {
                soft: Some(65536),
                hard: Some(65536),
            },
            memlock_exempt: false,
            open_files: Limit {
                soft: None,
                hard: None,
            },
            open_files_now: None,
        };
        assert!(limits.allows_locking(65536));
        assert!(!limits.allows_locking(65537));
        assert!(limits.open_files.allows(u64::MAX));
        limits.memlock_exempt = true;
        assert!(limits.allows_locking(65537));
    }
}
