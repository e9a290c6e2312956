"""What recordings are once the metadata's changes are applied, one after the other: each sees what the ones before it left."""

from __future__ import annotations

import polars as pl

from sonotheque.core.deployment import DeploymentTable
from store.metadata.change import ClockChange, DeploymentsChange, Scope, SiteChange
from store.metadata.log import MetadataState
from store.metadata.matching import match_deployments
from store.metadata.times import add_seconds, set_clock_zone, set_zone

# Stored columns that a change can alter, and the name under which the catalog keeps what was stored.
STORED = {"site": "stored_site", "local_start": "stored_local_start", "utc_start": "stored_utc_start"}


def apply_metadata(recordings: pl.DataFrame, state: MetadataState) -> pl.DataFrame:
    """Return recordings with the state's corrections.

    Parameters
    ----------
    recordings : DataFrame
        One row a recording, as ``stored_recordings`` gives them; other columns pass through.
    state : MetadataState

    Returns
    -------
    DataFrame
        The same rows in the same order with corrected ``site, deployment, zone, utc_start, local_start, utc_offset_min,
        latitude, longitude, time_issues``; added: ``stored_site``, ``stored_local_start``, ``stored_utc_start``,
        ``clock_offset_s`` (float64) and ``date`` (of ``local_start``; null if unknown).
    """
    frame = recordings.with_columns(
        *(pl.col(name).alias(stored) for name, stored in STORED.items()), pl.lit(0.0).alias("clock_offset_s")
    )
    for change in state.changes:
        if isinstance(change, ClockChange):
            frame = _clock(frame, change)
        elif isinstance(change, DeploymentsChange):
            frame = match_deployments(frame, DeploymentTable(change.deployments), mark=not change.add)
        elif isinstance(change, SiteChange):
            frame = _site(frame, change)
    return frame.with_columns(date=pl.col("local_start").dt.date())


def _clock(frame: pl.DataFrame, change: ClockChange) -> pl.DataFrame:
    chosen = in_scope(frame, change.scope)
    if change.clock_zone is not None:
        frame = set_clock_zone(frame, chosen, change.clock_zone)
    return add_seconds(frame, chosen, change.add_s) if change.add_s else frame


def in_scope(frame: pl.DataFrame, scope: Scope) -> pl.Series:
    """Return which rows a scope means, by site and deployment as they are now and by date as stored; bool, (n,)."""
    chosen = pl.lit(True)
    if scope.site is not None:
        chosen &= pl.col("site") == scope.site
    if scope.deployment is not None:
        chosen &= (pl.col("deployment") == scope.deployment).fill_null(False)
    if scope.recording is not None:
        chosen &= pl.col("path").str.contains(_regex(scope.recording))
    if scope.date_from is not None:
        chosen &= (pl.col("stored_local_start").dt.date() >= pl.lit(scope.date_from).str.to_date()).fill_null(False)
    if scope.date_to is not None:
        chosen &= (pl.col("stored_local_start").dt.date() <= pl.lit(scope.date_to).str.to_date()).fill_null(False)
    return frame.select(chosen=pl.repeat(True, pl.len()) & chosen)["chosen"]


def _regex(glob: str) -> str:
    """Return the regular expression (Rust's) of a path with ``*`` and ``?``."""
    out = "".join({"*": "(?s:.*)", "?": "(?s:.)"}.get(c, f"\\x{{{ord(c):x}}}") for c in glob)
    return f"^{out}$"


def _site(frame: pl.DataFrame, change: SiteChange) -> pl.DataFrame:
    here = pl.col("site") == change.site
    if change.latitude is not None:
        frame = frame.with_columns(
            pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
            for name, value in (("latitude", change.latitude), ("longitude", change.longitude))
        )
    if change.zone is not None:
        frame = set_zone(frame, frame.select(here.alias("here"))["here"], change.zone, change.keep)
    if change.rename is not None:
        frame = frame.with_columns(site=pl.when(here).then(pl.lit(change.rename)).otherwise(pl.col("site")))
    return frame
