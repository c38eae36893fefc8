//! Hosts that refuse io_uring: an executor cannot start, says what stands against it and what the
//! cure is, and starts as soon as it may. Limits of memory and descriptors are in `bad_input.rs`.

mod support;

use std::{fs, path::Path};

use glommio::{LocalExecutor, LocalExecutorBuilder, StartCause, timer::sleep};
use support::{Child, alone, eventually, open_fds, skip};

/// Starting an executor fails for `cause`; `why` and `cure` are in the words.
fn assert_refused(cause: StartCause, why: &str, cure: &str) {
    let before = open_fds();
    for _ in 0..3 {
        let made = LocalExecutorBuilder::default().make().map(drop);
        let spawned = LocalExecutorBuilder::default().spawn(|| async {}).map(drop);
        for error in [made.unwrap_err(), spawned.unwrap_err()] {
            let text = error.to_string();
            let start = error.start_error().unwrap_or_else(|| panic!("{text}"));
            assert_eq!(start.cause(), cause, "{text}");
            assert!(start.why().contains(why), "{text}");
            assert!(start.cure().contains(cure), "{text}");
        }
    }
    eventually("descriptors are back", || open_fds() == before);
}

async fn works() {
    sleep(std::time::Duration::from_millis(1)).await;
}

/// From now on the kernel answers `call` of this thread, and of those it starts, with `errno`.
fn deny(call: libc::c_long, errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        // The number of the call is the first field of `struct seccomp_data`.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32)
        },
        statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter and its program are valid during the call, which copies them.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
    };
    assert!(installed, "{}", std::io::Error::last_os_error());
}

/// Runs `test` in processes of its own, each with one call denied in one way.
fn with_each_denial(test: &str, body: impl Fn(&str)) {
    const DENIED: &str = "GLOMMIO_TEST_DENIED";
    if let Ok(denied) = std::env::var(DENIED) {
        let (call, errno) = denied.split_once(' ').unwrap();
        let number = match call {
            "io_uring_setup" => libc::SYS_io_uring_setup,
            "io_uring_register" => libc::SYS_io_uring_register,
            "io_uring_enter" => libc::SYS_io_uring_enter,
            other => panic!("{other}"),
        };
        deny(number, errno.parse().unwrap());
        return body(call);
    }
    for call in ["io_uring_setup", "io_uring_register", "io_uring_enter"] {
        for errno in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
            let mut child = Child::new(test);
            child.command.env(DENIED, format!("{call} {errno}"));
            child.run(|| {});
        }
    }
}

#[test]
fn a_system_call_filter_is_named_with_the_call_it_denies() {
    with_each_denial(
        "a_system_call_filter_is_named_with_the_call_it_denies",
        |call| {
            assert_refused(StartCause::Denied, "seccomp", "seccomp=unconfined");
            assert_refused(StartCause::Denied, call, call);
        },
    );
}

/// The sysctl with another value, until this is dropped.
struct Sysctl {
    before: String,
}

impl Sysctl {
    const FILE: &str = "/proc/sys/kernel/io_uring_disabled";

    fn set(value: u32) -> Sysctl {
        let before = fs::read_to_string(Sysctl::FILE).unwrap();
        fs::write(Sysctl::FILE, value.to_string()).unwrap();
        Sysctl { before }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(Sysctl::FILE, &self.before).unwrap();
    }
}

#[test]
fn the_sysctl_that_disables_io_uring_is_named_with_its_value() {
    if std::env::var_os("GLOMMIO_TEST_OWNS_MACHINE").is_none() {
        return skip(
            "it changes a sysctl of the machine; GLOMMIO_TEST_OWNS_MACHINE=1 allows it to",
        );
    }
    if !Path::new(Sysctl::FILE).exists() {
        return skip("this kernel has no sysctl kernel.io_uring_disabled (6.6)");
    }
    let test = "the_sysctl_that_disables_io_uring_is_named_with_its_value";
    alone(test, &[], || {
        let sysctl = Sysctl::set(2);
        assert_refused(
            StartCause::IoUringDisabled,
            "kernel.io_uring_disabled is 2",
            "sysctl kernel.io_uring_disabled=0",
        );
        drop(sysctl);
        let executor = LocalExecutor::default();
        executor.run(works());

        // It stands against new rings, not against those that are.
        let _sysctl = Sysctl::set(2);
        executor.run(works());
        assert_refused(
            StartCause::IoUringDisabled,
            "kernel.io_uring_disabled is 2",
            "sysctl kernel.io_uring_disabled=0",
        );
    });
}
