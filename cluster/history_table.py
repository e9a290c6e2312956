"""One row a job, whichever program ran it: the columns, their sums over jobs, and the files they are written to."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cluster.report import require_target
from sonotheque.core.errors import Unavailable

SOURCE = "sonotheque"
TERMS = "true seconds of the files done; over the whole wall time, planning and start-up included"
ENDINGS = (".csv", ".json")
_HOUR_S = 3600.0


@dataclass(slots=True)
class JobRow:
    """A job of a store, or of another program's log. None, and empty text, stand for what is not known.

    Attributes
    ----------
    source : str
        The program that ran it.
    where : str
        The store, or the log.
    job : int
        Number of the job in ``where``.
    name : str
        What another program calls it.
    started : str
        ISO 8601, UTC; another program's as its log has it.
    state : str
        A state word of ``cluster/job.py``, or ``unknown``.
    files, done, skipped, failed, pending : int or None
        Of the inventory.
    hours : float or None
        Of audio, in the files done.
    windows : int or None
    wall_s, x_realtime : float or None
        Over the whole job, all workers together.
    part_x_min, part_x_mean, part_x_max : float or None
        Over the job's *parts*: a part's audio over the seconds of its task, so the speed of one worker. The mean is weighted by audio:
        ``sum(audio * x) / sum(audio)``.
    engine, precision, device : str
        What was chosen, and what the workers then said they run on.
    machine : str
        Host of the process that led the run.
    processor, system : str
        Its processor, cores and memory; its operating system and Python.
    workers : int or None
        Processes that embedded; of a run that has not ended, how many were asked for.
    failed_by_kind : dict
    bytes, bytes_per_window : int or None, float or None
        Written by the job.
    settings : dict
        Options that differ from their defaults.
    sources : list of str
        Folders and files that were embedded.
    terms : str
        What ``hours`` and ``x_realtime`` mean in this row.
    notes : list of str
        What is damaged, estimated or went wrong.
    """

    source: str
    where: str
    job: int
    name: str = ""
    started: str = ""
    state: str = "unknown"
    files: int | None = None
    done: int | None = None
    skipped: int | None = None
    failed: int | None = None
    pending: int | None = None
    hours: float | None = None
    windows: int | None = None
    wall_s: float | None = None
    x_realtime: float | None = None
    part_x_min: float | None = None
    part_x_mean: float | None = None
    part_x_max: float | None = None
    model: str = ""
    engine: str = ""
    precision: str = ""
    device: str = ""
    machine: str = ""
    processor: str = ""
    system: str = ""
    workers: int | None = None
    failed_by_kind: dict[str, int] = field(default_factory=dict)
    bytes: int | None = None
    bytes_per_window: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    terms: str = TERMS
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """Return the fields as cells of a table: mappings and lists as text."""
        told = self.to_json()
        told["failed_by_kind"] = counts_text(self.failed_by_kind)
        told["settings"] = settings_text(self.settings)
        return {**told, "sources": "; ".join(self.sources), "notes": "; ".join(self.notes)}


COLUMNS = tuple(f.name for f in fields(JobRow))


def counts_text(counts: dict[str, int]) -> str:
    """Return counts by kind as text, the largest first."""
    return "; ".join(f"{kind} {count}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))


def settings_text(settings: dict[str, Any]) -> str:
    """Return settings as text."""
    return "; ".join(f"{name}={value}" for name, value in settings.items())


def spread(speeds: Sequence[tuple[float, float]]) -> tuple[float | None, float | None, float | None]:
    """Return the least, the mean weighted by audio, and the greatest of speeds.

    Parameters
    ----------
    speeds : sequence of (float, float)
        Audio and x-realtime, both above 0.
    """
    if not speeds:
        return None, None, None
    mean = sum(audio * x for audio, x in speeds) / sum(audio for audio, _ in speeds)
    every = [x for _, x in speeds]
    return round(min(every), 2), round(mean, 2), round(max(every), 2)


def totals(rows: Iterable[JobRow]) -> list[dict[str, Any]]:
    """Add up the jobs of each program, never those of two: hours, wall time, and the spread of the jobs' own x-realtime.

    ``x_realtime`` is all audio over all wall time of the jobs that embedded something and tell both; ``job_x_mean`` weighs the
    jobs' speeds by their audio.
    """
    by_source: dict[str, list[JobRow]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    found = []
    for source, jobs in by_source.items():
        timed = [(j.hours, j.wall_s, j.x_realtime) for j in jobs if j.hours and j.wall_s and j.x_realtime]
        hours, wall_s = sum(h for h, _, _ in timed), sum(w for _, w, _ in timed)
        least, mean, most = spread([(h, x) for h, _, x in timed])
        found.append(
            {
                "source": source,
                "jobs": len(jobs),
                "done": sum(j.done or 0 for j in jobs),
                "hours": round(sum(j.hours or 0.0 for j in jobs), 6),
                "windows": sum(j.windows or 0 for j in jobs),
                "bytes": sum(j.bytes or 0 for j in jobs),
                "timed_jobs": len(timed),
                "wall_s": round(wall_s, 3),
                "x_realtime": round(hours * _HOUR_S / wall_s, 2) if wall_s else None,
                "job_x_min": least,
                "job_x_mean": mean,
                "job_x_max": most,
                "terms": jobs[0].terms,
            }
        )
    return found


def history_document(rows: Sequence[JobRow]) -> dict[str, Any]:
    """Return jobs and their sums as one JSON object."""
    return {"jobs": [row.to_json() for row in rows], "totals": totals(rows)}


def require_history_target(target: Path) -> None:
    """Look at where a history is to be written; raises as :func:`cluster.report.require_target`."""
    require_target("--out", target, ENDINGS)


def export_history(rows: Sequence[JobRow], target: Path) -> None:
    """Write jobs as ``.csv`` (one line a job) or ``.json`` (with their sums), by the ending.

    Raises
    ------
    Invalid, NotFound
        See :func:`require_history_target`.
    Unavailable
        If the file cannot be written.
    """
    from sonotheque.core.formulas import inert_value

    require_history_target(target)
    try:
        # A path may hold bytes that are no UTF-8: they are written as \udcXX.
        with target.open("w", encoding="utf-8", errors="backslashreplace", newline="") as handle:
            if target.suffix.lower() == ".json":
                handle.write(json.dumps(history_document(rows), indent=2) + "\n")
                return
            table = csv.DictWriter(handle, COLUMNS)
            table.writeheader()
            for row in rows:
                table.writerow({name: inert_value(value) for name, value in row.flat().items()})
    except OSError as error:
        raise Unavailable(
            f"the jobs cannot be written to {target}: {error}. The store is unharmed; choose another --out"
        ) from error
