"""The questions of ``ask``: each with its twin in plain DuckDB, and how their answers are held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.ask_fresh import FIRST, HOUR, LAST, SCORE_MIN
from benchmarks.ask_plain import Plain, sunrises
from benchmarks.ask_question import Question
from benchmarks.community import CHIFFCHAFF
from benchmarks.store_maker import FIRST_DAY, Shape, site_name
from search_api.questions.activity import activity
from search_api.questions.species import species
from search_api.questions.summary import summarise
from sonotheque.core.filters import HourSpan, SearchFilter, SunSpan
from store import Archive

SCATTERED_SCORE = 0.9  # leaves about 10,000 windows of the chiffchaff, in nearly every part
_HOURS = HourSpan(HOUR * 60, HOUR * 60 + 60)
DISTINCT = Shape(1, (LAST - FIRST).days + 1, pool=6720, per_part=1680)


def _ids(table: pa.Table) -> set[tuple[int, int]]:
    return set(zip(table["recording_id"].to_pylist(), table["start_sample"].to_pylist(), strict=True))


def _windows(ours: pa.Table, plain: pa.Table) -> tuple[Any, Any, int]:
    return (ours.num_rows, _ids(ours)), (plain.num_rows, _ids(plain)), ours.num_rows


def _vectors(ours: Any, plain: Any) -> tuple[Any, Any, int]:
    ids = np.stack([ours[0][name] for name in ("recording_id", "start_sample")], axis=1)
    sides = []
    for own, vectors in ((ids, ours[1]), plain):
        order = np.lexsort((own[:, 1], own[:, 0]))
        sides.append((own[order], vectors[order]))
    return sides[0], sides[1], len(ids)


def _activity(ours: Any, plain: Any) -> tuple[Any, Any, int]:
    grid = ours.panels[0].grid
    cells = {
        (day, hour): (int(grid.windows[i, hour]), int(grid.found[i, hour]))
        for i, day in enumerate(grid.dates)
        for hour in range(24)
        if grid.windows[i, hour]
    }
    return cells, plain, len(cells)


def activity_questions(archive: Archive, plain: Plain) -> Iterator[Question]:
    """Yield the heat map: as the program draws it, and its query alone."""
    label = CHIFFCHAFF
    yield Question(
        "activity",
        f"`activity`: recorded windows and those with {label} (score >= {SCORE_MIN:g}) by date and hour, all sites, whole season",
        lambda: activity(archive, [label], SearchFilter(score_min=SCORE_MIN)),
        lambda: plain.activity(label, SCORE_MIN),
        _activity,
        "< 1 s",
        lambda ours_s, _: ours_s < 1,
    )
    query = "SELECT date, hour, count(*) AS n FROM predictions WHERE label = ? AND score >= ? GROUP BY ALL ORDER BY ALL"
    yield Question(
        "activity_sql",
        "the same, windows with the species alone, as one SQL query",
        lambda: archive.sql(query, [label, SCORE_MIN]),
        lambda: plain.counts(label, SCORE_MIN),
        lambda a, b: (a.to_pydict(), b.to_pydict(), a.num_rows),
        "< 1 s",
        lambda ours_s, _: ours_s < 1,
    )


def window_questions(archive: Archive, plain: Plain, shape: Shape, site: str) -> Iterator[Question]:
    """Yield the dawn hour of one site: by the clock, on one day, and by the sun."""
    last = FIRST_DAY + timedelta(days=shape.days - 1)
    middle = FIRST_DAY + timedelta(days=shape.days // 2)
    span = f"{HOUR:02d}:00 to {HOUR + 1:02d}:00"
    for name, words, low, high in (
        ("dawn_hour", f"windows of one site, {span}, whole season", FIRST_DAY, last),
        ("dawn_hour_of_a_day", f"windows of one site, {span}, one day", middle, middle),
    ):
        wanted = SearchFilter(sites=(site,), hours=_HOURS, date_from=low, date_to=high)
        yield Question(
            name,
            words,
            lambda wanted=wanted: archive.windows(wanted),  # type: ignore[misc]
            lambda low=low, high=high: plain.hours(site, HOUR, low, high),  # type: ignore[misc]
            _windows,
            "< 100 ms",
            lambda ours_s, _: ours_s < 0.1,
        )
    place = archive.sql("SELECT latitude, longitude FROM sites WHERE site = ?", [site]).to_pylist()[0]
    suns = sunrises(place["latitude"], place["longitude"], FIRST_DAY, shape.days)
    wanted = SearchFilter(sites=(site,), sun=SunSpan("sunrise", -30, "sunrise", 30))
    yield Question(
        "dawn_by_the_sun",
        "windows of one site, half an hour before to half an hour after sunrise, whole season (plain DuckDB is given the sunrises)",
        lambda: archive.windows(wanted),
        lambda: plain.around_sunrise(site, suns, 30, 30),
        _windows,
        "< 100 ms",
        lambda ours_s, _: ours_s < 0.1,
    )


def vector_questions(archive: Archive, plain: Plain, shape: Shape, site: str) -> Iterator[Question]:
    """Yield three ways in which ten thousand vectors can be chosen."""
    wanted = SearchFilter(sites=(site,), hours=_HOURS, date_from=FIRST, date_to=LAST)
    target, is_met = ">= 3 x faster", lambda ours_s, plain_s: plain_s >= 3 * ours_s
    yield Question(
        "vectors_of_an_hour",
        f"embeddings of one site, {HOUR:02d}:00 to {HOUR + 1:02d}:00, 42 days: float32 in memory",
        lambda: archive.embeddings(wanted),
        lambda: plain.vectors_of_hours(site, HOUR, FIRST, LAST),
        _vectors,
        target,
        is_met,
    )
    day = FIRST_DAY + timedelta(days=shape.days // 3)
    moment = SearchFilter(hours=HourSpan(300, 350), date_from=day, date_to=day)
    yield Question(
        "vectors_of_a_morning",
        "embeddings of all sites, 05:00 to 05:50 of one day",
        lambda: archive.embeddings(moment),
        lambda: plain.vectors_of_moment(day, "05:00", "05:50"),
        _vectors,
        target,
        is_met,
    )
    scattered = SearchFilter(label=CHIFFCHAFF, score_min=SCATTERED_SCORE)
    yield Question(
        "vectors_of_a_species",
        f"embeddings of the windows with {CHIFFCHAFF}, score >= {SCATTERED_SCORE:g}: a few in nearly every part",
        lambda: archive.embeddings(scattered),
        lambda: plain.vectors_of_label(CHIFFCHAFF, SCATTERED_SCORE),
        _vectors,
        target,
        is_met,
        pairs=1,
    )


def distinct_question(archive: Archive, plain: Plain, shape: Shape) -> Question:
    """Return the reading of vectors from a store of the shape ``DISTINCT``.

    The large store's vectors compress better than real ones, and its plain reader opens thousands of files: here neither helps.
    """
    wanted = SearchFilter(sites=(site_name(0),), hours=_HOURS)
    return Question(
        "vectors_distinct",
        f"the first of these from a store of one site, {shape.days} parts and {shape.windows:,} windows, every vector of a part another",
        lambda: archive.embeddings(wanted),
        lambda: plain.vectors_of_hours(site_name(0), HOUR, FIRST, LAST),
        _vectors,
    )


def table_questions(archive: Archive, plain: Plain) -> Iterator[Question]:
    """Yield what must look at everything: which species, and how much."""
    query = (
        "SELECT label, count(*) AS windows, min(local_start) AS first, max(local_start) AS last FROM predictions "
        "WHERE rank = 1 AND score >= ? GROUP BY label ORDER BY windows DESC, label"
    )
    yield Question(
        "species_sql",
        f"species of all sites: windows with it ranked first (score >= {SCORE_MIN:g}), first and last",
        lambda: archive.sql(query, [SCORE_MIN]),
        lambda: plain.species(SCORE_MIN),
        lambda a, b: (a.to_pydict(), b.to_pydict(), a.num_rows),
    )
    yield Question(
        "species",
        "`species`: the same, with days, the best window of each and the effort (plain DuckDB: without these)",
        lambda: species(archive, SearchFilter(score_min=SCORE_MIN)),
        lambda: plain.species(SCORE_MIN),
        lambda a, b: (
            {row.label: (row.windows, row.first, row.last) for row in a.rows},
            {row["label"]: (row["windows"], row["first"], row["last"]) for row in b.to_pylist()},
            len(a.rows),
        ),
    )
    yield Question(
        "summary",
        "`summary`: files, hours, days, gaps and schedules by site (plain DuckDB: windows and hours alone)",
        lambda: summarise(archive),
        plain.effort,
        lambda a, b: (
            {s.site: (s.windows, round(s.audio_s)) for s in a.sites},
            {row["site"]: (row["windows"], round(row["audio_s"])) for row in b.to_pylist()},
            len(a.sites),
        ),
    )
