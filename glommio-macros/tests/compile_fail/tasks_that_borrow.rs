//! Tasks that may outlive the function that spawns them cannot borrow from it
//! (DataDog/glommio#695).

use glommio::{LocalExecutor, TaskQueueHandle, executor, spawn_local, spawn_local_into};

async fn spawned() {
    let text = String::from("local");
    spawn_local(async { println!("{}", text) }).detach();
}

async fn spawned_into_a_queue() {
    let text = String::from("local");
    let queue = TaskQueueHandle::default();
    let _ = spawn_local_into(async { println!("{}", text) }, queue);
}

async fn spawned_by_the_proxy() {
    let text = String::from("local");
    executor().spawn_local(async { println!("{}", text) }).detach();
}

fn spawned_before_it_runs() {
    let executor = LocalExecutor::default();
    let text = String::from("local");
    executor.spawn(async { println!("{}", text) }).detach();
    executor.run(async {});
}

fn main() {}
