//! Why io_uring cannot be used here: from an errno to a cause and a cure.

use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit};

use super::limits::enforced_memlock_bytes;
use crate::error::{GlommioError, StartCause, StartError};

/// An operation that every executor needs is missing.
pub(crate) fn operation_missing(name: &str, since: &str) -> GlommioError<()> {
    StartError::new(
        StartCause::KernelTooOld,
        format!("io_uring of this kernel lacks the operation IORING_OP_{name}"),
        format!(
            "{} is older than Linux {since}, or has it disabled",
            kernel()
        ),
        "run a kernel of 5.8 or newer",
    )
    .into()
}

/// The limit of locked memory, if it is what made the kernel refuse.
fn binding_memlock(error: &io::Error) -> Option<u64> {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => enforced_memlock_bytes(),
        _ => None,
    }
}

/// Whether a ring of `entries` entries may be had when others have given back what they hold.
pub(crate) fn may_fit_later(error: &io::Error, entries: u32) -> bool {
    binding_memlock(error).is_some_and(|soft| soft >= ring_bytes(entries))
}

/// `io_uring_setup` for `entries` entries failed.
pub(crate) fn ring_refused(error: &io::Error, entries: u32) -> GlommioError<()> {
    let code = error.raw_os_error();
    if let Some(soft) = binding_memlock(error) {
        // Enough for this ring alone means that others of this user have it.
        let needed = ring_bytes(entries).max(RECOMMENDED_MEMLOCK_BYTES);
        let recommended = match soft < needed {
            true => needed,
            false => soft.saturating_mul(2),
        };
        return GlommioError::memlock(soft, recommended);
    }
    let (cause, why, cure) = match code {
        Some(libc::EPERM) => match io_uring_disabled() {
            Some(level) if level > 0 => (
                StartCause::IoUringDisabled,
                format!("the sysctl kernel.io_uring_disabled is {level}"),
                if level == 1 {
                    "run as root: sysctl kernel.io_uring_disabled=0, or add this user to the \
                     group of kernel.io_uring_group"
                        .to_owned()
                } else {
                    "run as root: sysctl kernel.io_uring_disabled=0".to_owned()
                },
            ),
            _ => denied("io_uring_setup", "EPERM"),
        },
        Some(libc::EACCES) => denied("io_uring_setup", "EACCES"),
        Some(libc::ENOSYS) if seccomp_filters() => denied("io_uring_setup", "ENOSYS"),
        Some(libc::ENOSYS) => (
            StartCause::KernelTooOld,
            format!("{} has no io_uring", kernel()),
            "run a kernel of 5.8 or newer that is built with CONFIG_IO_URING".to_owned(),
        ),
        Some(libc::EMFILE) => (
            StartCause::FileLimit,
            match getrlimit(Resource::RLIMIT_NOFILE) {
                Ok((soft, _)) => format!("the process reached its limit of {soft} open files"),
                Err(_) => "the process reached its limit of open files".to_owned(),
            },
            "close files, or raise the limit: ulimit -n 65536 (shell), LimitNOFILE=65536 (systemd)"
                .to_owned(),
        ),
        Some(libc::ENFILE) => (
            StartCause::FileLimit,
            "the host reached its limit of open files".to_owned(),
            "run as root: sysctl fs.file-max=1000000".to_owned(),
        ),
        _ => (
            StartCause::Other,
            format!(
                "io_uring_setup with {entries} entries failed on {}",
                kernel()
            ),
            "see io_uring_setup(2) for this error".to_owned(),
        ),
    };
    StartError::new(cause, "cannot create an io_uring instance", why, cure)
        .with_source(clone(error))
        .into()
}

/// A ring could be made, and `call` on it failed.
///
/// Filters may allow one of the three calls and deny another.
pub(crate) fn call_refused(call: &str, error: &io::Error) -> GlommioError<()> {
    let errno = match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM",
        Some(libc::EACCES) => "EACCES",
        // A kernel that has one of the calls has all of them.
        Some(libc::ENOSYS) => "ENOSYS",
        _ => return ring_refused(error, 0),
    };
    let (cause, why, cure) = denied(call, errno);
    StartError::new(cause, "cannot use an io_uring instance", why, cure)
        .with_source(clone(error))
        .into()
}

/// A resource other than the ring could not be had while an executor started.
pub(crate) fn resource_refused(what: &str, error: io::Error) -> GlommioError<()> {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => ring_refused(&error, 0),
        _ => StartError::new(
            StartCause::Other,
            format!("cannot create {what}"),
            "the kernel refused",
            "see the error above",
        )
        .with_source(error)
        .into(),
    }
}

/// The thread of the executor called `name` could not be started.
pub(crate) fn thread_refused(name: &str, error: io::Error) -> GlommioError<()> {
    StartError::new(
        StartCause::Other,
        format!("cannot start a thread for the executor {name:?}"),
        "the process is out of threads or of memory for their stacks",
        "start fewer executors, or raise the limit: ulimit -u (shell), TasksMax (systemd), the pids \
         limit (container), ulimit -v and RUST_MIN_STACK (memory)",
    )
    .with_source(error)
    .into()
}

/// What a ring of the default depth may cost on kernels that count ring memory (all but 5.12 to 6.13).
const RECOMMENDED_MEMLOCK_BYTES: u64 = 512 * 1024;

/// The kernel memory of a ring with `entries` submission and four times as many completion entries.
fn ring_bytes(entries: u32) -> u64 {
    let (sqe, index, cqe, page) = (64, 4, 16, 4096);
    let entries = u64::from(entries);
    let round = |bytes: u64| bytes.div_ceil(page) * page;
    round(entries * sqe) + round(entries * index + (entries * 4).max(1024) * cqe)
}

fn denied(call: &str, errno: &str) -> (StartCause, String, String) {
    (
        StartCause::Denied,
        format!(
            "a system-call filter (seccomp) or security module answers {call} with \
             {errno}; container runtimes do so by default"
        ),
        "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp \
         profile, or run it with --security-opt seccomp=unconfined"
            .to_owned(),
    )
}

fn io_uring_disabled() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Of the calling thread: a filter need not be on all of them.
fn seccomp_filters() -> bool {
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| {
        status.lines().any(|l| {
            l.strip_prefix("Seccomp:")
                .is_some_and(|mode| mode.trim() == "2")
        })
    })
}

fn kernel() -> String {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => format!("Linux {}", release.trim()),
        Err(_) => "this kernel".to_owned(),
    }
}

fn clone(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(errno: i32) -> StartCause {
        let error = ring_refused(&io::Error::from_raw_os_error(errno), 128);
        error.start_error().expect("a start error").cause()
    }

    #[test]
    fn each_errno_names_its_cause_and_a_cure() {
        assert_eq!(cause(libc::EMFILE), StartCause::FileLimit);
        assert_eq!(cause(libc::ENFILE), StartCause::FileLimit);
        assert_eq!(cause(libc::EINVAL), StartCause::Other);
        assert!(matches!(
            cause(libc::EPERM),
            StartCause::Denied | StartCause::IoUringDisabled
        ));
        assert!(matches!(
            cause(libc::ENOSYS),
            StartCause::KernelTooOld | StartCause::Denied
        ));
        let text = ring_refused(&io::Error::from_raw_os_error(libc::EMFILE), 128).to_string();
        assert!(text.contains("ulimit -n"), "{text}");
    }

    #[test]
    fn a_missing_operation_is_named() {
        let text = operation_missing("OPENAT", "5.6").to_string();
        assert!(
            text.contains("IORING_OP_OPENAT") && text.contains("5.8"),
            "{text}"
        );
    }

    #[test]
    fn ring_memory_is_counted_in_pages() {
        assert_eq!(ring_bytes(128), 8192 + 20480);
        assert_eq!(ring_bytes(128) % 4096, 0);
    }
}
