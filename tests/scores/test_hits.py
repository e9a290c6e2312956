"""Hits against a loop over every window; their files; when they were."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.export_options import ExportOptions
from search_api.probes.applying import ApplyOptions, apply_probes, apply_stored
from search_api.probes.hit_activity import hit_activity
from search_api.probes.hit_files import FORMS, check_target, cut_hits, write_hits
from search_api.probes.hits import HIT_COLUMNS, HitOptions, find_hits
from sonotheque.core.errors import Conflict, Invalid, NotFound
from sonotheque.core.filters import HourSpan, SearchFilter
from store import Archive, read_config
from store.formats.whole import MARK
from tests.ask import worlds
from tests.exports.kit import tabbed
from tests.scores import kit
from tests.scores.kit import keep, linked, poisoned, probe, snap
from tests.store import kit as stores


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four sites, two months, odd names and clocks; two probes of all scores."""
    root, *_ = worlds.new_world(tmp_path_factory.mktemp("hits"), months=(5, 10))
    probes = [keep(root, probe("owl")), keep(root, probe("which", kind="multiclass", classes=kit.CLASSES))]
    with Archive(root) as archive:
        apply_probes(archive, probes, ApplyOptions(floor=0.0))
        yield archive, probes


def expected(archive, one, options: HitOptions) -> list[tuple]:
    """(path, start sample, label) of the hits, best first: a loop over the scores, which test_view compares with their twin."""
    windows = {(w["path"], w["start_sample"]): w for w in archive.windows(options.where).to_pylist()}
    own = dict(zip(one.classes, one.thresholds, strict=True))
    found = []
    for row in archive.sql(
        "SELECT path, start_sample, label, score FROM scores WHERE probe = ?", [one.name]
    ).to_pylist():
        window = windows.get((row["path"], row["start_sample"]))
        least = own[row["label"]] if options.threshold is None else options.threshold
        if window and row["score"] >= least and options.label in (None, row["label"]):
            at = window["local_start"] or datetime.max
            found.append((-row["score"], window["site"], at, row["path"], row["start_sample"], row["label"]))
    found.sort()
    if options.best_per:
        columns = {"recording": ("path",), "site": ("site",), "day": ("site", "date")}[options.best_per]
        best: dict[tuple, tuple] = {}
        for hit in found:
            window = windows[hit[3], hit[4]]
            best.setdefault((hit[5], *(window[c] for c in columns)), hit)
        found = sorted(best.values())
    return [hit[3:] for hit in found]


options = st.builds(
    HitOptions,
    where=st.sampled_from(
        [
            SearchFilter(),
            SearchFilter(sites=("Oak wood", "é/日")),
            SearchFilter(hours=HourSpan.parse("22:00-04:00")),
            SearchFilter(months=(5,), label="rain"),
            SearchFilter(date_from=date(2025, 10, 1)),
            SearchFilter(recordings=("*no time*",)),
        ]
    ),
    label=st.sampled_from([None, "hoot"]),
    threshold=st.sampled_from([None, 0.0, 0.2, 0.9, 1.0]),
    best_per=st.sampled_from([None, "recording", "site", "day"]),
)


@settings(max_examples=40, deadline=None)
@given(options, st.integers(0, 1))
def test_hits_against_a_loop(world, asked, which):
    archive, probes = world
    one = probes[which]
    found = find_hits(archive, one, asked)
    want = expected(archive, one, asked)
    got = [(h["path"], h["start_sample"], h["label"]) for h in found.table.to_pylist()]
    assert got == want
    scores = found.table["score"].to_pylist()
    assert scores == sorted(scores, reverse=True) and found.table["rank"].to_pylist() == list(range(1, len(got) + 1))
    assert found.counts == {c: sum(w[2] == c for w in want) for c in found.thresholds}
    assert found.windows == found.windows_scored == archive.windows(asked.where).num_rows
    assert found.table.schema == HIT_COLUMNS and found.notes == ()


def test_a_limit_keeps_the_best_and_counts_all(world):
    archive, (one, _) = world
    every, some = find_hits(archive, one), find_hits(archive, one, HitOptions(limit=3))
    assert some.table == every.table.slice(0, 3) and some.counts == every.counts and some.matching == every.matching > 3


def test_the_document(world):
    archive, (one, _) = world
    told = json.loads(json.dumps(find_hits(archive, one, HitOptions(limit=2, label="hoot")).to_json()))
    assert set(told) == {
        "store", "snapshot", "probe", "version", "filter", "label", "best_per", "thresholds", "floor", "windows", "windows_scored",
        "not_scored", "matching", "counts", "hits", "notes",
    }  # fmt: skip
    assert (told["probe"], told["version"], told["label"], told["thresholds"]) == ("owl", 1, "hoot", {"hoot": 0.5})
    assert list(told["hits"][0]) == HIT_COLUMNS.names and len(str(told["hits"][0]["score"])) < 12


# --- what is not there ---


def test_superseded_rows_are_no_hits(store):
    one = keep(store, probe(classes=("hoot",)))
    with Archive(store) as archive:
        apply_probes(archive, [one], ApplyOptions(floor=0.0))
        found = find_hits(archive, one, HitOptions(threshold=0.0))
        assert [found.matching, found.windows, found.windows_scored] == [11, 11, 11]
        windows = {(w["path"], w["start_sample"], w["part_id"]) for w in archive.windows().to_pylist()}
        assert len({(h["path"], h["start_sample"]) for h in found.table.to_pylist()}) == 11 == len(windows)


def test_windows_that_are_not_scored_yet_are_told(store):
    one = keep(store, probe())
    with Archive(store) as archive:
        with pytest.raises(NotFound, match=r"probe owl version 1 was not applied to .*: `sonotheque probe apply owl"):
            find_hits(archive, one)
        apply_stored(archive, ["owl"])
    kit.commit(store, read_config(store), ("C/1.wav", 1, 6), site="C")
    snap(store)
    with Archive(store) as archive:
        found = find_hits(archive, one)
        assert (found.windows, found.windows_scored) == (17, 11) and "6 of 17 windows" in found.notes[0]
        answer = hit_activity(archive, one)
        assert answer.panels[0].grid.windows.sum() + answer.panels[0].without_time["windows"] == 11, (
            "not scored: not effort"
        )
        apply_stored(archive, [], is_all=True)
        assert find_hits(archive, one).notes == ()


def test_windows_that_are_not_finite_are_told(store):
    poisoned(store, float("nan"), (0,), part=2)
    one = keep(store, probe())
    with Archive(store) as archive:
        done = apply_stored(archive, ["owl"])
        assert done.failed and len(done.scoring.not_scored) == 1
        found = find_hits(archive, one)
        assert found.not_scored == done.scoring.not_scored and "1 windows have no scores" in found.notes[0]
        assert found.not_scored[0]["path"] in found.notes[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"threshold": 1.2}, "--threshold 1.2"),
        ({"threshold": float("nan")}, "--threshold nan"),
        ({"limit": 0}, "--limit 0"),
        ({"best_per": "dya"}, "did you mean day"),
        ({"label": "hot"}, "owl has no class 'hot'; did you mean hoot"),
        ({"threshold": 0.001}, r"--threshold 0.001 is below 0.01, .*probe apply owl --floor 0.0005"),
    ],
)
def test_what_cannot_be_asked(store, asked, said):
    one = keep(store, probe())
    with Archive(store) as archive:
        apply_stored(archive, ["owl"])
        with pytest.raises(Invalid, match=said):
            find_hits(archive, one, HitOptions(**asked))


def test_a_threshold_of_the_probe_below_the_floor(store):
    import numpy as np

    one = keep(store, probe(thresholds=np.array([0.5, 0.004, 0.5])))
    with Archive(store) as archive:
        done = apply_stored(archive, ["owl"])
        assert "the threshold of hoot is 0.004" in done.notes[0]
        with pytest.raises(Invalid, match=r"the threshold of hoot, 0.004, is below 0.01"):
            find_hits(archive, one)
        find_hits(archive, one, HitOptions(label="bark"))
        assert apply_stored(archive, ["owl"], ApplyOptions(floor=0.001)).notes == ()
        find_hits(archive, one)


# --- applying by name ---


def test_names_that_do_not_go_together(store):
    with Archive(store) as archive:
        for given, said in (
            (([],), "no probe is named"),
            ((["owl"], None), "--all and owl"),
        ):
            with pytest.raises(Invalid, match=said):
                apply_stored(archive, given[0], is_all=len(given) > 1)
        with pytest.raises(Invalid, match="--version 2 belongs to one probe"):
            apply_stored(archive, ["a", "b"], version=2)
        with pytest.raises(NotFound, match="no probe in use"):
            apply_stored(archive, [], is_all=True)
        keep(store, probe())
        with pytest.raises(NotFound, match="owl"):
            apply_stored(archive, ["oul"])
        with pytest.raises(NotFound, match="no version 7"):
            apply_stored(archive, ["owl"], version=7)


def test_all_are_those_in_use_and_a_version_is_one_of_them(store):
    one, two = keep(store, probe("owl")), keep(store, probe("tit"))
    keep(store, probe("owl", seed=3), promote=False)
    keep(store, probe("never", seed=3), promote=False)
    with Archive(store) as archive:
        done = apply_stored(archive, [], is_all=True)
        assert [(p["name"], p["version"]) for p in done.scoring.probes] == [("owl", one.version), ("tit", two.version)]
        assert apply_stored(archive, ["owl", "owl"]).scoring.parts_held == 3
        assert apply_stored(archive, ["owl"], version=2).scoring.parts_scored == 3


def test_a_filter_chooses_parts_and_each_is_scored_whole(store):
    one = keep(store, probe())
    with Archive(store) as archive:
        done = apply_stored(archive, ["owl"], ApplyOptions(SearchFilter(recordings=("A/2.wav",))))
        assert (done.scoring.parts, done.scoring.windows) == (1, 8) and "1 of 3 parts" in done.notes[0]
        assert find_hits(archive, one).windows_scored == 3, "the other file of that part is superseded"
        with pytest.raises(NotFound, match="no site 'D'"):
            apply_stored(archive, ["owl"], ApplyOptions(SearchFilter(sites=("D",))))


# --- files ---


@pytest.fixture(scope="module")
def owls(tmp_path_factory):
    """Hits with labels that have underscores, in real recordings of the placeholder."""
    from tests.cluster.support import run, write_wav

    folder = tmp_path_factory.mktemp("owls")
    for number in range(4):
        write_wav(folder / "recordings" / "north" / f"20240501_{4 + number:02d}0000.wav", 7.0, seed=number)
    run(folder / "recordings", folder / "store", timezone="Europe/Paris")
    root = str(folder / "store")
    one = keep(root, probe("owl", spec=read_config(root).model, classes=("alarm_call", "hoot")))
    with Archive(root) as archive:
        apply_probes(archive, [one], ApplyOptions(floor=0.0))
        yield archive, find_hits(archive, one, HitOptions(threshold=0.0)), folder


def test_every_format_holds_every_hit(owls, tmp_path):
    archive, hits, _ = owls
    n = hits.matching
    assert n == hits.windows * 2 > 0
    for form in FORMS:
        target = tmp_path / form
        assert write_hits(archive, hits, form, target).rows == n, form
    with (tmp_path / "csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == HIT_COLUMNS.names and {r["label"] for r in rows} == {"alarm_call", "hoot"}
    table = pq.read_table(tmp_path / "parquet")
    assert table.drop_columns([]).replace_schema_metadata() == hits.table.replace_schema_metadata()
    told = json.loads(table.schema.metadata[b"sonotheque.export"])
    assert told["probe"] == "owl" and told["probe_digest"] == hits.probe.digest
    raven = [row for path in sorted((tmp_path / "raven").rglob("*.txt")) for row in tabbed(path)]
    assert len(raven) == n and {r["Common Name"] for r in raven} == {"alarm_call", "hoot"}, (
        "an underscore parts no names"
    )
    assert json.loads((tmp_path / "pamdp" / MARK).read_text())["probe"] == "owl"
    with (
        (tmp_path / "pamdp" / "data" / "observations.csv").open()
        if (tmp_path / "pamdp" / "data").is_dir()
        else next((tmp_path / "pamdp").rglob("observations.csv")).open(encoding="utf-8", newline="") as handle
    ):
        observations = list(csv.DictReader(handle))
    assert any("probe owl on placeholder 1" in str(row.values()) for row in observations)


def test_targets_are_looked_at_before_the_work(owls, tmp_path):
    archive, hits, _ = owls
    (tmp_path / "there.csv").write_text("mine")
    for form, out, kind, said in (
        ("ravn", "x", Invalid, "did you mean raven"),
        ("parquet", None, Invalid, "needs a file"),
        ("raven", None, Invalid, "needs a folder"),
        ("csv", tmp_path / "there.csv", Conflict, "--overwrite"),
        ("csv", tmp_path / "no" / "x.csv", NotFound, "no folder"),
        ("csv", Path(archive.root) / "x.csv", Invalid, "lies in the store"),
    ):
        with pytest.raises(kind, match=said):
            check_target(form, out, overwrite=False, store=archive.root)
    check_target("csv", None, overwrite=False, store=archive.root)
    write_hits(archive, hits, "csv", tmp_path / "there.csv", overwrite=True)
    assert (tmp_path / "there.csv").read_text().startswith("rank,score")


def test_clips_of_hits(owls, tmp_path):
    from search_api.locating import Locator

    archive, hits, _ = owls
    few = find_hits(archive, hits.probe, HitOptions(threshold=0.0, limit=3))
    report = cut_hits(archive, few, tmp_path / "clips", Locator.of(archive.root))
    assert [c["label"] for c in report.clips] == few.table["label"].to_pylist() and not report.failures
    assert len(list((tmp_path / "clips").glob("*.wav"))) == 3
    assert json.loads((tmp_path / "clips" / MARK).read_text())["probe"] == "owl"


# --- when ---


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([None, "hoot"]), st.sampled_from([0.0, 0.5, 0.9]), st.booleans())
def test_activity_against_a_loop(world, label, threshold, per_site):
    archive, (one, _) = world
    asked = HitOptions(label=label, threshold=threshold, limit=1)
    answer = hit_activity(archive, one, asked, per_site=per_site)
    found = expected(archive, one, asked)
    windows = {(w["path"], w["start_sample"]): w for w in archive.windows().to_pylist()}
    for panel in answer.panels:
        mine = [windows[h[:2]] for h in found if h[2] == panel.label and panel.site in (None, windows[h[:2]]["site"])]
        timed = [w for w in mine if w["date"] is not None]
        assert panel.found == len(timed) and panel.without_time["found"] == len(mine) - len(timed)
        counts = {(panel.grid.dates.index(w["date"]), w["hour"]) for w in timed}
        assert {(int(d), int(h)) for d, h in zip(*panel.grid.found.nonzero(), strict=True)} == counts
        of_site = [w for w in windows.values() if panel.site in (None, w["site"]) and w["date"] is not None]
        assert int(panel.grid.windows.sum()) == len(of_site)
    assert {p.label for p in answer.panels} == ({label} if label else set(one.classes))
    assert f"by probe owl, version {one.version}" in answer.counted


def test_a_picture_says_who_counted(world, tmp_path):
    from search_api.plots import draw_activity

    archive, (one, _) = world
    draw_activity(hit_activity(archive, one), tmp_path / "owl.svg")
    assert (
        "by probe owl, version 1" in (tmp_path / "owl.svg").read_text() or (tmp_path / "owl.svg").stat().st_size > 5000
    )


def test_the_verb_activity_points_to_hits(world):
    from search_api.questions.activity import Source, activity

    archive, _ = world
    with pytest.raises(Invalid, match="probe hits NAME --plot"):
        activity(archive, ["rain"], source=Source.PROBE)


def test_exports_of_predictions_still_part_their_names(owls):
    """What tells a probe's labels from a model's is said by the facts, not by the writer."""
    from search_api.export_rows import Reading

    archive, _, _ = owls
    assert Reading(archive, ExportOptions().where).facts().has_two_names


def test_linked_copies_are_used_here(world, tmp_path):
    """Scores of a store that was copied as a whole are those of the copy."""
    archive, (one, _) = world
    copied = linked(archive.root, tmp_path / "copy")
    with Archive(copied) as other:
        assert find_hits(other, one).table == find_hits(archive, one).table
    assert stores.temporary_files(copied) == []
