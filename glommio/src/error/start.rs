//! Why an executor cannot start on this host.

use std::{error::Error, fmt, io};

/// What keeps io_uring from working on this host.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, StartCause};
///
/// match LocalExecutorBuilder::default().make() {
///     Ok(executor) => executor.run(async { println!("here we go") }),
///     Err(error) => match error.start_error().map(|start| start.cause()) {
///         Some(StartCause::Denied) => println!("this container forbids io_uring"),
///         Some(StartCause::MemlockLimit) => println!("raise the limit of locked memory"),
///         _ => println!("{error}"),
///     },
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartCause {
    /// The kernel lacks io_uring, or an operation that is always needed.
    KernelTooOld,
    /// The `kernel.io_uring_disabled` sysctl forbids io_uring to this process.
    IoUringDisabled,
    /// A system-call filter or a security module forbids io_uring, as
    /// containers often do.
    Denied,
    /// Too little memory may be locked (`RLIMIT_MEMLOCK`).
    MemlockLimit,
    /// No file descriptor is left (`RLIMIT_NOFILE`, or the host's limit).
    FileLimit,
    /// The kernel refused for a reason that fits none of the above.
    Other,
}

impl StartCause {
    pub(super) fn io_kind(self) -> io::ErrorKind {
        match self {
            StartCause::KernelTooOld => io::ErrorKind::Unsupported,
            StartCause::IoUringDisabled | StartCause::Denied => io::ErrorKind::PermissionDenied,
            StartCause::MemlockLimit => io::ErrorKind::OutOfMemory,
            StartCause::FileLimit | StartCause::Other => io::ErrorKind::Other,
        }
    }
}

/// Why an executor cannot start on this host, and what can be done about it.
///
/// Travels inside [`GlommioError::IoError`](crate::GlommioError::IoError); find it with
/// [`GlommioError::start_error`](crate::GlommioError::start_error). Displayed, and printed by `unwrap`, as one
/// line on what failed followed by one each on the cause and on the cure.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, StartCause};
///
/// if let Err(error) = LocalExecutorBuilder::default().make() {
///     if let Some(start) = error.start_error() {
///         eprintln!("{}: {}", start.failed(), start.why());
///         eprintln!("to cure it: {}", start.cure());
///         if start.cause() == StartCause::KernelTooOld {
///             std::process::exit(2);
///         }
///     }
/// }
/// ```
pub struct StartError {
    cause: StartCause,
    failed: String,
    why: String,
    cure: String,
    source: Option<io::Error>,
}

impl StartError {
    /// `failed` says what was attempted, `why` what stands against it and
    /// `cure` what the user can do; none of them ends with a full stop.
    pub(crate) fn new(
        cause: StartCause,
        failed: impl Into<String>,
        why: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        StartError {
            cause,
            failed: failed.into(),
            why: why.into(),
            cure: cure.into(),
            source: None,
        }
    }

    /// Adds the error that the kernel returned.
    pub(crate) fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    /// The class of the cause, to match on.
    pub fn cause(&self) -> StartCause {
        self.cause
    }

    /// What failed.
    pub fn failed(&self) -> &str {
        &self.failed
    }

    /// Why it failed, in words.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What can be done about it.
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failed)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        write!(f, "\n  cause: {}\n  cure:  {}", self.why, self.cure)
    }
}

/// The same text as `Display`: whoever unwraps a failed start reads this.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::GlommioError;

    fn disabled() -> StartError {
        StartError::new(
            StartCause::IoUringDisabled,
            "cannot create a ring",
            "kernel.io_uring_disabled is 2, which forbids io_uring to everybody",
            "sysctl kernel.io_uring_disabled=0, as root",
        )
        .with_source(io::Error::from_raw_os_error(1))
    }

    #[test]
    fn text_names_failure_cause_and_cure() {
        let expected = "cannot create a ring: Operation not permitted (os error 1)\
            \n  cause: kernel.io_uring_disabled is 2, which forbids io_uring to everybody\
            \n  cure:  sysctl kernel.io_uring_disabled=0, as root";
        assert_eq!(disabled().to_string(), expected);
        assert_eq!(format!("{:?}", disabled()), expected);
    }

    #[test]
    fn travels_inside_a_glommio_error_and_is_found_again() {
        let error: GlommioError<()> = disabled().into();
        let found = error.start_error().expect("the start error is inside");
        assert_eq!(found.cause(), StartCause::IoUringDisabled);
        assert_eq!(found.failed(), "cannot create a ring");
        assert!(found.why().starts_with("kernel.io_uring_disabled is 2"));
        assert!(found.cure().starts_with("sysctl"));
        assert!(
            error
                .to_string()
                .starts_with("IO error occurred: cannot create a ring: Operation not permitted")
        );
        assert!(
            format!("{error:?}").contains("\n  cure:  sysctl"),
            "unwrap shows the cure"
        );

        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.get_ref().unwrap().is::<StartError>());
    }

    #[test]
    fn every_cause_has_a_fitting_io_kind() {
        use io::ErrorKind::*;
        for (cause, kind) in [
            (StartCause::KernelTooOld, Unsupported),
            (StartCause::IoUringDisabled, PermissionDenied),
            (StartCause::Denied, PermissionDenied),
            (StartCause::MemlockLimit, OutOfMemory),
            (StartCause::FileLimit, Other),
            (StartCause::Other, Other),
        ] {
            let error: GlommioError<()> = StartError::new(cause, "a", "b", "c").into();
            assert_eq!(io::Error::from(error).kind(), kind, "{cause:?}");
        }
    }

    #[test]
    fn other_errors_hold_no_start_error() {
        let plain = GlommioError::<()>::from(io::Error::from_raw_os_error(1));
        assert!(plain.start_error().is_none());
        assert!(GlommioError::<()>::memlock(1, 2).start_error().is_none());
    }
}
