"""When a species was heard: windows by local date and hour of day, beside how much was recorded in each hour.

A count means little where recording differs from hour to hour, so every answer holds both: windows in which the species was
found, and the sound that was analysed, from the same filter. An hour without recording is not an hour without the species.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

import pyarrow.compute as pc

from search_api.questions.about import SCORE_MIN_DEFAULT, About
from search_api.questions.grids import effort_cells, found_cells, grid_of, sites_in, sun_bins_of, sun_effort, sun_found
from search_api.questions.heard import Activity, By, Panel, Place, Source, rows_by
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.filtering import PREDICTIONS, WINDOWS
from store.labels import resolve_label

Word = TypeVar("Word", bound=StrEnum)


def activity(
    archive: Archive,
    species: Sequence[str],
    wanted: SearchFilter | None = None,
    *,
    source: Source = Source.PREDICTIONS,
    per_site: bool = False,
    sun: bool = False,
) -> Activity:
    """Return when species were heard.

    Parameters
    ----------
    archive : Archive
    species : sequence of str
        Labels, scientific or common names; at least one.
    wanted : SearchFilter, optional
        Which windows; ``score_min`` is 0.5 unless given. Its ``label`` is left out.
    source : Source
        ``predictions``: windows with a prediction of that score and rank. ``annotations``: windows with a positive annotation.
    per_site : bool
        A panel for each site, not one for all.
    sun : bool
        Count by minutes around sunrise and sunset too.

    Raises
    ------
    NotFound
        If there is no such species; the message offers near names.
    Invalid
        If no species is given, or scores are asked of annotations.
    """
    if not species:
        raise Invalid("no species: expected --species NAME, a label, scientific or common name; may be repeated")
    wanted = (wanted or SearchFilter()).merged(label=None)
    labels, chosen, relation = _chosen(archive, species, wanted, source)
    recorded = wanted.merged(score_min=None, score_max=None, rank_max=None)
    effort = effort_cells(archive, recorded)
    sun_all = sun_effort(archive, recorded) if sun else None
    sites = sites_in(effort)
    groups: list[str | None] = [*sites] if per_site else [None]
    panels = []
    for label in labels:
        found = found_cells(archive, chosen[label], relation)
        around = sun_found(archive, chosen[label], relation) if sun else None
        for site in groups:
            bins = sun_bins_of(sun_all, around, site) if sun else ((), None)
            panels.append(Panel(label, site, *grid_of(effort, found, site), *bins))
    places = archive.sql("SELECT site, zone, latitude, longitude FROM sites ORDER BY site").to_pylist()
    first, dated = chosen[labels[0]], set(sites_in(effort.filter(pc.field("date").is_valid())))
    return Activity(
        About.of(archive, wanted),
        source,
        first.score_min,
        first.rank_max,
        labels,
        tuple(Place(**row) for row in places if row["site"] in dated),
        tuple(panels),
    )


def _chosen(
    archive: Archive, species: Sequence[str], wanted: SearchFilter, source: Source
) -> tuple[tuple[str, ...], dict[str, SearchFilter], str]:
    """Return the labels, the filter of what is found for each, and the relation it is found in."""
    if source is Source.PROBE:
        raise Invalid("--source probe: `sonotheque probe hits NAME --plot FILE` draws when a probe found something")
    if source is Source.ANNOTATIONS:
        if wanted.asks_predictions or wanted.annotated is not None:
            raise Invalid(
                "--source annotations counts windows with a positive annotation of the species; --min-score, --max-score, "
                "--max-rank, --annotated, --annotation-label and --judgement do not go with it"
            )
        known = archive.sql("SELECT DISTINCT label FROM annotations")["label"].to_pylist()
        labels = _resolved(known, species, "annotations")
        found = {x: wanted.merged(annotated=True, annotation_label=x, judgement="positive") for x in labels}
        return labels, found, WINDOWS
    if wanted.score_min is None and wanted.score_max is None:
        wanted = wanted.merged(score_min=SCORE_MIN_DEFAULT)
    labels = _resolved(archive.names.labels(), species, "predictions")
    return labels, {x: wanted.merged(label=x) for x in labels}, PREDICTIONS


def _resolved(known: Iterable[str], species: Sequence[str], among: str) -> tuple[str, ...]:
    there = tuple(known)
    return tuple(dict.fromkeys(resolve_label(there, name, among=among) for name in species))


def chosen_word(kind: type[Word], option: str, text: str) -> Word:
    """Return the word of a closed list that a text names.

    Raises
    ------
    Invalid
        If it is none of them; the message offers near ones.
    """
    try:
        return kind(text.strip().lower())
    except ValueError:
        raise Invalid(f"{option} {text}: {did_you_mean(text, [str(word) for word in kind])}") from None


def hints(archive: Archive, answer: Activity, wanted: SearchFilter) -> list[str]:
    """Return, for each species that was not found at all, how near it came: the best score it has in these windows."""
    out = []
    for name in answer.labels if answer.source is Source.PREDICTIONS else ():
        if any(panel.found or panel.without_time["found"] for panel in answer.panels if panel.label == name):
            continue
        anywhere = wanted.merged(label=name, score_min=None, score_max=None, rank_max=None)
        query, parameters = archive.select(anywhere, relation=PREDICTIONS, columns="max(score) AS best, count(*) AS n")
        row = archive.sql(query, parameters).to_pylist()[0]
        near = f"its best score there is {row['best']:.3f}" if row["n"] else "it is not among the classes kept for them"
        out.append(f"no such window holds {name}; {near}")
    return out


__all__ = ["Activity", "By", "Panel", "Place", "Source", "activity", "chosen_word", "hints", "rows_by"]
