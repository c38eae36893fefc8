"""A host with the NixOS module: its limits, who may use io_uring, and the hardened service."""

from __future__ import annotations

from .machine import Machine, expect, no_kernel_trouble, report_of
from .network import ECHO, all_well, read

UNIT = "glommio-echo.service"
# Of systemd's scale from 0 to 10, times ten; an ordinary service has about 96.
MOST_EXPOSURE = 20


def says(machine: Machine, command: str, answer: str) -> None:
    found = machine.succeed(command).strip()
    expect(found == answer, f"{command}: {found!r} instead of {answer!r}")


def limits(host: Machine) -> None:
    says(host, "sysctl --values kernel.io_uring_disabled", "1")
    says(host, "sysctl --values kernel.io_uring_group", "4242")
    for user in ("alice", "bob"):
        says(host, f"su --login {user} --command 'ulimit -l'", str(256 * 1024))
        says(host, f"su --login {user} --command 'ulimit -n'", "65536")
    for name, value in (("LimitMEMLOCK", 256 << 20), ("LimitNOFILE", 65536)):
        says(host, f"systemctl show --property={name} --value {UNIT}", str(value))


def group(host: Machine) -> None:
    """Whoever is in the group may use io_uring, and nobody else."""
    doctor = "'doctor --json --no-bench --dir /tmp'"
    status, output = host.execute(f"su --login alice --command {doctor}")
    verdict = report_of(output)["verdict"]
    expect(not verdict["can_run"], "alice may use io_uring, without the group")
    expect(status == 1, f"exit code {status}")
    expect("kernel.io_uring_group" in verdict["error"], f"no cure in {verdict['error']!r}")
    verdict = report_of(host.succeed(f"su --login bob --command {doctor}"))["verdict"]
    expect(verdict["can_run"], f"bob may not use io_uring: {verdict['error']}")


def service(host: Machine) -> None:
    host.wait_for_unit(UNIT)
    says(host, f"systemctl show --property=DynamicUser --value {UNIT}", "yes")
    host.succeed(f"systemd-analyze security --no-pager --threshold={MOST_EXPOSURE} {UNIT}")
    seen = read(*host.execute(f"{ECHO} load localhost:7000 --connections 200 --seconds 3"))
    all_well(seen, 200)

    # It leaves in order.
    host.succeed(f"systemctl stop {UNIT}")
    says(host, f"systemctl show --property=Result --value {UNIT}", "success")
    says(host, f"systemctl show --property=ExecMainStatus --value {UNIT}", "0")
    says(host, f"systemctl show --property=NRestarts --value {UNIT}", "0")


def run(host: Machine) -> None:
    host.wait_for_unit("multi-user.target")
    limits(host)
    service(host)
    group(host)
    no_kernel_trouble(host)
