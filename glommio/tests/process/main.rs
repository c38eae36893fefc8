//! Signals, and processes of others.
//!
//! Signals, masks, handlers and children belong to a whole process, so most of these tests run in a
//! process of their own.

#[path = "../support/flag.rs"]
mod flag;
#[path = "../support/mod.rs"]
mod support;

mod children;
mod pipes;
mod signals;
