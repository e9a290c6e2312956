"""What may go, and since when nobody needs it. Pure: snapshots and footers in, names out.

The clock is that of the snapshots: a part is out of use since the first snapshot that does not list it any more was written.
A part's own time says nothing of that (it may be superseded at any time later); it only tells which snapshots are older than the part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise

from store.ledger import Ledger, Part
from store.live import Held, choose

_WAVE_SHARED_MAX = 4  # parts of one recording in a wave: all their subsets are tried


@dataclass(frozen=True, slots=True)
class SeenSnapshot:
    """A snapshot as gc sees it.

    Attributes
    ----------
    number : int
    written_s : float
        When its file was written, in seconds since 1970.
    parts : frozenset of str or None
        Ids of the parts it lists; None if it cannot be read.
    whole : bool
        Whether every file it lists is there.
    """

    number: int
    written_s: float
    parts: frozenset[str] | None
    whole: bool = True


def kept_snapshots(snapshots: Sequence[SeenSnapshot], keep: int, grace_s: float, now_s: float) -> set[int]:
    """Return the numbers of the snapshots that stay.

    The newest ``keep`` that a reader can use; those that were the newest within the grace period, as a reader may have opened
    them then; and the one with the largest number, so that no number is ever given twice.

    Parameters
    ----------
    snapshots : sequence of SeenSnapshot
        Oldest first.
    """
    usable = [s.number for s in snapshots if s.parts is not None and s.whole]
    kept = set(usable[-keep:]) | {s.number for s in snapshots[-1:]}
    for snapshot, successor in pairwise(snapshots):
        if now_s - successor.written_s < grace_s:
            kept.add(snapshot.number)
    return kept


def unused_since(part_id: str, committed_s: float, snapshots: Sequence[SeenSnapshot]) -> float | None:
    """Return when the first snapshot that no longer lists a dead part was written; None if there is none yet.

    Parameters
    ----------
    part_id : str
    committed_s : float
        Time of the part's file: a snapshot from before says nothing of a part that none ever listed.
    snapshots : sequence of SeenSnapshot
        Oldest first. One that cannot be read may list anything.
    """
    since = None
    for snapshot in reversed(snapshots):
        if snapshot.parts is None or part_id in snapshot.parts or snapshot.written_s < committed_s:
            break
        since = snapshot.written_s
    return since


class Waves:
    """Puts parts that may go in an order in which no crash brings superseded rows back.

    A part whose rows of a recording are superseded may itself be the reason why older rows are, or what tells how long the chain of
    versions is. So a part is only removed if what is live stays the same without it. A *wave* is a set of parts of which any
    may be gone and any still there: between two waves the folders are forced to disk.

    Parameters
    ----------
    ledger : Ledger
    parts : sequence of Part
        That may go; all their files are superseded.
    """

    def __init__(self, ledger: Ledger, parts: Sequence[Part]) -> None:
        self._waiting = list(parts)
        self._gone: set[str] = set()
        self._live = {r: held[0] for r, held in ledger.live.items()}
        wanted = {f.recording_id for part in parts for f in part.files}
        self._holders: dict[int, list[Held]] = {}
        for part in ledger.parts.values():
            for entry in part.files:
                if entry.recording_id in wanted:
                    self._holders.setdefault(entry.recording_id, []).append((part.part_id, entry))

    def __iter__(self) -> Iterator[list[Part]]:
        """Yield waves; what is left over in ``held_back`` is still needed."""
        while True:
            wave: list[Part] = []
            names: set[str] = set()
            for part in self._waiting:
                if self._may_go(part, names):
                    wave.append(part)
                    names.add(part.part_id)
            if not wave:
                return
            self._waiting = [p for p in self._waiting if p.part_id not in names]
            yield wave
            self._gone |= names

    @property
    def held_back(self) -> list[Part]:
        """Parts that other superseded parts on disk are superseded by."""
        return self._waiting

    def _may_go(self, part: Part, wave: set[str]) -> bool:
        return all(self._stays(entry.recording_id, part.part_id, wave) for entry in part.files)

    def _stays(self, recording: int, name: str, wave: set[str]) -> bool:
        """Tell whether a recording's live rows stay the same without a part, whichever of the wave are gone too."""
        there = [held for held in self._holders[recording] if held[0] not in self._gone]
        shared = [held[0] for held in there if held[0] in wave]
        if len(shared) > _WAVE_SHARED_MAX:
            return False
        for gone in _subsets(shared):
            left = [held for held in there if held[0] != name and held[0] not in gone]
            chosen = choose(left) if left else None
            if (chosen and chosen[0]) != self._live.get(recording):
                return False
        return True


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))


def dead_parts(ledger: Ledger) -> list[Part]:
    """Return the parts all of whose files others replace, a file without windows like any other."""
    return sorted((p for p in ledger.parts.values() if p.files and ledger.is_dead(p)), key=lambda p: p.part_id)


def due(
    parts: Sequence[Part],
    snapshots: Sequence[SeenSnapshot],
    kept: set[int],
    committed_s: Mapping[str, float],
    grace_s: float,
    now_s: float,
) -> tuple[list[Part], list[Part], list[Part]]:
    """Split dead parts into those that may go, those that only a kept snapshot keeps, and those in their grace period.

    Parameters
    ----------
    parts : sequence of Part
        From :func:`dead_parts`.
    snapshots : sequence of SeenSnapshot
        Oldest first, all that are on disk.
    kept : set of int
        From :func:`kept_snapshots`.
    committed_s : mapping
        Part id -> time of its file.
    """
    may_go: list[Part] = []
    listed: list[Part] = []
    wait: list[Part] = []
    for part in parts:
        since = unused_since(part.part_id, committed_s[part.part_id], snapshots)
        is_listed = any(s.number in kept and (s.parts is None or part.part_id in s.parts) for s in snapshots)
        old = since is not None and now_s - since >= grace_s
        (wait if not old else listed if is_listed else may_go).append(part)
    return may_go, listed, wait
