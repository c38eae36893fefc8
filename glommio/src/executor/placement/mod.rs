//! Which executor goes on which CPU.
//!
//! | file | idea |
//! |---|---|
//! | `cpuset` | sets of CPUs, and where each of them lies |
//! | `policy` | what users ask for: [`Placement`], [`PoolPlacement`] |
//! | `strategy` | the order in which spreading and packing take CPUs |
//! | `generator` | hands one CPU, or one set, to each executor |
//! | `tests` | all of it on made-up hosts: what is chosen, and what must always hold |

mod cpuset;
mod generator;
mod policy;
mod strategy;
#[cfg(test)]
mod tests;

pub use self::{
    cpuset::{CpuLocation, CpuSet},
    generator::{CpuIter, CpuSetGenerator},
    policy::{Placement, PoolPlacement},
};
