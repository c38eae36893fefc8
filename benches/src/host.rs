//! The machine under the benchmarks: CPUs, clocks, test files.

use std::fs::{self, File, OpenOptions};
use std::hint;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// CPU time, user and system, of the whole process so far.
pub fn process_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live timespec that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(
        result, 0,
        "CLOCK_PROCESS_CPUTIME_ID exists on every supported kernel"
    );
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of another process, summed over its live threads, in nanosecond resolution.
///
/// # Errors
///
/// If the process is gone or the kernel has no `schedstat`.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let mut total_ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu_ns: u64 = text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "schedstat has no CPU time")
            })?;
        total_ns += on_cpu_ns;
    }
    Ok(Duration::from_nanos(total_ns))
}

/// Resident memory of this process, in KiB.
pub fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

/// The CPUs that this process may run on, in ascending order.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `size_of_val(&set)` bytes into `set`.
    let result = unsafe { libc::sched_getaffinity(0, std::mem::size_of_val(&set), &mut set) };
    assert_eq!(result, 0, "a thread may always read its own affinity");
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: `cpu` stays below CPU_SETSIZE, the number of bits in the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Binds the calling thread to one CPU; its future child threads inherit that.
///
/// # Errors
///
/// If the CPU does not exist or is not allowed to this process.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such CPU"));
    }
    // SAFETY: an all-zero cpu_set_t is the empty set, and `cpu` is below its number of bits.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: `set` is a live cpu_set_t of the stated size.
    let result = unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A nice value of the process and of the session's group; the group's is put back at the end.
#[derive(Debug)]
pub struct Nice {
    group_before: Option<String>,
}

const AUTOGROUP: &str = "/proc/self/autogroup";

impl Nice {
    /// Sets the nice value, -20 (first) to 19 (last).
    ///
    /// # Errors
    ///
    /// If the process may not raise its priority.
    pub fn set(nice: i32) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // Where the kernel groups processes by session (CONFIG_SCHED_AUTOGROUP), the nice value of a
        // process counts within its group only; what competes with other sessions is the group's.
        // The file reads "/autogroup-7 nice 0".
        let group_before = fs::read_to_string(AUTOGROUP)
            .ok()
            .and_then(|text| Some(text.split_whitespace().last()?.to_owned()));
        if group_before.is_some() {
            fs::write(AUTOGROUP, nice.to_string())?;
        }
        Ok(Self { group_before })
    }
}

impl Drop for Nice {
    fn drop(&mut self) {
        if let Some(before) = &self.group_before {
            // The process ends now; there is nobody to tell.
            let _ = fs::write(AUTOGROUP, before);
        }
    }
}

/// Threads of idle priority, one per CPU, that keep the CPUs from halting.
///
/// A virtual CPU that halts between two messages takes tens of microseconds to come back, and that
/// hides everything a runtime does. `SCHED_IDLE` threads yield at once to any other.
#[derive(Debug)]
pub struct Spinners {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spinners {
    /// Starts one spinner on each of `cpus`.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started, or cannot be given idle priority.
    pub fn start(cpus: &[usize]) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut spinners = Self {
            stop: stop.clone(),
            threads: Vec::new(),
        };
        for &cpu in cpus {
            let stop = stop.clone();
            let (ready, started) = std::sync::mpsc::channel();
            let thread = thread::Builder::new()
                .name(format!("spin-{cpu}"))
                .spawn(move || {
                    let set_up = pin(cpu).and_then(|()| idle_priority());
                    let spin = set_up.is_ok();
                    // The receiver lives until it has this message.
                    let _ = ready.send(set_up);
                    // No `spin_loop` hint: a hypervisor may take its PAUSE for a reason to switch away.
                    while spin && !stop.load(Ordering::Relaxed) {
                        for i in 0..1000 {
                            hint::black_box(i);
                        }
                    }
                })?;
            spinners.threads.push(thread);
            started.recv().map_err(io::Error::other)??;
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn idle_priority() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is a live sched_param; 0 names the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes sure that `path` is a file of `size` bytes whose every block has been written.
///
/// A hole or a preallocated but unwritten extent reads without touching the device. A file that
/// already has the size and enough blocks is kept.
///
/// # Errors
///
/// If the file cannot be written or synced.
pub fn written_file(path: &Path, size: u64) -> io::Result<()> {
    if let Ok(meta) = fs::metadata(path) {
        if meta.len() == size && meta.blocks() * 512 >= size {
            return Ok(());
        }
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Written aside and renamed, so that an interrupted run leaves no half-written file behind.
    let aside = path.with_extension("part");
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&aside)?;
    let mut rng = Random::new(size);
    let mut chunk = vec![0u8; 1 << 20];
    let mut left = size;
    while left > 0 {
        // Random contents: a device that compresses or drops zeroes must not look fast.
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_ne_bytes());
        }
        let now = left.min(chunk.len() as u64);
        file.write_all(&chunk[..now as usize])?;
        left -= now;
    }
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// A small random generator (xorshift64*), so that every contender reads the same sequence.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "endless, so not worth an Option"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The offset of a random aligned block of `block` bytes in a file of `size` bytes.
    pub fn block(&mut self, size: u64, block: u64) -> u64 {
        self.next() % (size / block) * block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_leaves_one_allowed_cpu() {
        thread::spawn(|| {
            let last = *allowed_cpus().last().unwrap();
            pin(last).unwrap();
            assert_eq!(allowed_cpus(), [last]);
            assert!(pin(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_cpu_time_of_this_process_is_visible_from_outside() {
        let mine = process_cpu();
        assert!(mine > Duration::ZERO);
        assert!(cpu_of(std::process::id()).unwrap() > Duration::ZERO);
    }

    #[test]
    fn random_blocks_are_aligned_and_inside() {
        let mut rng = Random::new(7);
        for _ in 0..1000 {
            let offset = rng.block(1 << 20, 4096);
            assert_eq!(offset % 4096, 0);
            assert!(offset + 4096 <= 1 << 20);
        }
    }

    #[test]
    fn a_test_file_is_written_once_and_in_full() {
        let dir = std::env::temp_dir().join(format!("glommio-benches-{}", std::process::id()));
        let path = dir.join("data");
        written_file(&path, 3 << 20).unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.len(), 3 << 20);
        written_file(&path, 3 << 20).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), first.ino());
        fs::remove_dir_all(&dir).unwrap();
    }
}
