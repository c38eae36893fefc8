"""`run` and its parts, without a machine: `python3 nixos-tests/debian/tests.py`."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import ModuleType
from unittest import mock

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import image  # noqa: E402
import kernels  # noqa: E402
import machine  # noqa: E402
import matrix  # noqa: E402


def outcome(*lines: str) -> machine.Outcome:
    made = machine.Outcome()
    for line in lines:
        made.read(line)
    return made


GOOD = (
    "744 tests of commit 0123456789ab on Linux 6.1.0",
    "PASS [   0.010s] full@ext4 timer::late",
    "SKIP [   2.500s] full@ext4 refusals::a::b: no such sysctl",
    "FAIL [ 120.031s] full@nvme dma_file::c: not done after 120 s",
    "full@ext4: 700 passed, 0 failed, 2 skipped in 90.5 s",
    "full@nvme: 40 passed, 0 failed, 0 skipped in 9.5 s",
    "740 passed, 0 failed, 2 skipped",
    "machine: ended with 0",
)


class Console(unittest.TestCase):
    def test_sums_are_those_of_all_suites(self) -> None:
        made = outcome(*GOOD)
        self.assertEqual((made.passed, made.failed, made.skipped), (740, 0, 2))
        self.assertEqual(made.suites["full@nvme"].seconds, 9.5)
        self.assertEqual(made.commit, "0123456789ab")
        self.assertEqual(made.problems(), [])

    def test_every_test_has_its_time(self) -> None:
        slowest = outcome(*GOOD).slowest(2)
        self.assertEqual(
            [line.split() for line in slowest],
            [["120.0", "s", "full@nvme", "dma_file::c"], ["2.5", "s", "full@ext4", "refusals::a::b"]],
        )

    def test_a_failed_test_is_a_problem(self) -> None:
        made = outcome("full@ext4: 1 passed, 1 failed, 0 skipped in 1.0 s", "machine: ended with 1")
        self.assertEqual(made.problems(), ["the tests ended with 1, 1 failed"])

    def test_so_is_a_machine_that_goes_down_early(self) -> None:
        self.assertIn("before the tests ended", outcome(*GOOD[:-1]).problems()[0])

    def test_and_a_run_of_nothing(self) -> None:
        self.assertEqual(outcome("machine: ended with 0").problems(), ["no test ran"])

    def test_and_a_kernel_in_trouble(self) -> None:
        for line in (
            "[  12.3] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "[  12.3] Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "[  12.3] Kernel panic - not syncing: Fatal exception",
            "[  12.3] INFO: task dma_file:123 blocked for more than 120 seconds.",
            "[  12.3] WARNING: CPU: 1 PID: 12 at io_uring/io_uring.c:1 io_ring_exit_work",
        ):
            self.assertIn(line, outcome(*GOOD, line).problems()[0])

    def test_names_of_tests_are_no_trouble(self) -> None:
        line = "PASS [   0.010s] full@ext4 stall::tests::a_task_blocked_for_more_than_a_second"
        self.assertEqual(outcome(*GOOD, line).problems(), [])

    def test_lines_are_freed_from_what_steers_a_terminal(self) -> None:
        self.assertEqual(machine.clean(b"\x1bc\x1b[?7l\x1b[2Jmachine: 6.1\r"), "machine: 6.1")

    def test_a_line_is_awaited_until_a_deadline(self) -> None:
        reader, writer = os.pipe()
        lines = machine.Lines(reader)
        os.write(writer, b"one\ntw")
        soon = time.monotonic() + 0.05
        self.assertEqual(lines.next(soon), "one")
        self.assertIsNone(lines.next(soon))
        self.assertFalse(lines.ended)
        os.write(writer, b"o\n")
        os.close(writer)
        self.assertEqual(lines.next(time.monotonic() + 5), "two")
        self.assertIsNone(lines.next(time.monotonic() + 5))
        self.assertTrue(lines.ended)
        os.close(reader)


class Qemu(unittest.TestCase):
    def test_the_nvme_disk_has_queues_to_poll_and_the_tests_cannot_be_written(self) -> None:
        disks = {"tests": Path("/t.img"), "nvme": Path("/n.img")}
        made = machine.Machine(Path("/vmlinuz"), Path("/initramfs"), disks, "tcg")
        command = " ".join(made.command("tcg", "stdio"))
        self.assertIn("nvme.poll_queues=1", command)
        self.assertIn("-device nvme,drive=nvme", command)
        self.assertIn("id=tests,file=/t.img,format=raw,if=none,cache=unsafe,readonly=on", command)
        self.assertIn("tcg,thread=multi", command)

    def test_only_an_emulated_machine_is_given_time(self) -> None:
        made = machine.Machine(Path("/vmlinuz"), Path("/initramfs"), {}, "tcg")
        for option in ("nowatchdog", "no_timer_check"):
            self.assertIn(option, " ".join(made.command("tcg", "stdio")))
            self.assertNotIn(option, " ".join(made.command("kvm", "stdio")))


class Scripted(machine.Machine):
    """Shell scripts in place of qemu, one for each boot."""

    def command(self, accelerator: str, console: str) -> list[str]:
        return ["sh", "-c", BOOTS.pop(0)]


BOOTS: list[str] = []
GOES_WELL = "\n".join(f"echo '{line}'" for line in GOOD)


class Boots(unittest.TestCase):
    # A script that is to go well must be through by then, on a busy machine too.
    PATIENCE_SECONDS = 3.0

    def run_machine(
        self, *boots: str, boot_seconds: float = PATIENCE_SECONDS
    ) -> tuple[machine.Outcome, list[str]]:
        BOOTS[:] = boots
        shown: list[str] = []
        made = Scripted(Path("/vmlinuz"), Path("/initramfs"), {}, "tcg")
        with mock.patch.dict(machine.BOOT_SECONDS, tcg=boot_seconds):
            return made.run(self.PATIENCE_SECONDS, shown.append), shown

    def test_a_machine_that_hangs_or_breaks_before_the_tests_is_booted_anew(self) -> None:
        hangs, breaks = "echo machine: 7.2.12; exec sleep 100", "echo 'Oops: int3: 0000 [#1] SMP'"
        outcome, shown = self.run_machine(hangs, breaks, GOES_WELL)
        self.assertEqual(outcome.problems(), [])
        self.assertEqual(sum("did not boot" in line for line in shown), 2)
        self.assertEqual(BOOTS, [])

    def test_not_for_ever(self) -> None:
        hangs = ["exec sleep 100"] * machine.BOOTS
        outcome, _ = self.run_machine(*hangs, boot_seconds=0.1)
        self.assertEqual(outcome.problems(), ["not booted after 0 s; the last line: "])

    def test_nor_once_its_tests_have_begun(self) -> None:
        begins = f"echo '{GOOD[0]}'; echo PASS one;"
        hung, _ = self.run_machine(f"{begins} exec sleep 100", GOES_WELL)
        self.assertEqual(hung.problems(), ["not done after 3 s; the last line: PASS one"])
        broken, _ = self.run_machine(f"{begins} echo 'Oops: int3: 0000 [#1] SMP'", GOES_WELL)
        self.assertIn("int3", broken.problems()[0])
        self.assertEqual(BOOTS, [GOES_WELL])


class Packages(unittest.TestCase):
    def test_the_kernel_is_the_one_that_the_metapackage_names(self) -> None:
        depends = "linux-image-amd64\n  Depends: linux-base-amd64\n"
        depends += "  Depends: linux-image-7.2.12+deb14-amd64\n"
        self.assertEqual(kernels.release_in(depends), "7.2.12+deb14-amd64")
        with self.assertRaises(kernels.KernelError):
            kernels.release_in("linux-image-amd64\n")

    def test_modules_are_those_that_modprobe_would_load(self) -> None:
        shown = "builtin crc16\ninsmod /r/lib/t10-pi.ko.xz \ninsmod /r/lib/nvme.ko.xz poll_queues=1\n"
        found = kernels.insmod_lines(shown)
        self.assertEqual([kernels.plain_name(path) for path in found], ["t10-pi.ko", "nvme.ko"])


class Initramfs(unittest.TestCase):
    def test_the_archive_is_what_cpio_reads(self) -> None:
        archive = image.Archive()
        archive.folder("bin")
        archive.file("bin/a", b"12345", 0o755)
        data = archive.finish()
        self.assertEqual(len(data) % 4, 0)
        self.assertEqual(data[:6], b"070701")
        second = data.index(b"070701", 6)
        fields = [int(data[second + 6 + 8 * n : second + 14 + 8 * n], 16) for n in range(13)]
        self.assertEqual((oct(fields[1]), fields[6], fields[11]), ("0o100755", 5, len("bin/a") + 1))
        self.assertIn(b"12345", data)
        self.assertIn(b"TRAILER!!!\0", data)


def row(asked: str, problems: list[str], what: str = "full") -> matrix.Row:
    return matrix.Row(
        asked=asked, release=f"{asked}.1-amd64", version=f"{asked}.1-1", suite="bookworm",
        passed=740, failed=len(problems), skipped=2, seconds=100.4, problems=problems, what=what,
        cut_short=False, suites={}, accelerator="tcg", commit="0123456789ab", date="2026-11-25", host="2 CPUs",
    )  # fmt: skip


class Table(unittest.TestCase):
    def test_rows_are_kept_and_sorted_by_version(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for asked in ("6.12", "5.10", "6.1"):
                row(asked, []).save(folder)
            row("7.2", [], "quick").save(folder)
            row("6.1", [], "quick").save(folder)
            row("6.12", [], "chosen").save(folder)
            found = [(row.asked, row.what) for row in matrix.load(folder)]
            whole = [(asked, "full") for asked in ("5.10", "6.1", "6.12")]
            self.assertEqual(found, [*whole, ("7.2", "quick")])

    def test_the_printed_one_shows_failures(self) -> None:
        shown = matrix.terminal([row("5.10", []), row("6.1", ["one"])]).splitlines()
        self.assertEqual(shown[1].split(), ["5.10.1-amd64", "740", "0", "2", "100", "ok"])
        self.assertEqual(shown[2].split()[-1], "FAILED")

    def test_the_readme_keeps_what_is_around_the_table(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            readme = Path(name) / "README.md"
            readme.write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.FINISH}\nafter\n")
            matrix.write_readme(readme, [row("5.10", [])])
            text = readme.read_text()
            self.assertTrue(text.startswith(f"before\n{matrix.BEGIN}\n"))
            self.assertTrue(text.endswith(f"{matrix.FINISH}\nafter\n"))
            self.assertIn("| 5.10.1-amd64 | bookworm | full | 740 | 0 | 2 | 100 | ok |", text)
            self.assertNotIn("old", text)
            readme.write_text("no marks")
            with self.assertRaises(ValueError):
                matrix.write_readme(readme, [])


# Stands in for qemu. With the tests as its task, it waits until a second machine is up.
QEMU = """\
#!/bin/sh
while [ "$1" != -initrd ]; do shift; done
if ! grep -q "arguments='" "$2"; then
  read -r typed
  echo "$typed" >"$SAID"
  exit 7
fi
touch "$2.up"
for _ in $(seq 600); do
  [ "$(ls "${2%/*/*}"/*/initramfs.up | wc -l)" -eq 2 ] && break
  sleep 0.1
done
[ "$(ls "${2%/*/*}"/*/initramfs.up | wc -l)" -eq 2 ] || exit
echo "machine: 6.1.0"
echo "3 tests of commit 0123456789ab on Linux 6.1.0"
echo "PASS [   1.500s] full@ext4 timer::late"
echo "full@ext4: 3 passed, 0 failed, 0 skipped in 1.5 s"
echo "machine: ended with 0"
"""


class Run(unittest.TestCase):
    """The program with a qemu, kernels and disks that are made up."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        program = self.folder / "qemu-system-x86_64"
        program.write_text(QEMU)
        program.chmod(0o755)
        self.said = self.folder / "said"
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "SAID": str(self.said)}
        self.enterContext(mock.patch.dict(os.environ, environment))
        for function in ("missing_packages", "libraries_of"):
            self.enterContext(mock.patch.object(image, function, return_value=[]))
        self.enterContext(mock.patch.object(image, "empty_disks", return_value={}))
        self.enterContext(mock.patch.object(image, "disk_of_tests", return_value=Path("/t.img")))
        self.enterContext(mock.patch.object(image, "BUSYBOX", HERE / "init"))
        self.enterContext(mock.patch.object(kernels, "cached", side_effect=self.kernel))
        self.run_file = self.loaded()
        self.enterContext(mock.patch.object(self.run_file, "RESULTS", self.folder / "results"))

    @staticmethod
    def kernel(asked: str, cache: Path) -> kernels.Kernel:
        return kernels.Kernel(asked, f"{asked}.0-amd64", f"{asked}.1", "bookworm", cache / "vmlinuz", ())

    @staticmethod
    def loaded() -> ModuleType:
        loader = importlib.machinery.SourceFileLoader("debian_run", str(HERE / "run"))
        spec = importlib.util.spec_from_loader(loader.name, loader)
        assert spec is not None
        made = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, {loader.name: made}):
            loader.exec_module(made)
        return made

    def call(self, *arguments: str) -> tuple[int, str]:
        shown = io.StringIO()
        fixed = ["run", "--accelerator", "tcg", "--tests", str(self.folder)]
        with mock.patch.object(sys, "argv", [*fixed, *arguments]), contextlib.redirect_stdout(shown):
            code: int = self.run_file.main()
        return code, shown.getvalue()

    def test_machines_run_beside_each_other_and_each_keeps_its_console(self) -> None:
        code, shown = self.call("--jobs", "2", "5.10", "6.1")
        self.assertEqual(code, 0, shown)
        self.assertIn(" 5.10 | machine: 6.1.0\n", shown)
        self.assertIn("  6.1 | machine: 6.1.0\n", shown)
        self.assertIn("1.5 s  full@ext4 timer::late", shown)
        for asked in ("5.10", "6.1"):
            log = self.folder / "results" / f"{asked}-full.log"
            self.assertTrue(log.read_text().endswith("machine: ended with 0\n"))
        rows = matrix.load(self.folder / "results")
        self.assertEqual([(row.asked, row.passed, row.problems) for row in rows], [("5.10", 3, []), ("6.1", 3, [])])

    def test_a_shell_has_the_terminal_and_its_exit_code(self) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"uname -r\n")
        os.close(writer)
        before = os.dup(0)
        os.dup2(reader, 0)
        try:
            code, _ = self.call("6.1", "--shell")
        finally:
            os.dup2(before, 0)
            os.close(before)
            os.close(reader)
        self.assertEqual((code, self.said.read_text()), (7, "uname -r\n"))


if __name__ == "__main__":
    unittest.main()
