//! The errors of the crate.
//!
//! [`GlommioError`] is generic over the value that a failed channel operation
//! hands back; everything that is not about channels uses `()`. All of it is
//! `Send + Sync + 'static` when that value is, so `?` works in functions that
//! return `Box<dyn Error + Send + Sync>` or an error type built on it.

mod panic;
mod start;

use std::{
    error::Error,
    fmt, io,
    os::fd::RawFd,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    panic::PanicPayload,
    start::{StartCause, StartError},
};

/// The result of operations that fail with a [`GlommioError`].
///
/// `V` is what an error about a channel hands back; see
/// [`ResourceType::Channel`].
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, Result};
///
/// fn answer() -> Result<i32, ()> {
///     let handle = LocalExecutorBuilder::default().spawn(|| async { 42 })?;
///     handle.join()
/// }
/// assert_eq!(answer()?, 42);
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
pub type Result<T, V> = std::result::Result<T, GlommioError<V>>;

/// Everything that can go wrong in this crate.
///
/// Converts into [`std::io::Error`] with a fitting [`io::ErrorKind`]. An
/// [`EnhancedIoError`](Self::EnhancedIoError) survives the way there and back:
/// converting the `io::Error` into a `GlommioError` again restores operation,
/// path and file descriptor.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use glommio::{GlommioError, LocalExecutor, io::DmaFile};
///
/// LocalExecutor::default().run(async {
///     let error = DmaFile::open("/no/such/file").await.unwrap_err();
///     assert!(error.to_string().contains("path: Some(\"/no/such/file\")"));
///     assert_eq!(error.raw_os_error(), Some(2));
///     assert!(error.start_error().is_none());
///     assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
/// });
/// ```
pub enum GlommioError<T> {
    /// An error of the operating system, as it came.
    IoError(io::Error),

    /// An error of the operating system with what was attempted, and on which
    /// file.
    EnhancedIoError {
        /// The error as it came from the operating system.
        source: io::Error,
        /// The operation that failed.
        op: &'static str,
        /// The path of the file that the operation was about, if known.
        path: Option<PathBuf>,
        /// The file descriptor that the operation was about, if any.
        fd: Option<RawFd>,
    },

    /// An executor refused a request.
    ExecutorError(ExecutorErrorKind),

    /// An executor, or a pool of executors, could not be built or joined.
    BuilderError(BuilderErrorKind),

    /// The resource is closed.
    Closed(ResourceType<T>),

    /// The resource cannot be closed now, for the given reason.
    CanNotBeClosed(ResourceType<T>, &'static str),

    /// The operation would have to wait, and was asked not to.
    WouldBlock(ResourceType<T>),

    /// The machinery that talks to the kernel could not do its work.
    ReactorError(ReactorErrorKind),

    /// The operation did not finish within the given time.
    TimedOut(Duration),
}

/// Requests that an executor refuses.
///
/// # Examples
///
/// ```
/// use glommio::{ExecutorErrorKind, GlommioError, LocalExecutor, QueueErrorKind, TaskQueueHandle};
///
/// let executor = LocalExecutor::default();
/// match executor.remove_task_queue(TaskQueueHandle::default()) {
///     Err(GlommioError::ExecutorError(ExecutorErrorKind::QueueError { index, kind })) => {
///         assert_eq!((index, kind), (0, QueueErrorKind::StillActive));
///     }
///     other => unreachable!("the default queue stays: {other:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorErrorKind {
    /// A request about a task queue failed.
    QueueError {
        /// The index of the queue.
        index: usize,
        /// Why the request failed.
        kind: QueueErrorKind,
    },

    /// No executor has this id.
    InvalidId(usize),
}

/// Why a request about a task queue failed.
///
/// # Examples
///
/// ```
/// use glommio::QueueErrorKind;
///
/// assert_eq!(QueueErrorKind::NotFound.to_string(), "not found");
/// assert_eq!(QueueErrorKind::StillActive.to_string(), "still active");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueErrorKind {
    /// The queue still has tasks.
    StillActive,
    /// There is no such queue.
    NotFound,
}

/// Why an executor could not be built or joined.
///
/// # Examples
///
/// ```
/// use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, Placement};
///
/// match LocalExecutorBuilder::new(Placement::Fixed(100_000)).make() {
///     Err(GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { cpu })) => {
///         assert_eq!(cpu, 100_000);
///     }
///     other => unreachable!("no host has that CPU: {other:?}"),
/// }
/// ```
#[derive(Debug)]
pub enum BuilderErrorKind {
    /// The placement names a CPU that does not exist, is not online, or that
    /// this process may not use.
    NonExistentCpus {
        /// The CPU, as numbered by the kernel.
        cpu: usize,
    },

    /// The placement needs more CPUs than there are.
    InsufficientCpus {
        /// How many CPUs the placement needs.
        required: usize,
        /// How many CPUs are available to it.
        available: usize,
    },

    /// The number of shards does not fit the placement.
    NrShards {
        /// The smallest number that would do.
        minimum: usize,
        /// The number that was asked for.
        shards: usize,
    },

    /// The thread of the executor ended with a panic.
    ThreadPanic(PanicPayload),
}

/// Failures of the machinery that talks to the kernel.
///
/// # Examples
///
/// ```
/// use glommio::ReactorErrorKind;
///
/// let error = ReactorErrorKind::MemLockLimit(65_536, 524_288);
/// assert!(error.to_string().contains("memlock resource limit is too low: 65536"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReactorErrorKind {
    /// An operation was answered by the source of another kind of operation.
    IncorrectSourceType(String),

    /// The limit of locked memory (`RLIMIT_MEMLOCK`) is too low: the current
    /// limit and the recommended one, both in bytes.
    MemLockLimit(u64, u64),
}

/// The resource that an error is about.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, ResourceType, sync::Semaphore};
///
/// let semaphore = Semaphore::new(1);
/// semaphore.close();
/// match semaphore.try_acquire(1) {
///     Err(GlommioError::Closed(ResourceType::Semaphore { requested, available })) => {
///         assert_eq!((requested, available), (1, 1));
///     }
///     other => unreachable!("it is closed: {other:?}"),
/// }
/// ```
pub enum ResourceType<T> {
    /// A semaphore.
    Semaphore {
        /// How many units were asked for.
        requested: u64,
        /// How many units were available then.
        available: u64,
    },

    /// A readers-writer lock.
    RwLock,

    /// A channel, with the value that could not be sent.
    Channel(T),

    /// A file, with a remark on what happened.
    File(String),

    /// A gate.
    Gate,
}

impl<T> GlommioError<T> {
    /// The error number of the operating system, if that is where this error
    /// comes from.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => {
                source.raw_os_error()
            }
            _ => None,
        }
    }

    /// The value that a channel could not take, handed back to its owner.
    ///
    /// `None` for errors that are not about a channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, ResourceType};
    ///
    /// let error = GlommioError::WouldBlock(ResourceType::Channel("the message"));
    /// assert_eq!(error.into_inner(), Some("the message"));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        match self {
            GlommioError::Closed(ResourceType::Channel(value))
            | GlommioError::CanNotBeClosed(ResourceType::Channel(value), _)
            | GlommioError::WouldBlock(ResourceType::Channel(value)) => Some(value),
            _ => None,
        }
    }

    /// Why no ring could be set up, if that is what this error reports.
    pub fn start_error(&self) -> Option<&StartError> {
        match self {
            GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => {
                source.get_ref()?.downcast_ref()
            }
            _ => None,
        }
    }

    /// An error of the operating system with its circumstances.
    pub(crate) fn create_enhanced(
        source: io::Error,
        op: &'static str,
        path: Option<&Path>,
        fd: Option<RawFd>,
    ) -> Self {
        GlommioError::EnhancedIoError {
            source,
            op,
            path: path.map(Path::to_path_buf),
            fd,
        }
    }

    /// A request about a task queue that was refused.
    pub(crate) fn queue(index: usize, kind: QueueErrorKind) -> Self {
        GlommioError::ExecutorError(ExecutorErrorKind::QueueError { index, kind })
    }

    /// Too little memory may be locked; both numbers are bytes.
    pub(crate) fn memlock(max_bytes: u64, recommended_bytes: u64) -> Self {
        GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(max_bytes, recommended_bytes))
    }

    /// A thread that ended with a panic, with what `JoinHandle::join` returned.
    pub(crate) fn thread_panic(payload: Box<dyn std::any::Any + Send>) -> Self {
        GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(PanicPayload::new(payload)))
    }

    /// The kind that the error has as an `io::Error`.
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => {
                source.kind()
            }
            GlommioError::ExecutorError(kind) => match kind {
                ExecutorErrorKind::InvalidId(_) => io::ErrorKind::InvalidInput,
                ExecutorErrorKind::QueueError { kind, .. } => match kind {
                    QueueErrorKind::StillActive => io::ErrorKind::ResourceBusy,
                    QueueErrorKind::NotFound => io::ErrorKind::NotFound,
                },
            },
            GlommioError::BuilderError(kind) => match kind {
                BuilderErrorKind::NonExistentCpus { .. }
                | BuilderErrorKind::InsufficientCpus { .. }
                | BuilderErrorKind::NrShards { .. } => io::ErrorKind::InvalidInput,
                BuilderErrorKind::ThreadPanic(_) => io::ErrorKind::Other,
            },
            GlommioError::Closed(_) => io::ErrorKind::BrokenPipe,
            GlommioError::CanNotBeClosed(..) => io::ErrorKind::ResourceBusy,
            GlommioError::WouldBlock(_) => io::ErrorKind::WouldBlock,
            GlommioError::ReactorError(kind) => match kind {
                ReactorErrorKind::IncorrectSourceType(_) => io::ErrorKind::InvalidData,
                ReactorErrorKind::MemLockLimit(..) => io::ErrorKind::OutOfMemory,
            },
            GlommioError::TimedOut(_) => io::ErrorKind::TimedOut,
        }
    }
}

impl<T> fmt::Display for GlommioError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GlommioError::IoError(source) => write!(f, "IO error occurred: {source}"),
            GlommioError::EnhancedIoError {
                source,
                op,
                path,
                fd,
            } => write_enhanced(f, source, op, path.as_deref(), *fd),
            GlommioError::ExecutorError(kind) => write!(f, "Executor error: {kind}"),
            GlommioError::BuilderError(kind) => write!(f, "Executor builder error: {kind}"),
            GlommioError::Closed(resource) => resource.write_state(f, "is closed"),
            GlommioError::CanNotBeClosed(resource, reason) => {
                resource.write_state(f, "can not be closed")?;
                write!(f, ": {reason}")
            }
            GlommioError::WouldBlock(resource) => resource.write_state(f, "operation would block"),
            GlommioError::ReactorError(kind) => write!(f, "Reactor error: {kind}"),
            GlommioError::TimedOut(after) => write!(f, "Operation timed out after {after:?}"),
        }
    }
}

/// Written by hand: it must not demand `T: Debug`, because the value of a
/// failed send need not have it and `unwrap` should work all the same.
impl<T> fmt::Debug for GlommioError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GlommioError::IoError(source) => f.debug_tuple("IoError").field(source).finish(),
            GlommioError::EnhancedIoError {
                source,
                op,
                path,
                fd,
            } => f
                .debug_struct("EnhancedIoError")
                .field("source", source)
                .field("op", op)
                .field("path", path)
                .field("fd", fd)
                .finish(),
            GlommioError::ExecutorError(kind) => {
                f.debug_tuple("ExecutorError").field(kind).finish()
            }
            GlommioError::BuilderError(kind) => f.debug_tuple("BuilderError").field(kind).finish(),
            GlommioError::Closed(resource) => {
                f.debug_tuple("Closed").field(&resource.opaque()).finish()
            }
            GlommioError::CanNotBeClosed(resource, reason) => f
                .debug_tuple("CanNotBeClosed")
                .field(&resource.opaque())
                .field(reason)
                .finish(),
            GlommioError::WouldBlock(resource) => f
                .debug_tuple("WouldBlock")
                .field(&resource.opaque())
                .finish(),
            GlommioError::ReactorError(kind) => f.debug_tuple("ReactorError").field(kind).finish(),
            GlommioError::TimedOut(after) => f.debug_tuple("TimedOut").field(after).finish(),
        }
    }
}

impl<T> Error for GlommioError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

impl<T> From<StartError> for GlommioError<T> {
    fn from(error: StartError) -> Self {
        GlommioError::IoError(io::Error::new(error.cause().io_kind(), error))
    }
}

impl<T> From<io::Error> for GlommioError<T> {
    fn from(error: io::Error) -> Self {
        match error.downcast::<EnhancedSource>() {
            Ok(enhanced) => GlommioError::EnhancedIoError {
                source: enhanced.source,
                op: enhanced.op,
                path: enhanced.path,
                fd: enhanced.fd,
            },
            Err(error) => GlommioError::IoError(error),
        }
    }
}

/// A broken pipe means that the resource is closed, and `WouldBlock` that it
/// would have to wait; every other error is kept as it is.
impl<T> From<(io::Error, ResourceType<T>)> for GlommioError<T> {
    fn from((error, resource): (io::Error, ResourceType<T>)) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => GlommioError::Closed(resource),
            io::ErrorKind::WouldBlock => GlommioError::WouldBlock(resource),
            _ => error.into(),
        }
    }
}

/// An [`IoError`](GlommioError::IoError) is handed out as it is. Of the others
/// the kind fits the variant and the message is the same; an
/// [`EnhancedIoError`](GlommioError::EnhancedIoError) has the kind of its
/// source, which stays reachable through [`Error::source`].
impl<T> From<GlommioError<T>> for io::Error {
    fn from(error: GlommioError<T>) -> Self {
        let kind = error.io_kind();
        match error {
            GlommioError::IoError(source) => source,
            GlommioError::EnhancedIoError {
                source,
                op,
                path,
                fd,
            } => io::Error::new(
                kind,
                EnhancedSource {
                    source,
                    op,
                    path,
                    fd,
                },
            ),
            // `T` need not be `Send`, `Sync` or `'static`: only the text can go along.
            other => io::Error::new(kind, other.to_string()),
        }
    }
}

/// What an `EnhancedIoError` becomes inside an `io::Error`, so that the way
/// back finds it again.
#[derive(Debug)]
struct EnhancedSource {
    source: io::Error,
    op: &'static str,
    path: Option<PathBuf>,
    fd: Option<RawFd>,
}

impl fmt::Display for EnhancedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_enhanced(f, &self.source, self.op, self.path.as_deref(), self.fd)
    }
}

impl Error for EnhancedSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

fn write_enhanced(
    f: &mut fmt::Formatter<'_>,
    source: &io::Error,
    op: &str,
    path: Option<&Path>,
    fd: Option<RawFd>,
) -> fmt::Result {
    write!(f, "{source}, op: {op} path: {path:?} with fd: {fd:?}")
}

impl fmt::Display for ExecutorErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecutorErrorKind::QueueError { index, kind } => {
                write!(f, "Queue #{index} is {kind}")
            }
            ExecutorErrorKind::InvalidId(id) => {
                write!(f, "indexing executor with id {id}, which is invalid")
            }
        }
    }
}

impl fmt::Display for QueueErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueueErrorKind::StillActive => "still active",
            QueueErrorKind::NotFound => "not found",
        })
    }
}

impl fmt::Display for BuilderErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuilderErrorKind::NonExistentCpus { cpu } => {
                write!(f, "CPU {cpu} doesn't exist on the host")
            }
            BuilderErrorKind::InsufficientCpus {
                required,
                available,
            } => write!(f, "found {available} of {required} required CPUs"),
            BuilderErrorKind::NrShards { minimum, shards } => write!(
                f,
                "{shards} shards requested, but the placement asks for at least {minimum}"
            ),
            BuilderErrorKind::ThreadPanic(payload) => {
                write!(f, "thread panicked: {}", payload.message())
            }
        }
    }
}

impl fmt::Display for ReactorErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReactorErrorKind::IncorrectSourceType(found) => {
                write!(f, "Incorrect source type: {found}")
            }
            ReactorErrorKind::MemLockLimit(max, recommended) => write!(
                f,
                "The memlock resource limit is too low: {max} (recommended {recommended})"
            ),
        }
    }
}

impl<T> ResourceType<T> {
    fn name(&self) -> &'static str {
        match self {
            ResourceType::Semaphore { .. } => "Semaphore",
            ResourceType::RwLock => "RwLock",
            ResourceType::Channel(_) => "Channel",
            ResourceType::File(_) => "File",
            ResourceType::Gate => "Gate",
        }
    }

    /// Writes the name, the state that it is in, and the details behind it.
    fn write_state(&self, f: &mut fmt::Formatter<'_>, state: &str) -> fmt::Result {
        write!(f, "{} {state}", self.name())?;
        self.write_details(f)
    }

    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceType::Semaphore {
                requested,
                available,
            } => write!(f, " (requested: {requested}, available: {available})"),
            ResourceType::File(remark) => write!(f, " ({remark})"),
            ResourceType::RwLock | ResourceType::Channel(_) | ResourceType::Gate => Ok(()),
        }
    }

    /// The same resource without the channel's value, which may lack `Debug`.
    fn opaque(&self) -> ResourceType<Elided> {
        match self {
            ResourceType::Semaphore {
                requested,
                available,
            } => ResourceType::Semaphore {
                requested: *requested,
                available: *available,
            },
            ResourceType::RwLock => ResourceType::RwLock,
            ResourceType::Channel(_) => ResourceType::Channel(Elided),
            ResourceType::File(remark) => ResourceType::File(remark.clone()),
            ResourceType::Gate => ResourceType::Gate,
        }
    }
}

/// Stands for a value that cannot be printed.
struct Elided;

impl fmt::Debug for Elided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl<T> fmt::Display for ResourceType<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.write_details(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for ResourceType<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceType::Semaphore {
                requested,
                available,
            } => f
                .debug_struct("Semaphore")
                .field("requested", requested)
                .field("available", available)
                .finish(),
            ResourceType::RwLock => f.write_str("RwLock"),
            ResourceType::Channel(value) => f.debug_tuple("Channel").field(value).finish(),
            ResourceType::File(remark) => f.debug_tuple("File").field(remark).finish(),
            ResourceType::Gate => f.write_str("Gate"),
        }
    }
}

#[cfg(test)]
mod tests;
