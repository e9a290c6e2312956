"""What cannot be searched with, or for: each has a stated result."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.cluster.support import run, write_wav
from tests.search import kit

WINDOW = "north/20240501_040000.wav@2"


def refused(result, code, *said):
    assert result[0] == code, result
    assert result[1] == ""
    for words in said:
        assert words in result[2]


def test_clips_that_hold_no_sound(search, tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("I am no sound.\n" * 50)
    refused(search(tmp_path / "empty.wav"), 2, f"{tmp_path}/empty.wav", "empty")
    refused(search(tmp_path / "text.wav"), 2, f"{tmp_path}/text.wav", "unreadable")
    refused(search(tmp_path / "text.wav", "--from-s", 1), 2, f"{tmp_path}/text.wav", "unreadable")
    refused(search(tmp_path / "none.wav"), 4, f"there is no file {tmp_path}/none.wav")
    refused(search(tmp_path), 2, "is a folder")


def test_a_clip_that_is_too_short_names_both_durations(search, tmp_path):
    clip = kit.write(tmp_path / "short.wav", kit.tone(700.0, 0.4))
    refused(search(clip), 2, "short.wav", "0.400 s", "at least 1 s", "is 2 s")
    long = kit.write(tmp_path / "long.wav", kit.tone(700.0, 5.0))
    refused(search(long, "--from-s", 4.5), 2, "0.500 s", "from 4.5 s on", "at least 1 s")


def test_a_clip_shorter_than_a_window_is_padded_as_a_recordings_end_is(search, tmp_path):
    clip = kit.write(tmp_path / "c.wav", kit.tone(700.0, 1.5))
    code, out, _ = search(clip, "--json", "-k", 1)
    assert code == 0
    assert json.loads(out)["query"]["windows"] == [{"start_s": 0.0, "end_s": 2.0, "valid_s": 1.5}]


def test_a_silent_clip_is_searched_with_a_note(search, tmp_path):
    clip = kit.write(tmp_path / "silent.wav", np.zeros(32_000))
    code, out, err = search(clip, "-k", 1)
    assert (code, len(out.splitlines())) == (0, 5)
    assert "note: silent.wav is digital silence" in err


def test_a_clip_of_too_many_windows(search, tmp_path):
    clip = kit.write(tmp_path / "hour.wav", np.zeros(16_000 * 2 * 1001) + 0.1)
    refused(search(clip), 8, "more than 1,000 windows", "--from-s and --to-s")
    refused(search(clip, "--from-s", 5), 2, "goes on for more than", "add --to-s")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--from-s", "-1"), "--from-s -1: expected seconds"),
        (("--from-s", "nan"), "--from-s nan"),
        (("--from-s", 3, "--to-s", 3), "ends at 3 s and begins at 3 s"),
        (("--to-s", "0"), "has no length"),
        (("--from-s", 9), "has no sound from 9 s on"),
    ],
)
def test_ranges_that_cannot_be(search, made, flags, said):
    refused(search(made.recordings / "north" / "20240501_040000.wav", *flags), 2, said)


def test_vectors_that_cannot_be(search, tmp_path):
    def saved(name, values):
        np.save(tmp_path / name, values)
        return "--vector", tmp_path / name

    refused(search(*saved("wide.npy", np.ones(63))), 2, "vectors of 63 numbers", "vectors of 64 (placeholder)")
    holed = np.ones((3, 64))
    holed[1, 5] = np.nan
    refused(search(*saved("nan.npy", holed)), 2, "vector 2 of 3: 1 of its 64 numbers are NaN")
    refused(search(*saved("inf.npy", np.full(64, 1e300))), 2, "64 of its 64 numbers are NaN or infinite")
    refused(search(*saved("zero.npy", np.zeros(64))), 2, "all its 64 numbers are zero")
    refused(search(*saved("cube.npy", np.ones((2, 2, 64)))), 2, "shape (2, 2, 64)")
    refused(search(*saved("text.npy", np.array(["a"] * 64))), 2, "expected real numbers")
    refused(search(*saved("none.npy", np.ones((0, 64)))), 2, "shape (0, 64)")
    refused(search(*saved("many.npy", np.ones((1001, 64)))), 8, "1,001 vectors", "at most 1,000")
    pickled = np.array([{}], dtype=object)
    np.save(tmp_path / "pickled.npy", pickled, allow_pickle=True)
    refused(search("--vector", tmp_path / "pickled.npy"), 2, "is no NumPy array")
    for name, text, said in (
        ("a.csv", "1,2\n1,x\n", "line 2: 'x' is no number"),
        ("b.csv", "1,2\n1\n", "vector 2 has 1 numbers, the first has 2"),
        ("c.csv", "\n\n", "holds no vector"),
        ("d.json", "{}", "expected a list"),
        ("e.json", "[1, [2]]", "is no number"),
        ("f.json", "[[1], 2]", "not both"),
        ("g.json", "[1, true]", "'True' is no number"),
        ("h.json", "no", "is no JSON"),
        ("i.json", "", "has 0 bytes"),
        ("j.txt", "1", "must be .npy, .csv, .json"),
    ):
        (tmp_path / name).write_text(text)
        refused(search("--vector", tmp_path / name), 2, said)
    refused(search("--vector", tmp_path / "gone.npy"), 4, "there is no file")


def test_no_hits_are_said_and_are_no_error(search, call):
    code, out, _ = search(call, "-k", 0)
    assert (code, out.splitlines()[1]) == (0, "no hits: 0 were asked for")
    code, out, _ = search(call, "--hours", "12:00-13:00")
    assert (code, out.splitlines()[1]) == (0, "no hits: none of the 18 windows matches the filter")
    code, out, _ = search(call, "--hours", "12:00-13:00", "--json")
    assert (code, json.loads(out)["hits"]) == (0, [])
    code, out, _ = search(call, "--per-bin", 3, "--bins", "0.9999,1")
    assert (code, out.splitlines()[1]) == (0, "no hits: no window has a score in these bins")


def test_k_larger_than_the_set_gives_the_set(search, call):
    code, out, _ = search(call, "-k", 5000, "--json")
    assert (code, len(json.loads(out)["hits"])) == (0, 18)
    refused(search(call, "-k", "-1"), 2, "k is -1")
    refused(search(call, "-k", "1000000"), 2, "100,000")


def test_names_that_are_not_there(search, call):
    refused(search(call, "--site", "nort"), 4, "did you mean north")
    refused(search(call, "--without", "north/20240501_040000.flac"), 4, "did you mean north/20240501_040000.wav")
    refused(search("--window", "north/20240501_040000.wav@3.1"), 4, "starts at 3.1 s", "the nearest starts at 4 s")
    refused(search("--window", "north/20240501_04000.wav@2"), 4, "did you mean north/20240501_040000.wav")
    refused(search("--window", "12:0"), 4, "no recording with the id 12")
    refused(search("--window", "north"), 2, "expected PATH@START_S")
    refused(search("--window", "a.wav@nan"), 2, "expected PATH@START_S")


def test_a_sample_between_two_windows(search, made):
    (row,) = made.rows("SELECT recording_id FROM recordings WHERE path = 'north/20240501_040000.wav'")
    refused(
        search("--window", f"{row['recording_id']}:31999"),
        4,
        "sample 31,999",
        "the nearest starts at 32,000, which is 2 s",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "given: none of them"),
        (("x.wav", "--window", WINDOW), "given: CLIP and --window"),
        (("--window", WINDOW, "--from-s", "1"), "--window has none"),
        (("--window", WINDOW, "--csv", "--json"), "one format at a time"),
        (("--window", WINDOW, "--per-bin", "3"), "belong together"),
        (("--window", WINDOW, "--bins", "0,1"), "belong together"),
        (("--window", WINDOW, "--bins", "0,x", "--per-bin", "3"), "expected scores with commas"),
        (("--window", WINDOW, "--bins", "1,0", "--per-bin", "3"), "ascending"),
        (("--window", WINDOW, "--bins", "0,1", "--per-bin", "3", "-k", "3"), "-k and --per-bin"),
        (("--window", WINDOW, "--combine", "worst"), "best or mean"),
        (("--window", WINDOW, "--best-per", "week"), "recording or site or day"),
        (("--window", WINDOW, "--distinct", "1.5"), "distinct 1.5"),
        (("--window", WINDOW, "--recall", "0"), "recall 0"),
        (("--window", WINDOW, "--near-score", "2"), "between -1 and 1"),
        (("--window", WINDOW, "--plot", "x.gif"), ".png"),
        (("--window", WINDOW, "--clips-as", "mp3"), "wav or flac"),
        (("--window", WINDOW, "--weights", "/w", "--plot-khz", "0", "--plot", "x.png"), "--plot-khz 0"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_flags_that_do_not_go_together(search, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = search(*words)
    assert code == 2, err
    assert said in (err if "--json" not in words else json.loads(out)["error"]["message"])
    assert not list(tmp_path.iterdir())


def test_a_store_without_windows(search, call, tmp_path):
    write_wav(tmp_path / "recordings" / "a" / "20240501_040000.wav", 0.25)
    run(tmp_path / "recordings", tmp_path / "store")
    code, out, _ = search(call, store=tmp_path / "store")
    assert (code, out.splitlines()[1]) == (0, "no hits: the store has no windows")
    refused(search("--window", "a/20240501_040000.wav@0", store=tmp_path / "store"), 4, "has no windows")


def test_a_folder_that_is_no_store(search, call, tmp_path):
    refused(search(call, store=tmp_path), 4, "is not a store")


def test_other_weights_than_the_stores_are_a_conflict_that_names_both(search, made, call, tmp_path):
    shutil.copytree(made.store, tmp_path / "store")
    config = tmp_path / "store" / "sonotheque.json"
    value = json.loads(config.read_text())
    mine = value["model"]["weights_digest"]
    value["model"]["weights_digest"] = "f" * 64
    config.write_text(json.dumps(value))
    code, out, _ = search(call, "--json", store=tmp_path / "store")
    error = json.loads(out)["error"]
    assert (code, error["kind"]) == (5, "model_conflict")
    assert mine[:12] in error["message"]
    assert "f" * 12 in error["message"]


def test_exact_does_without_an_index_that_is_damaged(sonotheque, made, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(made.store, store)
    assert sonotheque("index", "build", "--store", store)[0] == 0
    for file in (store / "index").rglob("vectors-*"):
        file.write_bytes(file.read_bytes()[:-2])
    code, _, err = sonotheque("search", "--window", WINDOW, "--store", store)
    assert code == 7 and "vectors-" in err and "search --exact" in err
    code, out, err = sonotheque("search", "--window", WINDOW, "--store", store, "--exact", "-k", 3)
    assert code == 0 and "the index was not used" in err + out
    assert sonotheque("index", "build", "--store", store)[0] == 0
    assert sonotheque("search", "--window", WINDOW, "--store", store)[0] == 0


def test_a_clip_in_a_store_that_does_not_say_which_weights(made, call):
    from dataclasses import replace
    from types import SimpleNamespace

    from embedder.models import load_model
    from search_api.clip_queries import require_model
    from sonotheque.core.errors import Conflict

    model = load_model("placeholder")
    imported = replace(model.spec, weights_digest="unknown", version="imported", classes_digest="unknown")
    archive = SimpleNamespace(config=SimpleNamespace(model=imported), root="store")
    assert "does not say which weights" in require_model(model, archive)[0]
    archive.config.model = replace(imported, dim=imported.dim + 1)
    with pytest.raises(Conflict):
        require_model(model, archive)
