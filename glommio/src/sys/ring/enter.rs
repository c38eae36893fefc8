//! The one enter.
//!
//! [`Ring::submit`] only writes to the submission queue. [`Ring::enter`] is the single place that
//! calls the kernel: it submits all that is queued and, when the executor is idle, waits in the same
//! call. A send on a socket that takes its data at once posts its completion during submission;
//! unless a task waits for that completion it is no news, so a waiting enter asks for one more
//! completion than there are such *inline* operations. They are certain to arrive (see
//! [`Class::Inline`]), which keeps this exact: it can never wait for a completion that does not come.
//! Whether somebody waits is asked when the entry is filled, which for these operations is in the
//! enter call itself: they are deferred or resubmitted, and both wait for the next enter. Entries
//! that the kernel left in the queue were filled for an earlier call, and somebody may wait by now: then
//! every completion is taken for news.
//!
//! [`Class::Inline`]: crate::sys::op::Class::Inline

use std::{
    io,
    time::{Duration, Instant},
};

use io_uring::{EnterFlags, opcode, types};

use super::{Ring, State, closed, dispatch::IGNORED};
use crate::sys::features::{Features, Rung};

/// How long an enter call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Do not wait: submit, and let the kernel run completion work.
    No,
    /// Until a completion arrives.
    Forever,
    /// Until a completion arrives or the duration is over.
    For(Duration),
}

/// What a test makes of an enter call.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The kernel refuses with this errno and takes nothing.
    Refuse(i32),
    /// The kernel takes that many entries at most and does not wait, as after an entry that it
    /// cannot make sense of.
    TakeOnly(u32),
}

#[cfg(test)]
impl Fault {
    /// No room for completions: nothing that lasts.
    pub(crate) const BUSY: Fault = Fault::Refuse(libc::EBUSY);
    /// Nothing that a retry mends.
    pub(crate) const OUT_OF_MEMORY: Fault = Fault::Refuse(libc::ENOMEM);
}

impl Ring {
    /// Whether completions can be had without a system call.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state
            .uring
            .as_mut()
            .is_some_and(|u| !u.completion().is_empty())
    }

    /// Whether an enter or a dispatch would do something: entries are queued, completions wait, or
    /// the kernel holds completion work or overflowed completions. Loads only.
    #[inline]
    pub(crate) fn wants_enter(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.deferred.is_empty() || !state.overflow.is_empty() {
            return true;
        }
        state.uring.as_mut().is_some_and(|uring| {
            if !uring.completion().is_empty() {
                return true;
            }
            let sq = uring.submission();
            !sq.is_empty() || sq.taskrun() || sq.cq_overflow()
        })
    }

    /// Submits what is queued and waits as told. An interrupted or timed-out wait is a success.
    ///
    /// # Errors
    ///
    /// Only what no retry can mend. A kernel that is short of memory for requests (`EAGAIN`) or of
    /// room for completions (`EBUSY`) keeps the entries queued for the next call.
    pub(crate) fn enter(&self, wait: Wait) -> io::Result<()> {
        let mut guard = self.state.borrow_mut();
        if guard.polled {
            drop(guard);
            return self.enter_polled(wait);
        }
        let state = &mut *guard;
        state.fill_deferred();
        state.fill_backlog();
        while !state.overflow.is_empty() {
            state.drain_overflow();
            if !state.overflow.is_empty() && !state.call(&self.features, Wait::No)? {
                return Ok(());
            }
        }
        if wait == Wait::No {
            let uring = state.uring.as_mut().ok_or_else(closed)?;
            let sq = uring.submission();
            let wanted = !sq.is_empty() || sq.taskrun() || sq.cq_overflow();
            drop(sq);
            if !wanted {
                return Ok(());
            }
        }
        state.call(&self.features, wait).map(drop)
    }
}

#[cfg(test)]
impl Ring {
    /// Whether an operation waits for the next enter call to be submitted (again).
    pub(super) fn has_deferred(&self) -> bool {
        !self.state.borrow().deferred.is_empty()
    }

    /// Makes the next enter calls fail, one after the other.
    pub(crate) fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.borrow_mut().faults.extend(faults);
    }
}

impl State {
    /// One `io_uring_enter`. `Ok(false)`: the kernel is short of something and took nothing new;
    /// completions must be reaped first.
    fn call(&mut self, features: &Features, wait: Wait) -> io::Result<bool> {
        let mut wait = wait;
        if let Wait::For(limit) = wait {
            if !features.has(Rung::ExtArg) {
                self.arm_timeout(limit);
                if !self.overflow.is_empty() {
                    // The queue is full, so the kernel would not see the timeout: wait next time.
                    wait = Wait::No;
                }
            }
        }
        // Certain to be among the completions when the submission is done: not news.
        let inline = match self.left_over {
            true => 0,
            false => self.table.inline(),
        };
        let Some(uring) = &mut self.uring else {
            return Err(closed());
        };
        let mut sq = uring.submission();
        sq.sync();
        let queued = sq.len() as u32;
        drop(sq);
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut to_submit = queued;
        // Unless the call tells how many of them it took.
        self.left_over = queued > 0;
        #[cfg(test)]
        match self.faults.pop_front() {
            Some(Fault::Refuse(errno)) => {
                return refused(io::Error::from_raw_os_error(errno)).map(|()| false);
            }
            Some(Fault::TakeOnly(most)) => {
                to_submit = to_submit.min(most);
                wait = Wait::No;
            }
            None => {}
        }

        let mut flags = EnterFlags::GETEVENTS;
        let mut min_complete = 0;
        if wait != Wait::No {
            min_complete = 1 + inline as u32;
            self.counters.waits += 1;
            if features.has(Rung::NoIowait) {
                flags |= EnterFlags::NO_IOWAIT;
            }
        }
        self.counters.enters += 1;
        let before = self.table.ledger.time();
        let submitter = uring.submitter();
        let result = match wait {
            Wait::For(limit) if features.has(Rung::ExtArg) => {
                let limit = types::Timespec::from(limit);
                let args = types::SubmitArgs::new().timespec(&limit);
                flags |= EnterFlags::EXT_ARG;
                // SAFETY: `args` is what EXT_ARG asks for and lives across the call.
                unsafe { submitter.enter(to_submit, min_complete, flags.bits(), Some(&args)) }
            }
            // SAFETY: without EXT_ARG the argument is a signal mask, and none is given.
            _ => unsafe {
                submitter.enter::<libc::sigset_t>(to_submit, min_complete, flags.bits(), None)
            },
        };
        // Whatever the call returned, the queue's head tells what the kernel took.
        let left = uring.submission().len() as u32;
        let taken = queued.saturating_sub(left);
        self.left_over = left > 0;
        self.counters.submitted += u64::from(taken);
        if let Some(before) = before {
            self.table.ledger.entered(taken as usize, before);
        }
        match result {
            Ok(_) => Ok(true),
            // Time over, or a signal: both end a wait.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {
                Ok(true)
            }
            Err(error) => refused(error).map(|()| false),
        }
    }

    /// Makes sure that a timeout entry ends the wait, for kernels without EXT_ARG. One that ends it
    /// too early is harmless, so an earlier one still in flight is good enough.
    fn arm_timeout(&mut self, limit: Duration) {
        let now = Instant::now();
        let until = now + limit;
        if self
            .timeout_until
            .is_some_and(|armed| now < armed && armed <= until)
        {
            return;
        }
        self.timeout_until = Some(until);
        self.counters.timeouts += 1;
        // An earlier entry that the kernel has not taken yet will read this time too. It was to end
        // a wait that is over, and an early end of this one is harmless.
        *self.timeout = types::Timespec::from(limit);
        let entry = opcode::Timeout::new(&*self.timeout).build();
        self.push(entry.user_data(IGNORED));
    }
}

/// Tells what the kernel is short of for now, which is no error, from what no retry mends.
pub(super) fn refused(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY) => Ok(()),
        _ => Err(error),
    }
}
