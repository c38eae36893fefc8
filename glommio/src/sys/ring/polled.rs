//! The ring whose completions are polled for (IORING_SETUP_IOPOLL).
//!
//! It takes reads and writes past the page cache, and nothing else. The device raises no interrupt for
//! them: a completion arrives only while somebody is in [`Ring::enter`], which asks the device. So
//! there is no waiting in the kernel, which would spin there and see nothing of the executor's
//! other work; whoever has operations in flight enters again and again, and decides
//! what to do in between (`reactor/polled.rs`).
//!
//! The kernel cannot cancel what is in flight here. An orphan keeps its memory until it completes,
//! which a device does in bounded time.

use std::{io, rc::Rc, time::Duration};

use io_uring::EnterFlags;

#[cfg(test)]
use super::Fault;
use super::{Ring, State, Wait, closed, enter::refused, set_up};
use crate::sys::features::Features;

/// How long an enter call that is to wait sleeps at most before the device is asked again.
const LONGEST_PAUSE: Duration = Duration::from_micros(100);

impl Ring {
    /// Sets up a ring that polls, for `depth` operations at a time.
    ///
    /// # Errors
    ///
    /// When the kernel has no such rings or no memory for one.
    pub(crate) fn new_polled(depth: usize, features: Features) -> io::Result<Rc<Ring>> {
        let entries = u32::try_from(depth.clamp(8, 4096))
            .expect("clamped")
            .next_power_of_two();
        let uring = set_up::set_up_polled(entries, &features)?;
        // No more in flight than the queues have room for: none is ever full.
        let depth = depth.min(entries as usize);
        Ok(Ring::of(uring, depth, features, true))
    }

    /// Whether the kernel has operations that somebody must poll for.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.state.borrow().table.submitted() > 0
    }

    /// Submits what is queued and asks the devices once. With a `wait`, pauses for a short while if
    /// nothing has completed.
    pub(super) fn enter_polled(&self, wait: Wait) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.drain_overflow();
        state.poll_devices()?;
        let uring = state.uring.as_mut().ok_or_else(closed)?;
        let idle = uring.completion().is_empty();
        drop(state);
        match wait {
            Wait::For(limit) if idle => std::thread::sleep(limit.min(LONGEST_PAUSE)),
            Wait::Forever if idle => std::thread::sleep(LONGEST_PAUSE),
            _ => {}
        }
        Ok(())
    }
}

impl State {
    fn poll_devices(&mut self) -> io::Result<()> {
        if self.table.submitted() == 0 {
            return Ok(());
        }
        let uring = self.uring.as_mut().ok_or_else(closed)?;
        let queued = uring.submission().len() as u32;
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut to_submit = queued;
        #[cfg(test)]
        match self.faults.pop_front() {
            Some(Fault::Refuse(errno)) => return refused(io::Error::from_raw_os_error(errno)),
            Some(Fault::TakeOnly(most)) => to_submit = to_submit.min(most),
            None => {}
        }
        self.counters.enters += 1;
        let before = self.table.ledger.time();
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: without EXT_ARG the argument is a signal mask, and none is given.
        let result = unsafe {
            uring
                .submitter()
                .enter::<libc::sigset_t>(to_submit, 0, flags, None)
        };
        let left = uring.submission().len() as u32;
        let taken = queued.saturating_sub(left);
        self.counters.submitted += u64::from(taken);
        if let Some(before) = before {
            self.table.ledger.entered(taken as usize, before);
        }
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(()),
            Err(error) => refused(error),
        }
    }
}
