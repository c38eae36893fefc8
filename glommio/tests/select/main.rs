//! Waits as `select` and timeouts treat them: polled a number of times and dropped, at every stage,
//! with every primitive and every channel. Nothing may be lost, and nobody may be forgotten.

mod channels;
mod harness;
mod sync;
