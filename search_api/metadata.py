"""Use cases of the metadata: import a table of deployments, put a site or a clock right, take it back. Nothing is embedded again."""

from __future__ import annotations

from typing import Any

import polars as pl

from search_api.metadata_effects import Told, effects_of
from sonotheque.core.deployments import load_deployments
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store.config import read_config
from store.metadata import (
    Change,
    ClockChange,
    DeploymentsChange,
    MetadataState,
    SiteChange,
    Undo,
    change_to_json,
    read_metadata,
    state_of,
    write_change,
)
from store.metadata.effective import apply_metadata, trace
from store.metadata.log import Entry, check_undo
from store.recordings import stored_recordings
from store.snapshots import read_snapshot


def import_deployments(
    root: str, table: str, *, add: bool = False, by: str | None = None, reason: str = "", dry_run: bool = False
) -> Told:
    """Take a table of deployments: instead of the one before, or added to it by their ids.

    Raises
    ------
    Invalid
        If the table has a wrong line or none; nothing is taken then.
    NotFound
        If it, or the store, is not there.
    """
    try:
        rows = load_deployments(table).deployments
    except OSError as error:
        raise NotFound(f"{table}: {error.strerror}. Check the path to the table") from error
    if not rows:
        raise Invalid(f"{table}: has a header and no rows; expected a deployment a row", kind="invalid_table")
    for row in rows:
        if (row.latitude is None) != (row.longitude is None):
            lacking = "latitude" if row.latitude is None else "longitude"
            raise Invalid(
                f"{table}, line {row.line}, column {lacking!r}: ''; expected decimal degrees, because the other coordinate is given",
                kind="invalid_table",
            )
    return _change(root, DeploymentsChange(rows, table.rpartition("/")[2], add), by=by, reason=reason, dry_run=dry_run)


def change_site(
    root: str, change: SiteChange, *, by: str | None = None, reason: str = "", dry_run: bool = False
) -> Told:
    """Put a site's name, zone or coordinates right.

    Raises
    ------
    NotFound
        If the store has no such site; the message offers near names.
    """
    return _change(root, change, by=by, reason=reason, dry_run=dry_run)


def change_clock(
    root: str, change: ClockChange, *, by: str | None = None, reason: str = "", dry_run: bool = False
) -> Told:
    """Put the clock of some recordings right.

    Raises
    ------
    NotFound
        If the scope means no recording with a time.
    Invalid
        If it means some, and none of their times would be another.
    """
    return _change(root, change, by=by, reason=reason, dry_run=dry_run)


def undo_change(root: str, number: int, *, by: str | None = None, reason: str = "", dry_run: bool = False) -> Told:
    """Take a change back.

    Raises
    ------
    NotFound, Conflict
        If it is not there, or taken back already.
    """
    return _change(root, Undo(number), by=by, reason=reason, dry_run=dry_run)


def history(root: str) -> list[dict[str, Any]]:
    """Return all changes, oldest first: ``change, at, by, reason, kind, text, undone``, and ``said`` in full."""
    read_config(root)
    state = read_metadata(root)
    return [
        {
            "change": e.number,
            "at": e.at,
            "by": e.by,
            "reason": e.reason,
            "kind": e.change.kind,
            "text": e.change.text,
            "undone": e.number in state.undone,
            "said": change_to_json(e.change),
        }
        for e in state.entries
    ]


def show(root: str) -> list[dict[str, Any]]:
    """Return the sites as they are now, by name.

    Returns
    -------
    list of dict
        ``site``, ``was`` (stored names of its recordings, where they are others), ``latitude``, ``longitude``, ``zone`` (the
        commonest; null where unknown), ``zones`` and ``places`` (how many there are: more than one is worth a look),
        ``first_date``, ``last_date`` (local), ``deployments``, ``recordings``, ``without_utc``, ``clock_corrected`` (recordings).
    """
    read_config(root)
    now = apply_metadata(stored_recordings(root, read_snapshot(root).parts), read_metadata(root))

    def commonest(column: str) -> pl.Expr:
        return pl.col(column).drop_nulls().mode().sort().first()

    place = pl.struct("latitude", "longitude").filter(pl.col("latitude").is_not_null())
    sites = now.group_by("site").agg(
        was=pl.col("stored_site").filter(pl.col("stored_site") != pl.col("site")).unique().sort(),
        latitude=place.mode().sort().first().struct.field("latitude"),
        longitude=place.mode().sort().first().struct.field("longitude"),
        zone=commonest("zone"),
        zones=pl.col("zone").drop_nulls().n_unique(),
        places=place.n_unique(),
        first_date=pl.col("date").min(),
        last_date=pl.col("date").max(),
        deployments=pl.col("deployment").drop_nulls().n_unique(),
        recordings=pl.len(),
        without_utc=pl.col("utc_start").is_null().sum(),
        clock_corrected=(pl.col("clock_offset_s") != 0).sum(),
    )
    return sites.sort("site").to_dicts()


def _change(root: str, change: Change, *, by: str | None, reason: str, dry_run: bool) -> Told:
    read_config(root)
    stored = stored_recordings(root, read_snapshot(root).parts)
    told: list[Told] = []

    def work_out(state: MetadataState) -> None:
        """Judge the change by what holds at this moment: another writer may have come first."""
        check_undo(root, state, change)
        told[:] = [_effects(stored, state, change)]

    if dry_run:
        work_out(read_metadata(root))
    else:
        number = write_change(root, change, by=by, reason=reason, check=work_out).number
        told[0].number = number
    return told[0]


def _effects(stored: pl.DataFrame, state: MetadataState, change: Change) -> Told:
    before = trace(stored, state)
    _check_names(change, before.recordings)
    then = state_of((*state.entries, Entry(state.version + 1, "", "", "", change)))
    after = trace(stored, then)
    told = effects_of(change, (state, before), (then, after))
    if isinstance(change, ClockChange):
        _check_clock(change, told)
    return told


def _check_names(change: Change, recordings: pl.DataFrame) -> None:
    sites = recordings["site"].unique().to_list()
    asked: list[tuple[str, str | None, list[str]]] = []
    if isinstance(change, SiteChange):
        asked = [("site", change.site, sites)]
    elif isinstance(change, ClockChange):
        deployments = recordings["deployment"].drop_nulls().unique().to_list()
        asked = [("site", change.scope.site, sites), ("deployment", change.scope.deployment, deployments)]
    for what, name, known in asked:
        if name is not None and name not in known:
            raise NotFound(f"there is no {what} {name!r} in the store; {did_you_mean(name, known)}")


def _check_clock(change: ClockChange, told: Told) -> None:
    """Refuse a change that changes nothing: it was meant to."""
    if told.changed:
        return
    if not told.concerned:
        raise NotFound(f"no recording of the store is meant by: {change.scope.text}")
    if change.clock_zone is not None and not change.add_s:
        raise Invalid(
            f"{told.concerned:,} recordings are meant, and {change.text} changes none of them: their times had an offset of their own, "
            "or UTC is right already, or no time is known. If the recorded offsets are wrong, --ignore-offsets takes the clock alone"
        )
    raise NotFound(f"none of the {told.concerned:,} recordings meant by {change.scope.text} has a known time")
