//! What several test programs share.
#![allow(dead_code)] // each of them uses a part

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Names the test that a child process is to run, and in which setting.
const CHILD: &str = "GLOMMIO_TEST_CHILD";

/// Runs `body` in a process of its own, for what belongs to a whole process: descriptors, threads,
/// limits, the environment. `test` is the full name of the calling test; `settings` are environment
/// variables of the child.
pub fn alone(test: &str, settings: &[(&str, &str)], body: impl FnOnce()) {
    let mut child = Child::new(test);
    for (name, value) in settings {
        child.command.env(name, value);
    }
    child.run(body);
}

/// A process that runs one test of this program.
pub struct Child {
    pub command: Command,
    mark: String,
}

impl Child {
    pub fn new(test: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        Child {
            command,
            mark: test.to_owned(),
        }
    }

    /// Starts the process and waits for its success, or runs `body` where this is that process.
    pub fn run(mut self, body: impl FnOnce()) {
        if in_child() {
            return body();
        }
        let output = self.command.env(CHILD, &self.mark).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success() && out.contains("1 passed"),
            "{} in a process of its own: {}\n{out}\n{err}",
            self.mark,
            output.status
        );
        // What it measured, for `--nocapture`.
        eprint!("{err}");
    }
}

/// Whether this is the process that [`Child::run`] started.
pub fn in_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Says that the calling test can show nothing on this machine, and why; it returns then.
///
/// `glommio-tests` counts the test as skipped when it finds this line.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// An address where connections are refused as long as the socket lives: it has the port, and does not
/// listen.
pub fn silent_port() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// Sets a descriptor to `O_NONBLOCK` behind the back of whoever uses it.
pub fn set_nonblocking(fd: &impl AsRawFd) {
    // SAFETY: whoever lends `fd` keeps the descriptor open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
    socket2::SockRef::from(&fd).set_nonblocking(true).unwrap();
}

/// Demands that what tasks wait for stays quiet: that turns of the executor bring no completions.
pub async fn nothing_spins() {
    let completed = || glommio::internals::ring_counters().completed;
    let mut during = 0;
    for _ in 0..10 {
        let before = completed();
        for _ in 0..20 {
            glommio::executor().yield_task_queue_now().await;
        }
        during = completed() - before;
        if during <= 5 {
            return;
        }
    }
    panic!("{during} completions in 20 turns");
}

/// A `cat` that gives back what it is given.
pub async fn piped_cat() -> glommio::process::Child {
    let mut cat = glommio::process::Command::new("cat");
    let cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    cat.spawn().await.unwrap()
}

/// The open descriptors of this process.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The threads of this process. Linux 5.10 and later show the workers that io_uring keeps for a process
/// among them, for as long as the kernel likes: not counted.
pub fn threads() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| !name.starts_with("iou-")).count() as u64
}

/// A folder whose files are not [polled for](glommio::IoStats::poll_ring), for tests of what is counted
/// elsewhere; says so where there is none.
pub fn unpolled_dir() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    if polling_is_on() && has_poll_queues(dir.path()) {
        skip("files here are polled for, which polled:: is about");
        return None;
    }
    Some(dir)
}

/// Whether this process polls devices that have poll queues.
pub fn polling_is_on() -> bool {
    glommio::sysinfo::ladder()
        .unwrap()
        .iter()
        .any(|rung| rung.name == "io_poll" && rung.available && !rung.disabled_by_knob)
}

/// Whether files in the folder are on a device that has poll queues.
pub fn has_poll_queues(dir: &std::path::Path) -> bool {
    let storage = glommio::sysinfo::storage(dir).unwrap();
    storage.device.is_some_and(|device| device.io_poll)
}

/// A field of `/proc/self/status`, its first number.
pub fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.split_whitespace().next().unwrap().parse().unwrap())
    });
    line.unwrap_or_else(|| panic!("no {field} in /proc/self/status"))
}

/// Waits, on the current thread, until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits, letting the executor run, until `condition` holds.
pub async fn eventually_async(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
}
