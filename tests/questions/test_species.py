"""Which species were found, against a twin; ties and thresholds."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.questions.species import flat_rows, species
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from tests.questions.kit import CHIFFCHAFF, OWL, TIT, FakeArchive, Recording, tables_of
from tests.questions.worlds import chosen, filters, recordings

DAY = datetime(2025, 5, 1)


@pytest.fixture(scope="module")
def archive():
    with FakeArchive() as made:
        yield made


@settings(max_examples=50, deadline=None)
@given(recordings(), filters(), st.booleans(), st.integers(1, 3))
def test_same_species_as_the_twin(archive, files, wanted, per_site, best):
    tables = tables_of(files)
    archive.hold(tables)
    least = 0.5 if wanted.score_min is None else wanted.score_min
    rank = wanted.rank_max or 1
    groups = defaultdict(list)
    for p in tables.predictions:
        if chosen(p, wanted) and p["score"] >= least and p["rank"] <= rank:
            groups[p["label"], p["site"] if per_site else None].append(p)
    sound = defaultdict(float)
    for w in tables.windows:
        if chosen(w, wanted):
            sound[w["site"]] += w["valid_s"]
    answer = species(archive, wanted, per_site=per_site, best=best)
    assert (answer.score_min, answer.rank_max) == (least, rank)
    assert answer.sites == pytest.approx(dict(sound))
    order = sorted(groups, key=lambda k: (-len(groups[k]), k[0], k[1] or ""))
    assert [(r.label, r.site) for r in answer.rows] == order
    for row in answer.rows:
        own = groups[row.label, row.site]
        times = [p["local_start"] for p in own if p["local_start"]]
        assert row.windows == len(own)
        assert row.sites == len({p["site"] for p in own})
        assert row.days == len({p["date"] for p in own if p["date"]})
        assert row.site_days == len({(p["site"], p["date"]) for p in own if p["date"]})
        assert row.without_time == len(own) - len(times)
        assert (row.first, row.last) == (min(times, default=None), max(times, default=None))
        assert row.audio_s == pytest.approx(sound[row.site] if per_site else sum(sound.values()))
        ranked = sorted(
            own,
            key=lambda p: (
                -p["score"],
                p["site"],
                p["local_start"] is None,
                p["local_start"] or DAY,
                p["path"],
                p["start_s"],
            ),
        )
        assert [(b.score, b.path, b.start_s, b.rank) for b in row.best] == [
            (p["score"], p["path"], p["start_s"], p["rank"]) for p in ranked[:best]
        ]
        assert row.best_score == ranked[0]["score"]
    json.dumps(answer.to_json(), allow_nan=False)


def week():
    out = []
    for d in range(7):
        found = [[(OWL, 0.9), (TIT, 0.8)], [(TIT, 0.6)], [(CHIFFCHAFF, 0.4), (OWL, 0.3)]]
        out.append(Recording(f"{d}.wav", "ab"[d % 2], DAY + timedelta(days=d), 9.0, found=found))
    return out


def test_a_window_counts_for_its_best_class_unless_told_otherwise(archive):
    archive.hold(tables_of(week()))
    assert [(r.label, r.windows) for r in species(archive).rows] == [(TIT, 7), (OWL, 7)]
    assert [(r.label, r.windows) for r in species(archive, SearchFilter(rank_max=2)).rows] == [(TIT, 14), (OWL, 7)]
    assert [(r.label, r.windows) for r in species(archive, SearchFilter(score_min=0.1)).rows] == [
        (TIT, 7), (CHIFFCHAFF, 7), (OWL, 7),
    ]  # fmt: skip


def test_one_species_by_name(archive):
    archive.hold(tables_of(week()))
    answer = species(archive, SearchFilter(label="tawny owl"), best=3)
    assert [r.label for r in answer.rows] == [OWL]
    assert [b.path for b in answer.rows[0].best] == ["0.wav", "2.wav", "4.wav"]  # of equal scores: by site, then time
    with pytest.raises(NotFound, match=r"did you mean Tawny Owl\?"):
        species(archive, SearchFilter(label="tawny ovl"))


def test_the_answer_as_json(archive):
    archive.hold(tables_of(week()))
    found = species(archive, per_site=True).to_json(top=2)
    assert set(found) == {
        "store", "snapshot", "model", "filter", "score_min", "rank_max", "species", "audio_h", "rows", "truncated",
    }  # fmt: skip
    assert (found["species"], len(found["rows"]), found["truncated"]) == (2, 2, True)
    row = found["rows"][0]
    assert set(row) == {
        "label", "site", "windows", "sites", "days", "site_days", "without_time", "first", "last", "best_score", "audio_h",
        "detections_per_h", "best",
    }  # fmt: skip
    assert (row["label"], row["site"], row["first"], row["last"]) == (
        TIT,
        "a",
        "2025-05-01T00:00:03",
        "2025-05-07T00:00:03",
    )
    assert row["detections_per_h"] == pytest.approx(4 * 3600 / (4 * 9))
    assert row["best"][0]["utc_start"] == "2025-04-30T22:00:03Z"


def test_rows_for_other_programs_are_flat(archive):
    archive.hold(tables_of(week()))
    (row,) = flat_rows(species(archive, best=2), 1)
    assert (row["best_path"], row["best_start_s"], row["best_score"]) == ("0.wav", 3.0, 0.6)
    assert not any(isinstance(v, list | dict) for v in row.values())
    assert len(flat_rows(species(archive))) == 2


def test_nothing_found_is_an_empty_answer(archive):
    archive.hold(tables_of(week()))
    answer = species(archive, SearchFilter(score_min=0.99))
    assert answer.rows == ()
    assert answer.to_json()["rows"] == []
    assert answer.sites == {"a": 36.0, "b": 27.0}
    archive.hold(tables_of([]))
    assert species(archive).rows == ()


def test_at_least_one_best_window(archive):
    with pytest.raises(Invalid, match="best windows 0"):
        species(archive, best=0)
