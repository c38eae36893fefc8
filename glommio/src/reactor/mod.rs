//! The reactor of one executor: its ring, its timers, its wake-ups.
//!
//! - [`config`]: what it is made of
//! - [`driver`]: the [`Reactor`] and its turn
//! - [`polled`]: the second ring, for devices that are polled
//! - [`timers`]: pending timers, with no kernel object each
//! - [`wheel`]: how they are kept, O(1) to arm, move and cancel
//! - [`park`]: the protocol by which an executor falls asleep without missing a wake-up
//! - [`wake`]: what other threads know of a sleeping executor, and the messages that wake one
//! - [`current`](mod@current): the reactor of the running executor
//! - [`notify`]: how other threads and executors reach it

mod atomic;
mod config;
mod current;
mod driver;
mod notify;
mod park;
#[cfg(test)]
mod park_tests;
mod polled;
mod timers;
mod wake;
mod wheel;

pub(crate) use config::ReactorConfig;
pub(crate) use current::{current, current_reactor, enter};
pub(crate) use driver::Reactor;
pub(crate) use notify::{flush_messages, start};
pub(crate) use wheel::{TimerKey, Wheel};
