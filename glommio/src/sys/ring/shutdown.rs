//! Tear-down.
//!
//! [`Ring::shutdown`] cancels everything that the kernel knows, waits for the last completion, and
//! only then closes the ring and frees the memory. The wait is bounded; memory of an operation that
//! the kernel does not give back in time is leaked and logged, never freed under the kernel's feet.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Ring, Wait};

/// How long [`Ring::shutdown`] waits for the kernel to let go of memory.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

impl Ring {
    /// Cancels everything, waits until the kernel has let go of all memory, and closes the ring.
    /// `undelivered` is told the targets of wake-up messages that did not arrive. Returns whether the
    /// kernel took all that was queued. Later calls do nothing.
    pub(crate) fn shutdown(&self, mut undelivered: impl FnMut(u32)) -> bool {
        if self.is_closed() {
            return true;
        }
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        // Submit what was accepted (sends of dropped streams, closes of dropped files) before the
        // cancellations.
        let _ = self.enter(Wait::No);
        self.dispatch(&mut undelivered);
        let mut cancelled_all = false;
        // Their wakers are dropped outside the borrow.
        let mut orphans = Vec::new();
        loop {
            // What the kernel does not know (any more) needs no waiting for; its destructors may
            // queue more.
            let idle = self.state.borrow().table.idle_keys();
            for key in idle {
                self.orphan(key);
            }
            {
                let mut state = self.state.borrow_mut();
                if state.table.submitted() == 0 && state.table.idle_keys().is_empty() {
                    break;
                }
                for key in state.table.submitted_keys() {
                    orphans.push(state.table.orphan(key));
                    if !cancelled_all {
                        state.push_cancel(key);
                    }
                }
                cancelled_all = true;
            }
            orphans.clear();
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            // Something new may have been submitted by a destructor: look again now and then.
            let step = (deadline - now).min(Duration::from_millis(100));
            if self.enter(Wait::For(step)).is_err() {
                break;
            }
            if self.dispatch(&mut undelivered) == 0 {
                cancelled_all = false;
            }
        }
        let all_taken = self.submit_the_rest(deadline, &mut undelivered);

        let mut state = self.state.borrow_mut();
        let uring = state.uring.take();
        self.raw.set(-1);
        let left = state.table.submitted();
        let table = mem::take(&mut state.table);
        let kept = mem::take(&mut state.kept);
        drop(state);
        drop(uring);
        if left == 0 {
            drop((table, kept));
        } else {
            tracing::error!(
                target: "glommio::sys",
                operations = left,
                "the kernel did not finish operations within {SHUTDOWN_LIMIT:?} of their \
                 cancellation; their memory is leaked"
            );
            leak((table, kept));
        }
        all_taken
    }

    /// Hands over what is left in the queues: closes of descriptors that the last destructors queued,
    /// which would be lost with the ring. Returns whether the kernel took it.
    fn submit_the_rest(&self, deadline: Instant, undelivered: &mut impl FnMut(u32)) -> bool {
        loop {
            let result = self.enter(Wait::No);
            self.dispatch(&mut *undelivered);
            let left = self.state.borrow_mut().unsubmitted();
            if left == 0 {
                return true;
            }
            if result.is_err() || Instant::now() >= deadline {
                tracing::error!(
                    target: "glommio::sys",
                    entries = left,
                    "the kernel did not take the last submissions of a ring that is closed; \
                     descriptors may be leaked"
                );
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shutdown(|_| ());
    }
}

/// Never frees `memory`, and keeps it reachable, so that leak checkers tell it from an accident.
fn leak<T: 'static>(memory: T) {
    static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let address = Box::into_raw(Box::new(memory)).expose_provenance();
    let mut leaked = LEAKED.lock().unwrap_or_else(PoisonError::into_inner);
    leaked.push(address);
}
