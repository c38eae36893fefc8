//! `controllers`.

use std::{fmt::Debug, future::Future, io, pin::Pin, rc::Rc, time::Duration};

use glommio::{
    TaskQueueHandle,
    controllers::{ControllerStatus, DeadlineQueue, DeadlineSource, PriorityBump},
};

type Queue = DeadlineQueue<u8>;
type Source = dyn DeadlineSource<Output = u8>;

signatures! {
    Queue::bump_priority => fn(&Queue) -> PriorityBump<u8>;
    Queue::disable => fn(&Queue, usize);
    Queue::enable => fn(&Queue);
    Queue::new => fn(&'static str, Duration) -> Queue;
    Queue::status => fn(&Queue) -> ControllerStatus;
    Queue::task_queue => fn(&Queue) -> TaskQueueHandle;
    Source::action => fn(Rc<Source>) -> Pin<Box<dyn Future<Output = u8>>>;
    Source::expected_duration => fn(&Source) -> Duration;
    Source::processed_units => fn(&Source) -> u64;
    Source::total_units => fn(&Source) -> u64;
}

implements! {
    Queue: Debug, Unpin;
    PriorityBump<u8>: Debug, Unpin;
    ControllerStatus: Clone, Debug;
}

lacks! {
    Queue: Send, Sync;
    PriorityBump<u8>: Send, Sync;
}

/// A function whose type cannot be written down. Never run.
async fn _functions(queue: &Queue, source: Rc<Source>) {
    let _: io::Result<u8> = queue.push_work(source).await;
}

/// Every variant. Never run.
fn _variants(status: ControllerStatus) {
    match status {
        ControllerStatus::Disabled(shares) => super::typed::<usize>(shares),
        ControllerStatus::Enabled => {}
    }
}
