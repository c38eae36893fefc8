//! The workloads, by name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Something every contender can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// Ask whether the running task should yield.
    NeedPreempt,
    /// One task yields to the scheduler.
    Yield,
    /// Spawn a trivial task and wait for its result.
    Spawn,
    /// Arm a timer a second away and cancel it.
    TimerCancel,
    /// Concurrent sleeps of 50 to 150 ms; the cost that counts is CPU time per sleep.
    Sleeps,
    /// Message through a channel of capacity 128 between two tasks of one thread.
    LocalChannel,
    /// The only permit of a semaphore goes to and fro between two tasks of one thread, each of which
    /// yields while it has it.
    Semaphore,
    /// A NOP through the ring, one at a time.
    Nop,
    /// A message to another thread and its answer.
    PingPong,
    /// A message to another thread and its answer, through channels of the runtime.
    SharedPingPong,
    /// Messages to another thread, through a channel of capacity 1,024.
    SharedStream,
    /// Make an executor, run an empty future, drop it.
    Executor,
    /// TCP echo over loopback.
    Echo {
        /// Open connections, each with one message in flight.
        connections: usize,
        /// Bytes per message.
        size: usize,
    },
    /// 4 KiB random reads with O_DIRECT.
    Read {
        /// Reads in flight.
        depth: usize,
    },
}

impl Workload {
    /// Every workload, in the order in which they are reported.
    pub const ALL: [Workload; 16] = [
        Workload::NeedPreempt,
        Workload::Yield,
        Workload::Spawn,
        Workload::LocalChannel,
        Workload::Semaphore,
        Workload::TimerCancel,
        Workload::Sleeps,
        Workload::Nop,
        Workload::PingPong,
        Workload::SharedPingPong,
        Workload::SharedStream,
        Workload::Executor,
        Workload::Echo {
            connections: 1,
            size: 64,
        },
        Workload::Echo {
            connections: 128,
            size: 1024,
        },
        Workload::Read { depth: 1 },
        Workload::Read { depth: 32 },
    ];

    /// What one operation is called.
    pub fn unit(self) -> &'static str {
        match self {
            Workload::NeedPreempt => "call",
            Workload::Yield => "yield",
            Workload::Spawn => "spawn + join",
            Workload::TimerCancel => "arm + cancel",
            Workload::Sleeps => "sleep",
            Workload::LocalChannel => "message",
            Workload::Semaphore => "hand-over",
            Workload::Nop => "NOP",
            Workload::PingPong | Workload::SharedPingPong => "round trip",
            Workload::SharedStream => "message",
            Workload::Executor => "make + drop",
            Workload::Echo { .. } => "message",
            Workload::Read { .. } => "read",
        }
    }

    /// Whether the workload is judged by CPU time rather than by wall-clock time.
    ///
    /// That is so where one thread never waits for anything outside of it: the two are the same on an
    /// idle machine, and CPU time stays the same on a busy one. It is so for sleeps, too, whose
    /// wall-clock time is that of the longest.
    pub fn judged_by_cpu(self) -> bool {
        matches!(
            self,
            Workload::NeedPreempt
                | Workload::Yield
                | Workload::Spawn
                | Workload::LocalChannel
                | Workload::Semaphore
                | Workload::TimerCancel
                | Workload::Sleeps
                | Workload::Nop
        )
    }
}

/// How long the sleep number `i` of [`Workload::Sleeps`] takes: 50 to 150 ms, in no order.
pub fn sleep_of(i: u64) -> Duration {
    // A multiplicative hash spreads neighbours over the whole range.
    let spread = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Duration::from_micros(50_000 + spread % 100_000)
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Workload::NeedPreempt => f.write_str("need-preempt"),
            Workload::Yield => f.write_str("yield"),
            Workload::Spawn => f.write_str("spawn"),
            Workload::TimerCancel => f.write_str("timer-cancel"),
            Workload::Sleeps => f.write_str("sleeps"),
            Workload::LocalChannel => f.write_str("local-channel"),
            Workload::Semaphore => f.write_str("semaphore"),
            Workload::Nop => f.write_str("nop"),
            Workload::PingPong => f.write_str("ping-pong"),
            Workload::SharedPingPong => f.write_str("shared-ping-pong"),
            Workload::SharedStream => f.write_str("shared-stream"),
            Workload::Executor => f.write_str("executor"),
            Workload::Echo { connections, size } => write!(f, "echo-{connections}x{size}"),
            Workload::Read { depth } => write!(f, "read-{depth}"),
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    /// Parses a name; `echo-<connections>x<bytes>` and `read-<depth>` take any positive numbers.
    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(known) = Self::ALL.into_iter().find(|w| w.to_string() == name) {
            return Ok(known);
        }
        let positive = |text: &str| text.parse::<usize>().ok().filter(|&n| n > 0);
        if let Some((connections, size)) = name
            .strip_prefix("echo-")
            .and_then(|rest| rest.split_once('x'))
        {
            if let (Some(connections), Some(size)) = (positive(connections), positive(size)) {
                return Ok(Workload::Echo { connections, size });
            }
        }
        if let Some(depth) = name.strip_prefix("read-").and_then(positive) {
            return Ok(Workload::Read { depth });
        }
        let names: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
        Err(format!(
            "no workload `{name}`; there are {}",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
    }

    #[test]
    fn echo_and_read_take_other_sizes() {
        assert_eq!(
            "echo-5000x64".parse(),
            Ok(Workload::Echo {
                connections: 5000,
                size: 64
            })
        );
        assert_eq!("read-8".parse(), Ok(Workload::Read { depth: 8 }));
    }

    #[test]
    fn nonsense_is_refused_with_the_list_of_names() {
        for bad in ["", "echo-0x64", "echo-1x", "read-0", "read-x", "sleep"] {
            let refusal = bad.parse::<Workload>().unwrap_err();
            assert!(refusal.contains("ping-pong"), "{refusal}");
        }
    }
}
