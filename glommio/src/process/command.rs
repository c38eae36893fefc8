//! What to run, and how.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Child;
use crate::{
    error::{GlommioError, Result},
    executor::executor,
    reactor,
    sys::process::{Launcher, Unset},
};

/// A program to run, with its arguments, environment and streams.
///
/// The methods are those of [`std::process::Command`] and mean the same. A command may be run more than
/// once.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, process::Command};
///
/// LocalExecutor::default().run(async {
///     let output = Command::new("echo").arg("hello").output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"hello\n");
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct Command {
    /// Shared with the thread that starts the program.
    launcher: Arc<Mutex<Launcher>>,
    program: PathBuf,
    kill_on_drop: bool,
}

impl Command {
    /// The program `program`, looked for in `PATH` if the name has no slash, without arguments, with the
    /// environment, the working directory and the streams of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("ls");
    /// command.arg("-l").current_dir("/");
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command::from(std::process::Command::new(program))
    }

    fn launcher(&self) -> MutexGuard<'_, Launcher> {
        lock(&self.launcher)
    }

    /// Adds an argument.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("echo").arg("-n").arg("two words").output().await?;
    /// assert_eq!(output.stdout, b"two words");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.launcher().command().arg(arg);
        self
    }

    /// Adds arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("echo").args(["a", "b"]).output().await?;
    /// assert_eq!(output.stdout, b"a b\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.launcher().command().args(args);
        self
    }

    /// Sets the name under which the program sees itself (`argv[0]`), if not that of its file.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("sh").arg0("shell").args(["-c", "echo $0"]).output().await?;
    /// assert_eq!(output.stdout, b"shell\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.launcher().command().arg0(arg);
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("sh").args(["-c", "echo $FRUIT"]).env("FRUIT", "pear").output().await?;
    /// assert_eq!(output.stdout, b"pear\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, value: V) -> &mut Command {
        self.launcher().command().env(key, value);
        self
    }

    /// Sets variables of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("make");
    /// command.envs([("CC", "clang"), ("CFLAGS", "-O2")]);
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.launcher().command().envs(vars);
        self
    }

    /// Keeps a variable from the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("cargo");
    /// command.env_remove("RUSTFLAGS");
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.launcher().command().env_remove(key);
        self
    }

    /// Starts the child's environment empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("/usr/bin/env").env_clear().env("ONLY", "this").output().await?;
    /// assert_eq!(output.stdout, b"ONLY=this\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.launcher().command().env_clear();
        self
    }

    /// Sets the working directory of the child.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("pwd").current_dir("/").output().await?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.launcher().command().current_dir(dir);
        self
    }

    /// Sets what the child reads from. Default: what this process reads from; nothing with
    /// [`output`](Self::output).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("cat");
    /// command.stdin(std::process::Stdio::null());
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.launcher().set_stdin(stdio.into());
        self
    }

    /// Sets what the child writes to. Default: what this process writes to; a pipe with
    /// [`output`](Self::output).
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log");
    /// # glommio::LocalExecutor::default().run(async {
    /// let file = std::fs::File::create(&path)?;
    /// let status = glommio::process::Command::new("echo").arg("line").stdout(file).status().await?;
    /// assert!(status.success());
    /// assert_eq!(std::fs::read(&path)?, b"line\n");
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.launcher().set_stdout(stdio.into());
        self
    }

    /// Sets what the child writes errors to; see [`stdout`](Self::stdout).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("cc");
    /// command.stderr(std::process::Stdio::null());
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.launcher().set_stderr(stdio.into());
        self
    }

    /// Sets the user that the child runs as.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("httpd");
    /// command.uid(33).gid(33);
    /// ```
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.launcher().command().uid(id);
        self
    }

    /// Sets the group that the child runs as.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("httpd");
    /// command.gid(33);
    /// ```
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.launcher().command().gid(id);
        self
    }

    /// Sets the process group of the child; 0 is one of its own, which a Ctrl-C at the terminal does not
    /// reach.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = glommio::process::Command::new("daemon");
    /// command.process_group(0);
    /// ```
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.launcher().command().process_group(group);
        self
    }

    /// Whether the child is killed when its [`Child`] is dropped before it was waited for. Default: it
    /// runs on.
    ///
    /// It then holds from the first poll of [`spawn`](Self::spawn) to the end of
    /// [`wait`](Child::wait), for futures of this command that are dropped too. What the child has
    /// started itself is not killed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().await?;
    /// drop(child);
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// Starts the program.
    ///
    /// It is started on a thread of the [blocking pool], of which there is one unless the builder was told
    /// otherwise: it comes after the jobs that wait there.
    ///
    /// [blocking pool]: crate::LocalExecutorBuilder::blocking_thread_pool_placement
    ///
    /// # Errors
    ///
    /// Those of fork(2) and execve(2), with the program: it does not exist, or its working directory does
    /// not (`NotFound`), it may not be executed (`PermissionDenied`), its arguments are too long
    /// (`ArgumentListTooLong`); no process, memory or descriptor is left.
    ///
    /// # Panics
    ///
    /// Outside of an executor, and if the system refuses a thread.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the program may be started all the same: the child is then treated as
    /// one that was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let mut child = Command::new("true").spawn().await?;
    /// assert!(child.wait().await?.success());
    ///
    /// let error = Command::new("no-such-program").spawn().await.unwrap_err();
    /// assert!(error.to_string().contains("no-such-program"));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn spawn(&mut self) -> Result<Child, ()> {
        self.start(Unset::Inherit).await
    }

    /// Runs the program and waits for its end.
    ///
    /// This process's ends of its streams, if they were set to be pipes, are closed at once.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let status = Command::new("sh").args(["-c", "exit 3"]).status().await?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn status(&mut self) -> Result<ExitStatus, ()> {
        let mut child = self.start(Unset::Inherit).await?;
        child.stdout = None;
        child.stderr = None;
        child.wait().await
    }

    /// Runs the program, waits for its end, and gives what it wrote.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child, and what it wrote is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use glommio::process::Command;
    /// # glommio::LocalExecutor::default().run(async {
    /// let output = Command::new("sh").args(["-c", "echo out; echo err >&2"]).output().await?;
    /// assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    /// # Ok::<(), glommio::GlommioError<()>>(()) }).unwrap();
    /// ```
    pub async fn output(&mut self) -> Result<Output, ()> {
        self.start(Unset::Capture).await?.wait_with_output().await
    }

    async fn start(&mut self, unset: Unset) -> Result<Child, ()> {
        let reactor = reactor::current();
        let (launcher, kill_on_drop) = (self.launcher.clone(), self.kill_on_drop);
        let started = executor()
            .spawn_blocking(move || lock(&launcher).spawn(unset, kill_on_drop))
            .await;
        let (process, pipes) = started.map_err(|error| {
            GlommioError::create_enhanced(error, "Spawning", Some(&self.program), None)
        })?;
        Ok(Child::new(process, pipes, &reactor))
    }
}

fn lock(launcher: &Mutex<Launcher>) -> MutexGuard<'_, Launcher> {
    launcher.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over everything that was set but the streams: they are unset. What only the standard library can
/// set, such as `pre_exec`, is set there first.
///
/// # Examples
///
/// ```
/// let mut std = std::process::Command::new("ls");
/// std.arg("-l");
/// let command = glommio::process::Command::from(std);
/// # assert!(format!("{command:?}").contains("-l"));
/// ```
impl From<std::process::Command> for Command {
    fn from(command: std::process::Command) -> Command {
        Command {
            program: PathBuf::from(OsString::from(command.get_program())),
            launcher: Arc::new(Mutex::new(Launcher::new(command))),
            kill_on_drop: false,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("command", self.launcher().command())
            .field("kill_on_drop", &self.kill_on_drop)
            .finish()
    }
}
