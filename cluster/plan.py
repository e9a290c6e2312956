"""Packing recordings into parts: pure, and the same on any machine.

A part is about ``target_s`` of audio of one site and one local date. A part closes as soon as it holds that much, so its
end never depends on what comes after it: when committed parts drop out of a plan, the rest packs as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sonotheque.core.recording import Recording
from store import part_id

PART_AUDIO_S_MAX = 7200.0  # ~9,000 parts for a season of 10^6 one-minute files; one task costs the scheduler ~5 ms
PART_AUDIO_S_MIN = 300.0
PART_FILES_MAX = 2000  # bounds the footer, whatever the length of the files
_PARTS_WANTED = 32


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One part to be made: one task, one file.

    Attributes
    ----------
    part_id : str
    site : str
    date : str or None
        Local date ``YYYY-MM-DD``.
    recordings : tuple of Recording
        In path order.
    """

    part_id: str
    site: str
    date: str | None
    recordings: tuple[Recording, ...]

    @property
    def audio_s(self) -> float:
        """Seconds of audio as the headers say."""
        return sum(r.audio_s for r in self.recordings)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object: what a task is given."""
        return {
            "part_id": self.part_id,
            "site": self.site,
            "date": self.date,
            "recordings": [r.to_json() for r in self.recordings],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PartPlan:
        """Rebuild from :meth:`to_json`."""
        recordings = tuple(Recording.from_json(r) for r in value["recordings"])
        return cls(value["part_id"], value["site"], value["date"], recordings)


def part_target_s(inventory_s: float) -> float:
    """Return how much audio a part should hold.

    Two hours, and less for a small archive, so that every worker has something to do and progress is kept often. It
    follows from the whole inventory (done or not) and nothing else, and moves in powers of two, so that a resumed run
    packs as the first one did.
    """
    target = PART_AUDIO_S_MAX
    while target > PART_AUDIO_S_MIN and inventory_s / target < _PARTS_WANTED:
        target /= 2
    return max(target, PART_AUDIO_S_MIN)


def _place(recording: Recording) -> tuple[str, str]:
    date = recording.time.local_date
    return recording.site, date.isoformat() if date else ""


def pack(recordings: Iterable[Recording], store_digest: str, target_s: float) -> Iterator[PartPlan]:
    """Yield the parts of a plan, by site, date and path.

    Parameters
    ----------
    recordings : iterable of Recording
        Those that are still to be done.
    store_digest : str
        Digest of the store's settings; goes into the parts' ids.
    target_s : float
        From :func:`part_target_s`.
    """
    ordered = sorted(recordings, key=lambda r: (_place(r), r.source.path))
    for (site, date), group in groupby(ordered, key=_place):
        waiting: list[Recording] = []
        held_s = 0.0
        for recording in group:
            waiting.append(recording)
            held_s += recording.audio_s
            if held_s >= target_s or len(waiting) >= PART_FILES_MAX:
                yield PartPlan(part_id(store_digest, waiting), site, date or None, tuple(waiting))
                waiting, held_s = [], 0.0
        if waiting:
            yield PartPlan(part_id(store_digest, waiting), site, date or None, tuple(waiting))
