//! Memory that the kernel reads from and writes to.
//!
//! - [`dma`]: the arena of one executor, which hands out reference-counted, page-aligned blocks.
//! - [`chunks`]: its memory, mapped on demand and registered with the ring as fixed buffers where
//!   memlock allows.
//! - [`block`]: one such block, or a stand-alone one where the arena cannot serve.
//! - [`buddy`]: which pages of the arena are free, as pure arithmetic over page numbers.
//! - [`mapping`]: memory from the kernel that is unmapped when dropped.
//! - [`provided`]: receive buffers lent to the kernel only when data arrives.
//! - [`message`]: the memory of one datagram.
//! - [`socket`]: the memory that the sockets of one ring share.
//! - [`dma_buffer`] and [`read_result`]: what users see of a block, exclusive and shared.

mod block;
mod buddy;
mod chunks;
mod dma;
mod dma_buffer;
mod mapping;
pub(crate) mod message;
pub(crate) mod provided;
mod read_result;
pub(crate) mod socket;

pub(crate) use chunks::Registrar;
pub(crate) use dma::DmaArena;
pub use dma_buffer::DmaBuffer;
pub use read_result::ReadResult;
