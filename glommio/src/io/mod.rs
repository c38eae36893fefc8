//! Files with direct I/O.
//!
//! [`DmaFile`] bypasses the page cache: reads and writes move data between the device and buffers
//! that are registered with the kernel, without a copy.

mod dma_file;
mod open_options;
#[cfg(test)]
mod polled_tests;

pub use crate::sys::buffers::{DmaBuffer, ReadResult};
pub use dma_file::DmaFile;
pub use open_options::OpenOptions;
