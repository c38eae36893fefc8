//! Files: direct and buffered.

pub use crate::sys::buffers::{DmaBuffer, ReadResult};
