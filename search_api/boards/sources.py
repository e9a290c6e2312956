"""What happened to a job, read from its own file, or from the heartbeat of a run that the command line started."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cluster.job import JobFolder
from search_api.boards.records import ENDED, Record
from search_api.boards.store_runs import progress_of, seen_run

STATE, PROGRESS, NOTE = "state", "progress", "note"
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job.

    Attributes
    ----------
    id : int
        Grows from event to event of a job; what a watcher gives to go on behind it.
    name : str
        ``state``, ``progress`` or ``note``.
    data : dict
    """

    id: int
    name: str
    data: dict[str, Any]


class Source(Protocol):
    """Where a job's events come from."""

    def start(self) -> int:
        """Return the id of the last event so far."""

    def backlog(self, after: int, upto: int) -> list[Event]:
        """Return what somebody who joins now should know first: all states and notes between two ids, and the last progress."""

    def news(self, after: int) -> tuple[list[Event], int]:
        """Return the events behind an id, and the id of the last one."""

    def over(self) -> str | None:
        """Return the state of a job that has ended; None if it has not."""


class LogSource:
    """The events of a job of the board; an id is the place in its file behind the event.

    Parameters
    ----------
    record : Record
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._path = record.folder / "events.jsonl"

    def start(self) -> int:
        """Return the id of the last event so far."""
        with self._path.open("rb") as handle:
            data = handle.read()
        return data.rfind(b"\n") + 1

    def backlog(self, after: int, upto: int) -> list[Event]:
        """Return states, notes and the last progress between two ids; from the beginning if the first is no event's."""
        found: list[Event] = []
        at = self._known(after, upto)
        while at < upto:
            events, next_at = self._read(at, upto)
            if next_at == at:
                break
            found, at = found + events, next_at
        last = max((e.id for e in found if e.name == PROGRESS), default=0)
        return [e for e in found if e.name != PROGRESS or e.id == last]

    def news(self, after: int) -> tuple[list[Event], int]:
        """Return the events behind an id, and the id of the last one."""
        return self._read(after, None)

    def over(self) -> str | None:
        """Return the state of a job that has ended; None if it has not."""
        state = self._record.state()
        return state if state in ENDED else None

    def _known(self, after: int, upto: int) -> int:
        if not 0 < after <= upto:
            return 0
        with self._path.open("rb") as handle:
            handle.seek(after - 1)
            return after if handle.read(1) == b"\n" else 0

    def _read(self, start: int, end: int | None) -> tuple[list[Event], int]:
        size = _READ_BYTES if end is None else min(_READ_BYTES, end - start)
        with self._path.open("rb") as handle:
            handle.seek(start)
            data = handle.read(size)
        found, at = [], start
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            at += len(line)
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and told.get("event") in (STATE, PROGRESS, NOTE):
                    found.append(Event(at, told.pop("event"), told))
        return found, at


class RunSource:
    """The events of a run that the command line started, from its heartbeat; an id is the beat's time in milliseconds.

    Parameters
    ----------
    folder : JobFolder
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._state = ""

    def start(self) -> int:
        """Return the id of the last beat so far."""
        return self._beat()[0]

    def backlog(self, after: int, upto: int) -> list[Event]:
        """Return the state, and how far it is."""
        at, beat = self._beat()
        state = Event(at, STATE, {"state": seen_run(self._folder.store, self._folder.number).state})
        progress = progress_of(beat)
        return [state] if progress is None else [state, Event(at, PROGRESS, progress)]

    def news(self, after: int) -> tuple[list[Event], int]:
        """Return what changed since a beat."""
        at, beat = self._beat()
        found = []
        progress = progress_of(beat) if at > after else None
        if progress is not None:
            found.append(Event(at, PROGRESS, progress))
        return found, max(at, after)

    def over(self) -> str | None:
        """Return the state of a run that has ended; None if it has not."""
        state = seen_run(self._folder.store, self._folder.number).state
        return state if state in ENDED else None

    def _beat(self) -> tuple[int, dict[str, Any]]:
        beat = self._folder.read_json("heartbeat.json")
        return int(1000 * float(beat.get("at_s", 0.0))), beat
