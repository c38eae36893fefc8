//! Sockets as their users see them.

#[path = "../support/flag.rs"]
mod flag;
#[path = "../support/mod.rs"]
mod support;

mod resolve;
mod tcp;
mod tear_down;
mod udp;
mod unix;
