"""Detections: what every writer of a table reads: rows in the order of their recordings, block by block, with what is known of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from sonotheque.core.errors import Invalid, NotFound

_UTC = pl.Datetime("us", "UTC")
_LOCAL = pl.Datetime("us")
Types = dict[str, pl.DataType]

NEEDED: Final = ("path", "start_s", "end_s", "label", "score")
ROW_TYPES: Final[Types] = {
    "path": pl.String(),
    "start_s": pl.Float64(),
    "end_s": pl.Float64(),
    "label": pl.String(),
    "score": pl.Float64(),
    "recording_id": pl.Int64(),
    "site": pl.String(),
    "deployment": pl.String(),
    "utc_start": _UTC,
    "local_start": _LOCAL,
    "rank": pl.Int64(),
    "logit": pl.Float64(),
    "low_hz": pl.Float64(),
    "high_hz": pl.Float64(),
}
"""Columns of detections; all but ``NEEDED`` may be left out, and are null then."""

RECORDING_TYPES: Final[Types] = {
    "path": pl.String(),
    "duration_s": pl.Float64(),
    "recording_id": pl.Int64(),
    "site": pl.String(),
    "deployment": pl.String(),
    "sample_rate_hz": pl.Int64(),
    "channels": pl.Int64(),
    "container": pl.String(),
    "codec": pl.String(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
    "utc_start": _UTC,
    "local_start": _LOCAL,
    "recorder": pl.String(),
    "serial": pl.String(),
    "time_issues": pl.String(),
    "file": pl.String(),
}
"""Columns of recordings; ``file`` is where one lies now, its path if that is not known; only ``path`` is needed."""

_JOINED: Final = ("duration_s", "sample_rate_hz", "latitude", "longitude", "file")


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for every row, for columns that other programs want.

    Attributes
    ----------
    model, version : str
        Who says so.
    overlap_s : float or None
        Of one window with the next.
    sensitivity : float or None
        BirdNET's setting; None for models that have none.
    high_hz : float or None
        Highest frequency that the model hears.
    has_two_names : bool
        Labels are ``Strix aluco_Tawny Owl``; if not, an underscore is a character like any other.
    """

    model: str = ""
    version: str = ""
    overlap_s: float | None = None
    sensitivity: float | None = None
    high_hz: float | None = None
    has_two_names: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer wrote.

    Attributes
    ----------
    rows, files : int
    notes : tuple of str
        What the reader of the export should know.
    """

    rows: int
    files: int
    notes: tuple[str, ...] = ()


class Detections:
    """Detections of some recordings, in the order of the recordings.

    Parameters
    ----------
    recordings : pyarrow.Table
        One row a recording, also those without detections; columns of ``RECORDING_TYPES``, others are left out. Its
        order is the order of every export.
    blocks : iterable of pyarrow.Table or pyarrow.RecordBatch
        Columns of ``ROW_TYPES``. A recording's rows stand together, recordings in the order of ``recordings``.
    facts : Facts

    Attributes
    ----------
    recordings : polars.DataFrame
        ``RECORDING_TYPES`` and ``order``, the row's number.

    Raises
    ------
    Invalid
        If a column that is needed is not there, or a recording is there twice.

    Examples
    --------
    >>> Detections.of(hits, recordings)  # a table of any order                       # doctest: +SKIP
    """

    def __init__(
        self, recordings: pa.Table, blocks: Iterable[pa.Table | pa.RecordBatch], facts: Facts | None = None
    ) -> None:
        frame = _typed(_frame(recordings), RECORDING_TYPES, ("path",), "recordings")
        twice = frame.filter(pl.col("path").is_duplicated())
        if twice.height:
            raise Invalid(f"recordings: {twice['path'][0]} is there {frame['path'].eq(twice['path'][0]).sum()} times")
        self.recordings = frame.with_columns(file=pl.coalesce("file", "path")).with_row_index("order")
        self.facts = facts or Facts()
        self._blocks = blocks
        about = self.recordings.select("path", "order", *_JOINED, *(pl.col(c).alias(f"of_{c}") for c in _FALLBACK))
        self._about = about

    @classmethod
    def of(cls, rows: pa.Table, recordings: pa.Table, facts: Facts | None = None) -> Detections:
        """Return detections of a table of any order: sorted by recording, start and rank.

        Raises
        ------
        NotFound
            If a row's recording is not among ``recordings``.
        """
        frame = _typed(_frame(rows), ROW_TYPES, NEEDED, "detections")
        order = pl.DataFrame({"path": _frame(recordings)["path"]}).with_row_index("order")
        placed = frame.join(order, on="path", how="left", maintain_order="left")
        placed = placed.sort("order", "start_s", "rank", nulls_last=True, maintain_order=True)
        return cls(recordings, [placed.drop("order").to_arrow()], facts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in blocks, with what the writers need of their recordings. Iterate once.

        Yields
        ------
        polars.DataFrame
            ``ROW_TYPES``; ``order`` of the recording; its ``duration_s``, ``sample_rate_hz``, ``latitude``,
            ``longitude``, ``file``; ``end_cut_s``, the end of the window or of the sound; ``scientific`` and ``common``
            name (null without one). Site, deployment and times are the row's, else its recording's.

        Raises
        ------
        NotFound
            If a row's recording is not among the recordings.
        Invalid
            If rows are not in the order of the recordings, or a column that is needed is not there.
        """
        last = 0
        for block in self._blocks:
            rows = _typed(_frame(block), ROW_TYPES, NEEDED, "detections")
            if not rows.height:
                continue
            frame = rows.join(self._about, on="path", how="left", maintain_order="left")
            lost = frame.filter(pl.col("order").is_null())
            if lost.height:
                raise NotFound(f"detections: {lost['path'][0]} is not among the {self.recordings.height:,} recordings")
            order = frame["order"].cast(pl.Int64)
            if int(order[0]) < last or not order.is_sorted():
                raise Invalid("detections are not in the order of their recordings; Detections.of sorts a table")
            last = int(order[-1])
            yield _derived(frame, has_two_names=self.facts.has_two_names)


_FALLBACK: Final = ("recording_id", "site", "deployment", "utc_start", "local_start")


def _derived(frame: pl.DataFrame, *, has_two_names: bool) -> pl.DataFrame:
    since = (pl.col("start_s") * 1e6).round().cast(pl.Int64).cast(pl.Duration("us"))
    names = pl.col("label").str.splitn("_", 2)
    return frame.with_columns(
        pl.coalesce("recording_id", "of_recording_id").alias("recording_id"),
        pl.coalesce("site", "of_site").alias("site"),
        pl.coalesce("deployment", "of_deployment").alias("deployment"),
        pl.coalesce("utc_start", pl.col("of_utc_start") + since).alias("utc_start"),
        pl.coalesce("local_start", pl.col("of_local_start") + since).alias("local_start"),
        pl.min_horizontal("end_s", "duration_s").alias("end_cut_s"),
        (pl.coalesce(_filled(names.struct.field("field_0")), "label") if has_two_names else pl.col("label")).alias(
            "scientific"
        ),
        (_filled(names.struct.field("field_1")) if has_two_names else pl.lit(None, pl.String)).alias("common"),
    ).drop(f"of_{c}" for c in _FALLBACK)


def _filled(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _frame(table: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if isinstance(frame, pl.Series):
        raise Invalid("expected a table of rows, got one column")
    return frame


def _typed(frame: pl.DataFrame, types: Types, needed: tuple[str, ...], what: str) -> pl.DataFrame:
    """Return the known columns in their types, those that are not there as nulls."""
    if missing := [c for c in needed if c not in frame.columns]:
        raise Invalid(f"{what}: there is no column {missing[0]}; needed are {', '.join(needed)}")
    lists = [c for c, t in frame.schema.items() if isinstance(t, pl.List) and c in types]
    frame = frame.with_columns(pl.col(c).cast(pl.List(pl.String)).list.join("; ") for c in lists)
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind).alias(name)
        for name, kind in types.items()
    )
