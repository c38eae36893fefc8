//! Operations: small structs that fill a submission queue entry and own all memory that the kernel
//! may touch for it.
//!
//! An operation lives in the in-flight table ([`super::inflight`]) from its submission to its last
//! completion, whatever happens to the future that waits for it. Two kinds exist:
//!
//! - a plain [`Operation`] completes once and hands itself back to the waiting future;
//! - a [`Driven`] operation is completed any number of times (multishot receive and accept, a send
//!   queue) and keeps what the completions bring in state that it shares with its owner.

pub(crate) mod accept;
pub(crate) mod bytes;
pub(crate) mod datagram;
pub(crate) mod file;
pub(crate) mod open;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod recv;
pub(crate) mod send;

use std::{io, task::Waker};

use io_uring::{cqueue, squeue};

use super::ledger::IoKind;

/// What the kernel says about an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// A non-negative result, or a negated errno.
    pub(crate) result: i32,
    /// The completion's flags (`IORING_CQE_F_*`).
    pub(crate) flags: u32,
}

impl Completion {
    /// The result as a count, or the error.
    pub(crate) fn count(self) -> io::Result<usize> {
        if self.result < 0 {
            Err(io::Error::from_raw_os_error(-self.result))
        } else {
            Ok(self.result as usize)
        }
    }

    /// Whether further completions of the same operation follow.
    pub(crate) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that the kernel picked, if any.
    pub(crate) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the socket held more data when this completion was posted.
    pub(crate) fn socket_has_more(self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

/// What a completion of the ring that polls says about polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// It is the result of the operation.
    Done,
    /// The operation is to be repeated on the main ring: the device was out of something.
    Busy,
    /// The same, as later ones: the file cannot be polled. Its device or file system has no poll
    /// queues after all, or has lost them.
    Unsupported,
}

impl Polling {
    /// What the completion of a read or write means.
    pub(crate) fn of(completion: Completion) -> Polling {
        match -completion.result {
            libc::EOPNOTSUPP => Polling::Unsupported,
            libc::EAGAIN => Polling::Busy,
            _ => Polling::Done,
        }
    }
}

/// A read or write that either ring can do.
pub(crate) trait Transfer: Operation {
    /// The slot of its buffer in the table of the ring that does it.
    fn fixed(&mut self) -> &mut Option<u16>;

    /// How many bytes it is to move.
    fn bytes(&self) -> u32;
}

/// How an operation counts against the ring's depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Completes by itself after bounded work (file I/O): at most `ring_depth` at a time, the rest
    /// waits its turn.
    Work,
    /// Completes when somebody else acts (receive, accept, poll, connect): not bounded, because a
    /// thousand idle connections must not keep one file read from starting.
    Wait,
    /// Completes during submission, always, and nobody waits for it: its completion does not count
    /// as news when the reactor waits (see `Ring::enter`). Only for operations that are deferred.
    Inline,
}

/// An operation of the ring.
///
/// # Safety
///
/// Everything that the entry points to must be owned by the operation and must stay at its address
/// when the operation is moved (heap, arena, provided ring), until the operation is dropped or
/// given back.
pub(crate) unsafe trait Operation: 'static {
    /// As what completions that are no errors are counted; `None` for what nobody counts.
    const IO: Option<IoKind> = None;

    /// How the operation counts against the ring's depth. Asked just before each `entry`.
    fn class(&self) -> Class {
        Class::Work
    }

    /// Fills the submission queue entry; `user_data` is the ring's to set.
    fn entry(&mut self) -> squeue::Entry;

    /// Takes the completion that nobody waits for any more. What the operation produced must not be
    /// lost: an fd is closed, a selected buffer returned. The default drops the operation.
    fn reclaim(self, completion: Completion)
    where
        Self: Sized,
    {
        let _ = completion;
    }
}

/// What a driven operation wants after a completion.
pub(crate) enum Next {
    /// More completions follow; wake this waker.
    Keep(Option<Waker>),
    /// More completions may follow, but the kernel is asked to stop; wake this waker.
    Stop(Option<Waker>),
    /// This was the last completion: forget the operation; wake this waker.
    Done(Option<Waker>),
    /// Submit the operation again (its `entry` is asked anew); wake this waker.
    Resubmit(Option<Waker>),
    /// The same after an entry that was only a wait before the next try: nothing is counted.
    Retry,
}

/// An operation that is completed more than once or that submits itself again.
///
/// `on_completion` runs while the ring is borrowed: it must not call into the ring, and it must not
/// drop anything that does.
pub(crate) trait Driven {
    /// Takes a completion. Returns `Keep` or `Stop` if and only if `completion.more()`.
    fn on_completion(&mut self, completion: Completion) -> Next;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_main_ring_may_do_better_is_repeated() {
        let answer = |result| Polling::of(Completion { result, flags: 0 });
        assert_eq!(answer(-libc::EOPNOTSUPP), Polling::Unsupported);
        assert_eq!(answer(-libc::EAGAIN), Polling::Busy);
        // An empty file reads as nothing, whether it can be polled or not.
        for result in [
            0,
            4096,
            -libc::EIO,
            -libc::ECANCELED,
            -libc::EBADF,
            i32::MIN + 1,
        ] {
            assert_eq!(answer(result), Polling::Done, "{result}");
        }
    }
}
