//! What crosses from executor to executor: shared channels, meshes, sharding.

#[path = "../support/mod.rs"]
mod support;

mod deaths;
mod mesh;
mod sharded;
mod shared;
mod waits;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

/// Runs a future on an executor of its own.
fn on_executor<F, T>(make: impl FnOnce() -> F + Send + 'static) -> ExecutorJoinHandle<T>
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(make)
        .unwrap()
}

/// Counts how many of its kind there are.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Live {
        count.fetch_add(1, Relaxed);
        Live(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Relaxed);
        assert!(before > 0, "dropped twice");
    }
}

/// How many messages of a kind are sent: `fast`, unless `GLOMMIO_TEST_MESSAGES` sets another number.
fn messages(fast: u64) -> u64 {
    std::env::var("GLOMMIO_TEST_MESSAGES").map_or(fast, |number| number.parse().unwrap())
}
