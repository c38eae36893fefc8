//! `local_channel`, `oneshot`, `watch` and `broadcast` through the public interface: against models,
//! across threads, and with either side gone at every stage.

#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/flag.rs"]
mod flag;

mod models;
mod stages;
mod teardown;
mod threads;
