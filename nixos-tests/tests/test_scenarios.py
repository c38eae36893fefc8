"""The scripts of the virtual machines, run against made-up ones.

On machines where all is well they must pass. Then every single answer is made wrong in turn, and
each time they must fail: a script that does not look at an answer need not ask.
"""

from __future__ import annotations

import unittest

from scenarios import doctor, module, network, refusals, suite

from .stub import Reply, Said, UnknownCommand
from .worlds import (
    DOCTOR,
    HOST,
    LOST,
    NVME,
    Rules,
    SERVER,
    SUITE,
    World,
    client,
    client_saw,
    refusing,
    report,
    summary,
)

WORLDS = {
    "doctor": World(doctor.run, {"machine": DOCTOR}),
    "suite": World(suite.run, {"machine": SUITE}),
    "refusals on 5.10": World(refusals.run, {"machine": refusing("5.10.230")}),
    "refusals on 6.1": World(refusals.run, {"machine": refusing("6.1.120")}),
    "refusals on 6.12": World(refusals.run, {"machine": refusing("6.12.61")}),
    "refusals on 7.1": World(refusals.run, {"machine": refusing("7.1.2-rc1")}),
    "network": World(network.run, {"client": client(), "server": SERVER}),
    "module": World(module.run, {"host": HOST}),
}

# Commands that only tidy up.
UNCHECKED = {"systemctl stop load; systemctl reset-failed load"}


def failure_of(world: World, number: int, wrong: Reply) -> Exception | None:
    """How the scenario ends when the answer of that number is wrong."""

    def lie(asked: int, reply: Reply) -> Reply:
        return wrong if asked == number else reply

    try:
        world.run(lie)
    except UnknownCommand:
        raise
    except Exception as error:
        return error
    return None


class AllIsWell(unittest.TestCase):
    def test_every_scenario_passes(self) -> None:
        for name, world in WORLDS.items():
            with self.subTest(name):
                self.assertGreaterEqual(len(world.run()), 3)


class OneAnswerIsWrong(unittest.TestCase):
    def check(self, name: str, said: Said, number: int, wrong: Reply) -> None:
        with self.subTest(scenario=name, command=said.command, wrong=wrong):
            error = failure_of(WORLDS[name], number, wrong)
            self.assertIsNotNone(error, "the scenario passes all the same")
            self.assertTrue(str(error), "the scenario fails without a word")

    def test_the_other_exit_code_fails_the_scenario(self) -> None:
        for name, world in WORLDS.items():
            for number, said in enumerate(world.run()):
                if said.command not in UNCHECKED:
                    status, output = said.reply
                    self.check(name, said, number, (0 if status else 1, output))

    def test_a_crash_fails_the_scenario(self) -> None:
        """Also where a command is meant to fail: that is exit code 1, with a message."""
        for name, world in WORLDS.items():
            for number, said in enumerate(world.run()):
                if said.command not in UNCHECKED and said.reply[1]:
                    self.check(name, said, number, (139, ""))

    def test_another_output_fails_the_scenario(self) -> None:
        for name, world in WORLDS.items():
            for number, said in enumerate(world.run()):
                status, output = said.reply
                # Whoever waits for a success asked for nothing else.
                if output and not said.waited_for:
                    self.check(name, said, number, (status, "something else\n"))
                    self.check(name, said, number, (status, ""))


class Suite(unittest.TestCase):
    def failure(self, output: str, status: int = 0) -> str:
        with self.assertRaises(AssertionError) as raised:
            suite.check_summary(status, output)
        return str(raised.exception)

    def test_a_failed_test_is_named(self) -> None:
        output = "failed: full@xfs drops::read\n479 passed, 1 failed, 12 skipped\n"
        self.assertIn("drops::read", self.failure(output, status=1))

    def test_a_place_that_ran_nothing_is_missed(self) -> None:
        output = summary().replace("half-way@nvme: 40 passed", "half-way@nvme: 0 passed")
        self.assertIn("half-way@nvme", self.failure(output))

    def test_a_pass_that_is_missing_is_missed(self) -> None:
        lines = [line for line in summary().splitlines() if not line.startswith("disabled@ext4")]
        self.assertIn("disabled@ext4", self.failure("\n".join(lines)))

    def test_few_tests_are_too_few(self) -> None:
        output = summary().replace("480 passed, 0 failed", "12 passed, 0 failed")
        self.assertIn("only 12 passed", self.failure(output))

    def test_a_crash_of_the_runner_after_the_summary_counts(self) -> None:
        self.assertIn("exit code 134", self.failure(summary(), status=134))

    def test_a_disk_without_poll_queues_is_found_out(self) -> None:
        changes: list[dict[str, object]] = [
            {"poll_queues": 0},
            {"polling": False},
            {"disk": "vdb"},
        ]
        for change in changes:
            answer = (0, report(storage={"device": {**NVME, **change}}))
            world = World(suite.run, {"machine": [(r"^doctor .*/mnt/nvme$", answer), *SUITE]})
            with self.subTest(change), self.assertRaises(AssertionError):
                world.run()


class Network(unittest.TestCase):
    def failure(self, first: tuple[str, Reply], of_the_server: bool = False) -> str:
        machines = {"client": client(), "server": SERVER}
        name = "server" if of_the_server else "client"
        world = World(network.run, {**machines, name: [first, *machines[name]]})
        with self.assertRaises(AssertionError) as raised:
            world.run()
        return str(raised.exception)

    def test_connections_that_are_missing_are_missed(self) -> None:
        few = (r"--wait .*--connections 4000", (0, client_saw(3999)))
        self.assertIn("3999 of 4000", self.failure(few))

    def test_a_cable_that_was_in_all_the_time_is_found_out(self) -> None:
        unharmed = (r"^cat /tmp/load.json$", (0, client_saw(100, wait_ms=3)))
        self.assertIn("cable", self.failure(unharmed))

    def test_datagrams_that_a_pulled_cable_carried_are_found_out(self) -> None:
        # Enough for TCP, which waits and sends nothing again.
        unharmed = client_saw(100, wait_ms=9000)
        reports = iter([unharmed, client_saw(100, LOST, 5000), unharmed])
        rules: Rules = [(r"^cat /tmp/load.json$", lambda _: (0, next(reports))), *client()]
        world = World(network.run, {"client": rules, "server": SERVER})
        with self.assertRaisesRegex(AssertionError, "only 0 datagrams were lost"):
            world.run()

    def test_datagrams_that_the_server_has_not_seen_are_missed(self) -> None:
        line = "stopped after 4301 connections and 9999999 bytes, and 7 datagrams\n"
        few = (r"^journalctl --unit=echo", (0, line))
        self.assertIn("datagrams", self.failure(few, of_the_server=True))

    def test_a_wrong_answer_of_the_server_is_told(self) -> None:
        wrong = client_saw(1, ["connection 0: the answer is not what was sent"])
        self.assertIn("not what was sent", self.failure((r"--connections 1 ", (1, wrong))))


if __name__ == "__main__":
    unittest.main()
