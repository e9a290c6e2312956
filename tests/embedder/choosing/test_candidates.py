"""Which ways there are to run which weights."""

from __future__ import annotations

import pytest

from embedder.choosing import candidates as candidates_module
from embedder.choosing.candidates import candidates, reference_of, weights_kind
from embedder.engines import ENGINES, PRECISIONS
from embedder.models import MODELS
from sonotheque.core.errors import NotFound, Unavailable

KINDS = [
    ("perch_v2", None, "savedmodel"),
    ("perch_v1", "/data/perch", "savedmodel"),
    ("perch_v2", "/data/perch_v2.onnx", "onnx"),
    ("perch_v2", "/data/PERCH.ONNX", "onnx"),
    ("perch_v2", "hf:owner/name/file.onnx", "onnx"),
    ("birdnet_v2.4", None, "tflite"),
    ("birdnet_v2.4", "/data/model.tflite", "tflite"),
    ("birdnet_v2.4", "birdnet.onnx", "onnx"),
    ("placeholder", None, "built in"),
]


@pytest.fixture
def all_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates_module, "refusal", lambda engine, precision: "")


@pytest.mark.parametrize(("name", "weights", "kind"), KINDS)
def test_the_kind_of_weights(name: str, weights: str | None, kind: str) -> None:
    assert weights_kind(name, weights) == kind


@pytest.mark.usefixtures("all_here")
@pytest.mark.parametrize(("name", "weights", "kind"), KINDS)
def test_the_natural_engine_is_first_and_the_reference(name: str, weights: str | None, kind: str) -> None:
    found = candidates(name, weights, int8=True)
    assert all(c.engine in ENGINES and c.precision in PRECISIONS for c in found)
    assert len({c.name for c in found}) == len(found)
    if kind == "built in":
        assert found == ()
    else:
        natural = {"savedmodel": "tensorflow fp32", "onnx": "onnx fp32", "tflite": "litert fp32"}[kind]
        assert found[0].name == reference_of(name, weights).name == natural


@pytest.mark.usefixtures("all_here")
@pytest.mark.parametrize("name", MODELS)
def test_int8_is_there_only_if_asked_for(name: str) -> None:
    assert not any(c.precision == "int8" for c in candidates(name, "/data/a.onnx"))
    assert any(c.precision == "int8" for c in candidates(name, "/data/a.onnx", int8=True))


def test_where_the_natural_engine_is_missing_the_next_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates_module, "refusal", lambda engine, precision: "" if engine == "openvino" else "none")
    assert reference_of("birdnet_v2.4").name == "openvino fp32"
    with pytest.raises(Unavailable, match=r"perch_v2 has nothing here .* tensorflow fp32: none") as caught:
        reference_of("perch_v2")
    assert caught.value.kind == "engine_missing"


def test_an_unknown_model_has_no_candidates() -> None:
    with pytest.raises(NotFound, match="perch_v2"):
        candidates("perch", "/data/a.onnx")
