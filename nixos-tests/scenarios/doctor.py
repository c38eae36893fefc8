"""An executor starts, and every measurement works: with all rungs of the ladder and with none."""

from __future__ import annotations

from typing import Any

from .machine import Machine, expect, report_of

MEASUREMENTS = {
    "nop_round_trip",
    "spawn_and_join",
    "yield_now",
    "timer_lateness",
    "cross_core_ping_pong",
    "tcp_echo_1",
    "tcp_echo_64",
    "sequential_write",
    "sequential_read",
    "random_read_1",
    "random_read_32",
}


def examine(machine: Machine, environment: str) -> list[dict[str, Any]]:
    """The ladder, after everything was measured."""
    command = f"{environment} doctor --json --seconds 0.5 --dir /var/tmp".strip()
    report = report_of(machine.succeed(command))
    expect(report["verdict"]["can_run"], f"cannot run: {report['verdict']}")
    results = {result["name"]: result for result in report["benchmarks"]["results"]}
    expect(results.keys() == MEASUREMENTS, f"measured {sorted(results)}")
    for name, result in results.items():
        expect(result["error"] is None, f"{name}: {result['error']}")
        expect(result["measured"]["operations"] > 0, f"{name}: {result}")
    ladder: list[dict[str, Any]] = report["system"]["ladder"]
    expect(len(ladder) > 0, "the ladder has no rung")
    return ladder


def run(machine: Machine) -> None:
    machine.wait_for_unit("multi-user.target")
    for rung in examine(machine, ""):
        expect(not rung["disabled_by_knob"], f"{rung['name']} is switched off")
        machine.log(f"{rung['name']}: {rung['available']}")
    for rung in examine(machine, "GLOMMIO_DISABLE=all"):
        expect(rung["disabled_by_knob"], f"{rung['name']} is not switched off")
