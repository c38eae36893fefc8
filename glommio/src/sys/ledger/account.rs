//! What is counted, and for whom.

use sketches_ddsketch::DDSketch;

/// What an operation does, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoKind {
    FileOpen,
    FileClose,
    /// Past the page cache.
    FileRead,
    FileWrite,
    /// Through the page cache.
    BufferedRead,
    BufferedWrite,
    /// Answered from the buffer of another read: no operation of the kernel.
    DedupedRead,
    Accept,
    SocketRead,
    SocketWrite,
    PipeRead,
    PipeWrite,
}

impl IoKind {
    const COUNT: usize = 12;

    /// Whether latencies are recorded: those of a socket or a pipe are its peer's.
    pub(super) fn is_timed(self) -> bool {
        matches!(
            self,
            IoKind::FileRead | IoKind::FileWrite | IoKind::BufferedRead | IoKind::BufferedWrite
        )
    }

    /// Whether the result of the operation is a number of bytes.
    pub(super) fn moves_bytes(self) -> bool {
        !matches!(self, IoKind::FileOpen | IoKind::FileClose | IoKind::Accept)
    }
}

/// How many operations of a kind, and how many bytes they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ops: u64,
    pub(crate) bytes: u64,
}

/// Distributions of latencies, in microseconds.
#[derive(Clone, Default)]
pub(crate) struct Latencies {
    /// From the submission by the task until the kernel gets the operation.
    pub(crate) pre_reactor: DDSketch,
    /// From there until the completion is seen.
    pub(crate) io: DDSketch,
    /// From there until the task takes the result.
    pub(crate) post_reactor: DDSketch,
}

impl Latencies {
    pub(crate) fn add(&mut self, other: &Latencies) {
        for (mine, theirs) in [
            (&mut self.pre_reactor, &other.pre_reactor),
            (&mut self.io, &other.io),
            (&mut self.post_reactor, &other.post_reactor),
        ] {
            // Fails only between sketches of different configurations, and there is one.
            let merged = mine.merge(theirs);
            debug_assert!(merged.is_ok());
        }
    }
}

/// What was booked.
#[derive(Clone, Default)]
pub(crate) struct Account {
    tallies: [Tally; IoKind::COUNT],
    /// `None` until a latency is recorded.
    latencies: Option<Box<Latencies>>,
}

impl Account {
    pub(crate) fn tally(&self, kind: IoKind) -> Tally {
        self.tallies[kind as usize]
    }

    pub(crate) fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_deref()
    }

    #[inline]
    pub(super) fn book(&mut self, kind: IoKind, bytes: u64) {
        let tally = &mut self.tallies[kind as usize];
        tally.ops += 1;
        tally.bytes += bytes;
    }

    pub(super) fn latencies_mut(&mut self) -> &mut Latencies {
        self.latencies.get_or_insert_default()
    }

    /// Books the counts of another account.
    pub(crate) fn add_tallies(&mut self, other: &Account) {
        for (mine, theirs) in self.tallies.iter_mut().zip(&other.tallies) {
            mine.ops += theirs.ops;
            mine.bytes += theirs.bytes;
        }
    }

    /// Books everything that stands in another account.
    pub(crate) fn add(&mut self, other: &Account) {
        self.add_tallies(other);
        if let Some(theirs) = &other.latencies {
            self.latencies_mut().add(theirs);
        }
    }
}

/// The task queue that an operation is booked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Where the executor keeps the queue: a small number, used again when the queue is gone.
    pub(crate) queue: u32,
    /// Which of the queues that were kept there it is; later ones have larger numbers, modulo 2³².
    pub(crate) tenant: u32,
    pub(crate) latency_matters: bool,
}

/// What all queues of a kind did.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) ordinary: Account,
    pub(crate) latency_matters: Account,
}

impl Totals {
    pub(super) fn of(&mut self, latency_matters: bool) -> &mut Account {
        if latency_matters {
            &mut self.latency_matters
        } else {
            &mut self.ordinary
        }
    }
}
