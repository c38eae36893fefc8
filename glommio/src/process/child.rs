//! A program that runs.

use std::{
    ffi::c_int,
    fmt, io,
    process::{ExitStatus, Output},
};

use futures_io::AsyncRead;
use futures_lite::{AsyncReadExt, future};

use super::{ChildStderr, ChildStdin, ChildStdout, exit::ExitWatch};
use crate::{
    error::{GlommioError, Result},
    reactor::Reactor,
    sys::{
        process::{Pipes, Process},
        signals,
    },
};

/// A program that was started by [`Command::spawn`](super::Command::spawn).
///
/// Dropping it neither ends nor waits for the child, unless
/// [`kill_on_drop`](super::Command::kill_on_drop) was set; somebody else waits for it then, so that it
/// leaves no zombie.
///
/// It belongs to the executor that started it. The program does not: it survives it.
pub struct Child {
    /// To write to the child, if a pipe was asked for.
    pub stdin: Option<ChildStdin>,
    /// What the child writes, if a pipe was asked for.
    pub stdout: Option<ChildStdout>,
    /// What errors the child writes, if a pipe was asked for.
    pub stderr: Option<ChildStderr>,
    process: Process,
    exit: ExitWatch,
}

impl Child {
    pub(super) fn new(process: Process, pipes: Pipes, reactor: &Reactor) -> Child {
        Child {
            stdin: pipes
                .stdin
                .map(|pipe| ChildStdin::new(pipe.into(), reactor)),
            stdout: pipes
                .stdout
                .map(|pipe| ChildStdout::new(pipe.into(), reactor)),
            stderr: pipes
                .stderr
                .map(|pipe| ChildStderr::new(pipe.into(), reactor)),
            process,
            exit: ExitWatch::new(reactor),
        }
    }

    /// The number of the process; `None` once it was waited for, or was found to have ended when a signal
    /// was to be sent to it: the number may be another one's then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("true").spawn().await?;
    /// assert!(child.id().is_some());
    /// child.wait().await?;
    /// assert_eq!(child.id(), None);
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn id(&self) -> Option<u32> {
        (!self.process.has_ended()).then(|| self.process.id())
    }

    /// Waits until the child has ended and gives its status; the same again when asked again.
    ///
    /// Closes [`stdin`](Self::stdin) first, if it is still there: a child that reads to the end would wait
    /// for ever. A child that ended by a signal says so through
    /// [`ExitStatusExt`](std::os::unix::process::ExitStatusExt).
    ///
    /// # Errors
    ///
    /// When there is no such child, because somebody else has waited for it (or the program ignores
    /// SIGCHLD), and when the executor is gone. Before Linux 6.7: when no descriptor is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the status is taken when the future completes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().await?;
    /// assert_eq!(child.wait().await?.code(), Some(3));
    /// assert_eq!(child.wait().await?.code(), Some(3));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn wait(&mut self) -> Result<ExitStatus, ()> {
        drop(self.stdin.take());
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            let over = self.exit.over(&self.process).await;
            over.map_err(|error| failed(error, "Waiting for a child process"))?;
        }
    }

    /// Gives the status of the child if it has ended.
    ///
    /// # Errors
    ///
    /// When there is no such child: see [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("sleep").arg("1000").spawn().await?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill().await?;
    /// assert!(child.try_wait()?.is_some());
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ()> {
        self.process
            .try_wait()
            .map_err(|error| failed(error, "Waiting for a child process"))
    }

    /// Kills the child and waits until it is gone.
    ///
    /// # Errors
    ///
    /// As [`start_kill`](Self::start_kill) and [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// The child is killed with the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("sleep").arg("1000").spawn().await?;
    /// child.kill().await?;
    /// assert_eq!(child.wait().await?.signal(), Some(libc::SIGKILL));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn kill(&mut self) -> Result<(), ()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Kills the child (SIGKILL) and does not wait. Does nothing to one that has ended.
    ///
    /// # Errors
    ///
    /// When this process may not, as the child runs as another user; when there is no such child.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("sleep").arg("1000").spawn().await?;
    /// child.start_kill()?;
    /// assert!(!child.wait().await?.success());
    /// child.start_kill()?;
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn start_kill(&mut self) -> Result<(), ()> {
        self.process
            .kill()
            .map_err(|error| failed(error, "Killing a child process"))
    }

    /// Sends a signal to the child, such as `libc::SIGTERM` to ask it to end.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is no signal; ESRCH once the child has ended; when this process may
    /// not.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("sleep").arg("1000").spawn().await?;
    /// child.send_signal(libc::SIGTERM)?;
    /// assert_eq!(child.wait().await?.signal(), Some(libc::SIGTERM));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn send_signal(&mut self, signal: c_int) -> Result<(), ()> {
        signals::check_number(signal)?;
        self.process
            .signal(signal)
            .map_err(|error| failed(error, "Signalling a child process"))
    }

    /// Waits until the child has ended and closed its streams, and gives its status with what it wrote to
    /// those that are pipes and still here.
    ///
    /// Programs that the child has left running, with its streams, are waited for as well.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and those of reading.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child, and what it wrote is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::process::Stdio;
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let child = Command::new("date").stdout(Stdio::piped()).spawn().await?;
    /// let output = child.wait_with_output().await?;
    /// assert!(output.status.success() && !output.stdout.is_empty());
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn wait_with_output(mut self) -> Result<Output, ()> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let read = future::zip(read_all(stdout), read_all(stderr));
        let (status, (stdout, stderr)) = future::zip(self.wait(), read).await;
        Ok(Output {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        })
    }
}

fn failed(error: io::Error, op: &'static str) -> GlommioError<()> {
    GlommioError::create_enhanced(error, op, None, None)
}

async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut all).await?;
    }
    Ok(all)
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish()
    }
}
