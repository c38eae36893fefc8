//! The kernel boundary.

pub(crate) mod affinity;
pub(crate) mod buffers;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod storage;
pub(crate) mod sysfs;
pub(crate) mod topology;
