"""A review as nouns: what is asked for, and the windows to judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from probes import Probe
from probes.picking import BINS_MAX
from search_api.questions.values import column_values
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean
from store.annotations.formats.words import REVIEW_MARK

HOWS: Final = ("top", "margin", "uncertain", "bins")
K: Final = 10
BINS: Final = 6
REVIEW_COLUMNS: Final = pa.schema(
    [
        ("rank", pa.int64()),
        ("score", pa.float32()),
        ("label", pa.string()),
        ("path", pa.string()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("valid_s", pa.float64()),
        ("utc_start", pa.timestamp("us", tz="UTC")),
        ("local_start", pa.timestamp("us")),
        ("stratum", pa.int64()),
        ("recording_id", pa.int64()),
        ("start_sample", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """Which windows are wanted.

    Attributes
    ----------
    how : str
        ``top``: the highest probabilities. ``margin``: nearest to the class's threshold. ``uncertain``: nearest to 0.5 and unlike each
        other. ``bins``: random ones of each score bin, from which calls can be counted.
    k : int or None
        Windows of each class; 10 by default, with ``bins`` 10 of each bin.
    label : str or None
        One class of the probe; all by default. ``bins`` needs one.
    where : SearchFilter
    bins : int
    seed : int
        Of the random choice.

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    how: str = "uncertain"
    k: int | None = None
    label: str | None = None
    where: SearchFilter = field(default_factory=SearchFilter)
    bins: int = BINS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise Invalid(f"--how {self.how}: {did_you_mean(self.how, HOWS)}")
        if self.k is not None and self.k < 1:
            raise Invalid(f"-k {self.k}: at least 1 window to judge")
        if not 1 <= self.bins <= BINS_MAX:
            raise Invalid(f"--bins {self.bins}: expected 1 to {BINS_MAX}")
        if self.seed < 0:
            raise Invalid(f"--seed {self.seed}: expected 0 or more")

    @property
    def wanted(self) -> int:
        """Windows of each class."""
        return self.k if self.k is not None else K * self.bins if self.how == "bins" else K


@dataclass(frozen=True, slots=True)
class Review:
    """Windows to judge.

    Attributes
    ----------
    store : str
    snapshot : int
    probe : Probe
    options : ReviewOptions
    labels : tuple of str
    windows : int
        That the filter means.
    judged : dict
        Label -> how many of them were judged before, and are left out.
    source, floor
        Of the probabilities; see :class:`search_api.probes.window_scores.WindowScores`.
    table : pyarrow.Table
        ``REVIEW_COLUMNS``, in the order in which to judge them.
    bins : list of dict
        For ``bins``: ``low, high, windows, known_positive, known_negative, picked``.
    number : int or None
        For ``bins``: of the record of the draw, which `probe density` counts with.
    notes : tuple of str
    """

    store: str
    snapshot: int
    probe: Probe
    options: ReviewOptions
    labels: tuple[str, ...]
    windows: int
    judged: dict[str, int]
    source: str
    floor: float
    table: pa.Table
    bins: list[dict[str, Any]] = field(default_factory=list)
    number: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """What the table's column ``review`` holds, and the annotations' provenance."""
        number = "" if self.number is None else f" {self.number}"
        return f"{REVIEW_MARK}{self.probe.name} version {self.probe.version} {self.options.how}{number}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        columns = {name: column_values(self.table[name]) for name in self.table.column_names}
        return {
            "store": self.store,
            "snapshot": self.snapshot,
            "probe": self.probe.name,
            "version": self.probe.version,
            "how": self.options.how,
            "k": self.options.wanted,
            "seed": self.options.seed,
            "labels": list(self.labels),
            "filter": self.options.where.to_json(),
            "windows": self.windows,
            "judged": self.judged,
            "scores_from": self.source,
            "floor": self.floor,
            "review": self.tag,
            "number": self.number,
            "bins": self.bins,
            "to_judge": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
            "notes": list(self.notes),
        }
