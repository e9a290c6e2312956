"""Reads damaged files in processes with limits, and adds up what came of them.

``python -m tests.audio.fuzzing [PAGE.md]`` (``make fuzz``) tries every case of every kind, writes the sums as a table and puts it between the
marks of the page.
"""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonotheque.core.outcome import MEANING, Outcome, Status
from tests.audio.fuzz import KINDS, WHOLE

HANG_S = 10.0
START_S = 120.0  # a machine at work may take long to import
GRACE_S = 5.0  # for a machine at work: what a case may take itself is judged by its own clock
MEMORY_MB = 500
SEVERAL = 3_000
_MARKS = ("<!-- damaged headers: begin -->", "<!-- damaged headers: end -->")


@dataclass
class Sum:
    """What became of the cases of one kind."""

    kind: str
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    deaths: int = 0
    slowest_s: float = 0.0
    memory_mb: int = 0
    address_mb: int = 0

    @property
    def cases(self) -> int:
        """How many were tried."""
        return sum(self.statuses.values())

    def add(self, case: str, found: dict[str, Any]) -> None:
        """Count one case that came to an end."""
        self.statuses[found["status"]] += 1
        self.slowest_s = max(self.slowest_s, found["s"])
        # Address space that is set aside and never touched is no memory; that of all is limited in the process itself.
        grown = found["memory_mb"] > max(self.memory_mb, MEMORY_MB)
        wrong = [*found["wrong"], *([f"{found['memory_mb']} MB of memory"] if grown else [])]
        self.memory_mb, self.address_mb = (
            max(self.memory_mb, found["memory_mb"]),
            max(self.address_mb, found["space_mb"]),
        )
        wrong += [f"{found['s']} s"] if found["s"] > HANG_S else []
        if wrong:
            self.failures.append({"case": case, "what": "; ".join(wrong)})

    def add_death(self, case: str, what: str) -> None:
        """Count one case that its process did not survive."""
        self.deaths += 1
        self.statuses["died"] += 1
        self.failures.append({"case": case, "what": what})

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and how many gave windows, none, or were refused."""
        by_outcome: Counter[str] = Counter()
        for word, count in self.statuses.items():
            known = word in set(Status)
            by_outcome[str(MEANING[Status(word)].outcome) if known else word] += count
        return {
            "kind": self.kind,
            "cases": self.cases,
            "windows": by_outcome[Outcome.DONE],
            "no_windows": self.cases - by_outcome[Outcome.DONE] - self.deaths,
            "deaths": self.deaths,
            "wrong": len(self.failures),
            "slowest_s": round(self.slowest_s, 2),
            "memory_mb": self.memory_mb,
            "address_mb": self.address_mb,
            "statuses": dict(self.statuses.most_common()),
            "failures": self.failures[:20],
        }


def write_whole(folder: Path) -> None:
    """Write the whole files, once for all processes: an encoder may number its streams by chance."""
    for kind, make in WHOLE.items():
        (folder / kind).write_bytes(make())


def attack(folder: Path, kind: str, *, first: int = 0, step: int = 1, several: int = 0) -> Sum:
    """Try the cases ``first``, ``first + step`` ...; after a death another process goes on behind the case that it died of."""
    found, begin = Sum(kind), first
    while True:
        last = _one_process(found, folder, kind, begin, step, several)
        if last is None:
            return found
        begin = last + step


def _one_process(found: Sum, folder: Path, kind: str, first: int, step: int, several: int) -> int | None:
    """Run one process; returns None if it came through all cases, else the number of the case it died of."""
    command = [sys.executable, "-m", "tests.audio.fuzz_child", str(folder), kind, *map(str, (first, step, several))]
    begun: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, cwd=Path(__file__).parents[2]) as child,
    ):
        for line in _lines(child):
            told = json.loads(line)
            if "begun" in told:
                begun = told
            else:
                found.add(begun["case"], told)
                begun = {}
        hung = child.poll() is None
        if hung:
            child.kill()
        code = child.wait()
        if code == 0:
            return None
        said.seek(0)
        if not begun:
            raise AssertionError(
                f"{kind}: the process failed between two cases: {said.read().decode(errors='replace')}"
            )
    name = f"exit code {code}" if code > 0 else signal.Signals(-code).name
    found.add_death(begun["case"], f"no answer within {HANG_S:g} s" if hung else f"the process died: {name}")
    return int(begun["begun"])


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield what a process says line by line, until it ends or says nothing for too long."""
    held, patience_s = b"", START_S
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        while selector.select(patience_s):
            patience_s = HANG_S + GRACE_S
            data = child.stdout.read1(65_536)  # type: ignore[union-attr]
            if not data:
                child.wait(START_S)
                return
            *lines, held = (held + data).split(b"\n")
            yield from lines


def table(sums: list[dict[str, Any]]) -> str:
    """Return the sums as a table for a page."""
    lines = [
        "| kind | cases | gave windows | gave a status | deaths, hangs, wrong | slowest | memory | statuses |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in sums:
        words = ", ".join(f"{word} {count:,}" for word, count in one["statuses"].items())
        lines.append(
            f"| {one['kind']} | {one['cases']:,} | {one['windows']:,} | {one['no_windows']:,} | {one['wrong']} "
            f"| {one['slowest_s']:.2f} s | {one['memory_mb']} MB | {words} |"
        )
    cases, wrong = sum(one["cases"] for one in sums), sum(one["wrong"] for one in sums)
    lines.append(f"| **all** | **{cases:,}** | | | **{wrong}** | | | |")
    return "\n".join(lines)


def main(page: Path | None) -> int:
    """Try everything; returns 1 if anything went wrong."""
    from benchmarks.envelope import complete, provenance

    head = complete({})
    sums = []
    with tempfile.TemporaryDirectory(prefix="sonotheque-fuzz-") as name:
        write_whole(Path(name))
        for kind in KINDS:
            one = attack(Path(name), kind, several=SEVERAL).to_json()
            sums.append(one)
            sys.stderr.write(f"{kind}: {one['cases']:,} cases, {one['wrong']} wrong\n")
            sys.stderr.writelines(f"  {failure['case']}: {failure['what']}\n" for failure in one["failures"])
    text = f"{provenance(head)}.\n\n{table(sums)}"
    sys.stdout.write(text + "\n")
    if page:
        before, mark, rest = page.read_text(encoding="utf-8").partition(_MARKS[0])
        _, end, after = rest.partition(_MARKS[1])
        if not mark or not end:
            raise AssertionError(f"{page} has not the marks {_MARKS}")
        page.write_text(f"{before}{mark}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    return int(any(one["wrong"] for one in sums))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else None))
