"""Logs of perch-cpu-inference as rows of the same columns: its batch tool's ``inference.log``, or one run's output in a file.

Its terms are not ours, and are told with every row. Nothing is converted: what it printed is what the row says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cluster.history_table import JobRow
from cluster.job import FAILED, FINISHED
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.recording import printable_path

SOURCE = "perch-cpu-inference"
TERMS = (
    "files x 60 s whatever their real lengths, files it could not decode included (it tells none); over its inner timer, imports and the "
    "making of folders left out; windows are the chunks it loaded, the last of a file padded; sizes are of the whole output folder, rounded"
)
_FILE_S: Final = 60.0  # what the program takes every file to last
_HOUR_S: Final = 3600.0
_UNIT: Final = {"GB": 1e9, "MB": 1e6}
_SETTINGS: Final = {
    "Batch Size": "batch_size",
    "Threads per Worker": "threads",
    "Loader Threads": "loader_threads",
    "Max CPUs (limit)": "max_cpus",
    "RAM Budget": "ram_budget",
    "Checkpoint Interval": "checkpoint_interval",
    "Embedding Format": "dtype",
    "Total Groups": "groups",
}
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEGUN = re.compile(r"INFERENCE STARTED: (.+)")
_START = re.compile(r"\[(\d{1,2}:\d\d:\d\d)\] Starting: (.+)")
_END = re.compile(r"\[\d{1,2}:\d\d:\d\d\] (DONE|FAILED): .+")
_CELLS = re.compile(r"[|│┃║]\s*([^|│┃║]+?)\s*[|│┃║]\s*([^|│┃║]+?)\s*[|│┃║]")  # rich's boxes, and its ASCII ones
_LOADED = re.compile(r"\S* ?Loaded ([\d,]+) chunks")
_GROUP = re.compile(r"\S* ?Group \d+ complete \((\d+)/\d+ files\)")
_SIZE = re.compile(r"(?:Embeddings|Predictions) size: ([\d.]+) (GB|MB)")
_NOTHING = re.compile(r"\S* ?(No files found|All files already processed)")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def read_log(path: str) -> list[JobRow]:
    """Return a row for each job of a log, in its order.

    Parameters
    ----------
    path : str
        May hold several runs, one after another, and colours; what is no line of a job is passed over.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        If it cannot be read, or holds no job.
    """
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as handle:
            jobs = list(_jobs(handle))
    except FileNotFoundError:
        raise NotFound(
            f"--perch-cpu-inference {path}: there is no such log; its batch tool calls it inference.log"
        ) from None
    except OSError as error:
        raise Invalid(f"--perch-cpu-inference {path} cannot be read: {error.strerror}; give the log itself") from error
    if not jobs:
        raise Invalid(
            f"--perch-cpu-inference {path}: no job is in it. Looked for lines '[HH:MM:SS] Starting: SITE' and for the table 'Configuration' "
            "with a row 'Total Files': give inference.log, or the output of one run of perch-onnx-inference.py"
        )
    return [job.row(path, number) for number, job in enumerate(jobs, 1)]


@dataclass(slots=True)
class _Job:
    """What a log tells of one job."""

    begun: str = ""
    name: str = ""
    started: str = ""
    end: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    chunks: int = 0
    group_files: int = 0
    bytes: float | None = None
    nothing: str = ""

    def take(self, line: str) -> None:
        """Take down what a line tells."""
        if found := _CELLS.fullmatch(line):
            self.cells.setdefault(found[1], found[2])
        elif found := _LOADED.match(line):
            self.chunks += _whole(found[1])
        elif found := _GROUP.match(line):
            self.group_files = int(found[1])
        elif found := _SIZE.match(line):
            self.bytes = (self.bytes or 0.0) + float(found[1]) * _UNIT[found[2]]
        elif found := _NOTHING.match(line):
            self.nothing = found[1]

    def number(self, name: str) -> float | None:
        """Return the number in a cell of its tables."""
        found = _NUMBER.search(self.cells.get(name, ""))
        return float(found[0].replace(",", "")) if found else None

    def count(self, name: str) -> int | None:
        """Return the whole number in a cell."""
        value = self.number(name)
        return None if value is None else int(value)

    def row(self, path: str, number: int) -> JobRow:
        """Return the row."""
        complete = "Files Processed" in self.cells
        files, skipped = self.count("Total Files"), self.count("Already Processed")
        done = self.count("Files Processed") if complete else self.group_files
        row = JobRow(SOURCE, printable_path(path), number, self.name, self.started, terms=TERMS, model="perch_v2")
        row.state = {"DONE": FINISHED, "FAILED": FAILED}.get(self.end, FINISHED if complete else "unknown")
        row.files, row.done, row.skipped = files, done, skipped
        if files is not None and done is not None:
            row.pending = max(files - (skipped or 0) - done, 0)
        row.hours = None if done is None else round(done * _FILE_S / _HOUR_S, 6)
        row.windows = self.chunks or None
        row.wall_s, row.x_realtime = self.number("Total Running Time"), self.number("Speed")
        row.engine, row.precision, row.device = "onnxruntime", "fp32", "ONNX Runtime, CPU"
        row.workers = self.count("Inference Workers")
        if (threads := self.count("System CPUs")) is not None:
            row.machine = f"{threads} hardware threads"
        row.bytes = None if self.bytes is None else round(self.bytes)
        if row.bytes and row.windows and not skipped:  # after a resume the folder holds earlier runs too
            row.bytes_per_window = round(row.bytes / row.windows, 1)
        row.settings = {name: self.cells[cell] for cell, name in _SETTINGS.items() if cell in self.cells}
        row.notes = self._notes(complete=complete)
        return row

    def _notes(self, *, complete: bool) -> list[str]:
        notes = [f"{self.nothing}: nothing was embedded"] if self.nothing else []
        if not self.end and not complete:
            notes.append("the log tells no end: killed, or still at work; files done are those of finished groups")
        if self.started:
            notes.append(f"its log gives times without a day{f'; begun {self.begun}' if self.begun else ''}")
        return notes


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def _jobs(lines: Iterable[str]) -> Iterator[_Job]:
    """Part a log into jobs: at each site's start, and at a table of settings that is not the current job's."""
    begun, job = "", None
    for raw in lines:
        line = _ANSI.sub("", raw).strip()
        if found := _BEGUN.match(line):
            begun = found[1]
        elif found := _START.match(line):
            if job:
                yield job
            job = _Job(begun, found[2], found[1])
        elif job and (found := _END.match(line)):
            job.end = found[1]
            yield job
            job = None
        else:
            cells = _CELLS.fullmatch(line)
            if cells and cells[1] == "Total Files" and (job is None or "Total Files" in job.cells):
                if job:
                    yield job
                job = _Job()
            if job:
                job.take(line)
    if job:
        yield job
