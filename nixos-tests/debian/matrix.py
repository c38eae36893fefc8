"""The table of kernels: kept as a file per kernel, printed, and written into the README."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

BEGIN = "<!-- kernels: written by nixos-tests/debian/run --write-readme -->"
FINISH = "<!-- end of kernels -->"


@dataclass
class Row:
    """A run on one kernel."""

    asked: str
    release: str
    version: str
    suite: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    problems: list[str]
    # Whether it was ended before all tests had run.
    cut_short: bool
    # full or quick, or the arguments of another choice.
    what: str
    suites: dict[str, list[float]]
    accelerator: str
    commit: str
    date: str
    host: str

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2)
        (folder / f"{self.asked}-{self.what}.json").write_text(text + "\n")


def load(folder: Path) -> list[Row]:
    """The latest whole run of each kernel, else the latest quick one; the oldest kernel first."""
    found: dict[str, Row] = {}
    for what in ("quick", "full"):
        for path in folder.glob(f"*-{what}.json"):
            row = Row(**json.loads(path.read_text()))
            found[row.asked] = row
    return sorted(found.values(), key=lambda row: [int(part) for part in row.asked.split(".")])


def verdict(row: Row) -> str:
    if not row.problems:
        return "ok"
    return "NOT DONE" if row.cut_short else "FAILED"


def terminal(rows: list[Row]) -> str:
    """The matrix as it is printed."""
    head = ("kernel", "passed", "failed", "skipped", "seconds", "")
    lines = [
        (row.release, str(row.passed), str(row.failed), str(row.skipped), f"{row.seconds:.0f}", verdict(row))
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    shown = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [head, *lines]
    ]
    return "\n".join(shown)


def markdown(rows: list[Row]) -> str:
    """The matrix as the README has it."""
    lines = [
        BEGIN,
        "",
        "| kernel | of Debian | run | passed | failed | skipped | seconds | outcome | commit | day |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            row.release,
            row.suite,
            row.what,
            row.passed,
            row.failed,
            row.skipped,
            f"{row.seconds:.0f}",
            verdict(row),
            f"`{row.commit}`",
            row.date,
        )
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    hosts = sorted({f"{row.host} ({row.accelerator})" for row in rows})
    lines += ["", f"Host: {'; '.join(hosts)}.", "", FINISH]
    return "\n".join(lines)


def write_readme(readme: Path, rows: list[Row]) -> None:
    """Puts the table between its marks."""
    text = readme.read_text()
    before, mark, rest = text.partition(BEGIN)
    old, end, after = rest.partition(FINISH)
    if not mark or not end:
        raise ValueError(f"{readme} has no marks for the table of kernels")
    del old
    readme.write_text(before + markdown(rows) + after)
