"""The rows of one unit of the catalog: windows and predictions with corrected place and time, read from the parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from sonotheque.core.errors import Damaged
from store.catalog.manifest import UnitFault
from store.reading import parquet
from store.snapshots import SnapshotPart
from store.sun import minutes_since, sun_events

# What a unit takes from the recordings; also what its digest covers, since nothing else of them changes its rows.
RECORDING_COLUMNS = (
    "part_id",
    "recording_id",
    "path",
    "deployment",
    "utc_start",
    "local_start",
    "zone",
    "latitude",
    "longitude",
)
_OWN_COLUMNS = ["recording_id", "start_sample", "start_s", "end_s", "valid_s"]
_STORED_TIMES = ["utc_start", "local_start"]
_PREDICTION_COLUMNS = ["recording_id", "start_sample", "rank", "label", "logit", "score"]
WINDOW_ORDER = ["local_start", "utc_start", "path", "start_sample"]
WINDOW_COLUMNS = (
    "recording_id",
    "start_sample",
    "path",
    "deployment",
    "date",
    "start_s",
    "end_s",
    "valid_s",
    "utc_start",
    "local_start",
    "minutes_since_sunrise",
    "minutes_since_sunset",
    "part_id",
    "part_row",
)
PREDICTION_COLUMNS = (
    "recording_id",
    "start_sample",
    "path",
    "deployment",
    "date",
    "utc_start",
    "local_start",
    "rank",
    "label",
    "logit",
    "score",
)


def read_columns(root: str, relative: str, columns: list[str]) -> pl.DataFrame:
    """Read small columns of a part's file.

    Raises
    ------
    Damaged
        If it cannot be read; the message names the file.
    """
    try:
        with parquet(f"{root}/{relative}") as file:
            table = file.read(columns=columns)
    except FileNotFoundError as error:
        raise UnitFault(relative, "is not there") from error
    except (OSError, pa.ArrowException) as error:
        raise UnitFault(relative, str(error)) from error
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise Damaged(f"{relative} does not hold a table")
    return frame


def window_rows(
    root: str, recordings: pl.DataFrame, parts: Mapping[str, SnapshotPart]
) -> tuple[pl.DataFrame, set[str]]:
    """Return a unit's windows, and the parts whose stored times are not those the windows have now.

    Parameters
    ----------
    root : str
    recordings : DataFrame
        The unit's, with ``RECORDING_COLUMNS``; corrected.
    parts : mapping
        Part id -> as the snapshot lists it.

    Returns
    -------
    windows : DataFrame
        ``WINDOW_COLUMNS``, ordered by ``WINDOW_ORDER``.
    moved : set of str
        Part ids.
    """
    read = [_part_windows(root, parts[part_id]) for part_id in recordings["part_id"].unique().sort()]
    stored = pl.concat(read) if read else None
    if stored is None:
        return _no_windows(), set()
    taken = recordings.select(RECORDING_COLUMNS).rename({t: f"recording_{t}" for t in _STORED_TIMES})
    rows = stored.join(taken, on=["part_id", "recording_id"], how="inner", maintain_order="left")
    rows = rows.rename({t: f"stored_{t}" for t in _STORED_TIMES})
    rows = _with_times(rows)
    moved = rows.filter(
        pl.col("utc_start").ne_missing(pl.col("stored_utc_start"))
        | pl.col("local_start").ne_missing(pl.col("stored_local_start"))
    )
    rows = _with_sun(rows)
    windows = rows.select(WINDOW_COLUMNS).sort(WINDOW_ORDER, nulls_last=True)
    return windows, set(moved["part_id"].unique())


def _part_windows(root: str, part: SnapshotPart) -> pl.DataFrame:
    frame = read_columns(root, part.embeddings, [*_OWN_COLUMNS, *_STORED_TIMES])
    return frame.with_columns(
        pl.lit(part.part_id).alias("part_id"), pl.int_range(pl.len(), dtype=pl.Int32).alias("part_row")
    )


def _with_times(rows: pl.DataFrame) -> pl.DataFrame:
    """Add each window's UTC and local time: a recording that runs through a change of the clocks changes with them."""
    offset = (pl.col("start_s") * 1e6).round(mode="half_to_even").cast(pl.Int64).cast(pl.Duration("us"))
    rows = rows.with_columns(utc_start=pl.col("recording_utc_start") + offset)
    naive = pl.col("recording_local_start") + offset
    local = naive
    for zone in rows["zone"].drop_nulls().unique().sort():
        there = pl.col("utc_start").dt.convert_time_zone(zone).dt.replace_time_zone(None)
        local = pl.when((pl.col("zone") == zone) & pl.col("utc_start").is_not_null()).then(there).otherwise(local)
    return rows.with_columns(local_start=local).with_columns(date=pl.col("local_start").dt.date())


def _with_sun(rows: pl.DataFrame) -> pl.DataFrame:
    n = rows.height
    rise, fall = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    places = rows.select("latitude", "longitude", "utc_start").with_row_index("at").drop_nulls()
    for (latitude, longitude), group in places.group_by("latitude", "longitude"):
        times = group["utc_start"].dt.replace_time_zone(None).to_numpy()
        first, last = group["utc_start"].dt.date().min(), group["utc_start"].dt.date().max()
        sunrises, sunsets = sun_events(latitude, longitude, first, last)  # type: ignore[arg-type]
        at = group["at"].to_numpy()
        rise[at], fall[at] = minutes_since(sunrises, times), minutes_since(sunsets, times)
    return rows.with_columns(
        pl.Series("minutes_since_sunrise", rise).fill_nan(None), pl.Series("minutes_since_sunset", fall).fill_nan(None)
    )


def prediction_rows(root: str, windows: pl.DataFrame, parts: Mapping[str, SnapshotPart]) -> pl.DataFrame:
    """Return the predictions of a unit's windows, ``PREDICTION_COLUMNS``, ordered by label, then as the windows, then rank."""
    read = [
        frame
        for part_id in windows["part_id"].unique().sort()
        if (frame := _part_predictions(root, parts[part_id])) is not None
    ]
    keys = ["part_id", "recording_id", "start_sample"]
    taken = windows.select(*keys, "path", "deployment", "date", "utc_start", "local_start")
    if not read:
        return _no_predictions()
    rows = pl.concat(read).join(taken, on=keys, how="inner", maintain_order="none")
    return rows.select(PREDICTION_COLUMNS).sort(["label", *WINDOW_ORDER, "rank"], nulls_last=True)


def _part_predictions(root: str, part: SnapshotPart) -> pl.DataFrame | None:
    if part.predictions is None:
        return None
    return read_columns(root, part.predictions, _PREDICTION_COLUMNS).with_columns(pl.lit(part.part_id).alias("part_id"))


_TYPES: dict[str, Any] = {
    "recording_id": pl.Int64,
    "start_sample": pl.Int64,
    "path": pl.String,
    "deployment": pl.String,
    "date": pl.Date,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "valid_s": pl.Float64,
    "utc_start": pl.Datetime("us", "UTC"),
    "local_start": pl.Datetime("us"),
    "minutes_since_sunrise": pl.Float32,
    "minutes_since_sunset": pl.Float32,
    "part_id": pl.String,
    "part_row": pl.Int32,
    "rank": pl.Int16,
    "label": pl.String,
    "logit": pl.Float32,
    "score": pl.Float32,
}


def _no_windows() -> pl.DataFrame:
    return empty(WINDOW_COLUMNS)


def _no_predictions() -> pl.DataFrame:
    return empty(PREDICTION_COLUMNS)


def empty(columns: Iterable[str]) -> pl.DataFrame:
    """Return a frame with columns of a unit's tables and no rows."""
    return pl.DataFrame(schema={name: _TYPES[name] for name in columns})
