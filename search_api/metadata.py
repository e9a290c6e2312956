"""Use cases of the metadata: import a table of deployments, put a site or a clock right, take it back. Nothing is embedded again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from sonotheque.core.deployment import DeploymentTable
from sonotheque.core.deployments import load_deployments
from sonotheque.core.errors import Conflict, NotFound
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
from store.metadata.effective import apply_metadata
from store.metadata.log import Entry
from store.metadata.matching import MatchReport, match_report
from store.recordings import stored_recordings
from store.snapshots import read_snapshot

_COMPARED = ("site", "deployment", "zone", "utc_start", "local_start", "latitude", "longitude")


@dataclass(slots=True)
class Told:
    """What a change does.

    Attributes
    ----------
    number : int
        Of the change; 0 if it was not written.
    text : str
    recordings : int
        Of the newest snapshot.
    changed : int
        Recordings with another place or time than before the change.
    by_column : dict
        Column -> recordings in which it is another.
    sites : list of dict
        ``site, was, recordings``: recordings of each site that were elsewhere before.
    match : MatchReport or None
        For a table of deployments.
    """

    number: int
    text: str
    recordings: int
    changed: int
    by_column: dict[str, int] = field(default_factory=dict)
    sites: list[dict[str, Any]] = field(default_factory=list)
    match: MatchReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def import_deployments(
    root: str, table: str, *, add: bool = False, by: str | None = None, reason: str = "", dry_run: bool = False
) -> Told:
    """Take a table of deployments: instead of the one before, or added to it.

    Raises
    ------
    Invalid
        If the table has a wrong line; nothing is taken then.
    NotFound
        If it, or the store, is not there.
    """
    try:
        rows = load_deployments(table).deployments
    except OSError as error:
        raise NotFound(f"{table}: {error.strerror}. Check the path to the table") from error
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
        If the scope means no recording.
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


def _change(root: str, change: Change, *, by: str | None, reason: str, dry_run: bool) -> Told:
    read_config(root)
    stored = stored_recordings(root, read_snapshot(root).parts)
    state = read_metadata(root)
    before = apply_metadata(stored, state)
    _check(change, before)
    entry = Entry(state.version + 1, "", "", "", change)
    after_state = state_of((*state.entries, entry))
    after = apply_metadata(stored, after_state)
    told = _told(change, before, after)
    if isinstance(change, DeploymentsChange):
        told.match = match_report(before, DeploymentTable(change.deployments))
    if isinstance(change, ClockChange) and not told.changed:
        raise NotFound(f"no recording of the store has its time changed by: {change.text}")
    if not dry_run:
        told.number = write_change(root, change, by=by, reason=reason, check=lambda now: _same(root, state, now)).number
    return told


def _check(change: Change, recordings: pl.DataFrame) -> None:
    sites = recordings["site"].unique().to_list()
    deployments = recordings["deployment"].drop_nulls().unique().to_list()
    if isinstance(change, SiteChange) and change.site not in sites:
        raise NotFound(f"there is no site {change.site!r} in the store; {did_you_mean(change.site, sites)}")
    if isinstance(change, ClockChange):
        for what, name, known in (
            ("site", change.scope.site, sites),
            ("deployment", change.scope.deployment, deployments),
        ):
            if name is not None and name not in known:
                raise NotFound(f"there is no {what} {name!r} in the store; {did_you_mean(name, known)}")


def _same(root: str, seen: MetadataState, now: MetadataState) -> None:
    """Refuse to write what was worked out on another state: somebody else has changed the metadata meanwhile."""
    if seen.version != now.version:
        raise Conflict(
            f"{root}: change {now.version} was written while this one was worked out; look at it "
            f"(`sonotheque metadata history --store {root}`) and run the same command again"
        )


def _told(change: Change, before: pl.DataFrame, after: pl.DataFrame) -> Told:
    other = {c: before[c].ne_missing(after[c]) for c in _COMPARED}
    changed = pl.DataFrame(other).select(any=pl.any_horizontal(pl.all()))["any"]
    moved = pl.DataFrame({"site": after["site"], "was": before["site"]}).filter(other["site"])
    sites = moved.group_by("site", "was").len("recordings").sort("site", "was").to_dicts()
    counts = {name: int(column.sum()) for name, column in other.items() if column.any()}
    return Told(0, change.text, before.height, int(changed.sum() or 0), counts, sites)
