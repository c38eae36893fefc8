"""A virtual machine: booted, its console read, its end judged."""

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# What a kernel says when it, or what it was asked to do, is broken.
TROUBLE = re.compile(
    r"Kernel panic|\bOops\b|\bBUG: |general protection fault|blocked for more than \d+ seconds"
    r"|\bWARNING: CPU|refcount_t: |list_(add|del) corruption|Out of memory: Killed"
)
SUITE = re.compile(
    r"^(?P<name>[\w-]+@\S+): (?P<passed>\d+) passed, (?P<failed>\d+) failed,"
    r" (?P<skipped>\d+) skipped in (?P<seconds>[\d.]+) s$"
)
END = re.compile(r"^machine: ended with (\d+)$")
COMMIT = re.compile(r"^\d+ tests of commit (\S+) on Linux ")
TEST = re.compile(r"^(?:PASS|SKIP|FAIL) \[ *(?P<seconds>[\d.]+)s\] (?P<name>\S+ [^\s]+?)(?::(?: .*)?)?$")

# A machine that does not get as far as the tests says nothing of them: it is booted anew. With an
# emulated processor it takes chance: one that runs a jump while another patches it ends in an int3
# oops or nowhere, which happens to kernels that start and load modules. The tests begin after a few
# seconds with KVM, after ten to twenty without, after a minute where other work is done.
BOOTS = 3
BOOT_SECONDS = {"kvm": 20.0, "tcg": 240.0}


@dataclass
class Suite:
    """The sums of one pass in one place."""

    passed: int
    failed: int
    skipped: int
    seconds: float


@dataclass
class Outcome:
    """What the console of a machine said."""

    suites: dict[str, Suite] = field(default_factory=dict)
    # How long each test took, in seconds, by pass, place and name.
    tests: dict[str, float] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    commit: str = ""
    exit_code: int | None = None
    # Why the machine was ended from outside.
    ended_because: str = ""
    last_line: str = ""
    accelerator: str = ""
    seconds: float = 0.0

    def read(self, line: str) -> None:
        """Takes a line of the console."""
        self.last_line = line.strip() or self.last_line
        if TROUBLE.search(line):
            self.trouble.append(line)
        if found := SUITE.match(line):
            self.suites[found["name"]] = Suite(
                int(found["passed"]),
                int(found["failed"]),
                int(found["skipped"]),
                float(found["seconds"]),
            )
        if found := TEST.match(line):
            self.tests[found["name"]] = float(found["seconds"])
        if found := END.match(line):
            self.exit_code = int(found[1])
        if found := COMMIT.match(line):
            self.commit = found[1]

    @property
    def booted(self) -> bool:
        """Whether the tests have begun, or the machine said why they cannot."""
        return bool(self.commit) or self.exit_code is not None

    @property
    def passed(self) -> int:
        return sum(suite.passed for suite in self.suites.values())

    @property
    def failed(self) -> int:
        return sum(suite.failed for suite in self.suites.values())

    @property
    def skipped(self) -> int:
        return sum(suite.skipped for suite in self.suites.values())

    def slowest(self, count: int) -> list[str]:
        """The tests that took longest, with their seconds."""
        found = sorted(self.tests.items(), key=lambda test: -test[1])
        return [f"{seconds:7.1f} s  {name}" for name, seconds in found[:count]]

    def problems(self) -> list[str]:
        """What is wrong; nothing if all tests passed on a healthy kernel."""
        found = [f"the kernel: {line}" for line in self.trouble]
        if self.ended_because:
            found.append(f"{self.ended_because}; the last line: {self.last_line}")
        elif self.exit_code is None:
            found.append("the machine went down before the tests ended")
        elif self.exit_code != 0:
            found.append(f"the tests ended with {self.exit_code}, {self.failed} failed")
        elif self.passed == 0:
            found.append("no test ran")
        return found


@dataclass(frozen=True)
class Machine:
    """What to boot."""

    kernel: Path
    initramfs: Path
    disks: dict[str, Path]
    # kvm, tcg, or auto: the first if it works.
    accelerator: str
    cpus: int = 2
    memory_mib: int = 2048

    def command(self, accelerator: str, console: str) -> list[str]:
        """The call of qemu."""
        arguments = ["console=ttyS0", "panic=-1", "oops=panic", "nvme.poll_queues=1", "loglevel=5"]
        if accelerator == "tcg":
            # Emulation is slow enough to look like a hang to watchdogs, and on a busy machine like
            # a timer that does not tick.
            arguments += ["nowatchdog", "nosoftlockup", "rcupdate.rcu_cpu_stall_suppress=1"]
            arguments += ["no_timer_check"]
            # A thread per processor. One for all would run no code that another is patching, but
            # tests whose threads wait for each other take four times as long then.
            chosen = ["-accel", "tcg,thread=multi", "-cpu", "max"]
        else:
            chosen = ["-accel", "kvm", "-cpu", "host,arch-capabilities=off"]
        command = ["qemu-system-x86_64", *chosen]
        command += ["-smp", str(self.cpus), "-m", str(self.memory_mib)]
        command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        command += ["-serial", console, "-kernel", str(self.kernel)]
        command += ["-initrd", str(self.initramfs), "-append", " ".join(arguments)]
        for name, image in self.disks.items():
            readonly = "on" if name == "tests" else "off"
            drive = f"id={name},file={image},format=raw,if=none,cache=unsafe,readonly={readonly}"
            device = "nvme" if name == "nvme" else "virtio-blk-pci"
            command += ["-drive", drive, "-device", f"{device},drive={name},serial={name}"]
        return command

    def run(self, limit_seconds: float, show: Callable[[str], None]) -> Outcome:
        """Boots, reads the console until the machine is off, and says what was on it."""
        *trials, last = self.accelerators()
        for accelerator in trials:
            outcome = self._run(accelerator, limit_seconds, show)
            if outcome.booted:
                return outcome
            show("KVM does not work here: the processor is emulated")
        outcome = self._run(last, limit_seconds, show)
        for _ in range(1, BOOTS):
            if outcome.booted:
                break
            show(f"the machine did not boot: {'; '.join(outcome.problems())}; once more")
            outcome = self._run(last, limit_seconds, show)
        return outcome

    def accelerators(self) -> list[str]:
        """The ones to try."""
        if self.accelerator != "auto":
            return [self.accelerator]
        return ["kvm", "tcg"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else ["tcg"]

    def _run(self, accelerator: str, limit_seconds: float, show: Callable[[str], None]) -> Outcome:
        trial = self.accelerator == "auto" and accelerator == "kvm"
        outcome = Outcome(accelerator=accelerator)
        start = time.monotonic()
        with subprocess.Popen(
            self.command(accelerator, "stdio"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if trial else subprocess.STDOUT,
        ) as qemu:
            assert qemu.stdout is not None
            try:
                lines = Lines(qemu.stdout.fileno())
                limit = min(BOOT_SECONDS[accelerator], limit_seconds)
                while (line := lines.next(start + limit)) is not None:
                    outcome.read(line)
                    if outcome.booted:
                        limit = limit_seconds
                    show(line)
                if not lines.ended:
                    stage = "done" if outcome.booted else "booted"
                    outcome.ended_because = f"not {stage} after {limit:.0f} s"
            finally:
                qemu.kill()
        outcome.seconds = time.monotonic() - start
        return outcome

    def shell(self) -> int:
        """Boots with this terminal as the console."""
        accelerator = "tcg" if self.accelerator == "auto" else self.accelerator
        return subprocess.call(self.command(accelerator, "mon:stdio"))


class Lines:
    """The lines that come through a pipe, each awaited until a deadline."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.selector = selectors.DefaultSelector()
        self.selector.register(descriptor, selectors.EVENT_READ)
        self.rest = b""
        # Whether the other end is closed, with all lines taken.
        self.ended = False

    def next(self, deadline: float) -> str | None:
        """The next line; None at the end, and at the deadline."""
        while b"\n" not in self.rest:
            if not self.selector.select(max(0.0, deadline - time.monotonic())):
                return None
            data = os.read(self.descriptor, 65536)
            if not data:
                self.ended = True
                return None
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return clean(line)


def clean(line: bytes) -> str:
    """A line of the console without what steers a terminal."""
    text = line.decode(errors="replace")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", text)


def host() -> str:
    """This machine, in a few words."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    return f"{os.cpu_count()} CPUs of {model[1] if model else sys.platform}"
