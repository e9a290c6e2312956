"""The tables of the whole archive that a catalog begins with: recordings as stored, as corrected, and the sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from sonotheque.core.ids import digest_of
from store import layout
from store.catalog.files import frame_digest
from store.catalog.unit_rows import RECORDING_COLUMNS
from store.recordings import stored_recordings
from store.snapshots import SnapshotPart

NO_MONTH = "none"
_UNIT_WINDOWS = 600_000  # bounds the memory of building a unit: an archive without times is one month of one site


def stored_frame(root: str, parts: Sequence[SnapshotPart], before: pl.DataFrame | None) -> pl.DataFrame:
    """Return all live recordings as their parts' footers describe them, reading only footers that ``before`` lacks.

    Parameters
    ----------
    root : str
    parts : sequence of SnapshotPart
    before : DataFrame, optional
        The same of an earlier snapshot, with a column ``part_key``.
    """
    keys = {part_key(p): p for p in parts}
    known = set(before["part_key"].unique()) if before is not None else set()
    new = [p for key, p in keys.items() if key not in known]
    fresh = stored_recordings(root, new)
    names = pl.DataFrame(
        {"part_id": [p.part_id for p in new], "part_key": [part_key(p) for p in new]},
        schema={"part_id": pl.String, "part_key": pl.String},
    )
    fresh = fresh.join(names, on="part_id", how="left", maintain_order="left")
    if before is None:
        return fresh.sort("part_id", "first_row", "recording_id")
    kept = before.filter(pl.col("part_key").is_in(list(keys)))
    return pl.concat([kept, fresh.select(kept.columns)]).sort("part_id", "first_row", "recording_id")


def part_key(part: SnapshotPart) -> str:
    """Return what a part's live recordings follow from."""
    return digest_of([part.part_id, list(part.superseded)])


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The recordings of one unit.

    Attributes
    ----------
    site, month : str
    recordings : DataFrame
        ``RECORDING_COLUMNS``.
    digest : str
        Of all that the unit's rows follow from.
    """

    site: str
    month: str
    recordings: pl.DataFrame
    digest: str


def unit_plans(recordings: pl.DataFrame, store_digest: str) -> Iterator[UnitPlan]:
    """Yield the units of corrected recordings: one for each site and local month that has windows, in order."""
    month = pl.col("date").dt.strftime("%Y-%m").fill_null(NO_MONTH)
    rows = recordings.filter(pl.col("windows") > 0).with_columns(month=month).sort("site", "month", "path")
    for (site, name), group in rows.group_by("site", "month", maintain_order=True):
        chunks = group.with_columns(chunk=(pl.col("windows").cum_sum() - pl.col("windows")) // _UNIT_WINDOWS)
        for (_,), chunk in chunks.group_by("chunk", maintain_order=True):
            taken = chunk.select(RECORDING_COLUMNS).sort("part_id", "recording_id")
            yield UnitPlan(str(site), str(name), taken, frame_digest(taken, store_digest, layout.catalog_folder()))


def sites_frame(recordings: pl.DataFrame) -> pl.DataFrame:
    """Return one row a site: place, zone, dates, sums. Coordinates and zone are the commonest of its recordings."""

    def commonest(column: str) -> pl.Expr:
        return pl.col(column).drop_nulls().mode().sort().first().alias(column)

    grouped = recordings.group_by("site").agg(
        commonest("latitude"),
        commonest("longitude"),
        commonest("zone"),
        pl.col("date").min().alias("first_date"),
        pl.col("date").max().alias("last_date"),
        pl.col("deployment").drop_nulls().n_unique().cast(pl.Int64).alias("deployments"),
        pl.len().cast(pl.Int64).alias("recordings"),
        pl.col("windows").sum().cast(pl.Int64).alias("windows"),
        pl.col("duration_s").filter(pl.col("outcome") == "done").sum().alias("audio_s"),
    )
    return grouped.sort("site")
