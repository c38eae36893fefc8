//! Direct reads and writes of the scratch file by one executor.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use glommio::io::DmaFile;
use glommio::spawn_local;

use super::Failure;
use super::clock::{Deadline, StepClock};
use super::executors::start;
use super::pattern::{Pattern, STAMP_INTERVAL_BYTES, belongs_at};
use super::recorder::{Recorder, Sample};

/// Request size of the sequential measurements.
pub const REQUEST_BYTES: usize = 128 << 10;
/// Requests in flight in the sequential measurements, the default of glommio's streams.
pub const SEQUENTIAL_DEPTH: usize = 4;

/// The scratch file as the executors see it.
#[derive(Clone)]
pub struct Target {
    pub path: PathBuf,
    pub size_bytes: u64,
}

/// Writes the file from the start to the end, again and again, and flushes it. The first pass is
/// completed even when time is up: the reads need the whole file.
pub fn sequential_write(cpu: usize, target: Target, clock: StepClock) -> Result<Sample, Failure> {
    on_executor(cpu, async move || {
        let file = Rc::new(DmaFile::create(&target.path).await?);
        let recorder = Rc::new(RefCell::new(Recorder::start(1)));
        let cursor = Rc::new(Cursor::new(target.size_bytes, clock.start()));
        let pattern = Rc::new(Pattern::new(REQUEST_BYTES));
        let writers = (0..SEQUENTIAL_DEPTH).map(|_| {
            let (file, recorder) = (file.clone(), recorder.clone());
            let (cursor, pattern) = (cursor.clone(), pattern.clone());
            async move {
                while let Some(offset) = cursor.next(Pass::FirstIsCompleted) {
                    let mut buffer = file.alloc_dma_buffer(REQUEST_BYTES);
                    pattern.fill(buffer.as_bytes_mut(), offset);
                    let before = Instant::now();
                    let length = file.write_at(buffer, offset).await?;
                    expect_length("write", length, REQUEST_BYTES)?;
                    recorder
                        .borrow_mut()
                        .record_transfer(before.elapsed(), length as u64);
                }
                Ok(())
            }
        });
        all(writers).await?;
        // Part of the measured time: written means that it is on the disk.
        file.fdatasync().await?;
        finish(recorder, file).await
    })
}

/// Reads the file from the start to the end, again and again.
pub fn sequential_read(cpu: usize, target: Target, clock: StepClock) -> Result<Sample, Failure> {
    on_executor(cpu, async move || {
        let (file, recorder) = open_for_reading(&target).await?;
        let cursor = Rc::new(Cursor::new(target.size_bytes, clock.start()));
        let readers = (0..SEQUENTIAL_DEPTH).map(|_| {
            let (file, recorder, cursor) = (file.clone(), recorder.clone(), cursor.clone());
            async move {
                while let Some(offset) = cursor.next(Pass::MayEndAnywhere) {
                    timed_read(&file, &recorder, offset, REQUEST_BYTES).await?;
                }
                Ok(())
            }
        });
        all(readers).await?;
        finish(recorder, file).await
    })
}

/// Reads blocks at random places, with `depth` reads in flight.
pub fn random_read(
    cpu: usize,
    target: Target,
    depth: usize,
    clock: StepClock,
) -> Result<Sample, Failure> {
    on_executor(cpu, async move || {
        let (file, recorder) = open_for_reading(&target).await?;
        let block_bytes = block_size(file.alignment());
        let blocks = target.size_bytes / block_bytes as u64;
        let deadline = clock.start();
        let readers = (0..depth).map(|_| {
            let (file, recorder, deadline) = (file.clone(), recorder.clone(), deadline.clone());
            async move {
                while !deadline.has_passed(Instant::now()) {
                    let offset = fastrand::u64(..blocks) * block_bytes as u64;
                    timed_read(&file, &recorder, offset, block_bytes).await?;
                }
                Ok(())
            }
        });
        all(readers).await?;
        finish(recorder, file).await
    })
}

/// Size of a random read on a device with this alignment: 4 KiB, or more where it must be.
pub fn block_size(alignment: u64) -> usize {
    STAMP_INTERVAL_BYTES.max(alignment as usize)
}

/// Runs `main` on an executor of its own and waits for it.
fn on_executor<M>(cpu: usize, main: M) -> Result<Sample, Failure>
where
    M: AsyncFnOnce() -> Result<Sample, Failure> + Send + 'static,
{
    start(cpu, move || async move { main().await })?.join()
}

async fn open_for_reading(
    target: &Target,
) -> Result<(Rc<DmaFile>, Rc<RefCell<Recorder>>), Failure> {
    require_contents(&target.path, target.size_bytes)?;
    let file = DmaFile::open(&target.path).await?;
    Ok((Rc::new(file), Rc::new(RefCell::new(Recorder::start(1)))))
}

/// Reads measure nothing on a file that the write step could not fill.
fn require_contents(path: &Path, size_bytes: u64) -> Result<(), Failure> {
    match std::fs::metadata(path)?.len() {
        length if length >= size_bytes => Ok(()),
        length => Err(format!(
            "the file has {length} of {size_bytes} bytes, because the sequential write failed"
        )
        .into()),
    }
}

async fn timed_read(
    file: &DmaFile,
    recorder: &RefCell<Recorder>,
    offset: u64,
    length: usize,
) -> Result<(), Failure> {
    let before = Instant::now();
    let contents = file.read_at_aligned(offset, length).await?;
    let elapsed = before.elapsed();
    expect_length("read", contents.len(), length)?;
    if !belongs_at(&contents, offset) {
        return Err(format!("what was read at offset {offset} is not what was written").into());
    }
    recorder
        .borrow_mut()
        .record_transfer(elapsed, length as u64);
    Ok(())
}

fn expect_length(operation: &str, actual: usize, expected: usize) -> Result<(), Failure> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("a {operation} of {expected} bytes ended after {actual} bytes").into())
}

/// Runs the futures as tasks, side by side. The first failure cancels those that still run.
async fn all<F>(futures: impl Iterator<Item = F>) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let tasks: Vec<_> = futures.map(|future| spawn_local(future)).collect();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn finish(recorder: Rc<RefCell<Recorder>>, file: Rc<DmaFile>) -> Result<Sample, Failure> {
    let recorder = Rc::into_inner(recorder).expect("the tasks that record have ended");
    let sample = recorder.into_inner().finish();
    if let Some(file) = Rc::into_inner(file) {
        file.close().await?;
    }
    Ok(sample)
}

/// Deals out the offsets of consecutive requests, in rounds through the file.
struct Cursor {
    next: Cell<u64>,
    in_first_pass: Cell<bool>,
    size_bytes: u64,
    deadline: Deadline,
}

/// What happens to a pass through the file when time is up.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    FirstIsCompleted,
    MayEndAnywhere,
}

impl Cursor {
    fn new(size_bytes: u64, deadline: Deadline) -> Cursor {
        assert!(size_bytes > 0 && size_bytes % REQUEST_BYTES as u64 == 0);
        Cursor {
            next: Cell::new(0),
            in_first_pass: Cell::new(true),
            size_bytes,
            deadline,
        }
    }

    /// The offset of the next request, or `None` when the step is over.
    fn next(&self, pass: Pass) -> Option<u64> {
        let must_go_on = pass == Pass::FirstIsCompleted
            && self.in_first_pass.get()
            && !self.deadline.is_interrupted();
        if !must_go_on && self.deadline.has_passed(Instant::now()) {
            return None;
        }
        let offset = self.next.get();
        let end = offset + REQUEST_BYTES as u64;
        if end == self.size_bytes {
            self.next.set(0);
            self.in_first_pass.set(false);
        } else {
            self.next.set(end);
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::interrupt::Interrupt;

    const SIZE: u64 = 3 * REQUEST_BYTES as u64;

    fn cursor_with(duration: Duration) -> (Cursor, Interrupt) {
        let interrupt = Interrupt::default();
        let deadline = StepClock::new(duration, interrupt.clone()).start();
        (Cursor::new(SIZE, deadline), interrupt)
    }

    fn offsets(cursor: &Cursor, pass: Pass) -> Vec<u64> {
        let requests = std::iter::from_fn(|| cursor.next(pass)).take(7);
        requests
            .map(|offset| offset / REQUEST_BYTES as u64)
            .collect()
    }

    #[test]
    fn requests_go_round_through_the_file_while_time_lasts() {
        let (cursor, _) = cursor_with(Duration::from_secs(1000));
        assert_eq!(
            offsets(&cursor, Pass::MayEndAnywhere),
            [0, 1, 2, 0, 1, 2, 0]
        );
    }

    #[test]
    fn the_first_pass_of_a_write_is_completed_when_time_is_up() {
        let (cursor, _) = cursor_with(Duration::ZERO);
        assert_eq!(offsets(&cursor, Pass::FirstIsCompleted), [0, 1, 2]);
    }

    #[test]
    fn an_interrupt_ends_the_first_pass() {
        let (cursor, interrupt) = cursor_with(Duration::from_secs(1000));
        interrupt.request();
        assert!(offsets(&cursor, Pass::FirstIsCompleted).is_empty());
    }

    #[test]
    fn reads_of_an_unwritten_file_name_the_cause() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = require_contents(file.path(), SIZE).unwrap_err();
        assert!(
            error.to_string().contains("the sequential write failed"),
            "{error}"
        );
        file.as_file().set_len(SIZE).unwrap();
        require_contents(file.path(), SIZE).unwrap();
    }

    #[test]
    fn random_reads_grow_with_the_alignment() {
        assert_eq!([512, 4096, 16384].map(block_size), [4096, 4096, 16384]);
    }
}
