"""Every test passes on this kernel, in every pass, wherever its files lie."""

from __future__ import annotations

import re

from .machine import Machine, expect, no_kernel_trouble, report_of

DISKS = {
    "ext4": ("/dev/disk/by-id/virtio-ext4", "mkfs.ext4 -q -F"),
    "xfs": ("/dev/disk/by-id/virtio-xfs", "mkfs.xfs -q -f"),
    "nvme": ("/dev/nvme0n1", "mkfs.ext4 -q -F"),
}
PLACES = ["tmpfs", *DISKS]
PASSES = ["full", "disabled", "half-way"]
# The runner says how many there are; far fewer means that it found only some of them.
FEWEST_TESTS = 300


def mount(machine: Machine) -> None:
    machine.succeed("mkdir -p /mnt/tmpfs", "mount -t tmpfs -o size=1G tmpfs /mnt/tmpfs")
    for name, (device, format_command) in DISKS.items():
        machine.succeed(
            f"udevadm wait --timeout=60 {device}",
            f"{format_command} {device}",
            f"mkdir -p /mnt/{name}",
            f"mount {device} /mnt/{name}",
        )


def check_poll_queues(machine: Machine) -> None:
    """The disk has queues to poll, and the library sees them."""
    report = report_of(machine.succeed("doctor --json --no-bench --dir /mnt/nvme"))
    device = report["storage"]["device"]
    expect(device is not None and device["disk"] == "nvme0n1", f"the disk is {device}")
    expect(device["polling"], f"nothing can be polled for: {device}")
    expect(device["poll_queues"] >= 1, f"there is no poll queue: {device}")


def check_summary(status: int, output: str) -> None:
    lines = output.strip().splitlines()
    last = lines[-1] if lines else ""
    counts = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", last)
    if counts is None:
        raise AssertionError(f"no summary, exit code {status}: {last!r}")
    passed, failed = int(counts[1]), int(counts[2])
    expect(failed == 0, f"{last}: " + "; ".join(x for x in lines if x.startswith("failed: ")))
    expect(status == 0, f"exit code {status} with {last!r}")
    expect(passed >= FEWEST_TESTS, f"only {last}")
    for suite in (f"{one}@{place}" for one in PASSES for place in PLACES):
        ran = [x for x in lines if re.match(rf"{suite}: \d*[1-9]\d* passed, 0 failed,", x)]
        expect(len(ran) == 1, f"{suite} did not run whole: {ran}")


def run(machine: Machine) -> None:
    machine.wait_for_unit("multi-user.target")
    mount(machine)
    check_poll_queues(machine)
    places = " ".join(f"--dir {place}=/mnt/{place}" for place in PLACES)
    status, output = machine.execute(f"glommio-tests run {places} 2>&1", timeout=3000)
    machine.log(output)
    check_summary(status, output)
    no_kernel_trouble(machine)
