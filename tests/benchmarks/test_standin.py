"""The stand-in of Perch 2, narrow and shallow: its files agree with each other, and sounds stay apart in it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")

from benchmarks.standin import Architecture, StandIn, ensure  # noqa: E402
from benchmarks.standin.architecture import OUTPUTS, PERCH_2, STAGES  # noqa: E402
from benchmarks.standin.calibrate import TARGETS, make_weights  # noqa: E402
from benchmarks.standin.frontend import mel_filters  # noqa: E402
from benchmarks.standin.ops import Weights, same_pads  # noqa: E402
from benchmarks.standin.sounds import windows  # noqa: E402
from embedder.models.perch_weights import read_classes  # noqa: E402

ARCH = Architecture(width=0.25, depth=0.5, classes=20)
SHAPES = {"embedding": (320,), "spatial_embedding": (16, 4, 320), "spectrogram": (500, 128), "label": (20,)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return ensure(tmp_path_factory.mktemp("standin"), saved_model=False, arch=ARCH, seed=3)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return make_weights(ARCH, 3)


@pytest.fixture(scope="module")
def sounds() -> np.ndarray:
    """Four windows of each kind, one of white noise, one of silence."""
    noise = np.random.default_rng(0).uniform(-0.25, 0.25, (1, ARCH.samples))
    return np.concatenate([windows(16, seed=4), noise, np.zeros((1, ARCH.samples))]).astype(np.float32)


def run(path: Path, sounds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"inputs": sounds}), strict=True))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (np.asarray(v, np.float64).reshape(-1, v.shape[-1]) for v in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def answer(made: StandIn, sounds: np.ndarray) -> dict[str, np.ndarray]:
    return run(made.onnx, sounds)


def test_names_and_shapes_are_perchs(made: StandIn, answer: dict[str, np.ndarray]) -> None:
    for path in (made.onnx, made.onnx_no_dft):
        session = onnxruntime.InferenceSession(str(path))
        (x,) = session.get_inputs()
        assert (x.name, x.shape, x.type) == ("inputs", ["batch", 160_000], "tensor(float)")
        assert {o.name: tuple(o.shape) for o in session.get_outputs()} == {k: ("batch", *s) for k, s in SHAPES.items()}
    assert {name: value.shape[1:] for name, value in answer.items()} == SHAPES
    assert set(answer) == set(OUTPUTS)


def test_the_full_size_is_efficientnet_b3() -> None:
    assert [PERCH_2.filters(stage.filters) for stage in STAGES] == [24, 32, 48, 96, 136, 232, 384]
    assert [PERCH_2.repeats(stage.repeats) for stage in STAGES] == [2, 3, 3, 5, 5, 6, 2]
    assert (PERCH_2.filters(32), PERCH_2.dim, PERCH_2.samples, PERCH_2.classes) == (40, 1536, 160_000, 14_795)


def test_only_the_files_without_dft_lack_the_operator(made: StandIn) -> None:
    import onnx

    def kinds(path: Path) -> set[str]:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        return {node.op_type for node in model.graph.node}

    assert "DFT" in kinds(made.onnx) & kinds(made.onnx_embedding)
    assert "DFT" not in kinds(made.onnx_no_dft) | kinds(made.onnx_no_dft_embedding)
    assert "ReduceMax" not in kinds(made.onnx_embedding) | kinds(made.onnx_no_dft_embedding)  # no head


def test_the_onnx_files_agree(made: StandIn, answer: dict[str, np.ndarray], sounds: np.ndarray) -> None:
    other = run(made.onnx_no_dft, sounds)
    for name in OUTPUTS:
        assert cosines(answer[name], other[name]).min() > 0.99999, name
    for path in (made.onnx_embedding, made.onnx_no_dft_embedding):
        alone = run(path, sounds)
        assert list(alone) == ["embedding"]
        assert cosines(answer["embedding"], alone["embedding"]).min() > 0.99999


def test_a_window_does_not_depend_on_its_batch(
    made: StandIn, answer: dict[str, np.ndarray], sounds: np.ndarray
) -> None:
    one = run(made.onnx, sounds[5:6])
    for name in OUTPUTS:
        np.testing.assert_allclose(one[name], answer[name][5:6], rtol=1e-3, atol=1e-3)


def test_the_outputs_belong_together(answer: dict[str, np.ndarray], weights: Weights) -> None:
    np.testing.assert_allclose(answer["spatial_embedding"].mean(axis=(1, 2)), answer["embedding"], atol=1e-4)
    cells = answer["spatial_embedding"].reshape(len(answer["label"]), 64, -1).astype(np.float64)
    cells /= np.linalg.norm(cells, axis=2, keepdims=True)
    best = (cells @ weights["head/prototypes"]).max(axis=1) * weights["head/weight"]
    expected = best.reshape(-1, ARCH.classes, 4).sum(axis=2) + weights["head/bias"]
    np.testing.assert_allclose(answer["label"], expected, atol=1e-3)


def test_the_spectrogram_is_perchs(answer: dict[str, np.ndarray], sounds: np.ndarray) -> None:
    padded = np.pad(sounds[0].astype(np.float64), 160)
    window = np.hanning(640)
    frames = np.stack([padded[i * 320 : i * 320 + 640] * window for i in range(500)])
    mel = np.abs(np.fft.rfft(frames, 1024)) / window.sum() @ mel_filters()
    np.testing.assert_allclose(answer["spectrogram"][0], 0.1 * np.log(np.maximum(mel, 1e-5)), atol=1e-3)
    np.testing.assert_allclose(answer["spectrogram"][-1], 0.1 * np.log(1e-5), atol=1e-6)  # silence


def test_the_mel_filters_are_triangles_side_by_side() -> None:
    filters = mel_filters()
    assert filters.shape == (513, 128)
    assert not filters[0].any()
    assert filters.min() == 0
    assert filters.max() <= 1
    np.testing.assert_allclose(filters[100:500].sum(axis=1), 1, atol=1e-5)


def test_all_is_finite_and_sounds_stay_apart(answer: dict[str, np.ndarray]) -> None:
    assert all(np.isfinite(value).all() for value in answer.values())
    sounds = answer["embedding"][:16]
    pairs = [cosines(sounds[i : i + 1], sounds[i + 1 :]) for i in range(15)]
    assert np.concatenate(pairs).mean() < 0.9
    lengths = np.linalg.norm(sounds, axis=1)
    assert lengths.max() < 10 * lengths.min()
    assert answer["spatial_embedding"].std(axis=(0, 1, 2)).min() > 0.1  # no channel is dead
    assert answer["label"].std() > 0.5


def test_every_convolution_was_calibrated_and_is_alive(weights: Weights) -> None:
    kernels = [name for name in weights if name.endswith("/kernel")]
    assert {name.split("/")[-2] for name in kernels} == set(TARGETS)
    for name in kernels:
        kernel, bias = weights[name], weights[name.replace("kernel", "bias")]
        assert np.isfinite(kernel).all(), name
        assert (np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0) > 0).all(), name
        assert bias.shape == kernel.shape[-1:], name
    assert all(value.dtype == np.float32 for value in weights.values())


def test_the_same_seed_makes_the_same_files_and_another_seed_others(
    made: StandIn, weights: Weights, tmp_path: Path
) -> None:
    again = ensure(tmp_path / "again", saved_model=False, arch=ARCH, seed=3)
    for path in again.folder.iterdir():
        assert path.read_bytes() == (made.folder / path.name).read_bytes(), path.name
    assert not np.array_equal(make_weights(ARCH, 4)["stem/kernel"], weights["stem/kernel"])


def test_only_what_is_missing_is_built(made: StandIn, tmp_path: Path) -> None:
    kept = StandIn.at(tmp_path)
    kept.onnx.write_bytes(b"kept")
    assert ensure(tmp_path, saved_model=False, arch=ARCH, seed=3) == kept
    assert kept.onnx.read_bytes() == b"kept"
    assert kept.onnx_embedding.read_bytes() == made.onnx_embedding.read_bytes()
    assert all(path.suffix in {".onnx", ".csv", ".txt"} for path in tmp_path.iterdir())  # no leftovers
    assert len(list(tmp_path.iterdir())) == 6


def test_the_class_list_is_perchs(made: StandIn) -> None:
    with made.labels.open(encoding="utf-8", newline="") as handle:
        rows = [row[0] for row in csv.reader(handle)]
    assert rows[0] == "inat2024_fsd50k"
    assert len(set(rows[1:])) == len(rows) - 1 == ARCH.classes


def test_the_onnx_files_need_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None; from pathlib import Path; from benchmarks import standin; "
        f"standin.ensure(Path({str(tmp_path)!r}), saved_model=False, arch=standin.Architecture(0.1, 0.1, 2))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "."})


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(249, 3, 2, (1, 1)), (32, 5, 2, (1, 2)), (16, 3, 1, (1, 1)), (5, 1, 1, (0, 0))],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_pads(size, kernel, stride) == pads


@pytest.fixture(scope="module")
def saved_model(made: StandIn) -> Path:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: perch)")
    return ensure(made.folder, arch=ARCH, seed=3).saved_model


def test_the_saved_model_answers_as_the_onnx_file_does(
    saved_model: Path, answer: dict[str, np.ndarray], sounds: np.ndarray
) -> None:
    import tensorflow as tf

    model: Any = tf.saved_model.load(str(saved_model))
    told = model.signatures["serving_default"](inputs=tf.constant(sounds))
    assert set(told) == set(OUTPUTS)
    for name in OUTPUTS:
        assert told[name].shape == answer[name].shape, name
        assert cosines(told[name].numpy(), answer[name]).min() > 0.99999, name


def test_the_saved_model_has_the_class_list(saved_model: Path) -> None:
    assert len(read_classes(saved_model)) == ARCH.classes
