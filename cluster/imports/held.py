"""What a store has of an import already: which recordings are done, which have changed, which belong to somebody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from cluster.imports.index import Planned, WindowIndex
from cluster.imports.options import ImportOptions
from cluster.plan import PartPlan, pack, part_target_s
from sonotheque.core.errors import Conflict
from sonotheque.core.recording import Recording
from store import Ledger
from store.ledger import read_part

_FOOTERS_HELD = 8


class Held:
    """Looks recordings up in the ledger, with all that a footer says of them.

    Recordings come in the order of the parts, so a few footers are enough to hold.
    """

    def __init__(self, root: str, ledger: Ledger) -> None:
        self._root, self._ledger = root, ledger
        self._footers: dict[str, dict[int, dict[str, Any]]] = {}

    def entry(self, recording: int) -> tuple[str, dict[str, Any]] | None:
        """Return (id of the version, ledger entry) of a recording; None if the store has it not."""
        held = self._ledger.live.get(recording)
        if held is None:
            return None
        name, file = held
        if name not in self._footers:
            while len(self._footers) >= _FOOTERS_HELD:
                del self._footers[next(iter(self._footers))]
            part = read_part(self._root, self._ledger.parts[name].embeddings)
            self._footers[name] = {f.recording_id: f.detail or {} for f in part.files}
        # Compaction moves rows; what a newer version replaces is the part they were first committed in.
        return file.origin or name, self._footers[name][recording]


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part to be made, and its recordings as the index counts them, in the same order."""

    plan: PartPlan
    planned: tuple[Planned, ...]


@dataclass(slots=True)
class ImportPlan:
    """Counts what :func:`plan_parts` meets: recordings ``new``, ``settled`` and ``changed``, and windows to write."""

    new: int = 0
    settled: int = 0
    changed: int = 0
    windows: int = 0
    parts: int = 0


def plan_parts(
    index: WindowIndex, held: Held, options: ImportOptions, store_digest: str, counts: ImportPlan
) -> Iterator[PlannedPart]:
    """Yield the parts that are still to be made, in order; the same whatever was imported before.

    Raises
    ------
    Conflict
        (``path_conflict``) If the store has another recording under a path, or another version of one and ``--replace`` was
        not said.
    """
    target_s = part_target_s(index.totals()[3])
    for _, group in groupby(index.planned(), key=lambda p: (p.site, p.date)):
        waiting: list[Recording] = []
        of_path: dict[str, Planned] = {}
        for planned in group:
            recording = Recording.from_json(json.loads(planned.text))
            replaces = _replaces(planned, recording, held, options)
            if replaces is None:
                counts.settled += 1
                continue
            counts.changed += bool(replaces)
            counts.new += not replaces
            counts.windows += planned.windows
            waiting.append(replace(recording, replaces=replaces))
            of_path[recording.source.path] = planned
        for part in pack(waiting, store_digest, target_s):
            counts.parts += 1
            yield PlannedPart(part, tuple(of_path[r.source.path] for r in part.recordings))


def _replaces(planned: Planned, recording: Recording, held: Held, options: ImportOptions) -> tuple[str, ...] | None:
    """Return which parts' rows of a recording are superseded; None if it is in the store as it is."""
    found = held.entry(planned.recording)
    if found is None:
        return ()
    version, entry = found
    imported = entry.get("imported") or {}
    if imported.get("from") != options.kind or imported.get("name") != planned.name or entry["path"] != planned.path:
        before = (
            f"imported from {imported['from']}, where it is {imported['name']}"
            if imported
            else "embedded from its sound"
        )
        raise Conflict(
            f"{planned.path} is in {options.store} already, {before}; this import has {planned.name} and would store it under the same name. "
            "Give this import's files a name of their own with --prefix NAME, or leave out more with --root DIR",
            kind="path_conflict",
        )
    source = recording.source
    sound = (source.size_bytes, source.mtime_ns)
    # An import that had the sound at hand knows more than one that has not.
    same_sound = sound in ((entry["size_bytes"], entry["mtime_ns"]), (0, 0))
    if same_sound and imported.get("fingerprint") == planned.fingerprint:
        return None
    if not options.replace:
        what = "its rows have changed since" if same_sound else "its sound file is at hand now, or has changed"
        raise Conflict(
            f"{planned.path} was imported before, and {what}: say --replace to let what is there now take the place of what was imported",
            kind="path_conflict",
        )
    return (version,)
