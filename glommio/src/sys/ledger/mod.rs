//! Who did how much I/O: counters, and on request latencies, per task queue.
//!
//! An operation is booked when it completes, on the account of the queue whose task issued it. The
//! table of operations in flight ([`super::inflight`]) knows that queue and what the operation is
//! ([`Operation::IO`](super::op::Operation::IO)); this module knows what to do with it. A queue is a
//! number to it, and a flag that says whether its latency matters.
//!
//! The path of an operation pays for two additions. Latencies cost a branch while they are off;
//! while they are on, each operation on a file's data costs three looks at the cycle counter and
//! three entries in a sketch.
//!
//! ```text
//!   queued ──────────────► entered ─────────────────► seen ──────────► fetched
//!           pre-reactor              I/O latency            post-reactor
//!           (backlog, batch)         (kernel, device)       (run queue)
//! ```

mod account;
mod books;
mod recorder;

pub(crate) use self::{
    account::{Account, IoKind, Latencies, Origin, Totals},
    books::Ledger,
};
