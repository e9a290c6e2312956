"""Embedding on a GPU, through the same code on the processor; and what it says where there is no GPU."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")

from benchmarks import gpu_embed
from benchmarks.gpu_embed import Setting, fidelity, gpus, measure, settings
from benchmarks.standin import Architecture, StandIn, ensure
from sonotheque.core.errors import Unavailable

NARROW = Architecture(width=0.25, depth=0.5, classes=20)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return ensure(tmp_path_factory.mktemp("standin"), saved_model=False, arch=NARROW, seed=3)


def card(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int = 0) -> None:
    """Put an nvidia-smi on the path that answers this."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_a_gpu_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"nvidia-smi shows no GPU.*onnxruntime-gpu"):
        gpu_embed.run(quick=True, quiet=True, out=str(tmp_path / "gpu.json"))
    assert not (tmp_path / "gpu.json").exists()


def test_gpus_are_those_that_the_driver_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, monkeypatch, "NVIDIA H200, 143771, 580.1\\nNVIDIA T4, 15360, 580.1\\n")
    assert [(g["name"], g["total_bytes"] >> 30, g["driver"]) for g in gpus()] == [
        ("NVIDIA H200", 140, "580.1"),
        ("NVIDIA T4", 15, "580.1"),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, monkeypatch, "couldn not communicate with the driver", 9)
    assert gpus() == []


def test_on_a_gpu_every_engine_runs_in_every_precision_it_may_have(standin: StandIn, tmp_path: Path) -> None:
    with_saved = StandIn.at(tmp_path)
    with_saved.saved_model.mkdir()
    found = [(s.engine, s.precision, s.graph) for s in settings(with_saved, "gpu")]
    assert found == [
        ("tensorflow", "fp32", "whole"),
        ("tensorflow", "tf32", "whole"),
        *(("onnx", p, "embedding") for p in ("fp32", "tf32", "fp16", "bf16")),
        ("onnx", "tf32", "whole"),
    ]
    assert {s.engine for s in settings(standin, "gpu")} == {"onnx"}  # without a SavedModel


def test_it_measures_and_compares_on_the_processor(standin: StandIn) -> None:
    said: list[str] = []
    chosen = [*settings(standin, "cpu"), Setting("onnx", "tf32", "embedding", standin.onnx_no_dft_embedding)]
    rows = measure(chosen, "cpu", (3, 1), 0.01, said.append)
    assert [(row["graph"], row["batch"]) for row in rows] == [
        ("embedding", 1),
        ("embedding", 3),
        ("whole", 1),
        ("whole", 3),
        ("embedding", 3),
    ]
    good = rows[:4]
    assert all(row["cosine_min"] > 0.999999 for row in good)
    assert all(row["windows_per_s"] == pytest.approx(1e3 * row["batch"] / row["ms"], rel=0.02) for row in good)
    assert all(row["x_realtime"] == pytest.approx(5 * row["windows_per_s"], abs=0.1) for row in good)
    assert all(row["runs_on"].startswith("ONNX Runtime") and row["runs_on"].endswith("CPU") for row in good)
    assert "CUDAExecutionProvider" in rows[4]["failed"]
    assert len(said) == len(chosen)


def test_what_was_measured_before_a_process_died_stands(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{"batch": 1, "ms": 2.0, "windows_per_s": 500.0, "runs_on": "x"}'
    script = f"import sys; print('{line}', flush=True); sys.stderr.write('a\\nout of memory\\n'); sys.exit(137)"
    monkeypatch.setattr(gpu_embed, "module", lambda *_: [__import__("sys").executable, "-c", script])
    rows = measure(settings(standin, "cpu")[:1], "cpu", (1, 64), 0.01, lambda _: None)
    assert [(row["batch"], row.get("ms"), row.get("failed")) for row in rows] == [
        (1, 2.0, None),
        (64, None, "out of memory"),
    ]


def test_tensorflow_gives_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: perch)")
    made = ensure(tmp_path / "standin", arch=NARROW, seed=3)
    rows = measure(settings(made, "cpu"), "cpu", (2,), 0.01, lambda _: None)
    assert [row["engine"] for row in rows] == ["tensorflow", "onnx", "onnx"]
    assert all(row["cosine_min"] > 0.99999 for row in rows)
    told = {"gpus": [{"name": "A", "total_bytes": 1 << 34, "driver": "1"}], "data": "noise", "stand_in": "random"}
    words = gpu_embed.text(told | {"rows": [*rows, {"name": "n", "batch": 0, "failed": "why"}]})
    assert words.splitlines()[0].startswith("A, 16 GiB, driver 1; noise")
    assert "| tensorflow fp32, whole | TensorFlow" in words
    assert "| n | not measured: why |" in words


def test_fidelity_is_the_cosine_window_by_window() -> None:
    a = np.array([[1, 0], [0, 2], [3, 0]], np.float32)
    b = np.array([[2, 0], [0, 1], [3, 4]], np.float32)
    assert fidelity(a, b) == pytest.approx({"cosine_min": 0.6, "cosine_median": 1.0})
    assert fidelity(None, b) == fidelity(a, None) == {}
