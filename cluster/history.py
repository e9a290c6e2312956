"""All jobs of a store, whatever became of them: read from their folders, of which any file may be missing or damaged."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Any

from cluster.history_table import SOURCE, JobRow, spread
from cluster.job import RUNNING, STOPPING, JobFolder, job_numbers
from cluster.options import REFERENCE, EmbedOptions
from embedder.engines.base import AUTO
from sonotheque.core.outcome import Outcome
from sonotheque.core.recording import printable_path
from store import read_config

_COLUMNS_OF_THEIR_OWN = {"sources", "store", "model", "workers"}
_HOUR_S = 3600.0
# Of an option that the environment may stand for, the default is what it is without one.
_DEFAULTS = {f.name: AUTO if f.default is MISSING else f.default for f in fields(EmbedOptions)}


def job_history(store: str, *, speeds: bool = False) -> list[JobRow]:
    """Return a row for each job of a store, oldest first: finished, stopped, failed, dead, running, or damaged.

    Parameters
    ----------
    store : str
    speeds : bool
        Also the spread of x-realtime over each job's parts: plans and reports are read, half a minute for a million files.

    Raises
    ------
    NotFound
        If the folder is not a store and has no job (kind ``no_store``).
    """
    numbers = job_numbers(store)
    if not numbers:
        read_config(store)
    return [_Look(JobFolder(store, number)).row(speeds=speeds) for number in numbers]


def _number(told: dict[str, Any], key: str) -> float | None:
    value = told.get(key)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if sound and value is not None else None


def _count(told: dict[str, Any], key: str) -> int | None:
    value = _number(told, key)
    return None if value is None else int(value)


def _text(value: Any) -> str:
    return printable_path(value) if isinstance(value, str) else "" if value is None else str(value)


def _counts(value: Any) -> dict[str, int]:
    told = value if isinstance(value, dict) else {}
    return {_text(kind): int(count) for kind in told if (count := _number(told, kind))}


def _at_s(event: dict[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(event.get("at"))).timestamp()
    except ValueError:
        return None


class _Look:
    """Looks at one job's folder."""

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._row = JobRow(SOURCE, printable_path(job.store), job.number)
        self._told, self._beat = self._object("job.json"), self._object("heartbeat.json")
        self._summary = self._object("summary.json")
        self._events = list(self._lines("events.jsonl"))

    def row(self, *, speeds: bool) -> JobRow:
        """Return what is known of it."""
        row, beat = self._row, self._beat
        row.state = self._state()
        row.started = _text(next((e.get("at") for e in self._events), beat.get("at")))
        self._machine()
        engine = next((e for e in reversed(self._events) if e.get("event") == "engine"), None)
        if engine:
            row.engine, row.precision = _text(engine.get("engine")) or REFERENCE, _text(engine.get("precision"))
        if self._summary:
            self._closed()
        else:
            self._open()
        self._settings()
        row.notes += [
            f"ended by an error: {_text(e.get('error'))}" for e in self._events if e.get("event") == "ended by an error"
        ]
        row.notes += [
            f"started again: {_text(e.get('text'))}" for e in self._events if e.get("event") == "started again"
        ]
        if speeds:
            row.part_x_min, row.part_x_mean, row.part_x_max = spread(self._part_speeds())
        return row

    def _machine(self) -> None:
        row, told = self._row, self._told.get("machine")
        facts = told if isinstance(told, dict) else {}
        row.machine = _text(self._beat.get("host") or facts.get("host"))
        cores, memory = _count(facts, "cores"), _number(facts, "memory_bytes")
        known = (
            _text(facts.get("cpu")),
            "" if cores is None else f"{cores:,} cores",
            "" if memory is None else f"{memory / 2**30:,.1f} GiB",
        )
        row.processor = ", ".join(filter(None, known))
        python = _text(facts.get("python"))
        row.system = ", ".join(filter(None, (_text(facts.get("system")), python and f"Python {python}")))

    def _object(self, name: str) -> dict[str, Any]:
        found = self._job.read_json(name)
        if not found and self._job.file(name).exists():
            self._row.notes.append(f"{name} cannot be read")
        return found

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a file of JSON lines as far as it can be read; a last line torn by a crash is left out."""
        file, bad = self._job.file(name), 0
        try:
            with (gzip.open if file.suffix == ".gz" else open)(
                file, "rt", encoding="utf-8", errors="replace"
            ) as handle:
                for line in handle:
                    try:
                        value = json.loads(line)
                    except ValueError:
                        bad += line.endswith("\n")
                        continue
                    if isinstance(value, dict):
                        yield value
                    else:
                        bad += 1
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, EOFError, zlib.error) as error:
            self._note(f"{name} cannot be read to its end: {error}")
        if bad:
            self._note(f"{name} has {bad:,} lines that cannot be read")

    def _note(self, text: str) -> None:
        if text not in self._row.notes:
            self._row.notes.append(text)

    def _state(self) -> str:
        try:
            state = self._job.state()
        except (KeyError, TypeError, ValueError, OverflowError):
            self._note("heartbeat.json makes no sense")
            return _text(self._summary.get("state")) or "unknown"
        return _text(self._summary.get("state")) or state if not self._beat else state

    def _closed(self) -> None:
        """Take over the closing sum."""
        row, told = self._row, self._summary
        for name in ("files", "done", "skipped", "failed", "pending", "windows", "bytes", "workers"):
            setattr(row, name, _count(told, name))
        audio_s = _number(told, "audio_s")
        row.hours = None if audio_s is None else round(audio_s / _HOUR_S, 6)
        row.wall_s, row.x_realtime = _number(told, "wall_s"), _number(told, "x_realtime")
        row.bytes_per_window = _number(told, "bytes_per_window") if row.windows else None
        row.failed_by_kind = _counts(told.get("failed_by_kind"))
        row.model, row.device = _text(told.get("model")), _text(told.get("device"))

    def _open(self) -> None:
        """Add up a job that left no closing sum: what it reported, the rest pending."""
        row = self._row
        outcomes: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        audio_s, windows = 0.0, 0
        for one in self._lines("report.jsonl"):
            outcome = str(one.get("outcome"))
            outcomes[outcome] += 1
            if outcome == Outcome.FAILED:
                kinds[_text(one.get("status"))] += 1
            elif outcome == Outcome.DONE:
                audio_s += _number(one, "duration_s") or 0.0
                windows += _count(one, "windows") or 0
        row.files = next((_count(e, "files") for e in self._events if e.get("event") == "started"), None)
        row.done, row.skipped = outcomes[Outcome.DONE], outcomes[Outcome.SKIPPED]
        row.failed, row.failed_by_kind = outcomes[Outcome.FAILED], dict(kinds)
        row.pending = None if row.files is None else max(row.files - row.done - row.skipped - row.failed, 0)
        row.hours, row.windows = round(audio_s / _HOUR_S, 6), windows
        row.bytes = self._bytes_so_far()
        row.bytes_per_window = round(row.bytes / windows, 1) if row.bytes and windows else None
        self._measure_wall(audio_s)
        alive = row.state in (RUNNING, STOPPING)
        self._note("so far" if alive else "no closing sum: added up from its report")

    def _bytes_so_far(self) -> int | None:
        """Return what its parts took, as its events have it; None if one of them does not say (an earlier version's)."""
        won = [_count(e, "bytes") for e in self._events if e.get("event") == "part" and e.get("won")]
        known = [size for size in won if size is not None]
        return sum(known) if won and len(known) == len(won) else None

    def _measure_wall(self, audio_s: float) -> None:
        times = [t for t in (*map(_at_s, self._events), _number(self._beat, "at_s")) if t is not None]
        if len(times) > 1 and times[-1] > times[0]:
            self._row.wall_s = round(times[-1] - times[0], 3)
            self._row.x_realtime = round(audio_s / self._row.wall_s, 2)
            self._note("wall time is from its first event to its last word")

    def _settings(self) -> None:
        row, options = self._row, self._told.get("options")
        if not isinstance(options, dict):
            return
        sources = options.get("sources")
        row.sources = [_text(s) for s in sources] if isinstance(sources, list) else []
        row.model = row.model or _text(options.get("model"))
        asked = _count(options, "workers")
        elsewhere = options.get("scheduler") or options.get("cluster")  # where others say how many there are
        row.workers = (asked or 1) if row.workers is None and not elsewhere else row.workers
        row.settings = {
            name: _text(value) if isinstance(value, str) else value
            for name, value in options.items()
            if name not in _COLUMNS_OF_THEIR_OWN and value != _DEFAULTS.get(name)
        }
        if asked is not None and asked != row.workers:
            row.settings["workers"] = asked

    def _part_speeds(self) -> list[tuple[float, float]]:
        """Return audio and x-realtime of each part that this job committed."""
        walls = {
            str(e.get("part")): wall_s
            for e in self._events
            if e.get("event") == "part" and e.get("won") and (wall_s := _number(e, "wall_s"))
        }
        if not walls:
            return []
        part_of = {
            printable_path(str(line.get("path"))): str(line.get("part_id"))
            for line in self._lines("plan.jsonl.gz")
            if str(line.get("part_id")) in walls
        }
        audio_s: dict[str, float] = dict.fromkeys(walls, 0.0)
        for one in self._lines("report.jsonl"):
            part = part_of.get(str(one.get("path")))
            if part and one.get("outcome") == Outcome.DONE:
                audio_s[part] += _number(one, "duration_s") or 0.0
        return [(audio, audio / walls[part]) for part, audio in audio_s.items() if audio > 0 and walls[part] > 0]
