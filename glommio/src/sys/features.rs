//! What this kernel offers: the ladder of optional rungs, probed once per process.
//!
//! The base is the operation set of Linux 5.8; everything newer is a [`Rung`] that is used when
//! offered and has a fallback. This module is the only place that knows kernel versions: code above
//! asks [`Features::has`] and nothing else.
//!
//! Rungs are found by asking the kernel (operation probe, feature bits, a trial ring set-up), not by
//! comparing version numbers, because distributions backport. Where the kernel has no way to ask
//! (a flag of an operation), the rung rides on an operation that arrived in the same release.
//!
//! `GLOMMIO_DISABLE=name,name` (or `all`) in the environment switches rungs off, so that fallbacks
//! are tested on a new kernel. It is read once, with the probe.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::OnceLock,
};

use io_uring::{IoUring, Probe, opcode, types};

use super::{pidfd::pidfd, startup};
use crate::error::Result;

/// One optional step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Rung {
    IoPoll,
    Pidfd,
    ExtArg,
    PathOps,
    MultishotPoll,
    SparseBuffers,
    CqeSkip,
    MsgRing,
    BufferRing,
    MultishotAccept,
    PollFirst,
    CoopTaskrun,
    CancelAny,
    SingleIssuer,
    MultishotRecv,
    SendZc,
    DeferTaskrun,
    NoSqArray,
    Waitid,
    Ftruncate,
    RecvBundle,
    BindListen,
    MinWait,
    NoIowait,
    InlineSend,
}

/// What is known about a rung without looking at the kernel.
pub(crate) struct RungFacts {
    pub(crate) rung: Rung,
    /// The name used by `GLOMMIO_DISABLE` and in reports.
    pub(crate) name: &'static str,
    /// The mainline release that introduced it.
    pub(crate) since: &'static str,
    pub(crate) used_for: &'static str,
    pub(crate) cost_of_absence: &'static str,
}

macro_rules! rungs {
    ($($rung:ident $name:literal $since:literal $used:literal $cost:literal;)*) => {
        /// Every rung, oldest kernel first.
        pub(crate) const RUNGS: &[RungFacts] = &[$(RungFacts {
            rung: Rung::$rung,
            name: $name,
            since: $since,
            used_for: $used,
            cost_of_absence: $cost,
        }),*];
    };
}

rungs! {
    IoPoll "io_poll" "5.1" "polling devices that have poll queues for completions of direct I/O"
        "an interrupt per completion, also on devices that could be polled";
    Pidfd "pidfd" "5.3" "waiting for child processes without a thread for each"
        "a thread per child that is waited for";
    ExtArg "ext_arg" "5.11" "waiting until the next timer inside the one enter call"
        "one timeout submission per sleep";
    PathOps "path_ops" "5.15" "rename, unlink, mkdir, link and symlink on the ring"
        "path operations take a helper thread";
    MultishotPoll "multishot_poll" "5.13" "watching the wake-up eventfd with one submission"
        "one submission more per wake-up from a foreign thread";
    SparseBuffers "sparse_buffers" "5.19" "registering I/O memory piece by piece on first use"
        "direct I/O uses unregistered memory: a few percent more CPU per read";
    CqeSkip "cqe_skip" "5.17" "wake-ups of other executors without a completion on the sender"
        "one completion more per cross-executor wake-up";
    MsgRing "msg_ring" "5.18" "wake-ups from executor to executor through the ring"
        "one eventfd write per cross-executor wake-up of a sleeping peer";
    BufferRing "buffer_ring" "5.19" "receive buffers lent to the kernel only while data arrives"
        "a connection that waits for data holds a receive buffer";
    MultishotAccept "multishot_accept" "5.19" "accepting many connections with one submission"
        "one submission per accepted connection";
    PollFirst "poll_first" "5.19" "receives that wait for data before they try to read"
        "one failed read attempt per receive";
    CoopTaskrun "coop_taskrun" "5.19" "completions without interrupting the running task"
        "inter-processor interrupts while tasks run";
    CancelAny "cancel_any" "5.19" "cancelling everything in flight with one submission at the end"
        "one cancellation per operation at tear-down";
    SingleIssuer "single_issuer" "6.0" "a ring that knows it has one submitting thread"
        "locking on every submission";
    MultishotRecv "multishot_recv" "6.0" "receiving many messages with one submission"
        "one submission per message";
    SendZc "send_zc" "6.0" "zero-copy sends from owned buffers"
        "large sends are copied";
    DeferTaskrun "defer_taskrun" "6.1" "completion work done only when the executor asks for it"
        "completion work preempts tasks";
    NoSqArray "no_sqarray" "6.6" "a submission queue without the index array"
        "one memory write more per submission";
    Waitid "waitid" "6.7" "waiting for child processes on the ring"
        "one pidfd per child that is waited for";
    Ftruncate "ftruncate" "6.9" "truncating files on the ring"
        "truncation takes a helper thread";
    RecvBundle "recv_bundle" "6.10" "one completion for several receive buffers"
        "one completion per receive buffer";
    BindListen "bind_listen" "6.11" "binding and listening on the ring"
        "two plain system calls per listener";
    MinWait "min_wait" "6.12" "batched waits"
        "smaller completion batches under load";
    NoIowait "no_iowait" "6.15" "idle executors that are not reported as waiting for a disk"
        "an idle executor shows up as iowait in system monitors";
    InlineSend "inline_send" "5.8" "one enter call per request and response on a socket"
        "one enter call more per send";
}

/// The rungs that this process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    offered: u32,
    disabled: u32,
}

impl Features {
    /// Whether `rung` is offered by the kernel and not switched off.
    #[inline]
    pub(crate) fn has(&self, rung: Rung) -> bool {
        (self.offered & !self.disabled) >> (rung as u32) & 1 != 0
    }

    /// Whether the kernel offers `rung`, even if it is switched off.
    pub(crate) fn offered(&self, rung: Rung) -> bool {
        self.offered >> (rung as u32) & 1 != 0
    }

    /// Whether `GLOMMIO_DISABLE` names `rung`.
    pub(crate) fn disabled(&self, rung: Rung) -> bool {
        self.disabled >> (rung as u32) & 1 != 0
    }

    /// The same without one of them.
    #[cfg(test)]
    pub(crate) fn without(mut self, rung: Rung) -> Features {
        self.disabled |= 1 << (rung as u32);
        self
    }

    fn offer(&mut self, rung: Rung, yes: bool) {
        if yes {
            self.offered |= 1 << (rung as u32);
        }
    }
}

static FEATURES: OnceLock<Features> = OnceLock::new();

/// The ladder of this process.
///
/// # Errors
///
/// When io_uring cannot be used at all: the error says why and what to do. Only success is
/// remembered, so a process that raises its limits may try again.
pub(crate) fn features() -> Result<Features, ()> {
    if let Some(features) = FEATURES.get() {
        return Ok(*features);
    }
    let found = probe()?;
    Ok(*FEATURES.get_or_init(|| found))
}

/// The operations of Linux 5.8 without which no executor can start.
const BASE: &[(u8, &str)] = &[
    (opcode::Nop::CODE, "NOP"),
    (opcode::Readv::CODE, "READV"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::PollRemove::CODE, "POLL_REMOVE"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Splice::CODE, "SPLICE"),
];

fn probe() -> Result<Features, ()> {
    let mut ring = IoUring::new(4).map_err(|e| startup::ring_refused(&e, 4))?;
    let mut ops = Probe::new();
    let probed = ring.submitter().register_probe(&mut ops);
    probed.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => startup::operation_missing("PROBE", "5.6"),
        _ => startup::call_refused("io_uring_register", &error),
    })?;
    for (code, name) in BASE {
        if !ops.is_supported(*code) {
            return Err(startup::operation_missing(name, "5.8"));
        }
    }

    // SAFETY: a NOP has no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.expect("a new ring has room");
    ring.submit_and_wait(1)
        .map_err(|error| startup::call_refused("io_uring_enter", &error))?;
    ring.completion().for_each(drop);

    let params = ring.params();
    let mut f = Features {
        offered: 0,
        disabled: 0,
    };
    f.offer(Rung::ExtArg, params.is_feature_ext_arg());
    f.offer(Rung::MultishotPoll, params.is_feature_resource_tagging());
    f.offer(Rung::CqeSkip, params.is_feature_skip_cqe_on_success());
    f.offer(Rung::RecvBundle, params.is_feature_recvsend_bundle());
    f.offer(Rung::MinWait, params.is_feature_min_timeout());
    f.offer(Rung::NoIowait, params.is_feature_no_iowait());
    f.offer(Rung::PathOps, ops.is_supported(opcode::LinkAt::CODE));
    f.offer(Rung::MsgRing, ops.is_supported(opcode::MsgRingData::CODE));
    // Flags of existing operations cannot be probed: IORING_OP_SOCKET came with the same release.
    let v5_19 = ops.is_supported(opcode::Socket::CODE);
    for rung in [
        Rung::SparseBuffers,
        Rung::BufferRing,
        Rung::MultishotAccept,
        Rung::PollFirst,
        Rung::CancelAny,
    ] {
        f.offer(rung, v5_19);
    }
    // Likewise IORING_OP_SEND_ZC for 6.0.
    let v6_0 = ops.is_supported(opcode::SendZc::CODE);
    f.offer(Rung::SendZc, v6_0);
    f.offer(Rung::MultishotRecv, v6_0);
    f.offer(Rung::Pidfd, told(pidfd(std::process::id()).map(drop))?);
    f.offer(Rung::Waitid, ops.is_supported(opcode::WaitId::CODE));
    f.offer(Rung::Ftruncate, ops.is_supported(opcode::Ftruncate::CODE));
    f.offer(Rung::BindListen, ops.is_supported(opcode::Bind::CODE));

    let sets_up = |set: fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        set(&mut builder);
        told(builder.build(4).map(drop))
    };
    f.offer(
        Rung::IoPoll,
        sets_up(|b| {
            b.setup_iopoll();
        })?,
    );
    f.offer(
        Rung::CoopTaskrun,
        sets_up(|b| {
            b.setup_coop_taskrun().setup_taskrun_flag();
        })?,
    );
    f.offer(
        Rung::SingleIssuer,
        sets_up(|b| {
            b.setup_single_issuer();
        })?,
    );
    f.offer(
        Rung::DeferTaskrun,
        sets_up(|b| {
            b.setup_single_issuer().setup_defer_taskrun();
        })?,
    );
    f.offer(
        Rung::NoSqArray,
        sets_up(|b| {
            b.setup_no_sqarray();
        })?,
    );
    let inline = match UnixStream::pair() {
        Ok((socket, _peer)) => sends_complete_inline(&mut ring, socket),
        Err(error) => told(Err(error))?,
    };
    f.offer(Rung::InlineSend, inline);

    if let Ok(names) = std::env::var("GLOMMIO_DISABLE") {
        f.disabled = disabled_mask(&names);
    }
    Ok(f)
}

/// Whether a trial succeeded. One that failed for want of descriptors or memory tells nothing about
/// the kernel, and must not be remembered as if it did.
fn told(trial: io::Result<()>) -> Result<bool, ()> {
    match trial {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => {
                Err(startup::ring_refused(&error, 4))
            }
            _ => Ok(false),
        },
    }
}

/// The rungs named by a `GLOMMIO_DISABLE` value. Unknown names are reported and ignored.
fn disabled_mask(names: &str) -> u32 {
    let mut mask = 0;
    for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        if name == "all" {
            return u32::MAX;
        }
        match RUNGS.iter().find(|facts| facts.name == name) {
            Some(facts) => mask |= 1 << (facts.rung as u32),
            None => tracing::warn!(
                target: "glommio::sys",
                name,
                "GLOMMIO_DISABLE names an unknown rung"
            ),
        }
    }
    mask
}

/// Tries what the reactor relies on: a `MSG_DONTWAIT` send posts its completion during submission,
/// whether the socket takes the data or is full.
fn sends_complete_inline(ring: &mut IoUring, socket: UnixStream) -> bool {
    let data = vec![0u8; 4096];
    // 4 MiB fill any default socket buffer, so both outcomes are seen.
    for _ in 0..1024 {
        let send = opcode::Send::new(
            types::Fd(socket.as_raw_fd()),
            data.as_ptr(),
            data.len() as u32,
        )
        .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        .build();
        // SAFETY: `data` and `socket` outlive the operation: the loop does not go on before its
        // completion was seen, and where it was not seen they are leaked below.
        let pushed = unsafe { ring.submission().push(&send) }.is_ok();
        let submitted = pushed && ring.submit().is_ok();
        let Some(cqe) = ring.completion().next() else {
            if pushed {
                std::mem::forget((socket, data));
            }
            return false;
        };
        if !submitted {
            return false;
        }
        if cqe.result() < 0 {
            return cqe.result() == -libc::EAGAIN;
        }
    }
    // A socket that never fills up still completed 1,024 sends inline.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_stands_in_the_table_at_its_own_bit() {
        let mut seen = 0u32;
        for facts in RUNGS {
            let bit = 1 << (facts.rung as u32);
            assert_eq!(seen & bit, 0, "{} listed twice", facts.name);
            seen |= bit;
            assert!(!facts.used_for.is_empty() && !facts.cost_of_absence.is_empty());
        }
        assert_eq!(seen.count_ones() as usize, RUNGS.len());
        assert_eq!(RUNGS.len(), Rung::InlineSend as usize + 1);
    }

    #[test]
    fn disable_knob_names_rungs_and_all() {
        let two = disabled_mask("msg_ring, ext_arg,");
        assert_eq!(two, 1 << Rung::MsgRing as u32 | 1 << Rung::ExtArg as u32);
        assert_eq!(disabled_mask("all"), u32::MAX);
        assert_eq!(disabled_mask("no_such_rung"), 0);
    }

    #[test]
    fn a_disabled_rung_is_offered_but_not_used() {
        let f = Features {
            offered: 1 << Rung::MsgRing as u32,
            disabled: 1 << Rung::MsgRing as u32,
        };
        assert!(f.offered(Rung::MsgRing) && f.disabled(Rung::MsgRing) && !f.has(Rung::MsgRing));
    }
}
