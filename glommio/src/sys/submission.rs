//! The future of a plain operation.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    inflight::Key,
    op::{Completion, Operation},
    ring::Ring,
};

/// Submits its operation when first polled and gives it back with its completion.
///
/// Cancel safety: dropping it before the first poll drops the operation; after that the kernel is
/// asked to cancel, and the operation's memory stays with the ring until the kernel lets go of it.
/// What a cancelled operation still produces is closed or returned ([`Operation::reclaim`]).
///
/// If the ring is gone, the completion says `ECANCELED`.
#[must_use = "an operation does nothing unless its future is polled"]
pub(crate) struct Submission<O: Operation> {
    ring: Rc<Ring>,
    stage: Stage<O>,
}

enum Stage<O> {
    Fresh(O),
    InFlight(Key),
    Over,
}

impl<O: Operation> Submission<O> {
    pub(crate) fn new(ring: Rc<Ring>, op: O) -> Self {
        Submission {
            ring,
            stage: Stage::Fresh(op),
        }
    }
}

// The operation is moved out when it is submitted and never pinned in place.
impl<O: Operation> Unpin for Submission<O> {}

impl<O: Operation> Future for Submission<O> {
    type Output = (O, Completion);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Fresh(_) = self.stage {
            let Stage::Fresh(op) = std::mem::replace(&mut self.stage, Stage::Over) else {
                unreachable!("just matched");
            };
            if self.ring.is_closed() {
                return Poll::Ready((
                    op,
                    Completion {
                        result: -libc::ECANCELED,
                        flags: 0,
                    },
                ));
            }
            self.stage = Stage::InFlight(self.ring.submit(op));
        }
        let Stage::InFlight(key) = self.stage else {
            panic!("an operation's future was polled after it completed");
        };
        // SAFETY: the key came from `submit` with an `O`, above.
        let result = unsafe { self.ring.poll::<O>(key, cx) };
        if result.is_ready() {
            self.stage = Stage::Over;
        }
        result
    }
}

impl<O: Operation> Drop for Submission<O> {
    fn drop(&mut self) {
        if let Stage::InFlight(key) = self.stage {
            self.ring.orphan(key);
        }
    }
}
