"""Recordings' times from what their clocks showed, the zones and the seconds to add. Vectorised; null stays null.

``sonotheque.core.clock.local_to_utc`` is the rule for the hours in which the clocks change; this is the same rule for columns.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from sonotheque.core.clock import AMBIGUOUS, NONEXISTENT
from store.metadata.readings import with_readings

# What times follow from.
TIME_FACTS = (
    *("path", "time_source", "time_issues", "stored_local_start", "stored_utc_start", "stored_zone"),
    *("zone", "clock_offset_s", "_clock_zone", "_reading"),
)


def with_facts(recordings: pl.DataFrame) -> pl.DataFrame:
    """Add what changes speak of: the stored values, and what is said of each clock (nothing yet).

    Columns added: ``stored_site, stored_local_start, stored_utc_start, stored_zone``; ``clock_offset_s`` (float64); ``_clock_zone``
    (String, null: the site's); ``_reading`` (bool: an offset that was recorded does not count); ``_taken, _issue`` (see
    :func:`store.metadata.matching.match_deployments`).
    """
    return recordings.with_columns(
        *(pl.col(name).alias(f"stored_{name}") for name in ("site", "local_start", "utc_start", "zone")),
        clock_offset_s=pl.lit(0.0),
        _clock_zone=pl.lit(None, pl.String),
        _reading=pl.lit(False),
        _taken=pl.lit(None, pl.Int32),
        _issue=pl.lit(None, pl.String),
    )


def with_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Return recordings with the times that follow from what is said; those of which nothing is said keep theirs as they are.

    Parameters
    ----------
    frame : DataFrame
        From :func:`with_facts`, the facts changed.
    """
    said = frame.select(
        said=(pl.col("clock_offset_s") != 0)
        | pl.col("zone").ne_missing(pl.col("stored_zone"))
        | pl.col("_clock_zone").is_not_null()
        | pl.col("_reading")
    )["said"]
    if not said.any():
        return frame
    moved = derive(with_readings(frame.filter(said).select(TIME_FACTS)))
    issues = issues_but(AMBIGUOUS, NONEXISTENT)
    doubt = pl.col("_doubt")
    moved = moved.with_columns(
        time_issues=pl.when(doubt.is_null()).then(issues).otherwise(pl.concat_list(issues, doubt.fill_null("")))
    )
    at = said.arg_true()
    return frame.with_columns(
        patched(frame[name], at, moved[name]) for name in ("local_start", "utc_start", "utc_offset_min", "time_issues")
    )


def issues_but(*words: str) -> pl.Expr:
    """Return the issues of recordings without some words."""
    return pl.col("time_issues").list.eval(pl.element().filter(~pl.element().is_in(list(words))))


def patched(column: pl.Series, at: pl.Series, values: pl.Series) -> pl.Series:
    """Return a column with other values at some places."""
    if at.len() == column.len():
        return values.alias(column.name)
    if column.dtype not in (pl.List(pl.String), pl.String):
        return column.scatter(at, values)
    source = pl.int_range(column.len(), eager=True).scatter(at, column.len() + pl.int_range(at.len(), eager=True))
    return (
        pl.concat([column, values]).gather(source).alias(column.name)
    )  # scatter takes no lists, and is slow for texts


def derive(frame: pl.DataFrame) -> pl.DataFrame:
    """Set ``local_start, utc_start, utc_offset_min`` and ``_doubt`` from ``_wall, _fixed, _clock_zone, zone`` and ``clock_offset_s``.

    Seconds are added to what the clock showed, not to the instant: a clock that was reset to a winter day is put right by the
    difference that a person reads off.
    """
    added = pl.duration(microseconds=(pl.col("clock_offset_s") * 1e6).round().cast(pl.Int64))
    fixed = pl.col("_fixed").is_not_null()
    frame = frame.with_columns(
        _wall=pl.col("_wall") + added,
        utc_start=pl.col("_fixed") + added,
        _doubt=pl.lit(None, pl.String),
        _asked=pl.when(fixed | pl.col("_wall").is_null()).then(None).otherwise(pl.coalesce("_clock_zone", "zone")),
        local_start=pl.when(fixed).then(pl.col("stored_local_start") + added).otherwise(pl.col("_wall") + added),
    )
    frame = _by_zone(frame, "_asked", _utc_from_wall)
    frame = frame.with_columns(_shown=pl.when(pl.col("utc_start").is_not_null()).then(pl.col("zone")))
    frame = _by_zone(frame, "_shown", lambda zone: {"local_start": _in_zone("utc_start", zone)})
    apart = pl.col("local_start") - pl.col("utc_start").dt.replace_time_zone(None)
    return frame.with_columns(utc_offset_min=(apart.dt.total_seconds() / 60).round().cast(pl.Int32))


def _by_zone(frame: pl.DataFrame, zones: str, made: Callable[[str], dict[str, pl.Expr]]) -> pl.DataFrame:
    """Set columns by expressions that need one zone at a time; rows whose zone is null stay as they are."""
    known = frame[zones].drop_nulls().unique()
    if known.is_empty():
        return frame
    if known.len() == 1 and not frame[zones].null_count():
        return frame.with_columns(**made(known[0]))
    groups = frame.with_row_index("_row").partition_by(zones, as_dict=True)
    set_ = [group if zone is None else group.with_columns(**made(zone)) for (zone,), group in groups.items()]
    return pl.concat(set_).sort("_row").drop("_row")


def _in_zone(utc: str, zone: str) -> pl.Expr:
    return pl.col(utc).dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _utc_from_wall(zone: str) -> dict[str, pl.Expr]:
    wall = pl.col("_wall")
    first = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    last = wall.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    # A time that never happened is read with the offset of the day before: no gap is longer than a day.
    day = pl.duration(hours=24)
    before = (wall - day).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null") + day
    doubt = pl.when(first.is_null()).then(pl.lit(NONEXISTENT)).when(first != last).then(pl.lit(AMBIGUOUS))
    return {"utc_start": pl.coalesce(first, before).dt.convert_time_zone("UTC"), "_doubt": doubt}
