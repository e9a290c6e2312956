"""Int8 graphs: made once, run by both engines, close to what they were made from."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from embedder.engines import open_network, refusal
from embedder.engines.onnx_graph import describe
from embedder.engines.quantise import quantised
from sonotheque.core.errors import Invalid
from tests.embedder.engines import graphs

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: engines)")

SHAPE = (1, graphs.BANDS, graphs.FRAMES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return graphs.conv_onnx(tmp_path / "conv.onnx")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_it_is_rounded_and_still_the_same_network(engine: str, path: Path) -> None:
    if reason := refusal(engine, "int8"):
        pytest.skip(reason)
    made = quantised(path, graphs.rows(16, *SHAPE, seed=1), digest=digest_of(path))
    network = open_network(engine, made, precision="int8")
    assert network.precision == "int8"
    x = graphs.rows(5, *SHAPE, seed=2)
    found, expected = network.run(x)[0], graphs.conv_twin(x)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0.98 < cosines.min() < 1 - 1e-7


def test_it_is_made_once_for_the_same_windows(path: Path, cache: Path) -> None:
    windows = graphs.rows(6, *SHAPE)
    first = quantised(path, windows, digest=digest_of(path))
    stamp = first.stat().st_mtime_ns
    assert quantised(path, windows.copy(), digest=digest_of(path)) == first
    assert first.stat().st_mtime_ns == stamp
    assert quantised(path, windows * 2, digest=digest_of(path)) != first
    assert len(list((cache / "graphs").iterdir())) == 2
    assert describe(first).is_quantised


def test_windows_of_another_shape_are_refused(path: Path) -> None:
    with pytest.raises(Invalid, match=r"\(any, 1, 12, 20\), got \(3, 1, 12, 21\)"):
        quantised(path, graphs.rows(3, 1, graphs.BANDS, graphs.FRAMES + 1), digest=digest_of(path))


def test_no_windows_are_refused(path: Path) -> None:
    with pytest.raises(Invalid, match="at least one row"):
        quantised(path, graphs.rows(0, *SHAPE), digest=digest_of(path))


def test_the_log_is_as_loud_as_before(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogger().level
    quantised(path, graphs.rows(3, *SHAPE), digest=digest_of(path))
    assert logging.getLogger().level == before
    assert caplog.records == []


def test_what_onnx_runtime_refuses_while_calibrating_is_invalid(path: Path) -> None:
    """Its exceptions are no RuntimeErrors."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, path)
    assert describe(path).inputs["spectrogram"][0] == 3
    with pytest.raises(Invalid, match="cannot be quantised") as caught:
        quantised(path, graphs.rows(4, *SHAPE), digest=digest_of(path), rows_max=4)
    assert caught.value.kind == "invalid_weights"
    assert describe(quantised(path, graphs.rows(6, *SHAPE), digest=digest_of(path), rows_max=3)).is_quantised
