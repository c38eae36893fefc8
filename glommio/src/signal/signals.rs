//! Signals as values to be awaited.

use std::{ffi::c_int, fmt, io};

use crate::{
    error::{GlommioError, Result},
    reactor,
    sys::{
        fd::Fd,
        op::poll::PollOnce,
        signals::{self, READABLE, SignalSet},
        submission::Submission,
    },
};

/// Keeps signals from acting on the process, so that they wait until a [`Signals`] receives them.
///
/// To be called at the start of a program, before it starts threads: they inherit that the signals are
/// blocked. What happens to threads that do not is said [above](crate::signal#what-happens-to-a-signal-that-is-waited-for).
///
/// # Errors
///
/// - `InvalidInput`: one of the numbers is no signal, or one that cannot be waited for: SIGKILL,
///   SIGSTOP, those that report a fault of the running code (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
///   SIGSYS, SIGABRT), and those that the C library keeps to itself.
/// - `ResourceBusy`: one of them is the stall detector's.
///
/// Nothing has changed then.
///
/// # Examples
///
/// ```
/// glommio::signal::block(&[libc::SIGTERM, libc::SIGHUP])?;
/// // Would have ended the process. It is received by the first who waits for it.
/// unsafe { libc::raise(libc::SIGHUP) };
///
/// assert!(glommio::signal::block(&[libc::SIGKILL]).is_err());
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
pub fn block(signals: &[c_int]) -> Result<(), ()> {
    Ok(signals::hold(SignalSet::new(signals)?)?)
}

/// Receives signals, in the executor that made it.
///
/// Each signal that the process gets is received once: of several `Signals` that wait for the same one,
/// in whatever executors, any one gets it. To tell all, let one receive and pass it on, as by a
/// [`StopHandle`](crate::StopHandle).
///
/// Dropping it loses no signal and takes nothing back: see the [module](crate::signal).
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, signal::Signals};
///
/// LocalExecutor::default().run(async {
///     let signals = Signals::new(&[libc::SIGUSR1, libc::SIGHUP])?;
///     unsafe { libc::raise(libc::SIGUSR1) };
///     assert_eq!(signals.recv().await?, libc::SIGUSR1);
///     assert_eq!(signals.try_recv()?, None);
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct Signals {
    fd: Fd,
    set: SignalSet,
}

impl Signals {
    /// Starts to wait for `signals`, and [blocks](block) them.
    ///
    /// What has arrived since they were first blocked, and was not received, is there.
    ///
    /// # Errors
    ///
    /// As [`block`]; `InvalidInput` for an empty list; and when no file descriptor is left.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn new(signals: &[c_int]) -> Result<Signals, ()> {
        let set = SignalSet::new(signals)?;
        if set.is_empty() {
            let why = "no signal to wait for: the list is empty";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let reactor = reactor::current();
        signals::hold(set)?;
        let fd = signals::descriptor(set).map_err(|error| {
            GlommioError::create_enhanced(error, "Waiting for signals", None, None)
        })?;
        Ok(Signals {
            fd: Fd::new(fd, reactor.ring().clone()),
            set,
        })
    }

    /// Waits for the next signal and gives its number.
    ///
    /// Of standard signals that wait, the one with the smallest number comes first, and they come before
    /// real-time ones.
    ///
    /// # Errors
    ///
    /// When the executor is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no signal: it is taken when the future completes.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, signal::Signals};
    /// use futures_lite::future;
    ///
    /// LocalExecutor::default().run(async {
    ///     let hangup = Signals::new(&[libc::SIGHUP])?;
    ///     assert!(future::poll_once(hangup.recv()).await.is_none());
    ///     unsafe { libc::kill(libc::getpid(), libc::SIGHUP) };
    ///     assert_eq!(hangup.recv().await?, libc::SIGHUP);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    pub async fn recv(&self) -> Result<c_int, ()> {
        loop {
            if let Some(signal) = self.try_recv()? {
                return Ok(signal);
            }
            let poll = PollOnce {
                fd: self.fd.clone(),
                events: READABLE,
            };
            let (_, completion) = Submission::new(self.fd.ring().clone(), poll).await;
            match completion.count() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.fd.ring().is_closed() => {
                    return Err(io::Error::other(
                        "the executor in which these signals are waited for is gone",
                    )
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes a signal if one waits, and gives its number.
    ///
    /// A signal that was sent may wait a little later only: first it
    /// [interrupts](crate::signal#what-happens-to-a-signal-that-is-waited-for) a thread that does not
    /// block it.
    ///
    /// # Errors
    ///
    /// Those of read(2) on a signalfd.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, signal::Signals};
    ///
    /// LocalExecutor::default().run(async {
    ///     let signals = Signals::new(&[libc::SIGUSR2])?;
    ///     assert_eq!(signals.try_recv()?, None);
    ///     for _ in 0..2 {
    ///         unsafe { libc::raise(libc::SIGUSR2) };
    ///     }
    ///     // Two became one.
    ///     assert_eq!(signals.try_recv()?, Some(libc::SIGUSR2));
    ///     assert_eq!(signals.try_recv()?, None);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    pub fn try_recv(&self) -> Result<Option<c_int>, ()> {
        Ok(signals::take(&self.fd)?)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.set).finish()
    }
}
