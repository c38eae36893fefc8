"""Where io_uring is refused, the error names the cause and the cure, and nothing crashes."""

from __future__ import annotations

from .machine import Machine, Unit, expect, kernel_of, report_of

DOCTOR = "doctor --json --no-bench --dir /tmp"
ALICE = "User=alice"


def runs(machine: Machine, *properties: str) -> None:
    """glommio runs under these properties of a unit."""
    status, output = machine.execute(Unit(DOCTOR, properties).line())
    verdict = report_of(output)["verdict"]
    expect(verdict["can_run"], f"with {properties}: {verdict['error']}")
    expect(status == 0, f"with {properties}: exit code {status}")


def is_refused(machine: Machine, *properties: str, says: list[str]) -> None:
    """glommio does not run under these properties, and says why and what to do."""
    status, output = machine.execute(Unit(DOCTOR, properties).line())
    report = report_of(output)
    verdict = report["verdict"]
    expect(not verdict["can_run"], f"with {properties}: it runs")
    # A signal would be another number.
    expect(status == 1, f"with {properties}: exit code {status}")
    text = "\n".join([verdict["error"], *(finding["advice"] for finding in report["findings"])])
    for words in says:
        expect(words in text, f"with {properties}: no {words!r} in {text!r}")


def sysctl(machine: Machine) -> None:
    """kernel.io_uring_disabled, which came with 6.6."""
    name = "kernel.io_uring_disabled"
    try:
        machine.succeed(f"sysctl -w {name}=2")
        cure = f"sysctl {name}=0"
        is_refused(machine, says=[f"the sysctl {name} is 2", cure])
        is_refused(machine, ALICE, says=[f"the sysctl {name} is 2", cure])
        machine.succeed(f"sysctl -w {name}=1")
        is_refused(machine, ALICE, says=[f"the sysctl {name} is 1", cure, "kernel.io_uring_group"])
        runs(machine)
        group = machine.succeed("id --group alice").strip()
        expect(group.isdigit(), f"alice's group is {group!r}")
        machine.succeed(f"sysctl -w kernel.io_uring_group={group}")
        runs(machine, ALICE)
    finally:
        machine.succeed(f"sysctl -w {name}=0 kernel.io_uring_group=-1")


def seccomp(machine: Machine) -> None:
    """A filter of system calls, which answers as those of container runtimes do."""
    calls = "SystemCallFilter=~io_uring_setup io_uring_enter io_uring_register"
    for errno in ("EPERM", "EACCES", "ENOSYS"):
        is_refused(
            machine,
            calls,
            f"SystemCallErrorNumber={errno}",
            says=["seccomp", errno, "allow io_uring_setup, io_uring_enter and io_uring_register"],
        )


def memlock(machine: Machine, kernel: tuple[int, int]) -> None:
    """A user who may lock no memory: only some kernels count a ring as such."""
    none = "LimitMEMLOCK=0"
    if (5, 12) <= kernel < (6, 14):
        runs(machine, ALICE, none)
    else:
        is_refused(machine, ALICE, none, says=["memlock resource limit is too low", "ulimit -l"])
    # Root is exempt.
    runs(machine, none)


def open_files(machine: Machine) -> None:
    """A process that has its last descriptor taken by the doctor's own files."""
    is_refused(machine, "LimitNOFILE=4", says=["limit of 4 open files", "ulimit -n"])


def run(machine: Machine) -> None:
    machine.wait_for_unit("multi-user.target")
    kernel = kernel_of(machine)
    runs(machine)
    runs(machine, ALICE)
    if kernel >= (6, 6):
        sysctl(machine)
    else:
        machine.log("skipped: kernel.io_uring_disabled came with Linux 6.6")
        machine.fail("test -e /proc/sys/kernel/io_uring_disabled")
    seccomp(machine)
    memlock(machine, kernel)
    open_files(machine)
    # Nothing of that stays.
    runs(machine, ALICE)
