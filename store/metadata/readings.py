"""What a recording's clock showed, and whether its instant is known without a zone of ours: the facts that corrections start from.

A footer has local time, UTC, the site's zone, and the kind of source that the time came from. From these:

- GUANO, a recorder's header, a name with an offset: the source said how far its clock was from UTC. UTC stands whatever zone is said.
- A file's name, stored with a zone: UTC followed from that zone, unless the digits in the name are those of another clock. Then the
  zone of the recorder's clock was given when it was embedded (UTC for most AudioMoths), and UTC stands.
- A table of times, stored with a zone: a reading too. (That the table had offsets cannot be seen any more.)
- Any of them with UTC and without a zone: an offset or the clock's zone was given, and UTC stands.
- Without UTC: a reading of a clock of which nothing is known.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from sonotheque.core.clock import NONEXISTENT

_READ: Final = ("name", "table")  # sources that may have had no offset of their own
# Offsets in civil use are multiples of a quarter of an hour; the likeliest first.
_OFFSETS_MIN: Final = tuple(sorted(range(-12 * 60, 14 * 60 + 1, 15), key=lambda m: (m % 60 != 0, abs(m))))
_STAMP: Final = "%y%m%d%H%M"


def with_readings(frame: pl.DataFrame) -> pl.DataFrame:
    """Add ``_wall``, what the clock showed, and ``_fixed``, UTC where it stands whatever zone is said.

    Parameters
    ----------
    frame : DataFrame
        As stored: ``path, time_source, time_issues``, and ``stored_local_start, stored_utc_start, stored_zone``; ``_reading``
        (bool) where offsets are not to be believed.

    Returns
    -------
    DataFrame
        ``_wall`` is Datetime(us), ``_fixed`` is Datetime(us, UTC); null where there is none.
    """
    zoned = pl.col("stored_utc_start").is_not_null() & pl.col("stored_zone").is_not_null()
    read = pl.col("time_source").is_in(_READ)
    frame = frame.with_columns(_wall=pl.col("stored_local_start"), _fixed=pl.col("stored_utc_start"))
    asked = frame.select(asked=zoned & ((pl.col("time_source") == "name") | pl.col("_reading")))["asked"]
    named = _unknown(frame.height)
    if asked.any():
        named = named.scatter(asked.arg_true(), _shown(frame.filter(asked)))
    frame = frame.with_columns(_named=named)
    never = pl.col("time_issues").list.contains(NONEXISTENT)
    elsewhere = (pl.col("_named") != pl.col("_wall")).fill_null(False) & ~never
    derived = zoned & read & ~elsewhere
    return frame.with_columns(
        _wall=pl.coalesce("_named", "_wall"),
        _fixed=pl.when(derived | pl.col("_reading")).then(None).otherwise(pl.col("_fixed")),
    ).drop("_named")


def _shown(rows: pl.DataFrame) -> pl.Series:
    """Return the time that the digits of a path show: local time, or UTC plus an offset in civil use; null if neither."""
    found = _unknown(rows.height)
    left = rows.select(
        digits=pl.col("path").str.replace_all(r"[^0-9]", ""),
        local=pl.col("stored_local_start"),
        utc=pl.col("stored_utc_start").dt.replace_time_zone(None),
    ).with_row_index("at")
    guesses = [pl.col("local"), *(pl.col("utc") + pl.duration(minutes=m) for m in _OFFSETS_MIN)]
    for number, guess in enumerate(guesses):
        if number == 1:
            left = left.filter(_has_a_day())
        if left.is_empty():
            break
        left = left.with_columns(guess=guess).with_columns(
            hit=pl.col("digits").str.contains(pl.col("guess").dt.strftime(_STAMP), literal=True)
        )
        hits = left.filter("hit")
        if hits.height:
            found = found.scatter(hits["at"], hits["guess"])
            left = left.filter(~pl.col("hit"))
    return found


def _unknown(n: int) -> pl.Series:
    return pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, n)


def _has_a_day() -> pl.Expr:
    """Whether the digits hold any date that an offset could make of UTC: without one there is nothing to look for."""
    hit = pl.lit(False)
    for hours in (-12, 0, 14):
        day = (pl.col("utc") + pl.duration(hours=hours)).dt.strftime(_STAMP[:6])
        hit |= pl.col("digits").str.contains(day, literal=True)
    return hit
