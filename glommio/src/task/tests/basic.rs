//! Spawning, joining and waking on one thread.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use super::toy::{Toy, forever, yield_now};

#[test]
fn a_spawned_task_runs_and_its_handle_gives_the_output() {
    let toy = Toy::new();
    let task = toy.spawn(async { 7 });
    assert_eq!(toy.block_on(task), 7);
}
