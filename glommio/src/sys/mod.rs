//! The kernel boundary.

pub(crate) mod buffers;
