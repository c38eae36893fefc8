"""Machines on which all is well, as far as each scenario looks."""

from __future__ import annotations

import json
import re
from typing import Any, Callable

from scenarios import doctor, suite
from scenarios.machine import Machine

from .stub import Lie, Reply, Rule, Said, StubMachine, truth

Rules = list[tuple[str, Rule]]

OK: Reply = (0, "")
NO: Reply = (1, "")
UP: Rules = [(r"^systemctl is-active (multi-user|network-online)\.target$", OK)]
NO_TROUBLE: Rules = [(r"^dmesg \| grep", NO)]


def report(error: str | None = None, **parts: Any) -> str:
    document = {
        "schema_version": 1,
        "verdict": {"can_run": error is None, "error": error},
        "findings": [],
    }
    return json.dumps({**document, **parts})


def measured(off: bool) -> str:
    results = [
        {"name": name, "error": None, "measured": {"operations": 1000}}
        for name in sorted(doctor.MEASUREMENTS)
    ]
    rung = {"name": "msg_ring", "available": not off, "disabled_by_knob": off}
    return report(benchmarks={"results": results}, system={"ladder": [rung]})


DOCTOR: Rules = [
    *UP,
    (r"^GLOMMIO_DISABLE=all doctor --json --seconds", (0, measured(off=True))),
    (r"^doctor --json --seconds", (0, measured(off=False))),
]


def summary() -> str:
    suites = [f"{one}@{place}" for one in suite.PASSES for place in suite.PLACES]
    lines = [f"{name}: 40 passed, 0 failed, 1 skipped in 9.0 s" for name in suites]
    return "\n".join(["PASS one", *lines, "480 passed, 0 failed, 12 skipped"]) + "\n"


NVME: dict[str, object] = {"disk": "nvme0n1", "polling": True, "poll_queues": 2}
SUITE: Rules = [
    *UP,
    *NO_TROUBLE,
    (r"^(mkdir|mount|mkfs\.(ext4|xfs)|udevadm wait)", OK),
    (r"^doctor --json --no-bench --dir /mnt/nvme$", (0, report(storage={"device": NVME}))),
    (r"^glommio-tests run ", (0, summary())),
]


def refusing(release: str) -> Rules:
    """A machine with a kernel of that release, which knows the sysctl since 6.6."""
    numbers = re.findall(r"\d+", release)
    version = (int(numbers[0]), int(numbers[1]))

    def examined(command: str) -> Callable[[StubMachine], Reply]:
        def reply(machine: StubMachine) -> Reply:
            error = why(machine, command)
            advice = {"topic": "memlock", "advice": "Raise the limit: ulimit -l (shell)"}
            findings = [advice] if error and "memlock" in error else []
            return (0 if error is None else 1, report(error, findings=findings))

        return reply

    def why(machine: StubMachine, command: str) -> str | None:
        switch = machine.settings.get("io_uring_disabled", "0")
        is_alice = "User=alice" in command
        excused = switch == "1" and (not is_alice or machine.settings.get("io_uring_group") == "1000")
        if switch != "0" and not excused:
            return (
                f"the sysctl kernel.io_uring_disabled is {switch}; run as root: sysctl "
                "kernel.io_uring_disabled=0, or add this user to the group of kernel.io_uring_group"
            )
        errno = re.search("SystemCallErrorNumber=(E[A-Z]+)", command)
        if errno:
            return (
                f"a system-call filter (seccomp) answers io_uring_setup with {errno[1]}; allow "
                "io_uring_setup, io_uring_enter and io_uring_register"
            )
        if "LimitMEMLOCK=0" in command and is_alice and not (5, 12) <= version < (6, 14):
            return "The memlock resource limit is too low: 0"
        if "LimitNOFILE" in command:
            return "the process reached its limit of 4 open files; ulimit -n 65536"
        return None

    def set_switches(command: str) -> Callable[[StubMachine], Reply]:
        def reply(machine: StubMachine) -> Reply:
            if version < (6, 6):
                return (255, "sysctl: cannot stat /proc/sys/kernel/io_uring_disabled")
            machine.settings.update(re.findall(r"kernel\.(\w+)=(-?\d+)", command))
            return OK

        return reply

    users = ["", "--property='User=alice' "]
    extras = [
        "",
        *(
            "--property='SystemCallFilter=~io_uring_setup io_uring_enter io_uring_register' "
            f"--property='SystemCallErrorNumber={errno}' "
            for errno in ("EPERM", "EACCES", "ENOSYS")
        ),
        "--property='LimitMEMLOCK=0' ",
        "--property='LimitNOFILE=4' ",
    ]
    runs = [
        f"systemd-run --quiet --wait --pipe --collect {user}{extra}-- "
        "doctor --json --no-bench --dir /tmp"
        for user in users
        for extra in extras
    ]
    switches = [
        "sysctl -w kernel.io_uring_disabled=2",
        "sysctl -w kernel.io_uring_disabled=1",
        "sysctl -w kernel.io_uring_group=1000",
        "sysctl -w kernel.io_uring_disabled=0 kernel.io_uring_group=-1",
    ]
    return [
        *UP,
        (r"^uname -r$", (0, f"{release}\n")),
        (r"^id --group alice$", (0, "1000\n")),
        (r"^test -e /proc/sys/kernel/io_uring_disabled$", OK if version >= (6, 6) else NO),
        *((f"^{re.escape(run)}$", examined(run)) for run in runs),
        *((f"^{re.escape(line)}$", set_switches(line)) for line in switches),
    ]


def client_saw(
    connections: int, failures: list[str] | None = None, wait_ms: int = 12, resent: int = 0
) -> str:
    seen = {
        "connections": connections,
        "round_trips": 0 if failures else connections * 10,
        "resent": resent,
        "longest_wait_ms": wait_ms,
        "failures": failures or [],
    }
    return json.dumps(seen) + "\n"


LOST = [f"connection {number}: timed out" for number in range(100)]


def client() -> Rules:
    def impatient(machine: StubMachine) -> bool:
        return machine.settings["patience"] == "5"

    def started(patience: str, protocol: str) -> Callable[[StubMachine], Reply]:
        def reply(machine: StubMachine) -> Reply:
            machine.settings.update(patience=patience, protocol=protocol)
            return OK

        return reply

    def pinged(machine: StubMachine) -> Reply:
        # The script pings once while the cable is out, and then until it is back.
        machine.settings["pings"] = str(int(machine.settings.get("pings", "0")) + 1)
        return NO if int(machine.settings["pings"]) % 2 == 1 else OK

    def result(machine: StubMachine) -> Reply:
        if impatient(machine):
            return (0, client_saw(100, LOST, 5000))
        resent = 3000 if machine.settings["protocol"] == "udp" else 0
        return (0, client_saw(100, wait_ms=9000, resent=resent))

    def connected(protocol: str) -> Callable[[StubMachine], Reply]:
        return lambda machine: OK if machine.settings["protocol"] == protocol else NO

    background = r"^systemd-run --quiet --unit=load .*echo load server:7000"
    waiting = r"^systemd-run --quiet --wait .*echo load server:7000"
    return [
        *UP,
        *NO_TROUBLE,
        *((f"{waiting} --connections {n} ", (0, client_saw(n))) for n in (1, 4000, 100)),
        *(
            (f"{waiting} --udp --connections {n} ", (0, client_saw(n, resent=n // 50)))
            for n in (1, 500, 100)
        ),
        (f"{background} --connections 100 .*--patience 5$", started("5", "tcp")),
        (f"{background} --connections 100 .*--patience 120$", started("120", "tcp")),
        (f"{background} --udp --connections 100 .*--patience 120$", started("120", "udp")),
        (r"^test .*--tcp state established", connected("tcp")),
        (r"^test .*--udp state established", connected("udp")),
        (r"^sleep \d+$", OK),
        (r"^ping -c 1", pinged),
        (r"^systemctl show --property=SubState --value load", (0, "exited\n")),
        (
            r"^systemctl show --property=ExecMainStatus --value load",
            lambda machine: (0, "1\n" if impatient(machine) else "0\n"),
        ),
        (r"^cat /tmp/load.json$", result),
        (r"^systemctl stop load; systemctl reset-failed load$", OK),
    ]


SERVER: Rules = [
    *UP,
    *NO_TROUBLE,
    (r"^systemd-run --quiet --unit=echo .*echo serve '\[::\]:7000' --udp$", OK),
    (r"^test .*--listening", OK),
    (r"^systemctl stop echo$", OK),
    (
        r"^journalctl --unit=echo .*stopped after",
        (0, "stopped after 4301 connections and 9999999 bytes, and 99999 datagrams\n"),
    ),
]

UNIT = r"glommio-echo\.service$"
HOST: Rules = [
    *UP,
    *NO_TROUBLE,
    (r"^sysctl --values kernel.io_uring_disabled$", (0, "1\n")),
    (r"^sysctl --values kernel.io_uring_group$", (0, "4242\n")),
    (r"^su --login (alice|bob) --command 'ulimit -l'$", (0, "262144\n")),
    (r"^su --login (alice|bob) --command 'ulimit -n'$", (0, "65536\n")),
    (f"^systemctl show --property=LimitMEMLOCK --value {UNIT}", (0, "268435456\n")),
    (f"^systemctl show --property=LimitNOFILE --value {UNIT}", (0, "65536\n")),
    (f"^systemctl show --property=DynamicUser --value {UNIT}", (0, "yes\n")),
    (f"^systemctl show --property=Result --value {UNIT}", (0, "success\n")),
    (f"^systemctl show --property=(ExecMainStatus|NRestarts) --value {UNIT}", (0, "0\n")),
    (f"^systemctl is-active {UNIT}", OK),
    (f"^systemctl stop {UNIT}", OK),
    (f"^systemd-analyze security .*--threshold=20 {UNIT}", OK),
    (r"echo load localhost:7000 --connections 200", (0, client_saw(200))),
    (r"^su --login bob --command 'doctor", (0, report())),
    (r"^su --login alice --command 'doctor", (1, report("see kernel.io_uring_group"))),
]


class World:
    """The machines of a scenario, before it runs."""

    def __init__(self, run: Callable[..., None], machines: dict[str, Rules]) -> None:
        self._run = run
        self._machines = machines

    def run(self, lie: Lie = truth) -> list[Said]:
        """Runs the scenario on fresh machines; what was said."""
        said: list[Said] = []
        machines: dict[str, Machine] = {
            name: StubMachine(name, list(rules), said, lie)
            for name, rules in self._machines.items()
        }
        self._run(**machines)
        return said
