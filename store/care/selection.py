"""Which parts compaction makes one of. Pure: it follows from the ledger, and a second run finds nothing more to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sonotheque.core.windows import WindowRule
from store.ledger import Ledger, Part

PART_AUDIO_S = 7200.0  # what a part of a large archive holds from the start (docs/design/0002)
PART_FILES_MAX = 2000  # bounds the footer, whatever the length of the files
MIN_PARTS = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Parts of one site and date to be rewritten as one.

    Attributes
    ----------
    site : str
    date : str or None
    parts : tuple of Part
        In order of their first path.
    rows, dropped_rows, files : int
        Live windows that are copied, superseded ones that are not, files with a live ledger entry.
    """

    site: str
    date: str | None
    parts: tuple[Part, ...]
    rows: int
    dropped_rows: int
    files: int


def target_rows(rule: WindowRule) -> int:
    """Return how many windows a compacted part should hold: those of two hours of audio."""
    return max(1, round(PART_AUDIO_S / rule.seconds(rule.hop_samples)))


def select(
    ledger: Ledger,
    target: int,
    *,
    min_parts: int = MIN_PARTS,
    files_max: int = PART_FILES_MAX,
) -> Iterator[Group]:
    """Yield the groups of parts to be rewritten, by site and date.

    Parts that hold less than half of ``target`` are merged until a part is full; parts with superseded rows are rewritten also
    if they are large. What comes out is neither, but for at most one small part of a site and date.

    Parameters
    ----------
    ledger : Ledger
    target : int
        From :func:`target_rows`.
    min_parts : int
        Fewer small parts than this are left as they are, unless one of them has superseded rows.
    files_max : int
        Files of a part at most.
    """
    parts = [p for p in ledger.parts.values() if not ledger.is_dead(p)]
    weighed = [_weigh(ledger, part) for part in sorted(parts, key=lambda p: (p.site, p.date or "", p.part_id))]
    for _, found in groupby(weighed, key=lambda w: (w.part.site, w.part.date)):
        small: list[_Weighed] = []
        for one in sorted(found, key=lambda w: (w.first_path, w.part.part_id)):
            if one.rows * 2 < target and one.files * 2 < files_max:
                small.append(one)
            elif one.dropped:
                yield _group([one])
        for members in _packed(small, target, files_max):
            if _is_worth_it(members, min_parts):
                yield _group(members)


def shrink(ledger: Ledger, group: Group, embeddings: str, min_parts: int = MIN_PARTS) -> Group | None:
    """Return a group without one of its parts; None if what is left is to stay as it is."""
    members = [_weigh(ledger, part) for part in group.parts if part.embeddings != embeddings]
    return _group(members) if _is_worth_it(members, min_parts) else None


@dataclass(frozen=True, slots=True)
class _Weighed:
    part: Part
    first_path: str
    rows: int
    dropped: int
    files: int


def _weigh(ledger: Ledger, part: Part) -> _Weighed:
    live = ledger.live_files(part)
    rows = sum(f.windows for f in live)
    return _Weighed(part, min(f.path for f in live), rows, part.rows - rows, len(live))


def _is_worth_it(members: list[_Weighed], min_parts: int) -> bool:
    return len(members) >= max(MIN_PARTS, min_parts) or any(one.dropped for one in members)


def _packed(small: Iterable[_Weighed], target: int, files_max: int) -> Iterator[list[_Weighed]]:
    """Yield runs of parts that fill one: a run that is closed is more than half full, so it is never taken again."""
    waiting: list[_Weighed] = []
    rows = files = 0
    for one in small:
        if waiting and (rows + one.rows > target or files + one.files > files_max):
            yield waiting
            waiting, rows, files = [], 0, 0
        waiting.append(one)
        rows, files = rows + one.rows, files + one.files
    if waiting:
        yield waiting


def _group(members: list[_Weighed]) -> Group:
    first = members[0].part
    return Group(
        first.site,
        first.date,
        tuple(one.part for one in members),
        sum(one.rows for one in members),
        sum(one.dropped for one in members),
        sum(one.files for one in members),
    )
