"""Engine by precision: rows say what was really run, what differs is told, and searches in two stores are compared as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")

from benchmarks import embed_runs, engines, engines_text, same_answers
from benchmarks.embed_runs import Job
from benchmarks.engines_child import WHOLE
from benchmarks.engines_data import real_windows, recordings, sets
from benchmarks.engines_turns import by_turns, compared
from benchmarks.engines_ways import BIRDNET, PERCH, Way, ways
from benchmarks.figures import figures
from benchmarks.standin import Architecture, StandIn, ensure
from embedder.models import model_info
from embedder.models.base import Embedded

NARROW = Architecture(width=0.25, depth=0.5, classes=20)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return ensure(tmp_path_factory.mktemp("standin"), saved_model=False, arch=NARROW, seed=3)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embed_runs, "SCRATCH", tmp_path)
    return tmp_path


def recorded(folder: Path, names: tuple[str, ...], seconds: float = 11.0, rate_hz: int = 32_000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        sound = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)) * 0.05
        sf.write(folder / name, sound, rate_hz)
    return folder


def only(standin: StandIn, *keys: str) -> list[Way]:
    found = {way.key: way for way in ways(PERCH, standin, int8=False)}
    return [found[key] for key in keys]


def test_the_reference_is_first_and_every_pair_of_engine_and_precision_has_a_row(standin: StandIn) -> None:
    found = ways(PERCH, standin, int8=True)
    assert (found[0].key, found[0].how, found[0].outputs) == ("whole-onnx", WHOLE, (True,))
    keys = [way.key for way in found]
    assert len(set(keys)) == len(keys)
    assert {f"{e}-{p}" for e in ("onnx", "openvino") for p in ("fp32", "bf16", "fp16", "int8")} <= set(keys)
    assert "tensorflow" not in keys  # there is no SavedModel here
    assert {way.key for way in found if not way.is_ours} == {"whole-onnx", "whole-openvino-fp32", "whole-openvino-bf16"}
    assert all(way.outputs == (False,) for way in found if way.precision == "int8")  # the head is not quantised


def test_birdnet_stands_beside_what_people_use() -> None:
    found = {way.key: way for way in ways(BIRDNET, None, int8=False)}
    assert list(found)[:2] == ["whole-litert", "no-delegate"]
    assert {"litert-fp32", "openvino-fp32", "openvino-bf16"} <= set(found)


def test_a_matrix_of_the_small_stand_in(standin: StandIn, here: Path) -> None:
    said: list[str] = []
    frames = sets(model_info(PERCH), 5, 0)
    given = [
        *only(standin, "whole-onnx", "onnx-fp32"),
        replace(only(standin, "onnx-fp32")[0], key="no", refusal="no such card"),
    ]
    rows = {
        row["key"]: row
        for row in by_turns(given, {"synthetic": frames["synthetic"]}, rounds=2, round_s=0.0, tell=said.append)
    }
    whole, ours = rows["whole-onnx"], rows["onnx-fp32"]
    assert whole["fidelity"]["synthetic"]["cosine_min"] == 1.0
    assert "vectors" not in whole  # it cannot leave the labels out
    assert whole["with_labels"]["times_faster"] == 1.0
    assert ours["fidelity"]["synthetic"]["cosine_min"] > 0.9999
    assert ours["fidelity"]["synthetic"]["windows"] == 5
    assert ours["verdict"] == "passes"
    assert (ours["ours"], whole["ours"]) == (True, False)
    for output in ("vectors", "with_labels"):
        told = ours[output]
        assert told["x_realtime_per_core"] == pytest.approx(5000 / told["ms_per_window"], rel=0.01)
    assert rows["no"]["failed"] == "no such card"
    assert len(said) == 2


def test_one_that_fails_says_why_and_the_reference_must_not(standin: StandIn, here: Path) -> None:
    frames = {"synthetic": sets(model_info(PERCH), 2, 0)["synthetic"]}
    reference, good = only(standin, "whole-onnx", "onnx-fp32")
    broken = replace(good, key="broken", weights=str(here / "nothing.onnx"))
    rows = by_turns([reference, broken], frames, rounds=1, round_s=0.0, tell=lambda _: None)
    assert "nothing.onnx" in rows[1]["failed"]
    assert "vectors" not in rows[1]
    with pytest.raises(RuntimeError, match=r"nothing\.onnx"):
        by_turns([broken, good], frames, rounds=1, round_s=0.0, tell=lambda _: None)
    with pytest.raises(RuntimeError, match="not today"):
        by_turns([replace(good, refusal="not today"), good], frames, rounds=1, round_s=0.0, tell=lambda _: None)


def test_a_verdict_is_over_all_sounds_and_names_where_it_fails() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((12, 32)).astype(np.float32)
    way = ways(BIRDNET, None, int8=False)[-1]
    way = replace(way, precision="bf16")
    off = (vectors + 0.2 * rng.standard_normal(vectors.shape)).astype(np.float32)
    reference = {"synthetic": Embedded(vectors, None), "recordings": Embedded(vectors, None)}
    told = compared(way, "bf16", reference, {"synthetic": Embedded(vectors, None), "recordings": Embedded(off, None)})
    assert told["verdict"].startswith("recordings: median cosine 0.9")
    assert "synthetic" not in told["verdict"]
    assert "neighbours_at_10" not in told["fidelity"]["synthetic"]  # of twelve, nearly all are neighbours
    twice = {"synthetic": Embedded(np.concatenate([vectors, -vectors]), None)}
    assert compared(way, "bf16", twice, twice)["fidelity"]["synthetic"]["neighbours_at_10"] == 1.0
    assert "top1_agreement" not in told["fidelity"]["recordings"]
    assert compared(way, "fp32", reference, reference) == {"failed": "it really runs in fp32"}


def test_real_windows_are_whole_and_one_of_each_sound(tmp_path: Path) -> None:
    folder = recorded(tmp_path, ("a.wav", "a.flac", "b.wav"))
    files = recordings(folder)
    assert [Path(f).name for f in files] == ["a.flac", "b.wav"]
    info = model_info(PERCH)
    frames = real_windows(files, info, 10)
    assert frames.shape == (
        4,
        info.window_samples,
    )  # two whole windows of five seconds each; the last second is padding
    assert np.abs(frames[:, -100:]).max(axis=1).min() > 0
    few = real_windows(files, info, 2)
    np.testing.assert_array_equal(few, frames[[0, 3]])
    assert real_windows([], info, 2).shape == (0, info.window_samples)


def test_without_recordings_there_are_made_up_sounds_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOTHEQUE_RECORDINGS", str(tmp_path / "none"))
    assert list(sets(model_info(PERCH), 3, 3)) == ["synthetic"]
    monkeypatch.setenv("SONOTHEQUE_RECORDINGS", str(recorded(tmp_path / "some", ("a.wav",))))
    assert {name: len(found) for name, found in sets(model_info(PERCH), 3, 3).items()} == {
        "synthetic": 3,
        "recordings": 2,
    }


def test_answers_have_in_common_what_they_have_in_common() -> None:
    vectors = {(0, i): np.array([np.cos(i / 10), np.sin(i / 10)], np.float32) for i in range(5)}
    asked = [(0, 0), (0, 1)]
    first = [[(0, 1), (0, 2)], [(0, 0), (0, 2)]]
    second = [[(0, 1), (0, 3)], [(0, 2), (0, 0)]]
    told = same_answers.agreement(asked, first, second, vectors)
    assert told["top10_agreement"] == 0.75
    assert told["first_agreement"] == 0.5
    assert (told["same_sets"], told["same_order"]) == (1, 0)
    assert told["score_gap_max"] == pytest.approx(np.cos(0.2) - np.cos(0.3), abs=1e-6)


def test_stores_of_one_and_the_same_model_answer_alike(here: Path) -> None:
    source = recorded(here / "in", tuple(f"20250510_00000{i}.wav" for i in range(4)), seconds=9.0, rate_hz=16_000)
    (source / "empty.wav").write_bytes(b"RIFF")  # as among real recordings
    job = Job("placeholder", logits=False)
    rows = same_answers.measure([job, job], [str(source)], workers=0, queries=6)
    assert len(rows) == 1
    row = rows[0]
    assert (row["windows"], row["queries"]) == (20, 6)  # of 2 s; the last second of nine is a window too
    for side in ("stores", "crossed"):
        assert (row[side]["top10_agreement"], row[side]["same_order"], row[side]["score_gap_max"]) == (1.0, 6, 0.0)
    assert [path.name for path in here.iterdir() if path.name.startswith("tmp")] == []


def test_stores_of_other_vectors_answer_otherwise(here: Path) -> None:
    source = recorded(here / "in", tuple(f"20250510_00000{i}.wav" for i in range(8)), seconds=8.0, rate_hz=16_000)
    stores = []
    for name, options in (("a", []), ("b", ["--rate-factor", "4"])):
        store = here / name
        job = Job("placeholder", logits=False)
        embed_runs.sonotheque(
            "embed", str(source), "--store", str(store), *job.options, *options, "--workers", "0", "--quiet"
        )
        stores.append(store)
    told = same_answers.compared(*stores, queries=8)
    assert told["queries"] > 0
    assert told["crossed"]["top10_agreement"] < 1.0
    assert told["crossed"]["score_gap_max"] > 0.0


def test_a_run_leaves_out_what_cannot_be_measured(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "SCRATCH", here)
    with pytest.raises(RuntimeError, match="placeholder: it is built in"):
        engines.run(models=["placeholder"], quick=True, quiet=True, out=str(here / "engines.json"))
    assert not (here / "engines.json").exists()


def test_a_run_on_the_small_stand_in_is_told(standin: StandIn, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "SCRATCH", here)
    monkeypatch.setattr(engines, "_stand_in", lambda tell: standin)
    monkeypatch.setattr(engines, "ways", lambda *_, **__: only(standin, "whole-onnx", "onnx-fp32"))
    monkeypatch.setenv("SONOTHEQUE_RECORDINGS", str(recorded(here / "in", ("a.wav",))))
    result = engines.run(models=[PERCH, "placeholder"][:1], quick=True, quiet=True, out=str(here / "engines.json"))
    model = result["models"][PERCH]
    assert model["compared_on"] == {"synthetic": 6, "recordings": 2}
    assert [row["key"] for row in model["ways"]] == ["onnx-fp32"]
    assert result["command"] == "sonotheque bench engines --model perch_v2 --quick"
    assert "(stand-in)" in result["headline"][0]
    words = engines_text.text(result)
    assert "random weights" in words
    assert "| onnx fp32 | recordings | 2 | 1.000000 |" in words or "| onnx fp32 | recordings | 2 | 0.99999" in words
    known = figures(result)
    name = "models / perch_v2 / ways: onnx-fp32 / vectors / ms_per_window"
    assert (known[name].better, known[name].is_ours) == ("lower", True)
    beside = known["models / perch_v2 / beside: whole-onnx / with_labels / x_realtime_per_core"]
    assert (beside.better, beside.is_ours) == ("higher", False)
    assert known["models / perch_v2 / ways: onnx-fp32 / fidelity / recordings / cosine_min"].is_quality


def test_failures_and_searches_are_told() -> None:
    searched: dict[str, Any] = {
        "top10_agreement": 0.97,
        "first_agreement": 0.96,
        "same_sets": 36,
        "score_gap_max": 0.003,
    }
    row = {"first": "litert fp32", "second": "openvino bf16", "queries": 50, "stores": searched, "crossed": searched}
    model = {
        "stand_in": False,
        "reference": "the whole",
        "ways": [{"title": "openvino fp16", "failed": "this CPU has none"}],
        "beside": [],
        "same_answers": {"rows": [row]},
    }
    result = {"machine": {}, "data": "noise", "rounds": 1, "models": {"m": model}, "left_out": {"n": "no weights"}}
    words = engines_text.text(result)
    assert "| openvino fp16 | | | | | | | this CPU has none |" in words
    assert "| litert fp32 and openvino bf16 | 50 | 0.970 | 0.960 | 36 of 50 | 0.003000 |" in words
    assert "| litert fp32, asked with vectors by openvino bf16 | 50 |" in words
    assert "n: not measured: no weights" in words
    assert engines_text.headline(result) == []
