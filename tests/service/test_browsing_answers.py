"""One window, one recording, sites, effort, labels, the ready questions: as the plain tables have them."""

from __future__ import annotations

import io
import json
import zipfile
from collections import defaultdict

import polars as pl
import pytest

from search_api.annotations import add_annotation, undo_annotations
from search_api.browsing.answers import activity_answer, species_answer
from search_api.browsing.holdings import index_state, list_snapshots, without_root
from search_api.browsing.judged import Only, export_judged, list_judged
from search_api.browsing.labels import list_labels
from search_api.browsing.places import effort, list_sites
from search_api.browsing.recordings import recording_detail, timeline
from search_api.browsing.windows import list_scores, list_windows, window_detail
from search_api.judging import Judgement, add_judgements
from search_api.probes.applying import ApplyOptions, apply_probes
from search_api.probes.stored import load_probe
from sonotheque.core.errors import Invalid, Limit, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from tests.ask import worlds
from tests.search import probe_kit

SUN = worlds.SITES[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, _, _ = worlds.new_world(tmp_path_factory.mktemp("asked"), months=(5, 10))
    with open_archive(root) as archive:
        first = list_windows(archive, SearchFilter(), limit=3).rows
        said = [
            Judgement("Strix aluco", window_id=first[0]["window_id"]),
            Judgement("Käuzchen, „leise“", window_id=first[0]["window_id"], judgement="negative", note="=1+1"),
            Judgement("rain", window_id=first[2]["window_id"], judgement="uncertain"),
        ]
        add_judgements(archive, said, annotator="Ana", provenance="page")
        yield archive


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    root = probe_kit.make_store(tmp_path_factory.mktemp("scored"))
    probe_kit.train(root, 1.0)
    with open_archive(root) as archive:
        apply_probes(archive, [load_probe(root, "owl")], ApplyOptions(floor=0.01))
    with open_archive(root) as archive:
        yield archive


def test_a_window_knows_its_neighbours_and_what_was_said_of_it(world) -> None:
    rows = list_windows(world, SearchFilter(recordings=("%/5-0.wav",)), limit=9).rows
    found = [window_detail(world, row["window_id"]) for row in rows]
    ids = [row["window_id"] for row in rows]
    assert [one["previous"] for one in found] == [None, *ids[:-1]]
    assert [one["next"] for one in found] == [*ids[1:], None]
    for one, row in zip(found, rows, strict=True):
        assert {name: one[name] for name in row} == row
        assert one["recording"]["path"] == "%/5-0.wav"
        own = world.sql(
            "SELECT label, rank FROM predictions WHERE path = ? AND start_s = ? ORDER BY rank",
            [row["path"], row["start_s"]],
        )
        assert [(p["label"], p["rank"]) for p in one["predictions"]] == list(
            zip(*own.to_pydict().values(), strict=True)
        )
        assert one["predictions"][0]["score"] >= one["predictions"][-1]["score"]
        assert one["scores"] == []
        json.dumps(one, allow_nan=False)


def test_a_windows_scores_are_those_of_the_probe_in_use_with_its_thresholds(scored) -> None:
    rows = list_scores(scored, SearchFilter(), limit=1000).rows
    plain = scored.sql("SELECT * FROM scores").to_pylist()
    assert len(rows) == len(plain) > 20
    probe = load_probe(scored.root, "owl")
    thresholds = dict(zip(probe.classes, map(float, probe.thresholds), strict=True))
    for row in rows[:5]:
        found = {s["label"]: s for s in window_detail(scored, row["window_id"])["scores"]}[row["label"]]
        assert (found["score"], found["threshold"]) == (row["score"], thresholds[row["label"]])
        assert (found["probe"], found["version"]) == ("owl", 1)


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_pages_of_scores_are_all_scores_that_were_asked_for(scored, limit) -> None:
    wanted, found, cursor = SearchFilter(sites=("Fen",)), [], None
    for _ in range(2_000):
        page = list_scores(scored, wanted, probe="owl", label="fox", least=0.2, limit=limit, cursor=cursor)
        found += [(row["path"], row["start_s"], row["label"]) for row in page.rows]
        if (cursor := page.next) is None:
            break
    plain = scored.sql(
        "SELECT path, start_s, label FROM scores WHERE site = 'Fen' AND label = 'fox' AND score >= 0.2 "
        "ORDER BY site, local_start NULLS LAST, utc_start NULLS LAST, path, start_sample"
    ).to_pylist()
    assert found == [tuple(row.values()) for row in plain]
    assert found


def test_scores_of_what_is_not_there_are_told(scored) -> None:
    with pytest.raises(NotFound, match="owl"):
        list_scores(scored, SearchFilter(), probe="owls", limit=2)
    with pytest.raises(NotFound, match="fox"):
        list_scores(scored, SearchFilter(), label="foks", limit=2)
    assert [row["source"] for row in list_labels(scored, "fox")] == ["probe"]


def test_recordings_of_a_site_are_a_chain_by_time(world) -> None:
    ids = world.sql(
        "SELECT recording_id FROM recordings WHERE site = ? ORDER BY local_start NULLS LAST, utc_start NULLS LAST, path",
        [SUN],
    )["recording_id"].to_pylist()
    found = [recording_detail(world, str(number)) for number in ids]
    assert [one["previous"] for one in found] == [None, *map(str, ids[:-1])]
    assert [one["next"] for one in found] == [*map(str, ids[1:]), None]
    assert {one["outcome"] for one in found} == {"done", "failed"}
    timeless = next(one for one in found if one["path"] == "Oak wood/no time.wav")
    assert timeless["utc_start"] is timeless["local_start"] is timeless["date"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("score_min", [0.0, 0.25, 0.6, 1.0])
def test_what_was_heard_in_a_recording_is_counted_by_hand(world, score_min) -> None:
    number = world.sql("SELECT recording_id FROM windows LIMIT 1")[0][0].as_py()
    counted = defaultdict(list)
    for row in world.sql(
        "SELECT label, score, start_sample FROM predictions WHERE recording_id = ?", [number]
    ).to_pylist():
        counted[row["label"]].append((row["score"], row["start_sample"]))
    top = recording_detail(world, str(number), score_min=score_min)["predictions_top"]
    assert {t["label"] for t in top} == {label for label, own in counted.items() if max(own)[0] >= score_min}
    assert [t["best_score"] for t in top] == sorted((t["best_score"] for t in top), reverse=True)
    for one in top:
        own = counted[one["label"]]
        assert one["windows"] == sum(score >= score_min for score, _ in own)
        assert one["best_score"] == pytest.approx(max(own)[0])
        assert one["best_window_id"] == f"{number}:{max(own)[1]}"
        assert one["best_start_s"] == max(own)[1] / 48_000


def test_a_timeline_is_the_recordings_windows_in_order(world) -> None:
    row = list_windows(world, SearchFilter(), limit=1).rows[0]
    found, notes = timeline(world, row["recording_id"], top=1)
    plain = world.sql("SELECT start_s FROM windows WHERE path = ? ORDER BY start_sample", [row["path"]])[
        "start_s"
    ].to_pylist()
    assert ([w["start_s"] for w in found["windows"]], notes) == (plain, [])
    assert found["hop_s"] == 3.0
    for one in found["windows"]:
        best = window_detail(world, one["window_id"])
        assert one["top"] == [{"label": p["label"], "score": p["score"]} for p in best["predictions"][:1]]
        assert one["annotations"] == best["annotations"]
    assert timeline(world, row["recording_id"], top=0)[0]["windows"][0]["top"] == []


SPANS = [((0.0, 3.0), [0.0]), ((3.0, 6.1), [3.0, 6.0]), ((2.9, None), [0.0, 3.0, 6.0, 9.0]), ((99.0, None), [])]


@pytest.mark.parametrize(("span", "starts"), SPANS)
def test_a_part_of_a_timeline_is_what_shares_something_with_it(world, span, starts) -> None:
    row = list_windows(world, SearchFilter(), limit=1).rows[0]
    found = timeline(world, row["recording_id"], from_s=span[0], to_s=span[1])[0]
    assert [w["start_s"] for w in found["windows"]] == starts


def test_a_timeline_that_ends_before_it_begins_is_refused(world) -> None:
    with pytest.raises(Invalid, match="expected an end after the start"):
        timeline(world, "1", from_s=3.0, to_s=3.0)
    with pytest.raises(NotFound):
        timeline(world, "1")


def test_a_long_timeline_says_how_to_go_on(world, monkeypatch) -> None:
    from search_api.browsing import recordings

    monkeypatch.setattr(recordings, "TIMELINE_MAX", 3)
    row = list_windows(world, SearchFilter(), limit=1).rows[0]
    found, notes = timeline(world, row["recording_id"])
    assert ([w["start_s"] for w in found["windows"]], notes) == (
        [0.0, 3.0, 6.0],
        ["the first 3 windows; ask for the others with from_s=9"],
    )
    assert [w["start_s"] for w in timeline(world, row["recording_id"], from_s=9.0)[0]["windows"]] == [9.0]


@pytest.mark.parametrize(
    ("end_s", "told"),
    [(9.0, "9"), (1_234_567.0, "1234567"), (359_998.125, "359998.125"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_where_a_timeline_goes_on_is_told_with_all_digits(end_s, told) -> None:
    from search_api.browsing.recordings import _exact

    assert _exact(end_s) == told and float(told) == end_s


def test_effort_adds_up_to_the_sound_that_was_analysed(world) -> None:
    whole = effort(world)
    plain = world.sql(
        "SELECT sum(valid_s) AS s, sum(valid_s) FILTER (date IS NULL) AS n, count(*) AS w FROM windows"
    ).to_pylist()[0]
    cells = sum(cell["audio_s"] for cell in whole["cells"])
    assert whole["totals"] == {"windows": plain["w"], "audio_s": plain["s"], "without_time_s": plain["n"]}
    assert cells == pytest.approx(plain["s"] - plain["n"])
    assert whole["dates"] == sorted({cell["date"] for cell in whole["cells"]})
    together = effort(world, per_site=False)
    assert {cell["site"] for cell in together["cells"]} == {None}
    assert sum(cell["audio_s"] for cell in together["cells"]) == pytest.approx(cells)
    assert len({(c["date"], c["hour"]) for c in together["cells"]}) == len(together["cells"])
    one = effort(world, SearchFilter(sites=("%",), months=(5,)))
    assert {(c["site"], c["date"][:7]) for c in one["cells"]} == {("%", "2025-05")}
    assert effort(world, SearchFilter(recordings=("nothing*",)))["cells"] == []


def test_more_hours_than_one_answer_holds_are_refused(world, monkeypatch) -> None:
    from search_api.browsing import places

    monkeypatch.setattr(places, "CELLS_MAX", 3)
    with pytest.raises(Limit, match="per_site=false"):
        effort(world)


def test_sites_have_their_effort(world) -> None:
    rows = {row["site"]: row for row in list_sites(world)}
    assert list(rows) == sorted(worlds.SITES)
    assert rows["Oak wood"]["zone"] == "Europe/Berlin"
    days = world.sql("SELECT count(DISTINCT date) AS n FROM recordings WHERE site = 'Oak wood' AND outcome = 'done'")[
        0
    ][0].as_py()
    assert (rows["Oak wood"]["days"], rows["Oak wood"]["first"], rows["Oak wood"]["last"]) == (
        days,
        "2024-05-01",
        "2025-10-26",
    )
    assert sum(row["windows"] for row in rows.values()) == world.snapshot.live_rows
    json.dumps(list(rows.values()), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("strix", "Strix aluco"),
        ("ALUCO", "Strix aluco"),
        ("trix a", "Strix aluco"),
        ("nandu", "Ñandú"),
        ("ñAND", "Ñandú"),
        ("kauz", "Käuzchen, „leise“"),
    ],
)
def test_labels_are_found_by_any_part_of_any_name(world, text, found) -> None:
    assert found in {row["label"] for row in list_labels(world, text)}


def test_labels_say_where_they_come_from_and_the_best_fit_is_first(world) -> None:
    rows = list_labels(world, "Strix aluco")
    assert [row["source"] for row in rows] == ["model", "annotation"]
    assert rows[1]["windows"] == 1
    assert (
        rows[0]["windows"]
        == world.sql("SELECT count(*) AS n FROM predictions WHERE label = 'Strix aluco'")[0][0].as_py()
    )
    everything = list_labels(world, "", limit=1_000)
    assert [row["windows"] for row in everything] == sorted((row["windows"] for row in everything), reverse=True)
    assert list_labels(world, "", limit=2) == everything[:2]
    for nothing in ("no such label", "%", "_'; DROP TABLE x; --", "\\"):
        assert list_labels(world, nothing) == []


def test_a_label_of_two_names_is_split() -> None:
    from search_api.browsing.labels import names

    assert names("Strix aluco_Tawny Owl") == {
        "label": "Strix aluco_Tawny Owl",
        "scientific": "Strix aluco",
        "common": "Tawny Owl",
    }
    assert names("rain") == {"label": "rain", "scientific": None, "common": None}
    assert names("_x")["scientific"] is None


def test_activity_as_grids_is_activity_as_rows(world) -> None:
    wanted = SearchFilter(score_min=0.3, label="rain")
    grids, _ = activity_answer(world, ["Strix aluco", "wind"], wanted, per_site=True)
    rows, _ = activity_answer(world, ["Strix aluco", "wind"], wanted, per_site=True, by="date")
    assert grids["rows"] is None and rows["panels"] == []
    assert grids["labels"] == ["Strix aluco", "wind"]
    by_day = defaultdict(int)
    for panel in grids["panels"]:
        assert len(panel["found"]) == len(panel["audio_s"]) == len(panel["dates"])
        for day, found, audio in zip(panel["dates"], panel["found"], panel["audio_s"], strict=True):
            assert len(found) == len(audio) == 24
            assert [f is None for f in found] == [a is None for a in audio]
            by_day[panel["label"], panel["site"], day] += sum(f or 0 for f in found)
    assert {(r["label"], r["site"], r["date"]): r["detections"] for r in rows["rows"]} == dict(by_day)
    total = sum(t["detections"] for t in grids["totals"])
    assert total == sum(by_day.values()) > 0
    json.dumps(grids, allow_nan=False)


def test_activity_of_annotations_and_of_a_probe(world, scored) -> None:
    found, _ = activity_answer(world, ["Strix aluco"], SearchFilter(), source="annotations")
    assert (found["source"], found["score_min"]) == ("annotations", None)
    assert sum(t["detections"] + t["without_time"]["found"] for t in found["totals"]) == 1
    probed, _ = activity_answer(scored, ["fox"], SearchFilter(), source="probe", probe="owl")
    assert probed["labels"] == ["fox"] and probed["totals"][0]["windows"] > 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": []}, "no species"),
        ({"by": "week"}, "by 'week'"),
        ({"source": "guess"}, "source 'guess'"),
        ({"source": "probe"}, "expected the probe's name"),
        ({"source": "probe", "probe": "owl", "labels": ["a", "b"]}, "expected one label"),
        ({"source": "probe", "probe": "owl", "wanted": SearchFilter(rank_max=1)}, "leave them out"),
    ],
)
def test_activity_that_cannot_be_is_refused(world, more, said) -> None:
    asked = {"labels": ["rain"], "wanted": SearchFilter(), **more}
    with pytest.raises(Invalid, match=said):
        activity_answer(world, asked.pop("labels"), asked.pop("wanted"), **asked)


def test_species_name_windows_that_are_there(world) -> None:
    rows, notes = species_answer(world, SearchFilter(score_min=0.2), best=2)
    assert notes == ["predictions of rank 1 or better with a score of at least 0.2"]
    assert [row["windows"] for row in rows] == sorted((row["windows"] for row in rows), reverse=True)
    for row in rows:
        for best in row["best"]:
            found = window_detail(world, best["window_id"])
            own = next(p for p in found["predictions"] if p["label"] == row["label"])
            assert (own["score"], own["rank"], found["path"], found["valid_s"]) == (
                best["score"],
                1,
                best["path"],
                best["valid_s"],
            )
            assert best["local_start"] == found["local_start"]
    short, notes = species_answer(world, SearchFilter(score_min=0.2), limit=1)
    assert short[0]["label"] == rows[0]["label"] and notes[-1] == f"the first 1 of {len(rows)} rows"


def test_an_archive_without_an_index_says_so_and_snapshots_are_listed(world) -> None:
    state = index_state(world)
    assert state["built"] is False and "index build" in state["notes"][0]
    assert [(s["snapshot"], s["newest"], s["asked"]) for s in list_snapshots(world)] == [
        (world.snapshot.number, True, True)
    ]
    assert without_root("/a/b", "look at /a/b/c and --store /a/b") == "look at c and --store STORE"


def test_annotations_in_pages_and_by_what_they_are(world) -> None:
    first = list_judged(world.root, Only(), limit=2)
    second = list_judged(world.root, Only(), limit=2, cursor=first.next)
    assert [row["annotation_id"] for row in [*first.rows, *second.rows]] == [3, 2, 1]
    assert second.next is None
    with pytest.raises(Invalid, match="another list"):
        list_judged(world.root, Only(label="rain"), limit=2, cursor=first.next)
    with pytest.raises(NotFound, match="rain"):
        list_judged(world.root, Only(label="rains"), limit=2)
    with pytest.raises(NotFound, match="Ana"):
        list_judged(world.root, Only(annotator="Anna"), limit=2)
    with pytest.raises(NotFound, match="no annotation has the recording 'nothing\\*'"):
        list_judged(world.root, Only(recording="nothing*"), limit=2)
    path = first.rows[0]["path"]
    assert list_judged(world.root, Only(recording=f"{path[:3]}*{path[-2:]}"), limit=9).rows
    assert list_judged(world.root, Only(recording=path, judgement="negative"), limit=9).rows in (
        [],
        [row for row in [*first.rows, *second.rows] if row["path"] == path and row["judgement"] == "negative"],
    )


def test_a_name_whose_last_annotation_was_undone_is_known_and_has_none(own) -> None:
    path = "north/20240501_040000.wav"
    add_annotation(own.store, path, 0, 1, "owl", annotator="Ana")
    undo_annotations(own.store, last=True, annotator="Ana")
    for only in (Only(label="owl"), Only(annotator="Ana"), Only(recording=path), Only(recording="north/*")):
        assert list_judged(own.store, only, limit=2).rows == []
    for only in (Only(label="owls"), Only(annotator="Anna"), Only(recording="south/*")):
        with pytest.raises(NotFound, match=r"; (did you mean|there is) "):
            list_judged(own.store, only, limit=2)


def test_annotations_as_files_hold_every_word(world) -> None:
    rows = json.loads(b"".join(export_judged(world, "json", Only()).chunks))
    assert sorted(row["annotation_id"] for row in rows) == [1, 2, 3]
    table = export_judged(world, "csv", Only())
    frame = pl.read_csv(io.BytesIO(b"".join(table.chunks)), infer_schema=False)
    assert table.annotations == frame.height == 3
    by_id = {row["annotation_id"]: row for row in frame.to_dicts()}
    assert by_id["2"]["label"] == "Käuzchen, „leise“"
    assert by_id["2"]["note"] == "'=1+1"  # no spreadsheet runs it
    assert by_id["1"]["recording_id"] == next(r["recording_id"] for r in rows if r["annotation_id"] == 1)


@pytest.mark.parametrize("form", ["raven", "audacity"])
def test_a_zip_has_a_table_for_each_recording_and_equal_bytes_each_time(world, form) -> None:
    made = export_judged(world, form, Only())
    data = b"".join(made.chunks)
    assert data == b"".join(export_judged(world, form, Only()).chunks)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert made.annotations == len(texts) == 1  # only the positive one
    assert "Strix aluco" in texts[0]
    every = export_judged(world, form, Only(judgement="uncertain"))
    assert every.annotations == 1


def test_an_export_of_nothing_is_an_empty_table_and_no_zip(scored) -> None:
    assert json.loads(b"".join(export_judged(scored, "json", Only()).chunks)) == []
    assert b"".join(export_judged(scored, "csv", Only()).chunks).startswith(b"annotation_id,recording_id,")
    with pytest.raises(NotFound, match="no such annotations"):
        export_judged(scored, "raven", Only())
    with pytest.raises(Invalid, match="form 'xls'"):
        export_judged(scored, "xls", Only())
