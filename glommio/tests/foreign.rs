//! The world outside of an executor: threads, other executors, tokio, and channels that know
//! nothing of glommio.

#[path = "foreign/channels.rs"]
mod channels;
#[path = "foreign/futures_crate.rs"]
mod futures_crate;
#[path = "foreign/moved.rs"]
mod moved;
#[path = "foreign/tokio_sync.rs"]
mod tokio_sync;
#[path = "foreign/wakers.rs"]
mod wakers;

use std::{future::Future, thread};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

/// Something that runs a future on a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    Glommio,
    /// A runtime of one thread, the future a task of it.
    Tokio,
    /// A thread that blocks.
    Thread,
}

enum Running<T: Send + 'static> {
    Executor(ExecutorJoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T: Send + 'static> Running<T> {
    /// Waits for the end; `None` if the future panicked.
    fn join(self) -> Option<T> {
        match self {
            Running::Executor(handle) => handle.join().ok(),
            Running::Thread(handle) => handle.join().ok(),
        }
    }
}

impl Host {
    fn run<G, F, T>(self, make: G) -> Running<T>
    where
        G: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        match self {
            Host::Glommio => {
                let builder = LocalExecutorBuilder::new(Placement::Unbound);
                Running::Executor(builder.spawn(make).expect("an executor"))
            }
            Host::Tokio => Running::Thread(thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                let tasks = tokio::task::LocalSet::new();
                let task = tasks.block_on(
                    &runtime,
                    tasks.run_until(async move { tokio::task::spawn_local(make()).await }),
                );
                match task {
                    Ok(output) => output,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            })),
            Host::Thread => {
                Running::Thread(thread::spawn(move || futures::executor::block_on(make())))
            }
        }
    }
}
