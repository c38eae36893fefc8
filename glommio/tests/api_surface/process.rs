//! `process`.

use std::{
    ffi::c_int,
    fmt::Debug,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::{ExitStatus, Output, Stdio},
};

use futures::io::{AsyncRead, AsyncWrite};
use glommio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::{Outcome, typed};

type With<A> = for<'a> fn(&'a mut Command, A) -> &'a mut Command;

signatures! {
    Command::new => fn(&'static str) -> Command;
    Command::arg => With<&'static str>;
    Command::args => With<[String; 2]>;
    Command::arg0 => With<&'static str>;
    Command::envs => With<[(&'static str, String); 1]>;
    Command::env_remove => With<&'static str>;
    Command::env_clear => for<'a> fn(&'a mut Command) -> &'a mut Command;
    Command::current_dir => With<&'static str>;
    Command::stdin => With<Stdio>;
    Command::stdout => With<std::fs::File>;
    Command::stderr => With<OwnedFd>;
    Command::uid => With<u32>;
    Command::gid => With<u32>;
    Command::process_group => With<i32>;
    Command::kill_on_drop => With<bool>;
    Child::id => fn(&Child) -> Option<u32>;
    Child::try_wait => fn(&mut Child) -> Outcome<Option<ExitStatus>>;
    Child::start_kill => fn(&mut Child) -> Outcome<()>;
    Child::send_signal => fn(&mut Child, c_int) -> Outcome<()>;
    ChildStdin::into_owned_fd => fn(ChildStdin) -> Outcome<OwnedFd>;
    ChildStdout::into_owned_fd => fn(ChildStdout) -> Outcome<OwnedFd>;
    ChildStderr::into_owned_fd => fn(ChildStderr) -> Outcome<OwnedFd>;
}

implements! {
    Command: Debug, Send, From<std::process::Command>;
    Child: Debug, Unpin;
    ChildStdin: AsyncWrite, Debug, Unpin;
    ChildStdout: AsyncRead, AsFd, AsRawFd, Debug, Unpin;
    ChildStderr: AsyncRead, AsFd, AsRawFd, Debug, Unpin;
    Stdio: TryFrom<ChildStdin>, TryFrom<ChildStdout>, TryFrom<ChildStderr>;
}

lacks! {
    Child: Send, Clone;
}

async fn futures(command: &mut Command, mut child: Child) {
    typed::<&mut Command>(command.env("key", String::from("value")));
    typed::<Outcome<Child>>(command.spawn().await);
    typed::<Outcome<ExitStatus>>(command.status().await);
    typed::<Outcome<Output>>(command.output().await);
    typed::<Outcome<ExitStatus>>(child.wait().await);
    typed::<Outcome<()>>(child.kill().await);
    typed::<&mut Option<ChildStdin>>(&mut child.stdin);
    typed::<&mut Option<ChildStdout>>(&mut child.stdout);
    typed::<&mut Option<ChildStderr>>(&mut child.stderr);
    typed::<Outcome<Output>>(child.wait_with_output().await);
}

#[test]
fn futures_have_their_outputs() {
    let _ = futures;
}
