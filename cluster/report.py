"""The per-recording report, written as the job goes, and the run's closing sum, which always adds up to the inventory."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.settled import SettledFiles
from cluster.tailing import event_of
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.formulas import inert_value
from sonotheque.core.outcome import MEANING, Outcome, StageSeconds, Status, TaskOutcome
from sonotheque.core.recording import printable_path
from store.fsops import LocalFileOps, store_errors
from store.ledger import read_part

COLUMNS = (
    "path",
    "outcome",
    "status",
    "reason",
    "site",
    "start",
    "time_source",
    "time_issues",
    "duration_s",
    "windows",
    "seconds",
    "top_label",
    "top_score",
)
_NEEDED = frozenset({"path", "outcome", "status", "reason", "duration_s", "windows"})  # of earlier versions too
_DISK = LocalFileOps()
ENDINGS = (".csv", ".jsonl", ".xlsx")
IN_STORE = "already in the store"
_STATUSES = frozenset(Status)
_as_json = json.JSONEncoder(ensure_ascii=False).encode  # made once: `dumps` makes one a row when it is given a setting


def start_text(time: dict[str, Any]) -> str:
    """Return a recording's start on the site's clock, with its offset if known; empty if unknown."""
    if not time["local_start"]:
        return ""
    offset = time["utc_offset_min"]
    if offset is None:
        return str(time["local_start"])
    sign = "-" if offset < 0 else "+"
    return f"{time['local_start']}{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def row(entry: dict[str, Any], site: str, outcome: Outcome, *, reason: str | None = None) -> dict[str, Any]:
    """Return the report's row for one ledger entry."""
    top = entry.get("top") or {}
    known = entry["status"] in _STATUSES
    said = entry["reason"] or ("" if entry["status"] == "ok" or not known else MEANING[Status(entry["status"])].text)
    return {
        "path": printable_path(entry["path"]),
        "outcome": str(outcome),
        "status": entry["status"],
        "reason": said if reason is None else "; ".join(filter(None, (reason, said))),
        "site": site,
        "start": start_text(entry["time"]),
        "time_source": entry["time"]["source"],
        "time_issues": "; ".join(entry["time"]["issues"]),
        "duration_s": round(entry["duration_s"], 3),
        "windows": entry["windows"],
        "seconds": entry.get("seconds", 0.0),
        "top_label": top.get("label", ""),
        "top_score": round(top["score"], 4) if top else "",
    }


def settled_rows(store: str, settled: SettledFiles) -> Iterator[dict[str, Any]]:
    """Yield the rows of files that the store had before this run: skipped, or still failed."""
    for relative, paths in settled.by_part():
        part = read_part(store, relative)
        for entry in part.files:
            if entry.path in paths and entry.detail:
                failed = entry.outcome is Outcome.FAILED
                reason = f"{IN_STORE}, and failed then" if failed else IN_STORE
                yield row(entry.detail, part.site, Outcome.FAILED if failed else Outcome.SKIPPED, reason=reason)


class ReportWriter:
    """Appends rows to ``report.jsonl`` and ``report.csv`` as they come.

    Parameters
    ----------
    folder : Path
        The job's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._jsonl, self._csv = str(folder / "report.jsonl"), str(folder / "report.csv")
        self._where = str(folder)
        self._put([], header=True)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows: each file grows by whole rows in one go, so that a crash loses none that a reader has seen."""
        self._put(list(rows))

    def _put(self, rows: Sequence[dict[str, Any]], *, header: bool = False) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, COLUMNS)
        if header:
            table.writeheader()
        table.writerows({k: inert_value(v) for k, v in one.items()} for one in rows)
        lines = "".join(_as_json(one) + "\n" for one in rows)
        with store_errors(self._where):
            _DISK.append(self._jsonl, lines.encode())
            _DISK.append(self._csv, text.getvalue().encode())

    def close(self) -> None:
        """Force both files to disk: the closing sum tells of them."""
        with store_errors(self._where):
            _DISK.append(self._jsonl, b"", forced=True)
            _DISK.append(self._csv, b"", forced=True)


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a job's report; what a crash or a bad disk made of a line that is no row any more is left out."""
    try:
        # A crash may tear a line within a character; such a line has no end either.
        with (folder / "report.jsonl").open(encoding="utf-8", errors="replace") as handle:
            for line in handle:
                if line.endswith("\n") and (found := _row_of(line)):
                    yield found
    except FileNotFoundError:
        return


def _row_of(line: str) -> dict[str, Any] | None:
    found = event_of(line)
    return found if found is not None and found.keys() >= _NEEDED else None


def require_target(option: str, target: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Look at where a table is to be written, before the work that it tells of; its ending must be one of ``endings``.

    Raises
    ------
    Invalid
        If its ending names no format.
    NotFound
        If its folder is not there.
    """
    if target.suffix.lower() not in endings:
        words = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise Invalid(f"{option} {target}: the ending says the format, and must be {words}")
    if not target.parent.is_dir():
        raise NotFound(f"{option} {target}: there is no folder {target.parent}; make it, or choose another")


def export_rows(rows: Iterable[dict[str, Any]], target: Path) -> int:
    """Write rows as ``.csv``, ``.jsonl`` or ``.xlsx``, by the ending. Returns how many.

    Raises
    ------
    Unavailable
        If the file cannot be written; the job's own report is unharmed.
    """
    from xlsxwriter.exceptions import XlsxWriterException

    try:
        return _export_xlsx(rows, target) if target.suffix.lower() == ".xlsx" else _export_text(rows, target)
    except (OSError, XlsxWriterException) as error:
        raise Unavailable(
            f"the report cannot be written to {target}: {error}. The store is unharmed; `sonotheque report --store STORE --out FILE` "
            "writes the report again, elsewhere"
        ) from error


def _export_text(rows: Iterable[dict[str, Any]], target: Path) -> int:
    count = 0
    with target.open("w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, COLUMNS) if target.suffix.lower() == ".csv" else None
        if table:
            table.writeheader()
        for one in rows:
            if table:
                table.writerow({k: inert_value(v) for k, v in one.items()})
            else:
                handle.write(json.dumps(one, ensure_ascii=False) + "\n")
            count += 1
    return count


_SHEET_ROWS = 1_000_000  # Excel holds 1,048,576


def _export_xlsx(rows: Iterable[dict[str, Any]], target: Path) -> int:
    import xlsxwriter

    count = 0
    # No strings_to_formulas: a file may be named "=1+1.wav".
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(target), options) as book:
        bold = book.add_format({"bold": True})
        sheet: Any = None
        for one in rows:
            line = count % _SHEET_ROWS
            if line == 0:
                sheet = book.add_worksheet(f"recordings {count // _SHEET_ROWS + 1}")
                sheet.write_row(0, 0, COLUMNS, bold)
                sheet.freeze_panes(1, 1)
                sheet.set_column(0, 0, 50)
            sheet.write_row(line + 1, 0, [one[c] for c in COLUMNS])
            count += 1
        if sheet is None:
            book.add_worksheet("recordings 1").write_row(0, 0, COLUMNS, bold)
    return count


@dataclass(slots=True)
class Tally:
    """Counts outcomes while a run goes on.

    Attributes
    ----------
    files : int
        Inventory.
    outcomes : Counter
        By outcome.
    skipped, failed_kinds, noted : Counter
        Skipped files by reason, failed ones by status, done ones by status other than ``ok``.
    failures : list of dict
        ``{path, kind, reason}``.
    """

    files: int
    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed_kinds: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    time_issues: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    audio_s: float = 0.0
    windows: int = 0
    bytes_written: int = 0
    stages: StageSeconds = field(default_factory=StageSeconds)
    peaks: dict[str, int] = field(default_factory=dict)
    devices: Counter[str] = field(default_factory=Counter)

    def add_row(self, one: dict[str, Any], *, settled: bool = False) -> None:
        """Count one row of the report."""
        outcome = one["outcome"]
        self.outcomes[outcome] += 1
        if not settled:
            self.time_issues.update(filter(None, one["time_issues"].split("; ")))
        if outcome == Outcome.FAILED:
            self.failed_kinds[one["status"]] += 1
            self.failures.append({"path": one["path"], "kind": one["status"], "reason": one["reason"]})
        elif outcome == Outcome.SKIPPED:
            self.skipped[IN_STORE if settled else one["status"]] += 1
        else:
            self.audio_s += one["duration_s"]
            self.windows += one["windows"]
            if one["status"] != Status.OK:
                self.noted[one["status"]] += 1

    def add_task(self, outcome: TaskOutcome) -> None:
        """Count one task's bytes, stages and memory."""
        self.bytes_written += outcome.bytes_written
        self.stages += outcome.stages
        self.peaks[outcome.worker] = max(self.peaks.get(outcome.worker, 0), outcome.peak_rss_bytes)
        self.devices[outcome.device] += 1
