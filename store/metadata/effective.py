"""What recordings are once the metadata's changes are applied: clocks first, then deployments, then sites, then the times that follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from sonotheque.core.deployment import Deployment, DeploymentTable
from sonotheque.core.recording import printable_path
from store.metadata.change import Change, ClockChange, DeploymentsChange, Scope, SiteChange
from store.metadata.log import MetadataState
from store.metadata.matching import MatchReport, match_deployments, report_of, take_deployments
from store.metadata.places import take_sites
from store.metadata.times import with_facts, with_times

ADDED = ("stored_site", "stored_local_start", "stored_utc_start", "clock_offset_s", "date")


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
    return trace(recordings, state).recordings


@dataclass(frozen=True, slots=True)
class Trace:
    """What changes did.

    Attributes
    ----------
    recordings : DataFrame
        As :func:`apply_metadata` returns them.
    concerned : tuple of int
        For each change of the state, the recordings that it is about.
    match : MatchReport or None
        Of the deployments that hold, if any do.
    """

    recordings: pl.DataFrame
    concerned: tuple[int, ...]
    match: MatchReport | None


def trace(recordings: pl.DataFrame, state: MetadataState) -> Trace:
    """Apply a state, and tell what each of its changes is about. See :func:`apply_metadata`."""
    facts = with_facts(recordings)
    said = _Places()
    concerned = [0] * len(state.changes)
    for at, change in enumerate(state.changes):
        if isinstance(change, ClockChange):
            frame = facts
            if change.scope.is_placed:
                facts = said.matched(facts)
                frame = said.placed(facts)
                frame = with_times(frame) if change.scope.is_dated else frame
            chosen = in_scope(frame, change.scope)
            concerned[at] = int(chosen.sum())
            facts = _with_clock(facts, chosen, change)
        else:
            said.add(at, change)
            if isinstance(change, DeploymentsChange):
                facts = facts.with_columns(_taken=pl.lit(None, pl.Int32))
    frame = with_times(said.placed(said.matched(facts), concerned))
    match = report_of(frame, tuple(said.deployments.values())) if said.has_table else None
    frame = frame.with_columns(date=pl.col("local_start").dt.date())
    return Trace(frame.select(*recordings.columns, *ADDED), tuple(concerned), match)


@dataclass(slots=True)
class _Places:
    """Deployments and changes of sites so far; ``from_change``: the number of the change that each deployment came with."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    from_change: dict[str, int] = field(default_factory=dict)
    sites: list[tuple[int, SiteChange]] = field(default_factory=list)
    has_table: bool = False
    is_whole: bool = False

    def add(self, at: int, change: Change) -> None:
        if isinstance(change, SiteChange):
            self.sites.append((at, change))
        elif isinstance(change, DeploymentsChange):
            if not change.add:
                self.deployments.clear()
                self.is_whole = True
            self.has_table = True
            for deployment in change.deployments:
                self.deployments[deployment.id] = deployment
                self.from_change[deployment.id] = at

    def matched(self, facts: pl.DataFrame) -> pl.DataFrame:
        """Return recordings with the deployment that takes each, where that is not known yet."""
        return match_deployments(facts, DeploymentTable(self.deployments.values())) if self.has_table else facts

    def placed(self, facts: pl.DataFrame, concerned: list[int] | None = None) -> pl.DataFrame:
        """Return matched recordings in the places that are said so far; count those that each change is about."""
        frame = facts
        deployments = tuple(self.deployments.values())
        if self.has_table:
            frame = take_deployments(frame, deployments, mark=self.is_whole)
        frame, of_sites = take_sites(frame, [change for _, change in self.sites])
        if concerned is not None:
            for taken, n in frame.filter(pl.col("_taken") >= 0).group_by("_taken").len().rows():
                concerned[self.from_change[deployments[taken].id]] += n
            for (at, _), n in zip(self.sites, of_sites, strict=True):
                concerned[at] = n
        return frame


def _with_clock(facts: pl.DataFrame, chosen: pl.Series, change: ClockChange) -> pl.DataFrame:
    meant = pl.lit(chosen)
    if change.add_s:
        sum_ = pl.col("clock_offset_s") + change.add_s
        facts = facts.with_columns(clock_offset_s=pl.when(meant).then(sum_).otherwise(pl.col("clock_offset_s")))
    if change.clock_zone is not None:
        zone = pl.when(meant).then(pl.lit(change.clock_zone)).otherwise(pl.col("_clock_zone"))
        facts = facts.with_columns(_clock_zone=zone, _reading=pl.col("_reading") | (meant & change.ignore_offsets))
    return facts.with_columns(_taken=pl.when(~meant).then(pl.col("_taken")))  # in another period, maybe


def in_scope(frame: pl.DataFrame, scope: Scope) -> pl.Series:
    """Return which rows a scope means; bool, (n,)."""
    chosen = pl.lit(True)
    if scope.site is not None:
        chosen &= pl.col("site") == printable_path(scope.site)
    if scope.deployment is not None:
        chosen &= (pl.col("deployment") == printable_path(scope.deployment)).fill_null(False)
    if scope.recording is not None:
        chosen &= pl.col("path").str.contains(_regex(printable_path(scope.recording)))
    day = pl.col("local_start").dt.date()
    if scope.date_from is not None:
        chosen &= (day >= pl.lit(scope.date_from).str.to_date()).fill_null(False)
    if scope.date_to is not None:
        chosen &= (day <= pl.lit(scope.date_to).str.to_date()).fill_null(False)
    return frame.select(chosen=pl.repeat(True, pl.len()) & chosen)["chosen"]


def _regex(glob: str) -> str:
    """Return the regular expression (Rust's) of a path with ``*`` and ``?``."""
    out = "".join({"*": "(?s:.*)", "?": "(?s:.)"}.get(c, f"\\x{{{ord(c):x}}}") for c in glob)
    return f"^{out}$"
