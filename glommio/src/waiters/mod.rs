//! Who waits for what: the queue in which futures wait for locks and channels.

mod queue;
mod slab;
#[cfg(test)]
mod tests;
mod turns;

pub(crate) use self::{
    queue::{Verdict, WaiterCell, Waiters, poll_settled, poll_verdict, wake_settled},
    slab::{Key, Slab},
    turns::{Source, Turn, Turns, pass_on},
};
