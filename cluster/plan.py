"""Packing recordings into parts: pure, and the same on any machine.

A part is about ``target_s`` of audio of one site and one local date. A part closes as soon as it holds that much, so its
end never depends on what comes after it: when committed parts drop out of a plan, the rest packs as before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cluster.recordings import Recordings
from sonotheque.core.recording import Recording
from store.ledger import part_id_of

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
    listed = recordings if isinstance(recordings, Recordings) else Recordings(recordings)
    return Packed(listed).pack(store_digest, target_s)


@dataclass(frozen=True, slots=True)
class Outline:
    """A part without its recordings: their numbers in the list they were packed from."""

    part_id: str
    site: str
    date: str | None
    numbers: array[int]


class Packed:
    """The parts of one run, kept as outlines: a part is made when it is planned, and again when its task is sent.

    Parameters
    ----------
    recordings : Recordings
        Not to be changed afterwards.
    """

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self.outlines: list[Outline] = []

    def pack(self, store_digest: str, target_s: float) -> Iterator[PartPlan]:
        """Yield the parts as :func:`pack` does, and keep the outline of each."""
        return map(self._part, self.outline(store_digest, target_s))

    def outline(self, store_digest: str, target_s: float) -> Iterator[Outline]:
        """Yield the parts' outlines alone, in the same order, and keep them."""
        for site, date, numbers in self._cut(target_s):
            identity = part_id_of(store_digest, map(self._recordings.identity, numbers))
            outline = Outline(identity, site, date, array("I", numbers))
            self.outlines.append(outline)
            yield outline

    def _cut(self, target_s: float) -> Iterator[tuple[str, str | None, list[int]]]:
        for site, date, numbers in self._recordings.places():
            waiting: list[int] = []
            held_s = 0.0
            for number in sorted(numbers, key=self._recordings.path):
                waiting.append(number)
                held_s += self._recordings.audio_s[number]
                if held_s >= target_s or len(waiting) >= PART_FILES_MAX:
                    yield site, date, waiting
                    waiting, held_s = [], 0.0
            if waiting:
                yield site, date, waiting

    def __iter__(self) -> Iterator[PartPlan]:
        """Make the parts again, one by one."""
        return map(self._part, self.outlines)

    def _part(self, outline: Outline) -> PartPlan:
        recordings = tuple(self._recordings[number] for number in outline.numbers)
        return PartPlan(outline.part_id, outline.site, outline.date, recordings)

    def __len__(self) -> int:
        return len(self.outlines)
