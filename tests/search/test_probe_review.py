"""Choosing what to judge, the way out as a table and back as annotations, and how many calls there are."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer

from probes.picking import bin_of, margin, per_bin, quantile_edges, top
from search_api.annotation_tables import ImportOptions, import_tables
from search_api.annotations import add_annotation, list_annotations
from search_api.probes.applying import ApplyOptions, apply_probes
from search_api.probes.call_density import call_density
from search_api.probes.judged_windows import NO, UNCLEAR, YES, judged_windows, states
from search_api.probes.review import ReviewOptions
from search_api.probes.review_files import TABLE_CSV, review_csv, write_review
from search_api.probes.reviewing import review
from search_api.probes.stored import load_probe
from sonotheque.cli import annotate, probe_review
from sonotheque.cli import main as front
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive, read_config
from store.annotations.formats import read_table
from store.probes.reviews import put_review, read_review, review_numbers
from tests.scores import kit as scores_kit
from tests.scores.kit import commit, keep, linked, poisoned, probe, snap
from tests.store import kit as store_kit


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """240 windows at two sites; some rows were superseded."""
    folder = tmp_path_factory.mktemp("reviewed")
    root, config = store_kit.new_store(folder)
    first = commit(root, config, ("A/1.wav", 1, 60), ("A/2.wav", 1, 40))
    commit(root, config, ("B/1.wav", 1, 70), ("B/2.wav", 1, 10), site="B")
    commit(root, config, ("A/1.wav", 2, 120), replaces=[first])
    snap(root)
    keep(root, probe(classes=("hoot",)))
    keep(root, probe("many", classes=("bark", "hoot")))
    return root


@pytest.fixture
def store(base, tmp_path):
    return linked(base, tmp_path / "store")


def look(root, name="owl", **options):
    with open_archive(root) as archive:
        return review(archive, load_probe(root, name), ReviewOptions(**options))


def everything(root, name="owl", label="hoot", where=None):
    """The dumb twin of scores: all windows by id, with probabilities."""
    made = load_probe(root, name)
    with open_archive(root) as archive:
        windows = archive.windows(where)
        p = made.probabilities(made.logits(archive.vectors_of(windows)))[:, made.classes.index(label)]
    ids = list(zip(windows["recording_id"].to_pylist(), windows["start_sample"].to_pylist(), strict=True))
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [ids[i] for i in order], p[order]


def ids_of(found):
    return [(row["recording_id"], row["start_sample"]) for row in found.table.to_pylist()]


def filled(found, folder, judge, name="judge.csv"):
    """Fill in the column ``judgement`` as a person would, by row."""
    rows = list(csv.DictReader(io.StringIO(review_csv(found).decode())))
    for row in rows:
        row["judgement"] = judge(row)
    path = Path(folder) / name
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.DictWriter(handle, TABLE_CSV)
        table.writeheader()
        table.writerows(rows)
    return str(path)


def bring(root, path, **options):
    return import_tables(root, [path], ImportOptions(annotator="Ana", **options))


# --- which windows


@pytest.mark.parametrize("applied", [False, True], ids=["vectors", "scores"])
def test_top_margin_and_bins_are_those_of_a_dumb_twin(store, applied):
    ids, p = everything(store)
    if applied:
        with open_archive(store) as archive:
            apply_probes(archive, [load_probe(store, "owl")], ApplyOptions(floor=0.0))
    found = {how: look(store, how=how, k=12, seed=5) for how in ("top", "margin", "bins")}
    assert {f.source for f in found.values()} == {"scores" if applied else "vectors"}
    assert all(f.windows == len(ids) == 240 for f in found.values())
    at = float(load_probe(store, "owl").thresholds[0])
    edges = quantile_edges(p, 6)
    rows, numbers = per_bin(p, edges, 12, seed=5)
    for how, expected in (("top", top(p, 12)), ("margin", margin(p, 12, at=at)), ("bins", rows)):
        assert ids_of(found[how]) == [ids[i] for i in expected]
        np.testing.assert_allclose(found[how].table["score"].to_numpy(), p[expected], rtol=1e-5, atol=1e-7)
        assert found[how].table["rank"].to_pylist() == list(range(1, 13))
    assert found["bins"].table["stratum"].to_pylist() == [n + 1 for n in numbers]
    assert found["top"].table["stratum"].to_pylist() == [None] * 12
    of = bin_of(p, edges)
    assert [b["windows"] for b in found["bins"].bins] == np.bincount(of).tolist()


def test_uncertain_ones_are_near_a_half_and_the_same_again(store):
    first, again = look(store, k=9), look(store, k=9)
    assert ids_of(first) == ids_of(again)
    assert len(set(ids_of(first))) == 9
    ids, p = everything(store)
    assert ids_of(first)[0] == ids[margin(p, 1)[0]]


def test_a_filter_narrows_and_superseded_rows_never_come(store):
    where = SearchFilter(sites=("B",))
    found = look(store, how="top", k=500, where=where)
    assert found.windows == 80 == found.table.num_rows
    assert set(found.table["site"].to_pylist()) == {"B"}
    assert "80 of 500 windows asked for" in found.notes[0]
    every = look(store, how="top", k=500)
    assert len(set(ids_of(every))) == 240, "superseded rows are not among them"
    with pytest.raises(NotFound, match="Bb"):
        look(store, where=SearchFilter(sites=("Bb",)))


def test_scores_from_a_floor_on_are_used_as_far_as_they_tell(store):
    with open_archive(store) as archive:
        apply_probes(archive, [load_probe(store, "owl")], ApplyOptions(floor=0.3))
    ids, p = everything(store)
    assert 20 < (p >= 0.3).sum() < 240
    best = look(store, how="top", k=12)
    assert (best.source, best.floor) == ("scores", 0.3)
    assert ids_of(best) == [ids[i] for i in top(p, 12)]
    assert look(store, how="top", k=240).source == "vectors", "more than there are above the floor"
    near = look(store, how="margin", k=5)
    assert near.source == "scores"
    assert ids_of(near) == [ids[i] for i in margin(p, 5)]
    assert look(store, how="margin", k=230).source == "vectors"
    drawn = look(store, how="bins", k=30)
    held = sum(b["windows"] for b in drawn.bins)
    assert held == 240
    if drawn.source == "scores":
        assert drawn.bins[0]["windows"] >= (p < 0.3).sum() - 1


def test_scores_of_some_parts_are_not_enough(store):
    with open_archive(store) as archive:
        made = load_probe(store, "owl")
        apply_probes(archive, [made], ApplyOptions(SearchFilter(sites=("B",)), floor=0.0))
    assert look(store, how="top").source == "vectors"
    assert look(store, how="top", where=SearchFilter(sites=("B",))).source == "scores"


@pytest.mark.parametrize("applied", [False, True])
def test_windows_whose_vectors_are_not_finite_are_left_out_and_told(store, applied):
    poisoned(store, float("nan"), (1, 3), part=2)
    if applied:
        with open_archive(store) as archive:
            apply_probes(archive, [load_probe(store, "owl")], ApplyOptions(floor=0.0))
    found = look(store, how="top", k=500)
    n = found.table.num_rows
    assert 238 <= n < 240
    assert f"{240 - n} windows are left out: their vectors are not finite" in found.notes[-1]
    assert np.isfinite(found.table["score"].to_numpy()).all()


def test_all_classes_or_one(store):
    found = look(store, "many", how="top", k=4)
    assert found.labels == ("bark", "hoot")
    assert found.table["label"].to_pylist() == ["bark"] * 4 + ["hoot"] * 4
    for label, rows in (("bark", slice(0, 4)), ("hoot", slice(4, 8))):
        ids, p = everything(store, "many", label)
        assert ids_of(found)[rows] == [ids[i] for i in top(p, 4)]
    assert look(store, "many", how="top", k=4, label="bark").table.num_rows == 4
    with pytest.raises(Invalid, match="--how bins is about one class: probe many has bark, hoot"):
        look(store, "many", how="bins")
    with pytest.raises(Invalid, match="no class 'hot'; did you mean"):
        look(store, "many", label="hot")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"how": "best"}, "--how best"),
        ({"k": 0}, "-k 0"),
        ({"bins": 0}, "--bins 0"),
        ({"bins": 21}, "--bins 21"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(Invalid, match=said):
        ReviewOptions(**options)


def test_how_many_by_default():
    assert ReviewOptions().wanted == 10
    assert ReviewOptions(how="bins", bins=4).wanted == 40
    assert ReviewOptions(how="bins", k=7).wanted == 7


# --- judged before


def spans(*rows, judged=True):
    """Annotations, or windows, of (recording, start, end[, judgement])."""
    columns = {
        "recording_id": pa.array([r[0] for r in rows], pa.int64()),
        "start_s": pa.array([float(r[1]) for r in rows], pa.float64()),
        "end_s": pa.array([float(r[2]) for r in rows], pa.float64()),
    }
    if judged:
        columns["judgement"] = pa.array([r[3] for r in rows], pa.string())
    return pa.table(columns)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([(1, 0, 3, "positive")], [YES, 0, 0]),
        ([(1, 0.5, 1, "positive")], [YES, 0, 0]),
        ([(1, 0, 9, "positive")], [YES, YES, YES]),
        ([(1, 2.8, 5.5, "positive")], [0, YES, 0]),
        ([(1, 3, 6, "negative")], [0, NO, 0]),
        ([(1, 2, 7, "negative")], [0, NO, 0]),
        ([(1, 3, 5.9995, "negative")], [0, NO, 0]),
        ([(1, 3.5, 5, "negative")], [0, UNCLEAR, 0]),
        ([(1, 3, 6, "uncertain")], [0, UNCLEAR, 0]),
        ([(1, 3, 6, "positive"), (1, 3, 6, "negative")], [0, UNCLEAR, 0]),
        ([(1, 3, 6, "positive"), (1, 3, 6, "uncertain")], [0, YES, 0]),
        ([(2, 3, 6, "positive")], [0, 0, 0]),
        ([], [0, 0, 0]),
    ],
)
def test_what_annotations_say_of_windows(annotations, expected):
    windows = spans((1, 0, 3), (1, 3, 6), (1, 6, 9), judged=False)
    assert states(spans(*annotations), windows).tolist() == expected


def test_windows_judged_for_the_class_are_left_out_others_are_not(store):
    first = look(store, how="top", k=3)
    rows = first.table.to_pylist()
    for row, label, judgement in zip(
        rows, ("hoot", "hoot", "bark"), ("positive", "uncertain", "positive"), strict=True
    ):
        add_annotation(store, row["path"], row["start_s"], row["end_s"], label, annotator="Ana", judgement=judgement)
    again = look(store, how="top", k=3)
    ids, p = everything(store)
    order = [ids[i] for i in top(p, 5)]
    assert ids_of(again) == order[2:]
    assert again.judged == {"hoot": 2}
    with open_archive(store) as archive:
        windows, said = judged_windows(archive, "hoot")
    assert windows.num_rows == 2
    assert sorted(said.tolist()) == [YES, UNCLEAR]


def test_all_judged(store):
    found = look(store, how="top", k=500, where=SearchFilter(recordings=("B/2.wav",)))
    path = filled(found, Path(store).parent, lambda row: "negative")
    assert bring(store, path)["added"] == 10
    for how in ("top", "margin", "uncertain", "bins"):
        empty = look(store, how=how, where=SearchFilter(recordings=("B/2.wav",)))
        assert empty.table.num_rows == 0
        assert empty.judged == {"hoot": 10}
        assert "10 of 10 were judged before" in empty.notes[0]


# --- the table, out and back


def test_the_table_comes_back_as_annotations(store, tmp_path):
    found = look(store, how="top", k=6)
    answers = dict(enumerate(["positive", "negative", "uncertain", "", "1", ""], 1))
    path = filled(found, tmp_path, lambda row: answers[int(row["rank"])])
    assert [rows.name for rows in [read_table(path)[0]]] == ["hoplite"], "it is known without --format"
    told = bring(store, path)
    assert (told["rows"], told["added"], told["not_judged"]) == (4, 4, 2)
    assert told["found_by"] == {"exact path": 4}
    said = {(r["path"], r["start_s"]): r for r in list_annotations(store).to_pylist()}
    for row in found.table.to_pylist():
        own = said.get((row["path"], row["start_s"]))
        answer = {"1": "positive"}.get(answers[row["rank"]], answers[row["rank"]])
        assert (own["judgement"] if own else "") == answer
        if own:
            assert own["label"] == "hoot"
            assert own["provenance"] == "probe review owl version 1 top" == found.tag
            assert own["end_s"] == pytest.approx(row["start_s"] + row["valid_s"])
    assert bring(store, path)["already_there"] == 4
    assert not set(ids_of(look(store, how="top", k=6))) & set(ids_of(found)[:3])


def test_an_empty_judgement_of_a_review_is_never_a_positive_one(store, tmp_path):
    path = filled(look(store, how="top", k=6), tmp_path, lambda row: "")
    for judgement in ("positive", "negative"):
        told = bring(store, path, judgement=judgement)
        assert (told["added"], told["not_judged"]) == (0, 6)


def test_a_column_called_review_in_another_table_means_nothing(store, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("recording,start_s,end_s,label,review\nA/1.wav,0,3,hoot,confirmed by Ben\n")
    told = bring(store, str(path))
    assert (told["added"], told["not_judged"]) == (1, 0)
    assert list_annotations(store)["provenance"].to_pylist() == ["hoplite:other.csv"]


def test_a_spreadsheet_in_another_language_brings_it_back(store, tmp_path):
    found = look(store, how="top", k=3)
    rows = list(csv.reader(io.StringIO(review_csv(found).decode())))
    at = TABLE_CSV.index("judgement")
    for row in rows[1:]:
        row[at] = "Positive"
        row[1:3] = [cell.replace(".", ",") for cell in row[1:3]]
    path = tmp_path / "judge.csv"
    path.write_bytes("\ufeff".encode() + "\r\n".join(";".join(row) for row in rows).encode())
    assert bring(store, str(path))["added"] == 3


def test_a_word_that_is_no_judgement_is_told_with_its_line(store, tmp_path):
    path = filled(look(store, how="top", k=2), tmp_path, lambda row: "maybe")
    with pytest.raises(Invalid, match=r"line 2, column 'judgement': 'maybe'; expected positive, negative or uncertain"):
        bring(store, path)


def test_a_table_with_judgements_is_never_replaced(store, tmp_path):
    found = look(store, how="top", k=3)
    path = tmp_path / "judge.csv"
    write_review(found, path)
    with pytest.raises(Conflict):
        write_review(found, path)
    write_review(found, path, overwrite=True)
    filled(found, tmp_path, lambda row: "positive" if row["rank"] == "2" else "")
    with pytest.raises(Conflict, match="holds 1 judgements"):
        write_review(found, path, overwrite=True)
    path.write_text("something else")
    write_review(found, path, overwrite=True)
    assert path.read_bytes() == review_csv(found)


def test_names_that_a_spreadsheet_would_run_come_back_the_same(tmp_path):
    root, config = store_kit.new_store(tmp_path)
    commit(root, config, ("A/=cmd.wav", 1, 4))
    commit(root, config, ("=A/Ñ ü,2.wav", 1, 3), site="=A")
    snap(root)
    keep(root, probe(classes=("=hoot, loud",)))
    found = look(root, how="top", k=7)
    path = filled(found, tmp_path, lambda row: "positive")
    assert "\n=" not in Path(path).read_text(encoding="utf-8")
    told = bring(root, path)
    assert (told["added"], told["found_by"]) == (7, {"exact path": 7})
    assert set(list_annotations(root)["label"].to_pylist()) == {"=hoot, loud"}


# --- how many


def truth_of(root, seed=0):
    """A call is likelier where the probe's score is high."""
    ids, p = everything(root)
    rng = np.random.default_rng(seed)
    return {one: bool(rng.random() < float(s) ** 2) for one, s in zip(ids, p, strict=True)}


def judge_by(found, truth):
    by_place = {
        (r["path"], f"{r['start_s']:g}"): truth[r["recording_id"], r["start_sample"]] for r in found.table.to_pylist()
    }
    return lambda row: "positive" if by_place[row["recording"], f"{float(row['start_s']):g}"] else "negative"


def test_a_review_of_bins_counts_the_calls(store, tmp_path):
    truth = truth_of(store)
    found = look(store, how="bins", k=90, seed=2)
    assert found.number == 1
    assert found.tag == "probe review owl version 1 bins 1"
    nothing = call_density(store, "owl")
    assert nothing["count"] is None
    assert nothing["count_ci"] == [0.0, 240.0]
    bring(store, filled(found, tmp_path, judge_by(found, truth)))
    told = call_density(store, "owl", draws=4000)
    assert (told["review"], told["label"], told["version"], told["windows"]) == (1, "hoot", 1, 240)
    assert told["judged"] == told["picked"] == 90
    assert told["count_ci"][0] <= sum(truth.values()) <= told["count_ci"][1]
    assert told["count_ci"][1] - told["count_ci"][0] < 150
    assert told["roc_auc_ci"][0] <= told["roc_auc"] <= told["roc_auc_ci"][1]
    assert told["roc_auc"] > 0.5
    assert told["notes"] == []
    # By hand: every bin's share, times its windows.
    by_hand = 0.0
    for b, one in enumerate(found.bins):
        own = [truth[i] for i, s in zip(ids_of(found), found.table["stratum"].to_pylist(), strict=True) if s == b + 1]
        by_hand += one["windows"] * sum(own) / len(own)
    assert told["count"] == pytest.approx(by_hand)
    assert told == call_density(store, "owl", draws=4000)


def test_everything_judged_leaves_nothing_to_guess(store, tmp_path):
    truth = truth_of(store, 1)
    found = look(store, how="bins", k=240)
    bring(store, filled(found, tmp_path, judge_by(found, truth)))
    told = call_density(store, "owl")
    assert told["count"] == pytest.approx(sum(truth.values()))
    assert told["count_ci"] == [sum(truth.values())] * 2


def test_an_unfinished_review_says_so_and_is_wider(store, tmp_path):
    truth = truth_of(store)
    found = look(store, how="bins", k=90)
    judge = judge_by(found, truth)
    some = filled(found, tmp_path, lambda row: judge(row) if int(row["rank"]) <= 30 else "")
    assert bring(store, some)["not_judged"] == 60
    part = call_density(store, "owl")
    assert part["judged"] == 30
    assert "60 of 90 windows drawn are not judged yet" in part["notes"][0]
    bring(store, filled(found, tmp_path, judge))
    whole = call_density(store, "owl")
    assert whole["count_ci"][1] - whole["count_ci"][0] < part["count_ci"][1] - part["count_ci"][0]


def test_a_bin_without_a_judgement_is_told(store, tmp_path):
    truth = truth_of(store)
    found = look(store, how="bins", k=60)
    judge = judge_by(found, truth)
    bring(store, filled(found, tmp_path, lambda row: "uncertain" if row["stratum"] == "1" else judge(row)))
    told = call_density(store, "owl")
    drawn = found.bins[0]["picked"]
    assert told["uncertain"] == drawn
    assert any("no window of the score bin 0 to" in note for note in told["notes"])
    assert any(f"{drawn} windows drawn were judged uncertain" in note for note in told["notes"])
    assert told["count_ci"][1] - told["count_ci"][0] >= found.bins[0]["windows"]


def test_the_next_review_knows_what_was_judged_before(store, tmp_path):
    truth = truth_of(store)
    first = look(store, how="bins", k=60)
    bring(store, filled(first, tmp_path, judge_by(first, truth)))
    second = look(store, how="bins", k=60)
    assert second.number == 2
    assert not set(ids_of(first)) & set(ids_of(second))
    assert sum(b["windows"] for b in second.bins) == 180
    assert call_density(store, "owl")["review"] == 1, "the second has no judgement yet"
    bring(store, filled(second, tmp_path, judge_by(second, truth)))
    told = call_density(store, "owl")
    assert (told["review"], told["known"], told["judged"], told["windows"]) == (2, 60, 60, 240)
    assert told["count_ci"][0] <= sum(truth.values()) <= told["count_ci"][1]
    assert call_density(store, "owl", number=1)["known"] == 0


def test_the_same_draw_asked_for_twice_is_one_review(store):
    assert look(store, how="bins", k=20).number == look(store, how="bins", k=20).number == 1
    assert look(store, how="bins", k=20, seed=1).number == 2
    assert review_numbers(store, "owl") == [1, 2]


def test_what_changed_since_the_draw_is_told(store, tmp_path):
    found = look(store, how="bins", k=20)
    bring(store, filled(found, tmp_path, lambda row: "negative"))
    commit(store, read_config(store), ("A/9.wav", 1, 5))
    snap(store)
    keep(store, probe(classes=("hoot",), seed=8))
    notes = call_density(store, "owl")["notes"]
    assert any("those of snapshot 1; the store is at 2 by now" in note for note in notes)
    assert any("drawn by version 1; version 2 is in use" in note for note in notes)


def test_which_review_is_meant(store):
    with pytest.raises(NotFound, match="no random windows of probe many were drawn"):
        call_density(store, "many")
    look(store, "many", how="bins", label="bark", k=5)
    assert call_density(store, "many")["label"] == "bark"
    look(store, "many", how="bins", label="hoot", k=5)
    with pytest.raises(Invalid, match="hoot, bark; choose with --label"):
        call_density(store, "many")
    assert call_density(store, "many", label="bark")["review"] == 1
    with pytest.raises(NotFound, match="review 2 of probe many is of hoot"):
        call_density(store, "many", label="bark", number=2)
    with pytest.raises(NotFound, match="has no review 7; it has 1, 2"):
        call_density(store, "many", number=7)
    with pytest.raises(NotFound, match="did you mean"):
        call_density(store, "many", label="bork")
    with pytest.raises(NotFound, match="did you mean"):
        call_density(store, "owls")


def test_a_record_that_was_changed_is_damaged(store):
    assert put_review(store, "owl", {"a": 1}) == 1
    assert put_review(store, "owl", {"a": 2}) == 2
    assert read_review(store, "owl", 1) == {"a": 1}
    path = next(Path(store, "probes").rglob("reviews/2.json"))
    text = path.read_text()
    for wrong in (
        text.replace('"a": 2', '"a": 3'),
        text[:20],
        "[]",
        text.replace('"format_version": 1', '"format_version": 2'),
    ):
        path.write_text(wrong)
        with pytest.raises(Damaged, match=r"2\.json"):
            read_review(store, "owl", 2)
    with pytest.raises(NotFound, match="it has none"):
        read_review(store, "many", 1)


# --- the command line


@pytest.fixture
def run(capfd, monkeypatch):
    """Run a verb; returns code, stdout, stderr."""
    group, app = typer.Typer(), typer.Typer()
    probe_review.register(group)
    app.add_typer(group, name="probe")
    annotate.register(app)
    monkeypatch.setattr(front, "app", app)

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["sonotheque", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            front.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return go


@pytest.fixture(scope="module")
def sounding(made, tmp_path_factory):
    """A store whose recordings are there, with a probe."""
    root = str(tmp_path_factory.mktemp("sounding") / "store")
    shutil.copytree(made.store, root)
    keep(root, scores_kit.probe("tone", spec=read_config(root).model, classes=("low tone",)))
    return root


def test_a_sitting(run, sounding, made, tmp_path):
    table, clips, sheet = tmp_path / "judge.csv", tmp_path / "judge.zip", tmp_path / "judge.svg"
    code, out, err = run(
        *("probe", "review", "tone", "--store", sounding, "--how", "bins", "-k", 12, "--bins", 3, "-o", table),
        *("--clips", clips, "--plot", sheet, "--recordings", made.recordings, "-q"),
    )
    assert code == 0, err
    assert "probe tone version 1, bins: 12 of 18 windows to judge (judged before: low tone 0)" in out
    assert f"annotate import {table} --store {sounding}" in out
    assert "12 clips written" in err
    assert "drawn: " in err and "(12 pictures)" in err
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    with zipfile.ZipFile(clips) as packed:
        assert {row["clip"] for row in rows} <= set(packed.namelist())
        assert all(row["clip"].startswith(f"{int(row['rank']):04d}_") for row in rows)
    drawn = sheet.read_text()
    assert "To judge for tone: low tone" in drawn
    assert "random in each score bin" in drawn
    for n, row in enumerate(rows):
        row["judgement"] = "positive" if n % 3 == 0 else "negative"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, TABLE_CSV)
        writer.writeheader()
        writer.writerows([*rows[:-1], {**rows[-1], "judgement": ""}])
    code, out, err = run("annotate", "import", table, "--store", sounding, "--annotator", "Ana")
    assert code == 0 and "11 rows of 1 table" in out
    assert "left out: 1 row of a review without a judgement" in err
    code, out, err = run("probe", "density", "tone", "--store", sounding)
    assert code == 0 and out.startswith("low tone: about ") and "of 18 windows of 2 s hold it" in out
    assert "95 % interval" in out and "ROC-AUC" in out
    assert "note: 1 of 12 windows drawn are not judged yet" in err
    code, out, _ = run("probe", "density", "tone", "--store", sounding, "--review", 1, "--label", "low tone", "--json")
    document = json.loads(out)
    assert code == 0 and document["count_ci"][0] <= document["count"] <= document["count_ci"][1]
    code, _, err = run("probe", "review", "tone", "--store", sounding, "-o", table, "--overwrite")
    assert code == 5 and "holds 11 judgements" in err


def test_a_document_without_a_file(run, store):
    code, out, err = run(
        "probe", "review", "owl", "--store", store, "--how", "margin", "-k", 3, "--site", "B", "--json"
    )
    document = json.loads(out)
    assert code == 0, err
    assert document["how"] == "margin" and len(document["to_judge"]) == 3 and document["filter"] == {"sites": ["B"]}
    assert document["out"] is None and document["clips"] is None and document["plot"] is None
    assert {row["site"] for row in document["to_judge"]} == {"B"}


def test_recordings_that_are_gone_are_told(run, store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code, _, err = run(
        *("probe", "review", "owl", "--store", store, "-k", 3, "--how", "top", "--recordings", tmp_path / "elsewhere"),
        *("--clips", tmp_path / "c", "--plot", tmp_path / "s.png", "-o", tmp_path / "j.csv"),
    )
    assert code == 3 and "not cut: " in err and "no picture was drawn" in err
    assert len((tmp_path / "j.csv").read_text().splitlines()) == 4, "the table is there all the same"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["review", "owl", "-o", "judge.txt"], 2, "ends in .csv"),
        (["review", "owl", "--how", "best"], 2, "--how best"),
        (["review", "owl", "--clips-as", "mp3"], 2, "wav or flac"),
        (["review", "owl", "-o", "nowhere/judge.csv"], 4, "there is no folder"),
        (["review", "owl", "--version", "9"], 4, "no version 9"),
        (["review", "awl"], 4, "did you mean"),
        (["review", "owl", "--plot", "sheet.gif"], 2, "gif"),
        (["density", "owl"], 4, "no random windows of probe owl were drawn"),
        (["density", "owl", "--seed", "-1"], 2, "--seed -1"),
        (["density", "awl"], 4, "did you mean"),
    ],
)
def test_what_cannot_be(run, store, words, code, said):
    ended, out, err = run("probe", *words, "--store", store)
    assert ended == code and said in err and out == ""
