"""What a change of the metadata does to the recordings there are, in numbers and names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from sonotheque.core.site import clean_site
from store.metadata import Change, DeploymentsChange, MetadataState, SiteChange, Undo
from store.metadata.effective import Trace
from store.metadata.matching import MatchReport

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
    concerned : int
        Recordings that the change is about.
    changed : int
        Recordings with another place or time than before the change.
    by_column : dict
        Column -> recordings in which it is another.
    sites : list of dict
        ``site, was, recordings``: recordings of each site that were elsewhere before.
    zones : list of dict
        ``site, zone, was, recordings``: where the zone is another.
    joined : list of dict
        ``site, recordings, joining``: sites that had recordings and get those of another.
    idle : list of dict
        ``change, text``: earlier changes that were about recordings and are about none any more.
    over_table : list of dict
        ``change, text``: for a table of deployments, changes that go on holding for the sites that it names.
    match : MatchReport or None
        Of all deployments that hold after the change, for a table or where a clock decides.
    """

    number: int
    text: str
    recordings: int
    concerned: int
    changed: int
    by_column: dict[str, int] = field(default_factory=dict)
    sites: list[dict[str, Any]] = field(default_factory=list)
    zones: list[dict[str, Any]] = field(default_factory=list)
    joined: list[dict[str, Any]] = field(default_factory=list)
    idle: list[dict[str, Any]] = field(default_factory=list)
    over_table: list[dict[str, Any]] = field(default_factory=list)
    match: MatchReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def effects_of(change: Change, earlier: tuple[MetadataState, Trace], later: tuple[MetadataState, Trace]) -> Told:
    """Compare the recordings before and after a change."""
    (state, was), (then, is_) = earlier, later
    before, after = was.recordings, is_.recordings
    other = {c: before[c].ne_missing(after[c]) for c in _COMPARED}
    changed = int(pl.DataFrame(other).select(any=pl.any_horizontal(pl.all()))["any"].sum() or 0)
    had = dict(zip(state.numbers, was.concerned, strict=True))
    has = dict(zip(then.numbers, is_.concerned, strict=True))
    if isinstance(change, Undo):
        text = f"{change.text}: {state.entries[change.change - 1].change.text}"
        concerned = had.get(change.change, changed)
    else:
        text, concerned = change.text, has[then.version]
    told = Told(0, text, before.height, concerned, changed)
    told.by_column = {name: int(column.sum()) for name, column in other.items() if column.any()}
    told.sites = _moves(before, after, other["site"])
    told.zones = _zones(before, after, other["zone"])
    told.joined = _joined(before.filter(~other["site"]), told.sites)
    named = dict(zip(state.numbers, state.changes, strict=True))
    idle = [n for n, count in had.items() if count and has.get(n) == 0]
    told.idle = _named(state, [n for n in idle if not isinstance(named[n], DeploymentsChange)])
    if isinstance(change, DeploymentsChange):
        told.match = is_.match
        told.over_table = _named(state, _over(change, named))
    elif other["deployment"].any():
        told.match = is_.match
    return told


def _over(table: DeploymentsChange, changes: dict[int, Change]) -> list[int]:
    """Return the numbers of the changes of sites that a table names, under their later names too."""
    names = {clean_site(d.site) for d in table.deployments if d.site}
    found = []
    for number, change in changes.items():
        if isinstance(change, SiteChange) and change.site in names:
            found.append(number)
            names |= {change.rename} if change.rename else set()
    return found


def _named(state: MetadataState, numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{"change": n, "text": state.entries[n - 1].change.text} for n in numbers]


def _moves(before: pl.DataFrame, after: pl.DataFrame, other: pl.Series) -> list[dict[str, Any]]:
    moved = pl.DataFrame({"site": after["site"], "was": before["site"]}).filter(other)
    return moved.group_by("site", "was").len("recordings").sort("site", "was").to_dicts()


def _zones(before: pl.DataFrame, after: pl.DataFrame, other: pl.Series) -> list[dict[str, Any]]:
    moved = pl.DataFrame({"site": after["site"], "zone": after["zone"], "was": before["zone"]}).filter(other)
    return moved.group_by("site", "zone", "was").len("recordings").sort("site", "zone", "was").to_dicts()


def _joined(staying: pl.DataFrame, sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = dict(staying.group_by("site").len().rows())
    joining: dict[str, int] = {}
    for row in sites:
        joining[row["site"]] = joining.get(row["site"], 0) + row["recordings"]
    return [{"site": site, "recordings": own[site], "joining": n} for site, n in joining.items() if site in own]
