"""Moves recordings' times: another zone, another zone of the clock, a clock that was wrong. Vectorised; null stays null.

The rule of what a new zone leaves alone: a time that came from a file name or a table without an offset is a reading of the
recorder's wall clock, so the reading stands and UTC follows from the zone; a time whose source had an offset (GUANO, a recorder's
header, a name with an offset) is an instant, so UTC stands and local time follows. Where UTC is unknown there is only the reading.
"""

from __future__ import annotations

import polars as pl

_READINGS = ("name", "table")  # time sources without an offset of their own
AMBIGUOUS, NONEXISTENT = "ambiguous_local_time", "nonexistent_local_time"  # words of the recorders' issues


def set_zone(frame: pl.DataFrame, chosen: pl.Series, zone: str, keep: str = "auto") -> pl.DataFrame:
    """Give the chosen recordings a zone.

    Parameters
    ----------
    frame : DataFrame
        With the time columns of a recording.
    chosen : bool, (n,)
    zone : str
        IANA name.
    keep : str
        ``clock``, ``instant`` or ``auto``, as in :class:`SiteChange`.
    """
    reading = pl.col("utc_start").is_null()
    if keep == "clock":
        reading = pl.lit(True)
    elif keep == "auto":
        reading = reading | pl.col("time_source").is_in(_READINGS)
    has_time = pl.col("local_start").is_not_null()
    by_clock = frame.select((pl.lit(chosen) & reading & has_time).alias("c"))["c"]
    frame = _utc_from_local(frame, by_clock, zone)
    frame = frame.with_columns(zone=pl.when(pl.lit(chosen)).then(pl.lit(zone)).otherwise(pl.col("zone")))
    return local_from_utc(frame, chosen, zone)  # also of readings: one that never happened is an hour later


def set_clock_zone(frame: pl.DataFrame, chosen: pl.Series, clock_zone: str) -> pl.DataFrame:
    """Take the chosen recordings' readings as those of a clock in ``clock_zone``; local time follows where a zone is known."""
    reading = (pl.col("utc_start").is_null() | pl.col("time_source").is_in(_READINGS)) & pl.col(
        "local_start"
    ).is_not_null()
    taken = frame.select((pl.lit(chosen) & reading).alias("c"))["c"]
    frame = _utc_from_local(frame, taken, clock_zone)
    for zone in frame.filter(taken)["zone"].drop_nulls().unique().sort():
        frame = local_from_utc(frame, taken & (frame["zone"] == zone).fill_null(False), zone)
    return frame


def add_seconds(frame: pl.DataFrame, chosen: pl.Series, seconds: float) -> pl.DataFrame:
    """Add seconds to the chosen recordings' times; the sum stands in ``clock_offset_s``."""
    offset = pl.duration(microseconds=round(seconds * 1e6))
    frame = frame.with_columns(
        *(
            pl.when(pl.lit(chosen)).then(pl.col(c) + offset).otherwise(pl.col(c)).alias(c)
            for c in ("local_start", "utc_start")
        ),
        pl.when(pl.lit(chosen))
        .then(pl.col("clock_offset_s") + seconds)
        .otherwise(pl.col("clock_offset_s"))
        .alias("clock_offset_s"),
    )
    known = chosen & frame["utc_start"].is_not_null()
    for zone in frame.filter(known)["zone"].drop_nulls().unique().sort():  # over a change of the clocks
        frame = local_from_utc(frame, known & (frame["zone"] == zone).fill_null(False), zone)
    return frame


def local_from_utc(frame: pl.DataFrame, chosen: pl.Series, zone: str) -> pl.DataFrame:
    """Set local time and offset of the chosen recordings from UTC and a zone, where UTC is known."""
    local = pl.col("utc_start").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    taken = pl.lit(chosen) & pl.col("utc_start").is_not_null()
    return frame.with_columns(local_start=pl.when(taken).then(local).otherwise(pl.col("local_start"))).with_columns(
        utc_offset_min=pl.when(taken).then(_offset_min()).otherwise(pl.col("utc_offset_min"))
    )


def _offset_min() -> pl.Expr:
    apart = pl.col("local_start") - pl.col("utc_start").dt.replace_time_zone(None)
    return (apart.dt.total_seconds() / 60).round().cast(pl.Int32)


def _utc_from_local(frame: pl.DataFrame, chosen: pl.Series, zone: str) -> pl.DataFrame:
    """Set UTC and offset from the wall clock of a zone. Of a time that happened twice the first is taken; one that never
    happened is read with the offset before the change of the clocks; both are written down as issues.
    """
    local = pl.col("local_start")
    first = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    last = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    # An hour before it the old offset still held; there is no gap longer than a day.
    before = (local - pl.duration(days=1)).dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    ) + pl.duration(days=1)
    utc = pl.coalesce(first, before).dt.convert_time_zone("UTC")
    issue = pl.when(first.is_null()).then(pl.lit(NONEXISTENT)).when(first != last).then(pl.lit(AMBIGUOUS))
    others = pl.col("time_issues").list.set_difference([AMBIGUOUS, NONEXISTENT])
    issues = pl.when(issue.is_null()).then(others).otherwise(pl.concat_list(others, issue.fill_null("")))
    taken = pl.lit(chosen)
    return frame.with_columns(
        utc_start=pl.when(taken).then(utc).otherwise(pl.col("utc_start")),
        time_issues=pl.when(taken).then(issues).otherwise(pl.col("time_issues")),
    ).with_columns(utc_offset_min=pl.when(taken).then(_offset_min()).otherwise(pl.col("utc_offset_min")))
