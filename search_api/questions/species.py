"""Which species were found, where, from when to when, and the windows that show each of them best."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from search_api.questions.about import SCORE_MIN_DEFAULT, About
from search_api.questions.grids import hop_s
from search_api.questions.values import column_values, plain
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.filtering import PREDICTIONS

_NARROW: Final = "label, site, date, local_start, score"
_SPECIES = """
SELECT label, {site}, count(*)::BIGINT AS windows, count(DISTINCT site)::BIGINT AS sites, count(DISTINCT date)::BIGINT AS days,
       count(DISTINCT (site, date)) FILTER (date IS NOT NULL)::BIGINT AS site_days,
       count(*) FILTER (date IS NULL)::BIGINT AS without_time, min(local_start) AS first, max(local_start) AS last,
       max(score, {best}::BIGINT) AS best_scores
FROM ({chosen}) GROUP BY {group} ORDER BY windows DESC, label, 2
"""
# What reaches the n-th best score of its species is few: only for these the columns of text are read.
_BEST = """
WITH least AS (
    SELECT unnest(?::VARCHAR[]) AS label, unnest(?::VARCHAR[]) AS site, unnest(?::FLOAT[]) AS enough
), near AS (
    SELECT c.label, {key} AS site_key, c.recording_id, c.start_sample, c.rank, c.score
    FROM ({chosen}) c JOIN least l ON c.label = l.label{same_site} WHERE c.score >= l.enough
)
SELECT n.label, n.site_key, n.rank, n.score, w.path, w.site, w.start_s, w.end_s, w.local_start, w.utc_start
FROM near n JOIN windows w USING (recording_id, start_sample)
QUALIFY row_number() OVER (
    PARTITION BY n.label, n.site_key ORDER BY n.score DESC, w.site, w.local_start NULLS LAST, w.path, w.start_s
) <= {best}
ORDER BY n.label, n.site_key, n.score DESC, w.site, w.local_start NULLS LAST, w.path, w.start_s
"""
_EFFORT = (
    "SELECT site, count(*)::BIGINT AS windows, sum(least(valid_s, {hop_s})) AS audio_s FROM ({chosen}) GROUP BY site"
)


@dataclass(frozen=True, slots=True)
class Best:
    """A window that shows a species well."""

    path: str
    site: str
    start_s: float
    end_s: float
    local_start: datetime | None
    utc_start: datetime | None
    rank: int
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return the window as a JSON object."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SpeciesRow:
    """One species, at all sites or at one.

    Attributes
    ----------
    label : str
    site : str or None
        None: all sites.
    windows : int
        With the species, of that rank and score.
    sites, days, site_days : int
        On which it was found; days are local dates.
    without_time : int
        Of the windows, those whose local time is unknown.
    first, last : datetime or None
        On the site's clock.
    audio_s : float
        Sound that was analysed, at that site or at all.
    best : tuple of Best
        Best first.
    """

    label: str
    site: str | None
    windows: int
    sites: int
    days: int
    site_days: int
    without_time: int
    first: datetime | None
    last: datetime | None
    best_score: float
    audio_s: float
    best: tuple[Best, ...]

    @property
    def per_hour(self) -> float | None:
        """Windows with the species per hour of recording."""
        return self.windows * 3600 / self.audio_s if self.audio_s > 0 else None

    def to_json(self) -> dict[str, Any]:
        """Return the species as a JSON object."""
        own = {name: plain(getattr(self, name)) for name in self.__slots__ if name not in ("best", "audio_s")}
        rate = self.per_hour
        hours = {"audio_h": round(self.audio_s / 3600, 6), "detections_per_h": None if rate is None else round(rate, 4)}
        return {**own, **hours, "best": [b.to_json() for b in self.best]}


@dataclass(frozen=True, slots=True)
class Species:
    """The answer.

    Attributes
    ----------
    about : About
    score_min : float or None
    rank_max : int
    sites : dict
        Site -> seconds of sound analysed there.
    rows : tuple of SpeciesRow
        Most windows first.
    """

    about: About
    score_min: float | None
    rank_max: int
    sites: dict[str, float]
    rows: tuple[SpeciesRow, ...]

    def to_json(self, top: int | None = None) -> dict[str, Any]:
        """Return the answer as a JSON object, with the first ``top`` species or all."""
        shown = self.rows if top is None else self.rows[:top]
        return {
            **self.about.to_json(),
            "score_min": self.score_min,
            "rank_max": self.rank_max,
            "species": len({row.label for row in self.rows}),
            "audio_h": round(sum(self.sites.values()) / 3600, 6),
            "rows": [row.to_json() for row in shown],
            "truncated": len(shown) < len(self.rows),
        }


def species(archive: Archive, wanted: SearchFilter | None = None, *, per_site: bool = False, best: int = 1) -> Species:
    """Return which species were found.

    Parameters
    ----------
    archive : Archive
    wanted : SearchFilter, optional
        Which predictions; rank 1 and a score of at least 0.5 unless given.
    per_site : bool
        A row for each species and site.
    best : int
        How many of the best windows of each row to name.

    Raises
    ------
    Invalid
        If ``best`` is less than one.
    NotFound
        If the filter names a site, deployment, recording or species that is not in the store.
    """
    if best < 1:
        raise Invalid(f"best windows {best}: expected 1 or more")
    asked = wanted or SearchFilter()
    wanted = asked
    if wanted.score_min is None and wanted.score_max is None:
        wanted = wanted.merged(score_min=SCORE_MIN_DEFAULT)
    if wanted.rank_max is None:
        wanted = wanted.merged(rank_max=1)
    effort = _effort(archive, wanted)
    chosen, parameters = archive.select(wanted, relation=PREDICTIONS, columns=_NARROW)
    by = ("site", "label, site") if per_site else ("NULL::VARCHAR AS site", "label")
    query = _SPECIES.format(chosen=chosen, best=int(best), site=by[0], group=by[1])
    found = archive.sql(query, parameters)
    windows = _best(archive, wanted, found, best, per_site=per_site)
    scores = column_values(found["best_scores"])
    rows = []
    for row, own in zip(found.drop_columns(["best_scores"]).to_pylist(), scores, strict=True):
        audio_s = effort[row["site"]] if per_site else sum(effort.values())
        named = tuple(windows[row["label"], row["site"]])
        rows.append(SpeciesRow(**row, best_score=own[0], audio_s=audio_s, best=named))
    return Species(About.of(archive, asked), wanted.score_min, wanted.rank_max or 1, effort, tuple(rows))


def _effort(archive: Archive, wanted: SearchFilter) -> dict[str, float]:
    recorded = wanted.merged(label=None, score_min=None, score_max=None, rank_max=None)
    chosen, parameters = archive.select(recorded, columns="site, valid_s")
    rows = archive.sql(_EFFORT.format(hop_s=repr(hop_s(archive)), chosen=chosen), parameters).to_pylist()
    return {row["site"]: row["audio_s"] for row in sorted(rows, key=lambda row: str(row["site"]))}


def _best(
    archive: Archive, wanted: SearchFilter, found: pa.Table, best: int, *, per_site: bool
) -> dict[tuple[str, str | None], list[Best]]:
    """Return the best windows of each label, or label and site."""
    columns = "label, site, recording_id, start_sample, rank, score"
    chosen, parameters = archive.select(wanted, relation=PREDICTIONS, columns=columns)
    by = ("c.site", " AND c.site = l.site") if per_site else ("NULL::VARCHAR", "")
    enough = [scores[-1] for scores in found["best_scores"].to_pylist()]
    least = [found["label"].to_pylist(), found["site"].to_pylist(), enough]
    query = _BEST.format(chosen=chosen, best=int(best), key=by[0], same_site=by[1])
    table = archive.sql(query, [*least, *parameters])
    rows: dict[tuple[str, str | None], list[Best]] = defaultdict(list)
    names = [name for name in Best.__slots__ if name != "score"]
    for row, score in zip(table.to_pylist(), column_values(table["score"]), strict=True):
        rows[row["label"], row["site_key"]].append(Best(**{name: row[name] for name in names}, score=score))
    return rows


def flat_rows(answer: Species, top: int | None = None) -> list[dict[str, Any]]:
    """Return the species as rows of plain values, each with its best window: a table for other programs."""
    rows = []
    for row in answer.rows[:top]:
        own = row.to_json()
        best = own.pop("best")[0]
        rows.append(
            {**own, **{f"best_{name}": best[name] for name in ("path", "start_s", "end_s", "local_start", "utc_start")}}
        )
    return rows
