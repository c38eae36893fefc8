"""A machine that is made up: it answers commands by rules, and can be told to answer wrongly."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

Reply = tuple[int, str]
Rule = Union[Reply, Callable[["StubMachine"], Reply]]


class RequestedCommandFailed(Exception):
    """What the driver of NixOS raises by that name."""


class UnknownCommand(Exception):
    """No rule is about this command: the script has changed, and the rules have not."""


@dataclass(frozen=True)
class Said:
    """A command, and the answer it got."""

    machine: str
    command: str
    reply: Reply
    # Whether the script waits until this succeeds, however often it does not.
    waited_for: bool


# From the number of an answer and the answer to what is answered instead.
Lie = Callable[[int, Reply], Reply]


def truth(_number: int, reply: Reply) -> Reply:
    return reply


@dataclass
class StubMachine:
    """Answers like a machine of the test driver. The first rule that matches a command counts."""

    name: str
    rules: list[tuple[str, Rule]]
    # Shared by the machines of a test, in the order in which things were said.
    transcript: list[Said] = field(default_factory=list)
    lie: Lie = truth
    plugged: bool = True
    settings: dict[str, str] = field(default_factory=dict)

    def answer(self, command: str, waited_for: bool = False) -> Reply:
        for pattern, rule in self.rules:
            if re.search(pattern, command):
                honest = rule(self) if callable(rule) else rule
                reply = self.lie(len(self.transcript), honest)
                self.transcript.append(Said(self.name, command, reply, waited_for))
                return reply
        raise UnknownCommand(f"{self.name}: {command}")

    def wait_for_unit(self, unit: str) -> None:
        status, _ = self.answer(f"systemctl is-active {unit}", waited_for=True)
        if status != 0:
            raise RequestedCommandFailed(f"{unit} is not active")

    def succeed(self, *commands: str, timeout: Optional[int] = None) -> str:
        output = ""
        for command in commands:
            status, out = self.answer(command)
            if status != 0:
                raise RequestedCommandFailed(f"{command}: exit code {status}")
            output += out
        return output

    def fail(self, *commands: str, timeout: Optional[int] = None) -> str:
        output = ""
        for command in commands:
            status, out = self.answer(command)
            if status == 0:
                raise RequestedCommandFailed(f"{command} succeeded")
            output += out
        return output

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: Optional[int] = 900,
    ) -> Reply:
        return self.answer(command)

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        status, output = self.answer(command, waited_for=True)
        if status != 0:
            raise RequestedCommandFailed(f"{command} never succeeded")
        return output

    def block(self) -> None:
        self.plugged = False

    def unblock(self) -> None:
        self.plugged = True

    def log(self, msg: str) -> None:
        pass
