//! Why io_uring cannot be used here: from an errno to a cause and a cure.

use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit};

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

/// `io_uring_setup` for `entries` entries failed.
pub(crate) fn ring_refused(error: &io::Error, entries: u32) -> GlommioError<()> {
    let code = error.raw_os_error();
    if code == Some(libc::ENOMEM) {
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_MEMLOCK) {
            let needed = ring_bytes(entries);
            if soft < needed.max(RECOMMENDED_MEMLOCK_BYTES) {
                return GlommioError::memlock(soft, needed.max(RECOMMENDED_MEMLOCK_BYTES));
            }
        }
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
            _ => denied("EPERM"),
        },
        Some(libc::EACCES) => denied("EACCES"),
        Some(libc::ENOSYS) if seccomp_filters() => denied("ENOSYS"),
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

/// What a ring of the default depth may cost on kernels that count ring memory (before 5.12).
const RECOMMENDED_MEMLOCK_BYTES: u64 = 512 * 1024;

/// The kernel memory of a ring with `entries` submission and four times as many completion entries.
fn ring_bytes(entries: u32) -> u64 {
    let (sqe, index, cqe, page) = (64, 4, 16, 4096);
    let entries = u64::from(entries);
    let round = |bytes: u64| bytes.div_ceil(page) * page;
    round(entries * sqe) + round(entries * index + (entries * 4).max(1024) * cqe)
}

fn denied(errno: &str) -> (StartCause, String, String) {
    (
        StartCause::Denied,
        format!(
            "a system-call filter (seccomp) or security module answers io_uring_setup with \
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

fn seccomp_filters() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
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
