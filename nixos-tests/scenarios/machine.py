"""What the scenarios use of a machine, and what several of them do with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol


class Machine(Protocol):
    """The part of a machine of the NixOS test driver that the scenarios use."""

    def wait_for_unit(self, unit: str) -> None: ...

    def succeed(self, *commands: str, timeout: int | None = None) -> str: ...

    def fail(self, *commands: str, timeout: int | None = None) -> str: ...

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]: ...

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str: ...

    def block(self) -> None: ...

    def unblock(self) -> None: ...

    def log(self, msg: str) -> None: ...


def expect(holds: bool, otherwise: str) -> None:
    """Like `assert`, but also when Python is told to optimize."""
    if not holds:
        raise AssertionError(otherwise)


def kernel_of(machine: Machine) -> tuple[int, int]:
    """The first two numbers of the kernel's version."""
    release = machine.succeed("uname -r").strip()
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None:
        raise AssertionError(f"not a kernel version: {release!r}")
    machine.log(f"kernel {release}")
    return int(version[1]), int(version[2])


@dataclass(frozen=True)
class Unit:
    """A command in a transient unit of systemd, which is where limits and filters come from."""

    command: str
    properties: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    def line(self) -> str:
        options = [f"--property='{text}'" for text in self.properties]
        options += [f"--setenv={text}" for text in self.environment]
        fixed = "systemd-run --quiet --wait --pipe --collect"
        return " ".join([fixed, *options, "--", self.command])


def report_of(output: str) -> dict[str, Any]:
    """The JSON document that the doctor printed."""
    try:
        report = json.loads(output)
    except json.JSONDecodeError as error:
        raise AssertionError(f"no report: {error}: {output!r}") from error
    expect(isinstance(report, dict), f"no report: {output!r}")
    expect(report.get("schema_version") == 1, f"another report: {output!r}")
    return dict(report)


def no_kernel_trouble(machine: Machine) -> None:
    """The kernel has complained about nothing."""
    machine.fail(r"dmesg | grep -E 'BUG:|Oops|general protection|blocked for more than|WARNING:'")
