//! Timers.
//!
//! A timer is an entry of the executor's timer wheel, with no kernel object of its own. It never
//! fires early, and on an idle executor it fires within a fraction of a millisecond.

mod sleep;

pub use sleep::{Timer, sleep};
