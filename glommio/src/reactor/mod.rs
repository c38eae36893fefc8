//! The reactor.

mod wheel;
