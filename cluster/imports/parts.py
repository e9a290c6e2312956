"""Building one part of an import: its windows, their predictions beside them, and every recording accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.imports.choosing import Chosen, blocks, choose, part_of
from cluster.imports.held import PlannedPart
from cluster.imports.index import Planned, WindowIndex, Windows
from cluster.imports.source import Source
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from sonotheque.core.recording import Recording
from store import Committed, PartWriter, StoreConfig, TopClasses, WindowRows, ledger_entry


@dataclass(slots=True)
class _Sums:
    """What is counted of one recording while its rows go by."""

    windows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    top: TopLabel | None = None


@dataclass(frozen=True, slots=True)
class _Guessed:
    """The guesses for all rows of a part: ``top.index`` is -1 where there is none."""

    classes: tuple[str, ...]
    top: TopClasses | None


class PartBuilder:
    """Builds the parts of one import.

    Parameters
    ----------
    store : str
    config : StoreConfig
    source : Source
    index : WindowIndex
    """

    def __init__(self, store: str, config: StoreConfig, source: Source, index: WindowIndex) -> None:
        self._store, self._config, self._source, self._index = store, config, source, index

    def build(self, part: PlannedPart) -> Committed:
        """Read, write and commit a part.

        Raises
        ------
        SonothequeError
            Nothing of the part is then in the store.
        """
        plan = part.plan
        rows = self._index.windows([p.number for p in part.planned])
        guessed = self._guessed(rows)
        recordings = {p.number: r for p, r in zip(part.planned, plan.recordings, strict=True)}
        sums = {number: _Sums() for number in recordings}
        with PartWriter(
            self._store,
            self._config,
            part_id=plan.part_id,
            site=plan.site,
            date=plan.date,
            classes=guessed.classes,
        ) as writer:
            for block in blocks(rows):
                here = part_of(rows, block)
                chosen = choose(here, self._source)
                for why, numbers in chosen.dropped.items():
                    for number, n in zip(*np.unique(numbers, return_counts=True), strict=True):
                        sums[int(number)].counts[why] += int(n)
                for number, of_one in _by_recording(here, chosen):
                    at = block.start + chosen.kept[of_one]
                    self._write(writer, recordings[number], rows, at, chosen.vectors[of_one], guessed, sums[number])
            return writer.commit(self._entries(part, sums))

    def _guessed(self, rows: Windows) -> _Guessed:
        top_k = self._config.top_k
        found = self._source.guesses(rows.place) if top_k and len(rows.place) else None
        if found is None:
            return _Guessed((), None)
        classes = tuple(sorted(found.names))
        place = {name: i for i, name in enumerate(classes)}
        ours = np.array([*(place[name] for name in found.names), -1], np.int32)  # -1 finds the -1 at the end
        top = TopClasses(ours[found.index[:, :top_k]], found.logit[:, :top_k], found.score[:, :top_k])
        return _Guessed(classes, top)

    def _write(
        self,
        writer: PartWriter,
        recording: Recording,
        rows: Windows,
        at: NDArray[np.int64],
        vectors: NDArray[np.float32],
        guessed: _Guessed,
        sums: _Sums,
    ) -> None:
        """Add some windows of one recording; ``at``: which rows."""
        top, classes = guessed.top, guessed.classes
        sums.windows += len(at)
        sums.counts["zero"] += int((~vectors.any(axis=1)).sum())
        count = np.zeros(len(at), np.int64) if top is None else (top.index[at] >= 0).sum(axis=1)
        if self._config.top_k:
            sums.counts["without_predictions"] += int((count == 0).sum())
        # Windows with the same number of guesses are written together.
        for a, b in pairwise([0, *(np.flatnonzero(np.diff(count)) + 1).tolist(), len(at)]):
            run, k = at[a:b], int(count[a])
            some = TopClasses(top.index[run, :k], top.logit[run, :k], top.score[run, :k]) if top and k else None
            writer.add(WindowRows(recording, rows.start[run], rows.valid[run], vectors[a:b], some))
            if some:
                best = int(some.score[:, 0].argmax())
                score = float(some.score[best, 0])
                if sums.top is None or score > sums.top.score:
                    start_s = self._config.windows.seconds(int(rows.start[run[best]]))
                    sums.top = TopLabel(classes[int(some.index[best, 0])], score, start_s)

    def _entries(self, part: PlannedPart, sums: dict[int, _Sums]) -> list[dict[str, Any]]:
        rule = self._config.windows
        entries: list[dict[str, Any]] = []
        first_row = 0
        for recording, planned in zip(part.plan.recordings, part.planned, strict=True):
            found = sums[planned.number]
            duration_s = planned.stop / (rule.sample_rate_hz * rule.rate_factor)
            entry = ledger_entry(
                recording,
                self._summary(planned, found.windows, duration_s),
                windows=found.windows,
                first_row=first_row,
                top=found.top,
            )
            names = ("identical", "differing", "nonfinite", "zero", "without_predictions")
            entry["imported"] = {
                "from": self._source.kind,
                "name": planned.name,
                "fingerprint": planned.fingerprint,
                **{name: found.counts[name] for name in names},
            }
            entries.append(entry)
            first_row += found.windows
        return entries

    def _summary(self, planned: Planned, windows: int, duration_s: float) -> DecodeSummary:
        kind = self._source.kind
        if windows:
            return DecodeSummary(Status.OK, f"imported from {kind}", duration_s=duration_s)
        if planned.rows:
            return DecodeSummary(Status.MODEL_ERROR, f"every vector that {kind} has of it holds NaN or infinity")
        if planned.source_rows:
            why = f"{kind} has {planned.source_rows} windows of it, all with too little sound"
            return DecodeSummary(Status.TOO_SHORT, why)
        return DecodeSummary(Status.MODEL_ERROR, f"{kind} has no vector of it")


def _by_recording(rows: Windows, chosen: Chosen) -> list[tuple[int, slice]]:
    """Return (number, slice of the chosen windows) of each recording of a block."""
    numbers = rows.number[chosen.kept]
    if not len(numbers):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return [(int(numbers[a]), slice(a, b)) for a, b in pairwise(cuts)]
