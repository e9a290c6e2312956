"""When a species was heard: counts and effort against a twin, and that no recording is never no species."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings

from search_api.questions.activity import By, Source, activity, chosen_word, hints, rows_by
from search_api.questions.grids import rate
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from tests.questions.kit import CHIFFCHAFF, LABELS, OWL, TIT, FakeArchive, Recording, tables_of
from tests.questions.worlds import chosen, filters, recordings

DAY = datetime(2025, 5, 1)


@pytest.fixture(scope="module")
def archive():
    with FakeArchive() as made:
        yield made


def heard(tables, wanted, label, least):
    return {
        (p["recording_id"], p["start_sample"])
        for p in tables.predictions
        if p["label"] == label and p["score"] >= least and (wanted.rank_max is None or p["rank"] <= wanted.rank_max)
    }


@settings(max_examples=50, deadline=None)
@given(recordings(), filters())
def test_same_counts_and_effort_as_the_twin(archive, files, wanted):
    tables = tables_of(files)
    archive.hold(tables)
    least = 0.5 if wanted.score_min is None else wanted.score_min
    windows = [w for w in tables.windows if chosen(w, wanted)]
    for per_site in (False, True):
        answer = activity(archive, [OWL, "Great Tit"], wanted, per_site=per_site, sun=True)
        assert answer.score_min == least
        sites = sorted({w["site"] for w in windows}) if per_site else [None]
        assert [(p.label, p.site) for p in answer.panels] == [(x, s) for x in (OWL, TIT) for s in sites]
        for panel in answer.panels:
            own = [w for w in windows if panel.site in (None, w["site"])]
            found = heard(tables, wanted, panel.label, least)
            check_grid(panel, own, found)
            check_sun(panel, own, found)
        assert [p.site for p in answer.places] == sorted({w["site"] for w in windows if w["local_start"]})
        for by in By:
            json.dumps(answer.to_json(by), allow_nan=False)


def check_grid(panel, windows, found):
    effort, count, sound = Counter(), Counter(), Counter()
    without = {"windows": 0, "found": 0}
    for w in windows:
        is_found = (w["recording_id"], w["start_sample"]) in found
        if w["local_start"] is None:
            without["windows"] += 1
            without["found"] += is_found
            continue
        cell = w["date"], w["hour"]
        effort[cell] += 1
        sound[cell] += w["valid_s"]
        count[cell] += is_found
    grid = panel.grid
    assert panel.without_time == without
    assert grid.dates == tuple(sorted({day for day, _ in effort}))
    for i, day in enumerate(grid.dates):
        for hour in range(24):
            assert grid.windows[i, hour] == effort[day, hour]
            assert grid.found[i, hour] == count[day, hour]
            assert grid.audio_s[i, hour] == pytest.approx(sound[day, hour])
            if effort[day, hour]:
                assert grid.per_hour[i, hour] == pytest.approx(count[day, hour] * 3600 / sound[day, hour])
            else:
                assert math.isnan(grid.per_hour[i, hour])


def check_sun(panel, windows, found):
    effort, count = Counter(), Counter()
    without = {"windows": 0, "found": 0}
    for w in windows:
        is_found = (w["recording_id"], w["start_sample"]) in found
        rise, fall = (
            np.float32(x) if x is not None else None for x in (w["minutes_since_sunrise"], w["minutes_since_sunset"])
        )
        if rise is None:
            without["windows"] += 1
            without["found"] += is_found
            continue
        event, minutes = ("sunrise", rise) if abs(rise) <= abs(fall) else ("sunset", fall)
        key = event, math.floor(minutes / 30) * 30
        effort[key] += 1
        count[key] += is_found
    assert panel.without_sun == without
    assert {(b.event, b.from_min): (b.windows, b.found) for b in panel.sun} == {
        k: (n, count[k]) for k, n in effort.items()
    }


@settings(max_examples=30, deadline=None)
@given(recordings())
def test_rows_of_every_kind_add_up_to_the_grid(archive, files):
    archive.hold(tables_of(files))
    answer = activity(archive, [OWL], SearchFilter(score_min=0.1), sun=True)
    (panel,) = answer.panels
    for by in (By.CELL, By.HOUR, By.DATE, By.MONTH):
        rows = rows_by(answer, by)
        assert sum(r["windows"] for r in rows) == panel.grid.windows.sum()
        assert sum(r["detections"] for r in rows) == panel.found
        assert sum(r["audio_h"] for r in rows) * 3600 == pytest.approx(panel.grid.audio_s.sum(), abs=0.01)
        keys = [tuple(v for k, v in r.items() if k in ("date", "hour", "month")) for r in rows]
        assert keys == sorted(set(keys))
        assert all(r["windows"] > 0 for r in rows)  # an hour without recording has no row
    assert sum(r["windows"] for r in rows_by(answer, By.SUN)) + panel.without_sun["windows"] == len(
        archive.sql("SELECT * FROM windows")
    )


def test_overlapping_windows_share_their_sound(archive):
    """With a hop of 1.5 s, an hour of sound is 2,400 windows and still an hour."""
    archive.hold(tables_of([Recording("a.wav", duration_s=300.0)]))
    full = activity_of_any(archive)
    archive.config = type(archive.config)(
        archive.config.model, type(archive.config.windows)(48_000, 144_000, 72_000, 48_000, 1.0), {}, "float16", 2
    )
    try:
        assert activity_of_any(archive) == full / 2
    finally:
        archive.config = FakeArchive().config


def activity_of_any(archive):
    own = "SELECT * EXCLUDE (valid_s, minutes_since_sunrise, minutes_since_sunset) FROM windows LIMIT 1"
    made = f"SELECT *, 1 AS rank, 'x' AS label, 0 AS logit, 1 AS score FROM ({own})"
    archive.db.execute(f"INSERT INTO predictions BY NAME {made}")
    return activity(archive, ["x"]).panels[0].grid.audio_s.sum()


def night_and_day():
    """Owls at night, chiffchaffs by day; nothing recorded from 12 to 14."""
    out = []
    for hour in [h for h in range(24) if h not in (12, 13)]:
        label = OWL if hour < 4 or hour > 21 else CHIFFCHAFF
        out.append(
            Recording(
                f"{hour:02d}.wav",
                "forest",
                DAY + timedelta(hours=hour),
                9.0,
                found=[[(label, 0.9)], [(label, 0.3)], []],
            )
        )
    return out


def test_the_heat_map_of_a_day(archive):
    archive.hold(tables_of(night_and_day()))
    answer = activity(archive, ["Tawny Owl", "Phylloscopus collybita"])
    owl, chiffchaff = (panel.grid for panel in answer.panels)
    assert list(np.flatnonzero(owl.found[0])) == [0, 1, 2, 3, 22, 23]
    assert list(np.flatnonzero(chiffchaff.found[0])) == [*range(4, 12), *range(14, 22)]
    assert list(np.flatnonzero(np.isnan(owl.per_hour[0]))) == [12, 13]
    assert owl.per_hour[0, 0] == 1 * 3600 / 9
    row = rows_by(answer, By.CELL)[0]
    assert row == {
        "label": OWL, "site": None, "date": "2025-05-01", "hour": 0, "windows": 3, "audio_h": 0.0025, "detections": 1,
        "detections_per_h": 400.0,
    }  # fmt: skip


def test_the_answer_says_what_it_is_of(archive):
    archive.hold(tables_of(night_and_day()))
    found = activity(archive, ["tawny owl"], SearchFilter(sites=("forest",), rank_max=1)).to_json()
    assert set(found) == {
        "store", "snapshot", "model", "filter", "source", "score_min", "rank_max", "labels", "sites", "by", "totals", "rows",
    }  # fmt: skip
    assert (found["score_min"], found["rank_max"], found["source"], found["by"]) == (0.5, 1, "predictions", "date-hour")
    assert found["labels"] == [OWL]
    assert found["sites"] == [{"site": "forest", "zone": "Europe/Paris", "latitude": None, "longitude": None}]
    assert found["totals"][0]["detections"] == 6
    assert found["filter"] == {"sites": ["forest"], "rank_max": 1}


def test_one_species_twice_is_one(archive):
    archive.hold(tables_of(night_and_day()))
    assert activity(archive, ["tawny owl", OWL, "Strix aluco"]).labels == (OWL,)


def test_an_upper_score_alone_is_what_was_asked(archive):
    archive.hold(tables_of(night_and_day()))
    answer = activity(archive, [OWL], SearchFilter(score_max=0.4))
    assert answer.score_min is None
    assert answer.panels[0].found == 6  # the windows of 0.3


@pytest.mark.parametrize(
    ("species", "kind", "told"),
    [
        ([], Invalid, "--species NAME"),
        (["Tawny Ovl"], NotFound, r"did you mean Tawny Owl\?"),
        (["whale"], NotFound, "no species 'whale' among the store's predictions"),
    ],
)
def test_species_that_cannot_be(archive, species, kind, told):
    archive.hold(tables_of(night_and_day()))
    with pytest.raises(kind, match=told):
        activity(archive, species)


def test_unknown_sites_are_errors(archive):
    archive.hold(tables_of(night_and_day()))
    with pytest.raises(NotFound, match=r"did you mean forest\?"):
        activity(archive, [OWL], SearchFilter(sites=("forst",)))


def test_a_species_that_was_not_found_says_how_near_it_came(archive):
    archive.hold(tables_of([*night_and_day(), Recording("x.wav", "b", DAY, 3.0, found=[[("rain", 0.25)]])]))
    wanted = SearchFilter()
    assert hints(archive, activity(archive, ["rain", OWL], wanted), wanted) == [
        "no such window holds rain; its best score there is 0.250"
    ]
    there = SearchFilter(sites=("forest",))
    assert "not among the classes kept" in hints(archive, activity(archive, ["rain"], there), there)[0]


ANNOTATIONS = [
    {"recording_id": 0, "start_s": 1.0, "end_s": 4.0, "label": "Strix aluco_Tawny Owl", "judgement": "positive"},
    {"recording_id": 0, "start_s": 6.0, "end_s": 7.0, "label": "Strix aluco_Tawny Owl", "judgement": "negative"},
    {"recording_id": 1, "start_s": 3.0, "end_s": 6.0, "label": "Strix aluco_Tawny Owl", "judgement": "positive"},
    {"recording_id": 2, "start_s": 0.0, "end_s": 1.0, "label": "Wren", "judgement": "positive"},
]


def test_annotations_as_source(archive):
    """A window with a positive annotation counts; one that is only touched, or judged negative, does not."""
    archive.hold(tables_of(night_and_day(), ANNOTATIONS))
    answer = activity(archive, ["tawny owl"], source=Source.ANNOTATIONS)
    (panel,) = answer.panels
    assert {h: int(n) for h, n in enumerate(panel.grid.found[0]) if n} == {0: 2, 1: 1}
    assert panel.grid.windows.sum() == 22 * 3
    assert answer.score_min is None
    assert hints(archive, answer, SearchFilter()) == []
    strict = activity(archive, ["tawny owl"], SearchFilter(overlap_min_s=1.5), source=Source.ANNOTATIONS)
    assert strict.panels[0].found == 2  # of [1, 4): 2 s in the first window, 1 s in the second
    with pytest.raises(NotFound, match=r"among the store's annotations; did you mean Wren\?"):
        activity(archive, ["wrenn"], source=Source.ANNOTATIONS)
    for changes in ({"score_min": 0.5}, {"rank_max": 1}, {"annotated": True}, {"judgement": "negative"}):
        with pytest.raises(Invalid, match="do not go with it"):
            activity(archive, ["wren"], SearchFilter(**changes), source=Source.ANNOTATIONS)


def test_no_annotations_at_all(archive):
    archive.hold(tables_of(night_and_day()))
    with pytest.raises(NotFound, match="the store holds no annotations"):
        activity(archive, ["wren"], source=Source.ANNOTATIONS)


def test_a_store_of_unknown_times_is_counted_apart(archive):
    archive.hold(tables_of([Recording("a.wav", local_start=None, found=[[(OWL, 0.9)], [], []])]))
    (panel,) = activity(archive, [OWL], sun=True).panels
    assert panel.grid.dates == ()
    assert panel.without_time == panel.without_sun == {"windows": 3, "found": 1}
    assert panel.sun == ()


def test_words_of_a_closed_list():
    assert chosen_word(By, "--by", " Hour ") is By.HOUR
    assert chosen_word(Source, "--source", "annotations") is Source.ANNOTATIONS
    with pytest.raises(Invalid, match=r"--by mont: did you mean month\?"):
        chosen_word(By, "--by", "mont")


def test_rates():
    found, audio = np.array([[0, 2], [1, 0]]), np.array([[0.0, 7200.0], [1800.0, 60.0]])
    np.testing.assert_array_equal(rate(found, audio), [[np.nan, 1.0], [2.0, 0.0]])


def test_months_of_two_years_are_not_one(archive):
    files = [Recording(f"{y}.wav", "a", datetime(y, 5, 1), 3.0, found=[[(TIT, 0.9)]]) for y in (2024, 2025)]
    archive.hold(tables_of(files))
    answer = activity(archive, [TIT])
    assert [r["month"] for r in rows_by(answer, By.MONTH)] == ["2024-05", "2025-05"]
    assert answer.panels[0].grid.dates == (date(2024, 5, 1), date(2025, 5, 1))
    assert len(LABELS) == 4
