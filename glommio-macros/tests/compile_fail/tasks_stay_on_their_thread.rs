use glommio::{LocalExecutor, spawn_local};

fn elsewhere<T: Send>(_: T) {}

fn main() {
    LocalExecutor::default().run(async {
        elsewhere(spawn_local(async {}));
    });
}

/// With a name like this around, the compiler writes that of glommio in full, always.
#[allow(dead_code)]
pub struct Task;
