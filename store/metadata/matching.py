"""Recordings to deployments, by folder or prefix and time: the rule of :class:`DeploymentTable`, for columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sonotheque.core.clock import ClockReading
from sonotheque.core.deployment import Deployment, DeploymentTable, Match, choose
from sonotheque.core.site import clean_site
from store.metadata.readings import with_readings
from store.metadata.times import TIME_FACTS, derive, issues_but, patched, with_facts

ISSUES = ("no_deployment", "outside_deployments", "several_deployments")
Candidates = tuple[tuple[int, Deployment], ...]


@dataclass(slots=True)
class MatchReport:
    """What a table of deployments found.

    Attributes
    ----------
    matched : dict
        Deployment id -> recordings.
    outside : dict
        Issue word -> recordings that no deployment took for that reason.
    outside_paths : list of (path, issue)
        All of them, by path.
    unused : list of str
        Ids of deployments without recordings, as in the table.
    """

    matched: dict[str, int] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)
    outside_paths: list[tuple[str, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def match_report(recordings: pl.DataFrame, table: DeploymentTable) -> MatchReport:
    """Return how recordings, as they are stored, fall into a table's deployments."""
    return report_of(match_deployments(with_facts(recordings), table), table.deployments)


def report_of(frame: pl.DataFrame, deployments: Sequence[Deployment]) -> MatchReport:
    """Return the report of recordings that :func:`match_deployments` has matched."""
    taken = dict(frame.filter(pl.col("_taken") >= 0).group_by("_taken").len().rows())
    matched = {d.id: taken[i] for i, d in enumerate(deployments) if i in taken}
    outside = frame.filter(pl.col("_taken") < 0).select("path", "_issue").sort("path")
    counts = dict(outside.group_by("_issue").len().sort("_issue").rows())
    return MatchReport(matched, counts, outside.rows(), [d.id for d in deployments if d.id not in matched])


def match_deployments(frame: pl.DataFrame, table: DeploymentTable) -> pl.DataFrame:
    """Find the deployments of the recordings whose ``_taken`` is null.

    Parameters
    ----------
    frame : DataFrame
        From :func:`with_facts`; ``stored_site`` counts as a place like a folder.
    table : DeploymentTable

    Returns
    -------
    DataFrame
        With ``_taken`` (Int32: number of the deployment in the table, or -1) and ``_issue`` (String, empty if taken).
    """
    number = {d.id: i for i, d in enumerate(table.deployments)}
    open_ = frame["_taken"].is_null()
    if not open_.any():
        return frame
    asked = with_readings(frame.filter(open_).select(*TIME_FACTS, "stored_site"))
    taken = np.full(asked.height, -1, np.int32)
    issue = np.ones(asked.height, np.int8)
    for candidates, rows in _by_candidates(asked.with_row_index("_at"), table):
        if candidates:
            at = rows["_at"].to_numpy()
            taken[at], issue[at] = _chosen(rows, candidates, number)
    words = pl.Series(["", *ISSUES], dtype=pl.String).gather(pl.Series(issue, dtype=pl.UInt32))
    places = open_.arg_true()
    return frame.with_columns(
        patched(frame["_taken"], places, pl.Series(taken)), patched(frame["_issue"], places, words)
    )


def _by_candidates(frame: pl.DataFrame, table: DeploymentTable) -> Iterable[tuple[Candidates, pl.DataFrame]]:
    """Yield the recordings that have the same deployments to choose from.

    What there is to choose from follows from the folder, the stored site and those beginnings of the name that the table names.
    """
    words = max((place.count("_") + 1 for place in table.places), default=0)
    base = pl.col("path").str.split("/").list.last().str.split("_")
    head = pl.col("path").str.extract(r"^((?s).*/)", 1).fill_null("")
    places = pl.Series(sorted(table.places), dtype=pl.String)
    begun = [
        pl.when((base.list.len() > n) & base.list.head(n).list.join("_").is_in(places.implode()))
        .then(base.list.head(n).list.join("_"))
        .alias(f"_words{n}")
        for n in range(1, words + 1)
    ]
    keyed = frame.with_columns(head.alias("_head"), *begun)
    keys = ["_head", "stored_site", *(f"_words{n}" for n in range(1, words + 1))]
    groups = keyed.select(*keys, "path").unique(keys, keep="first", maintain_order=True)
    sets: dict[tuple[tuple[int, str], ...], int] = {}
    lists: list[Candidates] = []
    numbers = []
    for path, site in groups.select("path", "stored_site").rows():
        found = tuple(table.candidates(path, "", site))
        key = tuple(sorted((depth, d.id) for depth, d in found))
        if key not in sets:
            sets[key] = len(lists)
            lists.append(found)
        numbers.append(sets[key])
    numbered = groups.select(keys).with_columns(pl.Series("_set", numbers, pl.Int32))
    rows = keyed.join(numbered, on=keys, how="left", nulls_equal=True, maintain_order="left")
    for (chosen,), part in rows.group_by("_set", maintain_order=True):
        yield lists[int(chosen)], part


def _chosen(
    rows: pl.DataFrame, candidates: Candidates, number: dict[str, int]
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return for each row the number of its deployment or -1, and the number of its issue."""
    sure = rows["stored_local_start"].is_not_null().to_numpy()
    inside = np.stack([_inside(rows, deployment) for _, deployment in candidates])
    kinds, of = _kinds(np.vstack([inside, sure]))
    answers = [
        choose(
            candidates, [(depth, d, bool(kind[-1])) for (depth, d), hit in zip(candidates, kind, strict=False) if hit]
        )
        for kind in kinds.T
    ]
    taken = np.array([-1 if m.deployment is None else number[m.deployment.id] for m in answers], np.int32)
    issue = np.array([0 if not m.issue else 1 + ISSUES.index(m.issue) for m in answers], np.int8)
    return taken[of], issue[of]


def _kinds(columns: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the different columns, and for each column which of them it is: there are few ways to lie in periods."""
    code = np.zeros(columns.shape[1], np.int64)
    first = np.zeros(1, np.int64)
    for row in columns:
        _, first, code = np.unique(code * 2 + row, return_index=True, return_inverse=True)
    return columns[:, first], code


def _inside(rows: pl.DataFrame, deployment: Deployment) -> NDArray[np.bool_]:
    """Return which rows lie in a deployment's period, by the zones that they would have in it."""
    if deployment.start is None and deployment.end is None:
        return np.ones(rows.height, np.bool_)
    times = derive(
        rows.with_columns(
            zone=pl.lit(key_of(deployment.zone)) if deployment.zone else pl.col("zone"),
            _clock_zone=pl.coalesce("_clock_zone", pl.lit(key_of(deployment.clock_zone), pl.String)),
        )
    )
    local = times["local_start"].to_numpy()
    utc = times["utc_start"].dt.replace_time_zone(None).to_numpy()
    held = np.ones(rows.height, np.bool_)
    for bound, is_first in ((deployment.start, True), (deployment.end, False)):
        at, limit = _compared(bound, local, utc)
        if limit is not None:
            held &= np.isnat(at) | ((at >= limit) if is_first else (at <= limit))
    return held


def _compared(bound: ClockReading | None, local: Any, utc: Any) -> tuple[Any, np.datetime64 | None]:
    if bound is None:
        return local, None
    if bound.offset_min is None:
        return local, np.datetime64(bound.start, "us")
    return utc, None if bound.utc is None else np.datetime64(bound.utc.replace(tzinfo=None), "us")


def take_deployments(frame: pl.DataFrame, deployments: Sequence[Deployment], *, mark: bool = True) -> pl.DataFrame:
    """Give matched recordings the deployment, site, zone, clock and coordinates of the row that takes them; the others keep theirs.

    ``mark``: the table is meant to be whole, so that what it does not take belongs to no deployment, which is an issue.
    """
    placed = [d.latitude is not None and d.longitude is not None for d in deployments]
    said = pl.DataFrame(
        {
            "_taken": pl.Series(range(len(deployments)), dtype=pl.Int32),
            "_id": pl.Series([d.id for d in deployments], dtype=pl.String),
            "_site": pl.Series([clean_site(d.site) if d.site else None for d in deployments], dtype=pl.String),
            "_zone": pl.Series([key_of(d.zone) for d in deployments], dtype=pl.String),
            "_clock": pl.Series([key_of(d.clock_zone) for d in deployments], dtype=pl.String),
            "_lat": pl.Series(
                [d.latitude if p else None for d, p in zip(deployments, placed, strict=True)], dtype=pl.Float64
            ),
            "_lon": pl.Series(
                [d.longitude if p else None for d, p in zip(deployments, placed, strict=True)], dtype=pl.Float64
            ),
        }
    )
    joined = frame.join(said, on="_taken", how="left", maintain_order="left")
    taken = pl.col("_id").is_not_null()
    others = issues_but(*ISSUES)
    marked = pl.concat_list(others, pl.col("_issue")) if mark else pl.col("time_issues")
    return joined.with_columns(
        deployment=pl.col("_id") if mark else pl.coalesce("_id", "deployment"),
        site=pl.coalesce("_site", "site"),
        zone=pl.coalesce("_zone", "zone"),
        _clock_zone=pl.coalesce("_clock_zone", "_clock"),
        latitude=pl.coalesce("_lat", "latitude"),
        longitude=pl.coalesce("_lon", "longitude"),
        time_issues=pl.when(taken).then(others).otherwise(marked),
    ).select(frame.columns)


def key_of(zone: Any) -> str | None:
    """Return the name of a zone that may not be there."""
    return zone.key if zone else None


__all__ = ["Match", "MatchReport", "match_deployments", "match_report", "report_of", "take_deployments"]
