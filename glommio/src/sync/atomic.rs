//! The primitives of the code in this folder that threads share, behind one name.
//!
//! The model checker in `tests/` compiles the same source files next to a module of this name which
//! offers loom's versions.

pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
