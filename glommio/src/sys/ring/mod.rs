//! The ring of one executor.
//!
//! - [`set_up`]: creating it with what the kernel has to offer
//! - [`submit`]: queueing operations, cancellations and messages
//! - [`enter`]: the one system call that submits and waits
//! - [`polled`]: the ring whose completions are polled for
//! - [`dispatch`](mod@dispatch): what completions cause
//! - [`shutdown`]: tear-down, the ring before the memory
//! - [`registered`]: memory that the kernel knows by registration
//!
//! Everything goes through `&self` on the executor's thread. No waker is woken, no operation dropped
//! and no user code run while the ring's state is borrowed, so whatever a waker or a destructor does
//! with the ring is safe.

mod dispatch;
mod enter;
mod polled;
mod registered;
mod set_up;
mod shutdown;
mod submit;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    task::Waker,
    time::Instant,
};

use io_uring::{IoUring, squeue, types};

use super::{
    features::Features,
    inflight::{Erased, InFlight, Key},
    ledger::{Account, IoKind, Origin, Totals},
    op::Completion,
};
use crate::error::Result;

#[cfg(test)]
pub(crate) use enter::Fault;
pub(crate) use enter::Wait;

/// What a ring has done so far. Counts for tests and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingCounters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Those that were allowed to sleep.
    pub waits: u64,
    /// Entries handed to the kernel.
    pub submitted: u64,
    /// Completions taken from the kernel.
    pub completed: u64,
    /// Timeout entries (only on kernels that cannot pass a timeout to the enter call).
    pub timeouts: u64,
    /// Wake-up messages sent to other rings.
    pub messages: u64,
    /// Operations that are in flight now.
    pub in_flight: u64,
}

struct State {
    /// `None` after the ring was shut down.
    uring: Option<IoUring>,
    /// Whether completions arrive only when they are polled for (IORING_SETUP_IOPOLL).
    polled: bool,
    table: InFlight,
    /// Entries that found the submission queue full, in order.
    overflow: VecDeque<squeue::Entry>,
    /// Operations that wait for room below the ring's depth, in order.
    backlog: VecDeque<Key>,
    /// Operations whose entry is filled at the next enter.
    deferred: Vec<Key>,
    depth: usize,
    /// Whether the kernel left entries in the submission queue at the last enter.
    left_over: bool,
    /// The earliest timeout entry in flight (kernels without EXT_ARG).
    timeout_until: Option<Instant>,
    /// What timeout entries point to. The kernel reads it when it takes the entry, which a full queue
    /// or a failed submission may put off: until after the ring is closed at the latest.
    timeout: Box<types::Timespec>,
    counters: RingCounters,
    /// Reused by `dispatch`, so that it allocates nothing once warm.
    wakers: Vec<Waker>,
    ended: Vec<(Erased, Option<Completion>)>,
    undelivered: Vec<u32>,
    /// Memory that the kernel knows by registration: freed after the ring is closed.
    kept: Vec<Rc<dyn Any>>,
    /// What befalls the next enter calls, one each.
    #[cfg(test)]
    faults: VecDeque<Fault>,
}

/// See the module's documentation.
pub(crate) struct Ring {
    state: RefCell<State>,
    features: Features,
    raw: Cell<RawFd>,
}

impl Ring {
    /// Sets up a ring for at least `depth` operations of class `Work` at a time.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: the error names the cause and the cure.
    pub(crate) fn new(depth: usize, features: Features) -> Result<Rc<Ring>, ()> {
        let entries = u32::try_from(depth.clamp(8, 32_768))
            .expect("clamped")
            .next_power_of_two();
        let uring = set_up::set_up(entries, &features)?;
        Ok(Ring::of(uring, depth, features, false))
    }

    fn of(uring: IoUring, depth: usize, features: Features, polled: bool) -> Rc<Ring> {
        let raw = uring.as_raw_fd();
        Rc::new(Ring {
            state: RefCell::new(State {
                uring: Some(uring),
                polled,
                table: InFlight::default(),
                overflow: VecDeque::new(),
                backlog: VecDeque::new(),
                deferred: Vec::new(),
                depth: depth.max(1),
                left_over: false,
                timeout_until: None,
                timeout: Box::new(types::Timespec::new()),
                counters: RingCounters::default(),
                wakers: Vec::new(),
                ended: Vec::new(),
                undelivered: Vec::new(),
                kept: Vec::new(),
                #[cfg(test)]
                faults: VecDeque::new(),
            }),
            features,
            raw: Cell::new(raw),
        })
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// The ring's descriptor, or `None` after shutdown.
    pub(crate) fn raw_fd(&self) -> Option<RawFd> {
        let raw = self.raw.get();
        (raw >= 0).then_some(raw)
    }

    /// Whether the ring was shut down.
    pub(crate) fn is_closed(&self) -> bool {
        self.raw.get() < 0
    }

    pub(crate) fn counters(&self) -> RingCounters {
        let state = self.state.borrow();
        RingCounters {
            in_flight: state.table.submitted() as u64,
            ..state.counters
        }
    }

    /// From now on, records how long operations take.
    pub(crate) fn record_latencies(&self) {
        self.state.borrow_mut().table.ledger.record_latencies();
    }

    /// Operations that are submitted from now on are `origin`'s.
    #[inline]
    pub(crate) fn set_origin(&self, origin: Origin) {
        self.state.borrow_mut().table.origin = origin;
    }

    /// Whose operations are submitted now.
    pub(crate) fn origin(&self) -> Origin {
        self.state.borrow().table.origin
    }

    /// Counts I/O that is no operation of the ring.
    #[inline]
    pub(crate) fn count_io(&self, kind: IoKind, bytes: u64) {
        let table = &mut self.state.borrow_mut().table;
        table.ledger.book(table.origin, kind, bytes);
    }

    /// What the tasks of a queue did so far.
    pub(crate) fn io_of_queue(&self, queue: Origin) -> Account {
        self.state.borrow().table.ledger.of_queue(queue)
    }

    /// What all tasks did so far.
    pub(crate) fn io_totals(&self) -> Totals {
        self.state.borrow().table.ledger.totals()
    }

    /// Forgets a queue; what it did stays in the totals.
    pub(crate) fn forget_queue(&self, origin: Origin) {
        let mut state = self.state.borrow_mut();
        state.table.ledger.close_account(origin);
    }

    /// A second descriptor of the ring.
    pub(crate) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        let raw = self.raw_fd().ok_or_else(closed)?;
        // SAFETY: the ring is open, so its descriptor is.
        unsafe { BorrowedFd::borrow_raw(raw) }.try_clone_to_owned()
    }
}

fn closed() -> io::Error {
    io::Error::other("the executor of this resource is gone, and its ring with it")
}
