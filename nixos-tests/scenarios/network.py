"""TCP and UDP between two machines: many connections, and a cable that is pulled and put back.

The example `echo` serves on one machine and loads it from the other. Over UDP its client sends from
as many sockets as it has connections over TCP, and sends again what gets no answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from .machine import Machine, Unit, expect, no_kernel_trouble

# The shell and coreutils have an `echo` too.
ECHO = "glommio-echo"
PORT = 7000
FILES = "LimitNOFILE=65536"
BYTES = 64


@dataclass(frozen=True)
class Seen:
    """What the client saw."""

    status: int
    connections: int
    round_trips: int
    resent: int
    longest_wait_ms: int
    failures: list[str]


def read(status: int, output: str) -> Seen:
    try:
        seen = json.loads(output)
        return Seen(
            status,
            int(seen["connections"]),
            int(seen["round_trips"]),
            int(seen["resent"]),
            int(seen["longest_wait_ms"]),
            [str(failure) for failure in seen["failures"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise AssertionError(f"the client reports nothing, exit code {status}: {output!r}") from error


def load_command(connections: int, seconds: int, patience_s: int = 60, udp: bool = False) -> str:
    protocol = " --udp" if udp else ""
    return (
        f"{ECHO} load server:{PORT}{protocol} --connections {connections} --bytes {BYTES} "
        f"--seconds {seconds} --patience {patience_s}"
    )


def all_well(seen: Seen, connections: int) -> None:
    expect(seen.failures == [], f"{len(seen.failures)} failures: {seen.failures[:5]}")
    expect(seen.status == 0, f"exit code {seen.status}")
    expect(seen.connections == connections, f"{seen.connections} of {connections} connections")
    expect(seen.round_trips >= connections, f"only {seen.round_trips} round trips")


def load(client: Machine, connections: int, seconds: int, udp: bool = False) -> Seen:
    """Loads the server and waits for the end."""
    unit = Unit(load_command(connections, seconds, udp=udp), (FILES,))
    seen = read(*client.execute(unit.line()))
    all_well(seen, connections)
    expect(udp or seen.resent == 0, f"TCP does not send again: {seen}")
    client.log(f"{seen}")
    return seen


def with_the_cable_pulled(
    client: Machine,
    server: Machine,
    connections: int,
    pulled_s: int,
    patience_s: int,
    udp: bool = False,
) -> Seen:
    """Loads the server for longer than the cable is out, and pulls it in the midst."""
    command = load_command(connections, pulled_s + 15, patience_s, udp)
    client.succeed(
        f"systemd-run --quiet --unit=load --property={FILES} --property=RemainAfterExit=yes "
        f"--property=StandardOutput=file:/tmp/load.json {command}"
    )
    protocol = "udp" if udp else "tcp"
    established = f"ss --no-header --{protocol} state established dst :{PORT} | wc -l"
    client.wait_until_succeeds(f'test "$({established})" -eq {connections}', timeout=60)
    server.block()
    try:
        client.succeed(f"sleep {pulled_s}")
        # It is out: nothing gets through.
        client.fail("ping -c 1 -W 2 server")
    finally:
        server.unblock()
    client.wait_until_succeeds("ping -c 1 -W 2 server", timeout=60)
    client.wait_until_succeeds(
        "systemctl show --property=SubState --value load | grep -E '^(exited|failed)$'", timeout=300
    )
    status = client.succeed("systemctl show --property=ExecMainStatus --value load").strip()
    expect(status.isdigit(), f"not an exit code: {status!r}")
    seen = read(int(status), client.succeed("cat /tmp/load.json"))
    client.execute("systemctl stop load; systemctl reset-failed load")
    client.log(f"{seen}")
    return seen


def check_served(
    server: Machine, connections: int, fewest_bytes: int, fewest_datagrams: int
) -> None:
    """The server counted what the clients did, and leaves when it is told to."""
    server.succeed("systemctl stop echo")
    last = server.succeed("journalctl --unit=echo --output=cat --grep='stopped after'").strip()
    served = re.search(r"stopped after (\d+) connections and (\d+) bytes, and (\d+) datagrams", last)
    if served is None:
        raise AssertionError(f"the server did not leave in order: {last!r}")
    expect(int(served[1]) == connections, f"{last!r} instead of {connections} connections")
    expect(int(served[2]) >= fewest_bytes, f"{last!r} instead of at least {fewest_bytes} bytes")
    enough = int(served[3]) >= fewest_datagrams
    expect(enough, f"{last!r} instead of at least {fewest_datagrams} datagrams")


def run(client: Machine, server: Machine) -> None:
    for machine in (client, server):
        machine.wait_for_unit("network-online.target")
    server.succeed(
        f"systemd-run --quiet --unit=echo --property={FILES} {ECHO} serve '[::]:{PORT}' --udp"
    )
    listening = f"ss --no-header --listening --tcp 'sport = :{PORT}' | grep -c LISTEN"
    # One listener per core.
    server.wait_until_succeeds(f'test "$({listening})" -eq 2', timeout=60)

    one = load(client, connections=1, seconds=2)
    many = load(client, connections=4000, seconds=20)

    # Shorter than anybody's patience: it must look like a slow answer.
    pause = with_the_cable_pulled(client, server, connections=100, pulled_s=8, patience_s=120)
    all_well(pause, 100)
    expect(pause.longest_wait_ms >= 8000, f"the cable was in all the time: {pause}")

    # Longer than the client's patience: each connection fails by itself.
    lost = with_the_cable_pulled(client, server, connections=100, pulled_s=20, patience_s=5)
    expect(len(lost.failures) == 100, f"{len(lost.failures)} of 100 connections noticed")
    silent = [failure for failure in lost.failures if "timed out" not in failure]
    expect(silent == [], f"other failures: {silent[:5]}")
    expect(lost.status == 1, f"exit code {lost.status} after failures")

    # Datagrams that the cable does not carry are lost, and sent again.
    lonely = load(client, connections=1, seconds=2, udp=True)
    crowd = load(client, connections=500, seconds=10, udp=True)
    cut = with_the_cable_pulled(
        client, server, connections=100, pulled_s=8, patience_s=120, udp=True
    )
    all_well(cut, 100)
    expect(cut.longest_wait_ms >= 8000, f"the cable was in all the time: {cut}")
    expect(cut.resent >= 100, f"only {cut.resent} datagrams were lost in 8 s")

    # The server has not suffered.
    after = load(client, connections=100, seconds=2)
    datagrams = load(client, connections=100, seconds=2, udp=True)
    check_served(
        server,
        connections=1 + 4000 + 100 + 100 + 100,
        fewest_bytes=sum(seen.round_trips for seen in (one, many, pause, after)) * BYTES,
        fewest_datagrams=sum(seen.round_trips for seen in (lonely, crowd, cut, datagrams)),
    )
    no_kernel_trouble(server)
    no_kernel_trouble(client)
