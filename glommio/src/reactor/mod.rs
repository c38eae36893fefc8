//! The reactor of one executor: its ring, its timers, its wake-ups.
//!
//! - [`driver`]: the [`Reactor`] and its turn
//! - [`polled`]: the second ring, for devices that are polled
//! - [`timers`]: pending timers, with no kernel object each
//! - [`wheel`]: how they are kept, O(1) to arm, move and cancel
//! - [`park`]: the protocol by which an executor falls asleep without missing a wake-up
//! - [`wake`]: how other threads reach it
//! - [`current`](mod@current): the reactor of the running executor

mod atomic;
mod current;
mod driver;
mod park;
#[cfg(test)]
mod park_tests;
mod polled;
mod timers;
mod wake;
mod wheel;

pub(crate) use current::{current, current_reactor, enter};
pub(crate) use driver::{Reactor, ReactorConfig};
pub(crate) use wake::flush_messages;
pub(crate) use wheel::{TimerKey, Wheel};
