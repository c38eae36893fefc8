//! Operations that do nothing, for measuring the path of one.

use std::io;

use crate::{reactor, sys::op::poll::Nop};

/// Submits NOP operations to the ring of the current executor.
#[derive(Debug, Default)]
pub struct NopSubmitter {
    _private: (),
}

impl NopSubmitter {
    /// A submitter; it holds nothing.
    pub fn new() -> Self {
        NopSubmitter { _private: () }
    }

    /// Submits a NOP and waits for its completion.
    ///
    /// # Errors
    ///
    /// If the executor's ring is gone.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub async fn run_nop(&self) -> io::Result<()> {
        let (_, completion) = reactor::current().submit(Nop).await;
        completion.count().map(drop)
    }
}
