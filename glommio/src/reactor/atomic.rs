//! The primitives of the lock-free code in this folder, behind one name: the model checker in
//! `tests/` compiles the same source files next to a module of this name with loom's versions.

pub(super) use std::sync::atomic::{AtomicU32, Ordering, fence};
