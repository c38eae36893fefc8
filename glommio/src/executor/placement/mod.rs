//! Which executor goes on which CPU.
//!
//! | file | idea |
//! |---|---|
//! | `cpuset` | sets of CPUs, and where each of them lies |
//! | `policy` | what users ask for: [`Placement`], [`PoolPlacement`] |
//! | `strategy` | the order in which spreading and packing take CPUs |
//! | `generator` | hands one CPU, or one set, to each executor |

mod cpuset;
mod generator;
mod policy;
mod strategy;

pub use self::{
    cpuset::{CpuLocation, CpuSet},
    generator::{CpuIter, CpuSetGenerator},
    policy::{Placement, PoolPlacement},
};
