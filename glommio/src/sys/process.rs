//! Children of this process: how they are started, and how they are waited for without blocking.
//!
//! The end of a child is noticed in two steps. First comes the news that it has ended, from the ring
//! ([`WaitForExit`](super::op::process::WaitForExit)), from a pidfd, or from a thread that waits. None
//! of them takes the child's status away (`WNOWAIT`), so each may be given up at any time. Then the
//! status is taken with a call that does not wait. A child that nobody waits for any more is taken
//! over by the [`reaper`].

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

use super::{pidfd::pidfd, reaper, signals};

/// `POLLIN`: the process of a pidfd has ended.
pub(crate) const ENDED: i16 = libc::POLLIN;

/// What a child gets as its standard streams, where the user has not said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unset {
    /// The parent's.
    Inherit,
    /// Pipes for what it writes; nothing to read.
    Capture,
}

/// A command, and what has been done to it.
#[derive(Debug)]
pub(crate) struct Launcher {
    command: Command,
    /// Which of the standard streams the user has set.
    chosen: [bool; 3],
    releases_signals: bool,
}

impl Launcher {
    pub(crate) fn new(command: Command) -> Launcher {
        Launcher {
            command,
            chosen: [false; 3],
            releases_signals: false,
        }
    }

    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    pub(crate) fn set_stdin(&mut self, stdio: Stdio) {
        self.command.stdin(stdio);
        self.chosen[0] = true;
    }

    pub(crate) fn set_stdout(&mut self, stdio: Stdio) {
        self.command.stdout(stdio);
        self.chosen[1] = true;
    }

    pub(crate) fn set_stderr(&mut self, stdio: Stdio) {
        self.command.stderr(stdio);
        self.chosen[2] = true;
    }

    /// Starts the program. Blocks until it runs, or could not be executed.
    ///
    /// The child does not inherit that signals are held.
    pub(crate) fn spawn(
        &mut self,
        unset: Unset,
        kill_on_drop: bool,
    ) -> io::Result<(Process, Pipes)> {
        let [stdin, stdout, stderr] = self.chosen;
        let input = || match unset {
            Unset::Inherit => Stdio::inherit(),
            Unset::Capture => Stdio::null(),
        };
        let output = || match unset {
            Unset::Inherit => Stdio::inherit(),
            Unset::Capture => Stdio::piped(),
        };
        if !stdin {
            self.command.stdin(input());
        }
        if !stdout {
            self.command.stdout(output());
        }
        if !stderr {
            self.command.stderr(output());
        }
        if signals::must_be_released() && !self.releases_signals {
            self.releases_signals = true;
            let release = || {
                signals::release_in_new_process();
                Ok(())
            };
            // SAFETY: it calls nothing but async-signal-safe functions, and touches no lock and no
            // memory of the heap.
            unsafe { self.command.pre_exec(release) };
        }
        let mut child = if self.releases_signals {
            self.command.spawn()?
        } else {
            signals::letting_through(|| self.command.spawn())?
        };
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        let child = Some(child);
        Ok((
            Process {
                child,
                kill_on_drop,
                ended: false,
            },
            pipes,
        ))
    }
}

/// This process's ends of the pipes to a child.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// A child. When it is dropped before it was waited for, somebody else waits for it.
#[derive(Debug)]
pub(crate) struct Process {
    /// Taken when this is dropped.
    child: Option<Child>,
    kill_on_drop: bool,
    /// The status was taken: the number of the process may be another one's.
    ended: bool,
}

impl Process {
    fn child(&mut self) -> io::Result<&mut Child> {
        self.child.as_mut().ok_or_else(no_such_process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Takes the status of the child if it has ended; the kernel then forgets it. Gives the same
    /// status again later.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child()?.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// Whether the status was taken, be it in passing.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sends `signal`. The number of the process is the child's as long as its status was not taken.
    pub(crate) fn signal(&mut self, signal: c_int) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Err(no_such_process());
        }
        // SAFETY: no preconditions.
        match unsafe { libc::kill(self.id() as libc::pid_t, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends SIGKILL, unless the child has ended.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        match self.try_wait()? {
            Some(_) => Ok(()),
            None => self.signal(libc::SIGKILL),
        }
    }

    /// A descriptor that becomes readable when the child ends (pidfd_open(2), 5.3).
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        pidfd(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.try_wait(), Ok(None)) {
            return;
        }
        if self.kill_on_drop {
            if let Err(error) = self.kill() {
                tracing::debug!(
                    target: "glommio::process", pid = self.id(), %error,
                    "a dropped child could not be killed"
                );
            }
        }
        if let Some(child) = self.child.take() {
            reaper::reap(child);
        }
    }
}

fn no_such_process() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// Blocks the thread until the child `pid` has ended, or is none any more; its status stays.
pub(crate) fn wait_blocking(pid: u32) {
    let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
    let options = libc::WEXITED | libc::WNOWAIT;
    loop {
        // SAFETY: `info` is writable.
        let result = unsafe { libc::waitid(libc::P_PID, pid, info.as_mut_ptr(), options) };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn(script: &str, kill_on_drop: bool) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut launcher = Launcher::new(command);
        launcher.spawn(Unset::Capture, kill_on_drop).unwrap().0
    }

    #[test]
    fn waiting_leaves_the_status_to_be_taken() {
        let mut process = spawn("exit 7", false);
        wait_blocking(process.id());
        wait_blocking(process.id());
        for _ in 0..2 {
            let status = process.try_wait().unwrap().unwrap();
            assert_eq!(status.code(), Some(7));
        }
        // No child of that number any more, or at least none of ours.
        wait_blocking(process.id());
    }

    #[test]
    fn nobody_is_signalled_once_the_status_was_taken() {
        let mut process = spawn("exit 0", false);
        wait_blocking(process.id());
        let error = process.signal(libc::SIGTERM).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        process.kill().unwrap();
    }
}
