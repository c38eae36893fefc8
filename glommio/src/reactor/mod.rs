//! The reactor of one executor: its ring, its timers, its wake-ups.
//!
//! - [`driver`]: the [`Reactor`] and its turn
//! - [`wheel`]: timers, O(1) to arm and cancel, with no kernel object each
//! - [`park`]: the protocol by which an executor falls asleep without missing a wake-up
//! - [`wake`]: how other threads reach it
//! - [`current`](mod@current): the reactor of the running executor

mod atomic;
mod current;
mod driver;
mod park;
#[cfg(test)]
mod park_tests;
mod wake;
mod wheel;

pub(crate) use current::{Entered, current, current_reactor, enter};
pub(crate) use driver::{Reactor, ReactorConfig};
pub(crate) use wheel::TimerKey;
