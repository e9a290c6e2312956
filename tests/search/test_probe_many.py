"""Training tables of probes: how they are read, that rows fail alone, that what is done is not done again."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from probes.experiment import ExamplesFrom, Experiment, Negatives, Split, ThresholdRule
from search_api.probes import many
from search_api.probes.lanes import Interrupts, Lane, one_thread_each, ready
from search_api.probes.many import Row, train_all, trained_already
from search_api.probes.many_table import read_table
from sonotheque.cli.probe_many import _Plain, live_table
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from store.annotations import Annotation, AnnotationLog
from tests.search import probe_kit
from tests.search.probe_trains import MACRO, called, pretend


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def yaml_table(folder: Path, value: Any) -> Path:
    return write(folder, "table.yaml", yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of 120 windows, all of them judged for owls and foxes."""
    root = probe_kit.make_store(tmp_path_factory.mktemp("many"))
    with open_archive(root) as archive:
        rows = archive.sql("SELECT * FROM windows ORDER BY path, start_sample").to_pylist()
    said, number = [], dict.fromkeys(probe_kit.PATHS, 0)
    for row in rows:
        there = probe_kit.truth(row["path"])[number[row["path"]]]
        number[row["path"]] += 1
        for label, is_there in zip(probe_kit.CLASSES, there, strict=True):
            judgement = "positive" if is_there else "negative"
            said.append(Annotation(row["recording_id"], row["path"], row["start_s"], row["end_s"], label, judgement))
    AnnotationLog(root).add(said, annotator="Ana", provenance="by hand")
    return root


@pytest.fixture
def store(template: str, tmp_path: Path) -> str:
    return str(shutil.copytree(template, tmp_path / "store"))


# Tables


def test_a_list_of_experiments(tmp_path: Path) -> None:
    path = yaml_table(
        tmp_path,
        [
            {"name": "owl", "classes": ["Strix aluco"]},
            {"name": "fox", "negatives": {"weak": 5}, "split.by": "day", "shots": [1, 2]},
        ],
    )
    owl, fox = read_table(path)
    assert owl.experiment == Experiment("owl", classes=("Strix aluco",))
    assert fox.experiment == Experiment("fox", negatives=Negatives(5), split=Split("day"), shots=(1, 2))
    assert (owl.line, fox.line) == (1, 4)


def test_defaults_hold_unless_a_row_says_otherwise(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "table.yml",
        "defaults:\n  negatives: {weak: 7, weight: 0.2}\n  seed: 3\nprobes:\n  - name: a\n  - name: b\n    negatives.weak: 9\n    seed: 4\n",
    )
    a, b = read_table(path)
    assert a.experiment == Experiment("a", negatives=Negatives(7, 0.2), seed=3)
    assert b.experiment == Experiment("b", negatives=Negatives(9, 0.2), seed=4)


def test_a_csv_has_a_column_a_key(tmp_path: Path) -> None:
    text = (
        "name,classes,kind,negatives.weak,l2,threshold.rule,threshold.value,shots,examples.where.sites,examples.annotators\n"
        "owl,Strix aluco|Bubo bubo,multiclass,50,0.01,precision,0.9,1|2,Oak wood|Fen,Ana\n"
        "fox,Vulpes vulpes,,,auto,,,,,\n"
    )
    owl, fox = read_table(write(tmp_path, "table.csv", text))
    assert owl.problem is None
    assert owl.experiment == Experiment(
        "owl",
        classes=("Strix aluco", "Bubo bubo"),
        kind="multiclass",
        negatives=Negatives(50),
        l2=0.01,
        threshold=ThresholdRule("precision", 0.9),
        shots=(1, 2),
        examples=ExamplesFrom(where=SearchFilter(sites=("Oak wood", "Fen")), annotators=("Ana",)),
    )
    assert fox.experiment == Experiment("fox", classes=("Vulpes vulpes",))
    assert (owl.line, fox.line) == (2, 3)


@pytest.mark.parametrize(("mark", "ending"), [(",", ".csv"), (";", ".csv"), ("\t", ".tsv")])
def test_separators_marks_and_lines_of_spreadsheets(tmp_path: Path, mark: str, ending: str) -> None:
    rows = [["name", "classes"], ["owl", 'one\n"two"'], ["", ""], ["123", "x"]]
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator="\r\n").writerows(rows)
    path = tmp_path / f"table{ending}"
    path.write_bytes(b"\xef\xbb\xbf" + out.getvalue().encode())
    found = read_table(path)
    assert [(r.line, r.name) for r in found] == [(2, "owl"), (5, "123")]
    assert found[1].experiment == Experiment("123", classes=("x",))


names = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)
wholes = st.integers(0, 1000)


@settings(max_examples=40)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": names, "classes": st.lists(names, min_size=1, max_size=3, unique=True)},
            optional={
                "seed": wholes,
                "negatives.weak": wholes,
                "negatives.weight": st.floats(0, 1),
                "split.by": st.sampled_from(["day", "site"]),
            },
        ),
        min_size=1,
        max_size=5,
    )
)
def test_both_formats_mean_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    columns = sorted({key for row in rows for key in row})
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows({**row, "classes": "|".join(row["classes"])} for row in rows)
    from_csv = read_table(write(folder, "t.csv", out.getvalue()))
    from_yaml = read_table(yaml_table(folder, rows))
    assert [r.experiment for r in from_csv] == [r.experiment for r in from_yaml]
    assert [bool(r.problem) for r in from_csv] == [bool(r.problem) for r in from_yaml]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "owl", "clases": ["x"]}, ["line 4", "'clases'", "did you mean classes?"]),
        ({"name": "owl", "negatives": {"week": 3}}, ["line 5", "'negatives.week'", "did you mean"]),
        ({"name": "owl", "negatives.week": 3}, ["line 4", "'negatives.week'", "did you mean"]),
        ({"name": "owl", "kind": "manylabel"}, ["line 3", "'manylabel'"]),
        ({"name": "owl", "seed": "x"}, ["line 4", "seed is 'x'", "whole number"]),
        ({"name": "owl", "negatives": 3}, ["line 4", "negatives is 3"]),
        ({"name": "a/b"}, ["line 3", "looks like a path"]),
        ({"name": 7}, ["line 3", "name is 7"]),
        ({"classes": ["x"]}, ["line 3", "no name"]),
        ("owl", ["line 3", "expected keys and values"]),
        (None, ["line 3", "expected keys and values"]),
    ],
)
def test_a_wrong_row_names_line_and_key_and_spoils_no_other(tmp_path: Path, row: Any, words: list[str]) -> None:
    path = yaml_table(tmp_path, [{"name": "first"}, {"name": "second"}, row, {"name": "last"}])
    found = read_table(path)
    assert [bool(r.problem) for r in found] == [False, False, True, False]
    assert found[2].experiment is None
    for word in [str(path), *words]:
        assert word in (found[2].problem or "")


def test_a_wrong_default_is_named_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "t.yaml", "defaults:\n  seed: 1\n  sead: 3\nprobes:\n  - name: a\n  - name: b\n")
    a, b = read_table(path)
    assert f"{path}, line 5, by its defaults in line 3: unknown key 'sead'; did you mean seed?" == a.problem
    assert "line 6, by its defaults in line 3" in (b.problem or "")


def test_wrong_csv_rows(tmp_path: Path) -> None:
    text = "name,classes,negatives.weak\nowl,a,x\nfox,b,1,c\nwren,c,\n"
    owl, fox, wren = read_table(write(tmp_path, "t.csv", text))
    assert "line 2: negatives.weak is 'x'; expected a whole number" in (owl.problem or "")
    assert "line 3: 4 cells, expected 3" in (fox.problem or "")
    assert wren.problem is None
    (row,) = read_table(write(tmp_path, "t.csv", "name,clases\nowl,a\n"))
    assert "line 2: unknown key 'clases'; did you mean classes?" in (row.problem or "")


def test_a_name_may_stand_in_one_row_only(tmp_path: Path) -> None:
    path = yaml_table(tmp_path, [{"name": "owl"}, {"name": "fox"}, {"name": "owl"}])
    found = read_table(path)
    assert [r.problem and r.problem.partition(": ")[2] for r in found] == [
        None,
        None,
        "probe owl is in line 1 already; give it another name",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.yaml", "- name: [", "is no YAML"),
        ("t.yaml", "a: &a [*a]\nb", "is no YAML"),
        ("t.yaml", "", "expected a list of probes"),
        ("t.yaml", "[]", "has no rows"),
        ("t.yaml", "owl", "expected a list of probes"),
        ("t.yaml", "default: {}\nprobes: []", "unknown key 'default'; did you mean defaults?"),
        ("t.yaml", "defaults: 3\nprobes: [{name: a}]", "defaults is 3"),
        ("t.csv", "", "has no rows"),
        ("t.csv", "name,classes\n", "has no rows"),
        ("t.csv", "probe,classes\nowl,a\n", "has no column name; it has probe, classes"),
        ("t.csv", "name,classes,classes\nowl,a,b\n", "'classes' twice"),
        ("t.csv", 'name,classes\nowl,"a\n', "not CSV"),
        ("t.xlsx", "name", "expected a name that ends in"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(Invalid) as told:
        read_table(path)
    assert str(path) in told.value.message
    assert words in told.value.message


def test_no_table_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no table"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"name\n\xff\n")
    with pytest.raises(Invalid, match="cannot be read"):
        read_table(tmp_path / "t.csv")


# Runs


def test_rows_fail_alone(store: str, tmp_path: Path) -> None:
    rows = [
        {"name": "owl", "classes": ["owl", "fox"]},
        {"name": "wrong-one"},
        {"name": "bug-one"},
        {"name": "dies-one"},
        {"name": "x", "sede": 1},
        {"name": "leaves-one"},
        {"name": "odd-one"},
        {"name": "fox", "classes": ["fox"]},
    ]
    seen: list[set[str]] = []
    made = train_all(
        store, yaml_table(tmp_path, rows), workers=2, train=pretend, watch=lambda r: seen.append({x.state for x in r})
    )
    state = {row.name: (row.state, row.reason) for row in made.rows}
    assert [row.name for row in made.rows] == [row["name"] for row in rows]
    assert state["owl"] == state["fox"] == state["odd-one"] == ("done", None)
    assert state["wrong-one"] == ("failed", "class 'wrong-one' has no positive example")
    assert state["bug-one"] == ("failed", "ZeroDivisionError: nothing to divide by")
    assert state["dies-one"][0] == "failed"
    assert "SIGKILL" in str(state["dies-one"][1])
    assert state["leaves-one"] == ("failed", "its process ended with code 5 before it had an answer")
    assert "did you mean seed?" in str(state["x"][1])
    owl = made.rows[0]
    assert owl.n == {"owl": 7, "fox": 7}
    assert {key: getattr(owl, key) for key in MACRO} == MACRO
    assert made.to_json() | {"rows": [], "wall_s": 0} == {
        "done": 3,
        "failed": 5,
        "pending": 0,
        "already": 0,
        "stopped": False,
        "wall_s": 0,
        "rows": [],
    }
    assert any("training" in states for states in seen)
    assert seen[-1] == {"done", "failed"}
    threads = {path.read_text() for path in (Path(store) / "calls").iterdir()}
    assert threads == {"1"}
    assert all(called(store, row["name"]) == (row["name"] != "x") for row in rows)


def interrupted_when(condition: Any, times: int = 1) -> threading.Thread:
    """Press Ctrl-C when something is so."""

    def press() -> None:
        while not condition():
            time.sleep(0.02)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    return thread


def test_ctrl_c_lets_what_is_being_trained_end(store: str, tmp_path: Path) -> None:
    calls = Path(store) / "calls"
    path = yaml_table(tmp_path, [{"name": "waits-one", "classes": ["owl"]}, {"name": "next"}])

    def watch(rows: Any) -> None:
        if told:
            (calls / "go").touch()

    told: list[int] = []
    before = signal.getsignal(signal.SIGINT)  # ignored, in what a shell runs in the background
    thread = interrupted_when(lambda: (calls / "waiting").exists())
    go = threading.Thread(target=lambda: (thread.join(), told.append(1)), daemon=True)
    go.start()
    made = train_all(store, path, workers=1, train=pretend, watch=watch)
    assert made.stopped
    assert [row.state for row in made.rows] == ["done", "pending"]
    assert called(store, "next") == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_it(store: str, tmp_path: Path) -> None:
    calls = Path(store) / "calls"
    path = yaml_table(tmp_path, [{"name": "waits-one"}, {"name": "next"}])
    interrupted_when(lambda: (calls / "waiting").exists(), times=2)
    made = train_all(store, path, workers=1, train=pretend)
    assert made.stopped
    assert [row.state for row in made.rows] == ["pending", "pending"]
    assert made.rows[0].reason is None


def test_refusals_before_anything_is_trained(store: str, tmp_path: Path) -> None:
    path = yaml_table(tmp_path, [{"name": "owl"}])
    with pytest.raises(Invalid, match="--workers 0"):
        train_all(store, path, workers=0, train=pretend)
    with pytest.raises(NotFound):
        train_all(str(tmp_path / "nowhere"), path, train=pretend)
    with pytest.raises(NotFound):
        train_all(store, tmp_path / "none.yaml", train=pretend)
    assert not (Path(store) / "calls").exists()


FAST = {"negatives": {"weak": 0}, "bootstrap": 0, "shots": [], "l2": 0.01}


def test_what_is_done_is_not_done_again(store: str, tmp_path: Path) -> None:
    rows = [{"name": "owl", "classes": ["owl"]}, {"name": "both"}, {"name": "none", "classes": ["wolf"]}]
    path = yaml_table(tmp_path, {"defaults": FAST, "probes": rows})
    first = train_all(store, path, workers=2)
    assert [(row.state, row.version, row.already) for row in first.rows] == [
        ("done", 1, False),
        ("done", 1, False),
        ("failed", None, False),
    ]
    assert "wolf" in str(first.rows[2].reason)
    assert first.rows[1].n == {"fox": 24, "owl": 30}
    assert first.rows[1].map is not None
    again = train_all(store, path, workers=1)
    assert [(row.state, row.version, row.already) for row in again.rows] == [
        ("done", 1, True),
        ("done", 1, True),
        ("failed", None, False),
    ]
    old, new = first.rows[1].to_json(), again.rows[1].to_json()
    assert {k: v for k, v in new.items() if k not in ("seconds", "already")} == {
        k: v for k, v in old.items() if k not in ("seconds", "already")
    }


def test_other_settings_or_other_data_are_a_new_training(store: str) -> None:
    from search_api.probes.training import train_probe

    experiment = Experiment("owl", classes=("owl",), negatives=Negatives(0), bootstrap=0, shots=(), l2=0.01)
    assert trained_already(store, experiment) is None
    assert train_probe(store, experiment)["version"] == 1
    assert trained_already(store, experiment) == 1
    other = Experiment("owl", classes=("owl",), negatives=Negatives(0), bootstrap=0, shots=(), l2=0.02)
    assert trained_already(store, other) is None
    with open_archive(store) as archive:
        row = archive.sql("SELECT * FROM windows ORDER BY path, start_sample LIMIT 1").to_pylist()[0]
    # Ana said that there is no owl: now nobody knows.
    AnnotationLog(store).add(
        [Annotation(row["recording_id"], row["path"], row["start_s"], row["end_s"], "owl", "positive")],
        annotator="Ben",
        provenance="by hand",
    )
    assert trained_already(store, experiment) is None


def test_a_version_that_cannot_be_read_is_not_taken_for_done(store: str) -> None:
    from search_api.probes.training import train_probe

    experiment = Experiment("owl", classes=("owl",), negatives=Negatives(0), bootstrap=0, shots=(), l2=0.01)
    train_probe(store, experiment)
    (file,) = Path(store).glob("probes/owl/1/report.json")
    file.chmod(0o644)
    file.write_text("{")
    assert trained_already(store, experiment) is None


def test_a_training_that_raises_nothing_known_is_not_hidden(store: str) -> None:
    assert many.train_row(pretend, store, Experiment("owl", classes=("owl",)))["n"] == {"owl": 7}
    with pytest.raises(ZeroDivisionError):
        many.train_row(pretend, store, Experiment("bug-one"))


# Lanes


def test_a_lane_goes_on_after_a_death() -> None:
    with one_thread_each():
        lane = Lane(abs)
        try:
            for task, answer in ((-3, 3), ("x", None), (-4, 4)):
                lane.give(task)
                while not ready([lane], 1.0):
                    pass
                found = lane.take()
                assert found.value == answer
                assert (found.problem is None) == (answer is not None)
            lane._process.kill()
            lane._process.join()
            lane.give(-5)
            assert lane.take().value == 5
        finally:
            lane.close()
    assert lane.connection is None
    assert lane.take().problem == "the worker process is not there"


def test_threads_are_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_interrupts_are_counted_in_the_main_thread_only() -> None:
    with Interrupts() as counted:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        assert counted.count == 1
    found: list[int] = []

    def elsewhere() -> None:
        with Interrupts() as inner:
            found.append(inner.count)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [0]


# The command line


@pytest.fixture
def with_pretence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = many.train_all
    monkeypatch.setattr(many, "train_all", lambda *a, **k: real(*a, **k, train=pretend))


@pytest.mark.usefixtures("with_pretence")
def test_the_verb(sonotheque: Any, store: str, tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "name,classes\nowl,owl|fox\nwrong-one,x\n")
    code, out, err = sonotheque(
        "probe", "train-all", path, "--store", store, "--workers", 1, "--out", tmp_path / "made.csv"
    )
    assert code == 3
    assert "owl        done, v1" in out
    assert "owl 7, fox 7" in out
    assert "wrong-one: class 'wrong-one' has no positive example" in out
    assert "1 done, 1 failed" in out
    assert "1/2  owl: done, v1; mAP 0.800, chance 0.100" in err
    with (tmp_path / "made.csv").open(newline="") as handle:
        owl, wrong = csv.DictReader(handle)
    assert (owl["name"], owl["state"], owl["n"], owl["map"]) == ("owl", "done", "owl=7|fox=7", "0.8")
    assert wrong["reason"] == "class 'wrong-one' has no positive example"


@pytest.mark.usefixtures("with_pretence")
def test_one_document(sonotheque: Any, store: str, tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "name,classes\nowl,owl|fox\n")
    code, out, err = sonotheque(
        "probe", "train-all", path, "--store", store, "--json", "--quiet", "--out", tmp_path / "made.json"
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["done"], found["failed"]) == (1, 0)
    assert found["rows"][0]["n"] == {"owl": 7, "fox": 7}
    assert json.loads((tmp_path / "made.json").read_text()) == found


def test_what_the_verb_refuses(sonotheque: Any, store: str, tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "name\nowl\n")
    assert sonotheque("probe", "train-all", path, "--store", store, "--out", tmp_path / "x.png")[0] == 2
    assert sonotheque("probe", "train-all", path, "--store", store, "--out", tmp_path / "no" / "x.csv")[0] == 4
    code, out, _ = sonotheque("probe", "train-all", tmp_path / "none.csv", "--store", store, "--json")
    assert code == 4
    assert json.loads(out)["error"]["kind"] == "not_found"


def shown(rows: list[Row], room: int, width: int = 140) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(live_table(rows, room, width))
    return out.getvalue()


def test_the_live_table_shows_what_matters_in_the_room_there_is() -> None:
    rows = [Row(i, f"probe {i:02d}", "done", version=1, map=0.5, map_chance=0.1, n={"a": 3}) for i in range(40)]
    rows[7] = Row(7, "[red]wrong", "failed", "no positive")
    rows[30] = Row(30, "busy", "training")
    rows[35:] = [Row(i, f"later {i}") for i in range(35, 40)]
    text = shown(rows, 5)
    assert "busy" in text
    assert "[red]wrong" in text
    assert "no positive" in text
    assert "probe 34" in text
    assert "probe 00" not in text
    assert "5 pending, 1 training, 33 done, 1 failed" in text
    assert len(text.splitlines()) == 5 + 3
    assert "probe 00" in shown(rows, 100)


@pytest.mark.parametrize("width", [80, 100, 118, 150])
def test_the_live_table_cuts_words_never_numbers(width: int) -> None:
    numbers = dict(zip(MACRO, (0.901, 0.502, 0.803, 0.104, 0.905, 0.206), strict=True))
    rows = [
        Row(1, "n" * 90, "done", version=12, n={"a long song": 30, "b": 2}, seconds=12.3, **numbers),
        Row(2, "x", "failed", "word " * 40),
        Row(3, "y", "done", version=3, already=True),
    ]
    text = shown(rows, 9, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert len(text.splitlines()) == 3 + 3
    for number in list(numbers.values())[: 6 if width >= 118 else 4]:
        assert f"{number:.3f}" in text


def test_plain_lines_tell_each_end_once(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(1, "owl", "training"), Row(2, "fox", "failed", "no positive")]
    with _Plain() as watch:
        watch(rows)
        watch(rows)
        rows[0].state, rows[0].version = "done", 4
        watch(rows)
    assert capsys.readouterr().err.splitlines() == [
        "1/2  fox: failed; no positive",
        "2/2  owl: done, v4; mAP –, chance –",
    ]
