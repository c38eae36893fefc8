//! Two producers, or two consumers, would race (DataDog/glommio#700).

use glommio::channels::spsc_queue::{self, make};

fn main() {
    let (producer, consumer) = make::<u8>(4);
    <spsc_queue::Producer<u8> as Clone>::clone(&producer);
    <spsc_queue::Consumer<u8> as Clone>::clone(&consumer);
}

/// With names like these around, the compiler writes those of glommio in full, always.
#[allow(dead_code)]
pub struct Producer;
#[allow(dead_code)]
pub struct Consumer;
