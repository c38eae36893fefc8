//! Completions and what they cause.

use std::{mem, task::Waker};

use io_uring::cqueue;

use super::{Ring, State};
use crate::sys::{
    inflight::{Erased, Filed, INTERNAL_TAG, InFlight, Key},
    op::Completion,
};

/// A completion that needs no action.
pub(super) const IGNORED: u64 = INTERNAL_TAG;
/// Another executor's wake-up message.
pub(super) const MESSAGE: u64 = INTERNAL_TAG | 1 << 32;
/// A wake-up message of ours that could not be delivered; the low half names its target slot.
pub(super) const UNDELIVERED: u64 = INTERNAL_TAG | 2 << 32;
const KIND_MASK: u64 = !0 << 32;

impl Ring {
    /// Takes all completions that have arrived and wakes whoever waits for them. Returns how many
    /// there were; `undelivered` is told the targets of wake-up messages that did not arrive.
    pub(crate) fn dispatch(&self, mut undelivered: impl FnMut(u32)) -> usize {
        let mut state = self.state.borrow_mut();
        let count = state.collect();
        if count == 0 {
            return 0;
        }
        let mut wakers = mem::take(&mut state.wakers);
        let mut ended = mem::take(&mut state.ended);
        let mut lost = mem::take(&mut state.undelivered);
        drop(state);

        for (op, completion) in ended.drain(..) {
            match completion {
                Some(completion) => op.reclaim(completion),
                None => drop(op),
            }
        }
        for target in lost.drain(..) {
            undelivered(target);
        }
        for waker in wakers.drain(..) {
            waker.wake();
        }

        let mut state = self.state.borrow_mut();
        // A waker may have dispatched in turn: keep the larger of the two buffers.
        if state.wakers.capacity() < wakers.capacity() {
            wakers.append(&mut state.wakers);
            state.wakers = wakers;
        }
        if state.ended.capacity() < ended.capacity() {
            ended.append(&mut state.ended);
            state.ended = ended;
        }
        if state.undelivered.capacity() < lost.capacity() {
            lost.append(&mut state.undelivered);
            state.undelivered = lost;
        }
        count
    }
}

impl State {
    /// Moves completions from the ring to the lists of consequences.
    fn collect(&mut self) -> usize {
        let State {
            uring: Some(uring),
            table,
            wakers,
            ended,
            undelivered,
            ..
        } = self
        else {
            return 0;
        };
        let mut again = Vec::new();
        let mut count = 0;
        if table.ledger.is_recording() {
            table.ledger.looks();
        }
        for cqe in uring.completion() {
            count += 1;
            file(table, &cqe, wakers, ended, undelivered, &mut again);
        }
        self.counters.completed += count as u64;
        for (key, stop) in again {
            if stop {
                self.push_cancel(key);
            } else {
                // At the next enter: only then is it known whether somebody waits for it.
                self.deferred.push(key);
            }
        }
        if !self.backlog.is_empty() {
            self.fill_backlog();
        }
        count
    }
}

/// Files one completion.
#[inline]
fn file(
    table: &mut InFlight,
    cqe: &cqueue::Entry,
    wakers: &mut Vec<Waker>,
    ended: &mut Vec<(Erased, Option<Completion>)>,
    undelivered: &mut Vec<u32>,
    again: &mut Vec<(Key, bool)>,
) {
    let user_data = cqe.user_data();
    if user_data & INTERNAL_TAG != 0 {
        if user_data & KIND_MASK == UNDELIVERED && cqe.result() < 0 {
            undelivered.push(user_data as u32);
        }
        return;
    }
    let completion = Completion {
        result: cqe.result(),
        flags: cqe.flags(),
    };
    match table.complete(Key::from_user_data(user_data), completion) {
        Filed::Wake(waker) => wakers.extend(waker),
        Filed::Over(op, completion, waker) => {
            ended.push((op, completion));
            wakers.extend(waker);
        }
        Filed::Again(key, waker) => {
            again.push((key, false));
            wakers.extend(waker);
        }
        Filed::Stop(key, waker) => {
            again.push((key, true));
            wakers.extend(waker);
        }
        Filed::Unknown => debug_assert!(false, "a completion for no operation: {user_data:#x}"),
    }
}
