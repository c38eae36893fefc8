//! io_uring by hand, in the variants that take part.

use std::io;
use std::net::TcpListener;

use super::{Receive, Wake};
use crate::contender::{Contender, Setting, refuse};
use crate::{Sample, Workload};

/// Echo with poll-first receives, ping-pong through eventfds.
pub struct Raw;

/// The echo server of [`Raw`] with multishot receives.
pub struct RawMultishot;

/// The ping-pong of [`Raw`] with messages from ring to ring.
pub struct RawMsgRing;

impl Contender for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn takes(&self, workload: Workload) -> bool {
        !matches!(workload, Workload::Semaphore | Workload::SharedStream)
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::NeedPreempt => Ok(super::need_preempt(n)),
            Workload::Yield => Ok(super::yields(n)),
            Workload::Spawn => Ok(super::spawns(n)),
            Workload::LocalChannel => Ok(super::local_channel(n)),
            Workload::TimerCancel => Ok(super::arm_and_cancel(n)),
            Workload::Sleeps => super::sleeps(n),
            Workload::Nop => super::nops(n),
            Workload::Executor => super::make_and_drop(n),
            Workload::Read { depth } => super::random_reads(&setting.file, depth, n),
            Workload::PingPong | Workload::SharedPingPong => {
                super::ping_pong(&setting.cpus, Wake::Eventfd, n)
            }
            Workload::Semaphore | Workload::SharedStream | Workload::Echo { .. } => {
                Err(refuse(self, workload))
            }
        }
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        super::serve(&listener, connections, size, Receive::PollFirst).map(drop)
    }
}

impl Contender for RawMultishot {
    fn name(&self) -> &'static str {
        "raw-multishot"
    }

    fn takes(&self, workload: Workload) -> bool {
        matches!(workload, Workload::Echo { .. })
    }

    fn run(&self, workload: Workload, _n: u64, _setting: &Setting) -> io::Result<Sample> {
        Err(refuse(self, workload))
    }

    fn serve(&self, listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        super::serve(&listener, connections, size, Receive::Multishot).map(drop)
    }
}

impl Contender for RawMsgRing {
    fn name(&self) -> &'static str {
        "raw-msg-ring"
    }

    fn takes(&self, workload: Workload) -> bool {
        workload == Workload::PingPong
    }

    fn run(&self, workload: Workload, n: u64, setting: &Setting) -> io::Result<Sample> {
        match workload {
            Workload::PingPong => super::ping_pong(&setting.cpus, Wake::MsgRing, n),
            _ => Err(refuse(self, workload)),
        }
    }

    fn serve(&self, _listener: TcpListener, connections: usize, size: usize) -> io::Result<()> {
        Err(refuse(self, Workload::Echo { connections, size }))
    }
}
