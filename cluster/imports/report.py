"""The closing sum of an import: read back from the ledgers, so that it is the same however often it was interrupted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cluster.imports.index import WindowIndex
from store import Ledger, Snapshot, StoreConfig
from store.ledger import read_part

COUNTED = ("identical", "differing", "nonfinite", "zero", "without_predictions")


@dataclass(slots=True)
class ImportReport:
    """What an import did, and what there is of it in the store.

    Attributes
    ----------
    kind, path, store, model : str
    dry_run : bool
        Nothing was written; what is known of vectors alone is None.
    rows : int
        Rows of windows in the source.
    recordings, windows : int
        In the store, of this source. (Planned, in a dry run.)
    new, changed, settled : int
        Recordings that this run wrote for the first time, wrote anew, or found done.
    duplicates : dict
        Rows of a window that is there more than once, without the one that was kept: ``identical``, ``differing``.
    left_out : dict
        Rows or windows without a place in the store, by why.
    zero_vectors : int
        Windows whose vector is all zeros; they are kept.
    without_predictions : int or None
        Windows that have none; None for a store without predictions.
    without_time, without_utc : int
        Recordings whose start is not known; whose start is known and whose offset from UTC is not.
    sites : dict
        Recordings by site.
    parts, parts_written : int
        Of the store that hold the source's recordings; written by this run.
    bytes_before : dict
        Of the source's files, by what they hold, and ``total``.
    bytes_after : int or None
        Of the store's files, for these recordings alone.
    ratio, bytes_per_window : float or None
    annotations : dict
        ``added``, ``already_there``, ``unmatched`` (of recordings that are not in the store).
    damaged : dict
        Source file that was left out -> why.
    check : dict or None
        ``recordings``, ``windows``, ``missing``, ``cosine_min``, ``cosine_median``, ``ok``.
    sound : dict
        With ``--recordings``: files ``found`` and ``missing``.
    snapshot : int or None
    notes : list of str
    wall_s : float
    """

    kind: str
    path: str
    store: str
    model: str
    dry_run: bool = False
    rows: int = 0
    recordings: int = 0
    windows: int = 0
    new: int = 0
    changed: int = 0
    settled: int = 0
    duplicates: dict[str, int | None] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    zero_vectors: int | None = None
    without_predictions: int | None = None
    without_time: int | None = None
    without_utc: int | None = None
    sites: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    parts_written: int = 0
    bytes_before: dict[str, int] = field(default_factory=dict)
    bytes_after: int | None = None
    ratio: float | None = None
    bytes_per_window: float | None = None
    annotations: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    check: dict[str, Any] | None = None
    sound: dict[str, int] = field(default_factory=dict)
    snapshot: int | None = None
    notes: list[str] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether what was compared with the source agreed."""
        return self.check is None or bool(self.check["ok"])

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def add_stored(
    report: ImportReport, root: str, config: StoreConfig, index: WindowIndex, ledger: Ledger, snapshot: Snapshot
) -> None:
    """Add what the ledgers say of the source's recordings, and what they cost."""
    ids = index.ids()
    listed = {p.part_id: p for p in snapshot.parts}
    sums: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    recordings = windows = parts = 0
    cost = 0.0
    for part in ledger.parts.values():
        theirs = np.fromiter((f.recording_id for f in ledger.live_files(part)), np.int64)
        ours = set(theirs[ids[np.searchsorted(ids, theirs) % len(ids)] == theirs].tolist())
        if not ours:
            continue
        parts += 1
        rows = 0
        for file in read_part(root, part.embeddings).files:
            if file.recording_id not in ours or file.detail is None:
                continue
            imported, time = file.detail.get("imported") or {}, file.detail["time"]
            sums.update({name: int(imported.get(name, 0)) for name in COUNTED})
            sums["without_time"] += time["local_start"] is None
            sums["without_utc"] += time["local_start"] is not None and time["utc_start"] is None
            sites[part.site] += 1
            rows += file.windows
        recordings += len(ours)
        windows += rows
        # Others' rows of the same part (an embedded file, after compaction) are not this import's cost.
        share = rows / part.rows if part.rows else len(ours) / len(part.files)
        cost += listed[part.part_id].bytes * share
    report.recordings, report.windows, report.parts = recordings, windows, parts
    report.duplicates = {"identical": sums["identical"], "differing": sums["differing"]}
    report.left_out["nonfinite"] = sums["nonfinite"]
    report.zero_vectors = sums["zero"]
    report.without_predictions = sums["without_predictions"] if config.top_k else None
    report.without_time, report.without_utc = sums["without_time"], sums["without_utc"]
    report.sites = dict(sorted(sites.items()))
    report.bytes_after = round(cost)
    total = report.bytes_before["total"]
    report.ratio = round(cost / total, 4) if total else None
    report.bytes_per_window = round(cost / windows, 1) if windows else None
    report.snapshot = snapshot.number
