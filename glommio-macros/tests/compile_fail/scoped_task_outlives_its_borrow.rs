use glommio::{LocalExecutor, spawn_scoped_local};

fn main() {
    LocalExecutor::default().run(async {
        let task = {
            let text = String::from("gone too early");
            // SAFETY: the task is awaited, though too late.
            unsafe { spawn_scoped_local(async { text.len() }) }
        };
        task.await;
    });
}
