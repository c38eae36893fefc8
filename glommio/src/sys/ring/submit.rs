//! Submission: operations, cancellations, closes and messages become entries of the queue.
//!
//! Nothing here calls the kernel; [`Ring::enter`] does, with all that was queued. An entry that finds
//! the queue full waits in a list, an operation beyond the ring's depth in the backlog, both in order.

use std::{
    mem,
    os::fd::RawFd,
    task::{Context, Poll},
};

use io_uring::{opcode, squeue, types};

use super::{
    Ring, State,
    dispatch::{IGNORED, MESSAGE, UNDELIVERED},
};
use crate::sys::{
    fd,
    features::Rung,
    inflight::{Erased, Key, Orphaned},
    ledger::IoKind,
    op::{Class, Completion, Driven, Operation},
};

impl Ring {
    /// Queues a plain operation. The caller must [`Ring::poll`] or [`Ring::orphan`] the key.
    pub(crate) fn submit<O: Operation>(&self, op: O) -> Key {
        self.state.borrow_mut().start(Erased::plain(op), false)
    }

    /// Queues a driven operation.
    pub(crate) fn submit_driven<O: Operation + Driven>(&self, op: O) -> Key {
        self.state.borrow_mut().start(Erased::driven(op), false)
    }

    /// Takes a driven operation whose entry is filled only at the next enter, so that it carries
    /// all that its owner collects until then.
    pub(crate) fn submit_deferred<O: Operation + Driven>(&self, op: O) -> Key {
        let mut state = self.state.borrow_mut();
        let key = state.table.insert(Erased::driven(op), false);
        state.deferred.push(key);
        key
    }

    /// Fetches the result of a plain operation or leaves the waker to be told.
    ///
    /// # Safety
    ///
    /// `key` came from [`Ring::submit`] with an operation of type `O`.
    pub(crate) unsafe fn poll<O: Operation>(
        &self,
        key: Key,
        cx: &mut Context<'_>,
    ) -> Poll<(O, Completion)> {
        // SAFETY: the caller vouches for the type.
        let result = unsafe { self.state.borrow_mut().table.poll::<O>(key, cx.waker()) };
        match result {
            Ok(done) => Poll::Ready(done),
            Err(_replaced) => Poll::Pending,
        }
    }

    /// Gives up on an operation: if the kernel works on it, it is asked to stop, and the memory
    /// stays with the ring until the kernel answers.
    pub(crate) fn orphan(&self, key: Key) {
        let orphaned = self.state.borrow_mut().orphan(key);
        match orphaned {
            Orphaned::End(op, Some(completion), _waker) => op.reclaim(completion),
            Orphaned::End(..) | Orphaned::Cancel(_) | Orphaned::Gone => {}
        }
    }

    /// Asks the kernel to stop a driven operation; its owner sees the last completion.
    pub(crate) fn cancel(&self, key: Key) {
        self.state.borrow_mut().push_cancel(key);
    }

    /// Closes a descriptor without anybody waiting for it; `kind` is as what that is counted.
    pub(crate) fn close_fd(&self, fd: RawFd, kind: Option<IoKind>) {
        if let Some(kind) = kind {
            self.count_io(kind, 0);
        }
        let mut state = self.state.borrow_mut();
        if state.uring.is_none() {
            drop(state);
            fd::close_now(fd);
            return;
        }
        let entry = self.quiet(opcode::Close::new(types::Fd(fd)).build());
        state.push(entry.user_data(IGNORED));
    }

    /// Queues a wake-up message to another ring; `target` comes back from [`Ring::dispatch`] if it
    /// cannot be delivered.
    pub(crate) fn send_message(&self, ring: RawFd, target: u32) {
        let entry = opcode::MsgRingData::new(types::Fd(ring), 0, MESSAGE, None).build();
        let entry = self.quiet(entry).user_data(UNDELIVERED | u64::from(target));
        let mut state = self.state.borrow_mut();
        state.counters.messages += 1;
        state.push(entry);
    }

    /// Whether the kernel has taken all that was queued.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.borrow_mut().unsubmitted() == 0
    }

    /// Lets a successful entry pass without completion where the kernel can.
    fn quiet(&self, entry: squeue::Entry) -> squeue::Entry {
        if self.features.has(Rung::CqeSkip) {
            entry.flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            entry
        }
    }
}

impl State {
    fn start(&mut self, op: Erased, orphaned: bool) -> Key {
        let work = op.class() == Class::Work;
        let key = self.table.insert(op, orphaned);
        if work && (self.table.working() >= self.depth || !self.backlog.is_empty()) {
            self.backlog.push_back(key);
        } else {
            self.queue(key);
        }
        key
    }

    /// Fills the entry of a tenant and queues it.
    pub(super) fn queue(&mut self, key: Key) {
        if let Some((entry, _class)) = self.table.submit(key) {
            self.push(entry);
            if self.table.ledger.is_recording() {
                self.note_waiting(key);
            }
        }
    }

    /// Notes how many entries the kernel has to take until it has the one queued last.
    #[cold]
    fn note_waiting(&mut self, key: Key) {
        let queued = self.uring.as_mut().map_or(0, |u| u.submission().len());
        self.table.waits(key, queued + self.overflow.len());
    }

    /// Queues an entry. Its memory is owned by the in-flight table, or it needs none.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        if self.overflow.is_empty() {
            if let Some(uring) = &mut self.uring {
                // SAFETY: the entry points only to memory owned by an operation in the in-flight
                // table (contract of `Operation`), which frees nothing before the last completion;
                // of the entries outside the table, a timeout points to memory that lives as long
                // as the ring, and a close, a cancel and a message point to nothing.
                if unsafe { uring.submission().push(&entry) }.is_ok() {
                    return;
                }
            }
        }
        self.overflow.push_back(entry);
    }

    /// Entries that the kernel has not taken yet.
    pub(super) fn unsubmitted(&mut self) -> usize {
        let queued = self.uring.as_mut().map_or(0, |u| u.submission().len());
        queued + self.overflow.len()
    }

    pub(super) fn drain_overflow(&mut self) {
        let Some(uring) = &mut self.uring else {
            self.overflow.clear();
            return;
        };
        let mut sq = uring.submission();
        while let Some(entry) = self.overflow.front() {
            // SAFETY: as in `push`.
            if unsafe { sq.push(entry) }.is_err() {
                return;
            }
            self.overflow.pop_front();
        }
    }

    pub(super) fn fill_deferred(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        let mut deferred = mem::take(&mut self.deferred);
        for key in deferred.drain(..) {
            self.queue(key);
        }
        self.deferred = deferred;
    }

    pub(super) fn fill_backlog(&mut self) {
        while self.table.working() < self.depth {
            match self.backlog.pop_front() {
                Some(key) => self.queue(key),
                None => return,
            }
        }
    }

    fn orphan(&mut self, key: Key) -> Orphaned {
        let orphaned = self.table.orphan(key);
        if matches!(orphaned, Orphaned::Cancel(_)) {
            self.push_cancel(key);
        }
        orphaned
    }

    pub(super) fn push_cancel(&mut self, key: Key) {
        // A ring that polls refuses cancellations: what is in flight there completes by itself.
        if self.uring.is_some() && !self.polled {
            let cancel = opcode::AsyncCancel::new(key.user_data()).build();
            self.push(cancel.user_data(IGNORED));
        }
    }
}
