//! Who takes part, and which function answers for which workload.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::str::FromStr;

use crate::raw::{self, Receive, Wake};
use crate::{Sample, Workload};

/// A runtime, or the kernel by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contender {
    /// io_uring by hand; echo with poll-first receives, ping-pong through eventfds.
    Raw,
    /// As `Raw`, echo with multishot receives.
    RawMultishot,
    /// As `Raw`, ping-pong with messages from ring to ring.
    RawMsgRing,
}

/// What a workload needs to know about the machine.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The CPUs to use: the contender runs on the first, its counterpart on the last.
    pub cpus: Vec<usize>,
    /// The file to read; fully written.
    pub file: PathBuf,
}

impl Contender {
    /// Everyone this build knows, in the order in which they take turns.
    pub const ALL: &'static [Contender] = &[
        Contender::Raw,
        Contender::RawMultishot,
        Contender::RawMsgRing,
    ];

    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Raw => "raw",
            Contender::RawMultishot => "raw-multishot",
            Contender::RawMsgRing => "raw-msg-ring",
        }
    }

    /// Whether the contender has an answer to the workload.
    pub fn takes(self, workload: Workload) -> bool {
        match self {
            Contender::Raw => true,
            Contender::RawMultishot => matches!(workload, Workload::Echo { .. }),
            Contender::RawMsgRing => workload == Workload::PingPong,
        }
    }

    /// Does `n` operations of a workload other than echo.
    ///
    /// # Errors
    ///
    /// If the workload fails, or the contender has none of the kind.
    pub fn run(self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match (self, workload) {
            (Contender::Raw, Workload::NeedPreempt) => Ok(raw::need_preempt(n)),
            (Contender::Raw, Workload::Yield) => Ok(raw::yields(n)),
            (Contender::Raw, Workload::Spawn) => Ok(raw::spawns(n)),
            (Contender::Raw, Workload::LocalChannel) => Ok(raw::local_channel(n)),
            (Contender::Raw, Workload::TimerCancel) => Ok(raw::arm_and_cancel(n)),
            (Contender::Raw, Workload::Sleeps) => raw::sleeps(n),
            (Contender::Raw, Workload::Nop) => raw::nops(n),
            (Contender::Raw, Workload::Executor) => raw::make_and_drop(n),
            (Contender::Raw, Workload::Read { depth }) => {
                raw::random_reads(&setting.file, depth, n)
            }
            (Contender::Raw, Workload::PingPong) => raw::ping_pong(&setting.cpus, Wake::Eventfd, n),
            (Contender::RawMsgRing, Workload::PingPong) => {
                raw::ping_pong(&setting.cpus, Wake::MsgRing, n)
            }
            _ => Err(self.cannot(workload)),
        }
    }

    /// Accepts `connections` connections and echoes messages of up to `size` bytes on each until the
    /// client closes it.
    ///
    /// # Errors
    ///
    /// If the server cannot be set up, or accepting fails.
    pub fn serve(self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        match self {
            Contender::Raw => {
                raw::serve(&listener, connections, size, Receive::PollFirst)?;
            }
            Contender::RawMultishot => {
                raw::serve(&listener, connections, size, Receive::Multishot)?;
            }
            Contender::RawMsgRing => {
                return Err(self.cannot(Workload::Echo { connections, size }));
            }
        }
        Ok(())
    }

    fn cannot(self, workload: Workload) -> io::Error {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{self} has no `{workload}`"),
        )
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|contender| contender.name() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|contender| contender.name()).collect();
                format!(
                    "no contender `{name}` in this build; there are {}",
                    names.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for &contender in Contender::ALL {
            assert_eq!(contender.name().parse(), Ok(contender));
        }
        assert!(
            "nobody"
                .parse::<Contender>()
                .unwrap_err()
                .contains("raw-multishot")
        );
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let setting = Setting {
            cpus: vec![0],
            file: PathBuf::new(),
        };
        let refusal = Contender::RawMsgRing
            .run(Workload::Nop, 1, &setting)
            .unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::Unsupported);
        assert!(!Contender::RawMsgRing.takes(Workload::Nop));
    }
}
