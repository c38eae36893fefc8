//! Draws the pictures of docs/scheduling.md from runs on this machine:
//!
//! ```console
//! $ cargo run --release --example scheduling -- docs/images
//! ```

mod latency;
mod shares;
mod stall;
mod svg;

use std::{error::Error, fs, path::Path};

use glommio::{TaskQueueHandle, executor};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "docs/images".to_owned());
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;

    let run = shares::run()?;
    fs::write(folder.join("shares.svg"), run.cpu_time())?;
    fs::write(folder.join("turns.svg"), run.turns())?;
    fs::write(folder.join("latency.svg"), latency::run()?)?;
    fs::write(folder.join("stall.svg"), stall::run()?)?;
    println!("four pictures are in {}", folder.display());
    Ok(())
}

/// Some work that takes about a microsecond.
fn step() {
    for i in 0..1_000 {
        std::hint::black_box(i);
    }
}

/// CPU time that a queue has used, in milliseconds.
fn used_ms(queue: TaskQueueHandle) -> f64 {
    let stats = executor().task_queue_stats(queue);
    stats.map_or(0.0, |stats| stats.runtime().as_secs_f64() * 1e3)
}
