"""BirdNET in each engine and precision against the published network run whole, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from embedder.engines import refusal
from embedder.models import Embedded, Embedder, model_info
from embedder.models.birdnet import BirdnetEmbedder, load_birdnet
from embedder.models.birdnet_parts import check_engine
from sonotheque.core.errors import Invalid, Unavailable

from .conftest import birdnet_missing
from .contract import ModelContract, noise

pytestmark = pytest.mark.skipif(bool(birdnet_missing()), reason=birdnet_missing() or "never")

INFO = model_info("birdnet_v2.4")
VARIANTS = [("litert", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "fp16")]


def load(engine: str | None = None, precision: str = "fp32", *, whole_graph: bool = False) -> BirdnetEmbedder:
    """Load a variant; skip, with the machine's own reason, where it cannot be had."""
    reason = refusal(engine or "litert", precision)
    if reason:
        pytest.skip(f"{engine} {precision}: {reason}")
    return load_birdnet(INFO, engine=engine, precision=precision, whole_graph=whole_graph)


def cosines(one: Embedded, two: Embedded) -> np.ndarray:
    a, b = one.embeddings.astype(np.float64), two.embeddings.astype(np.float64)
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


class TestWhole(ModelContract):
    """The reference keeps the contract too."""

    @classmethod
    def load(cls) -> Embedder:
        return load(whole_graph=True)


class TestOpenVINO(ModelContract):
    @classmethod
    def load(cls) -> Embedder:
        return load("openvino")

    def test_the_engine_is_named(self, model: Embedder) -> None:
        assert model.runtime.engine.startswith("OpenVINO ")
        assert model.spec.precision == "fp32"


class TestOpenVINOBf16(ModelContract):
    @classmethod
    def load(cls) -> Embedder:
        return load("openvino", "bf16")

    def test_the_precision_is_stamped(self, model: Embedder) -> None:
        assert model.spec.precision == "bf16"
        assert model.spec.digest != load().spec.digest


@pytest.fixture(scope="module")
def reference() -> BirdnetEmbedder:
    return load(whole_graph=True)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Windows of real recordings from more than one kind of recorder, float32 (n, 144000), all at 48 kHz."""
    soundfile = pytest.importorskip("soundfile")
    root = Path(__file__).parents[2]
    places = [os.environ.get("SONOTHEQUE_TEST_RECORDINGS"), *(at / "shared/recordings" for at in (root, root.parent))]
    folders = ("soundscape", "audiomoth_urban", "cuckoo_stereo")
    found = [Path(place) for place in places if place and all((Path(place) / f).is_dir() for f in folders)]
    if not found:
        pytest.skip("the real recordings are not here: set SONOTHEQUE_TEST_RECORDINGS")
    windows = []
    for file in sorted(at for f in folders for suffix in ("wav", "flac") for at in (found[0] / f).glob(f"*.{suffix}")):
        samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
        assert rate_hz == INFO.sample_rate_hz
        mono = samples[:, 0]
        windows.append(mono[: len(mono) // INFO.window_samples * INFO.window_samples].reshape(-1, INFO.window_samples))
    return np.concatenate(windows)


@pytest.fixture(scope="module")
def expected(reference: BirdnetEmbedder, real: np.ndarray) -> Embedded:
    return reference.embed(real)


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
def test_real_recordings_get_the_vectors_of_the_published_network(
    engine: str, precision: str, real: np.ndarray, expected: Embedded
) -> None:
    """Full precision is the same to what rounding allows; half precision stays above what may be chosen unasked."""
    model = load(engine, precision)
    found = model.embed(real)
    assert len(real) > 30
    assert found.logits is not None
    assert expected.logits is not None
    same_top = (found.logits.argmax(axis=1) == expected.logits.argmax(axis=1)).mean()
    if precision == "fp32":
        assert cosines(found, expected).min() > 0.99999
        assert np.abs(found.logits - expected.logits).max() < 5e-3
        assert same_top == 1.0
    else:
        assert np.median(cosines(found, expected)) > 0.999
        assert cosines(found, expected).min() > 0.998
        assert np.abs(found.logits - expected.logits).max() < 1.0
        assert same_top > 0.9
        assert not np.array_equal(found.embeddings, expected.embeddings)  # it did compute in less


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
def test_awkward_windows_stay_close(engine: str, precision: str, reference: BirdnetEmbedder) -> None:
    """Silence, an offset, a click, a step, a bare tone: where the network enlarges the rounding of what comes in."""
    n = INFO.window_samples
    frames = np.zeros((5, n), dtype=np.float32)
    frames[1] = 0.3
    frames[2, 17] = 1.0
    frames[3, n // 2 :] = 1.0
    frames[4] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(n) / INFO.sample_rate_hz)
    found, wanted = load(engine, precision).embed(frames), reference.embed(frames)
    assert cosines(found, wanted).min() > (0.999 if precision == "fp32" else 0.997)
    assert found.logits is not None
    assert wanted.logits is not None
    assert np.array_equal(found.logits.argmax(axis=1), wanted.logits.argmax(axis=1))


def test_full_precision_is_one_spec_whatever_ran_it(reference: BirdnetEmbedder) -> None:
    assert load("litert").spec == reference.spec
    assert load("openvino").spec == reference.spec
    assert reference.front_end is None
    assert reference.head is None


@pytest.mark.parametrize("engine", ["litert", "openvino"])
def test_the_last_layer_is_opened_when_logits_are_asked_for(engine: str) -> None:
    model = load(engine)
    frames = noise(2, model.spec)
    assert model.head is not None
    without = model.embed(frames, logits=False)
    assert model.head.network is None
    with_logits = model.embed(frames)
    assert model.head.network is not None
    assert model.head.content == b""
    assert np.array_equal(without.embeddings, with_logits.embeddings)
    assert model.embed(frames, logits=False).logits is None


def test_half_precision_keeps_its_last_layer_in_full() -> None:
    model = load("openvino", "bf16")
    model.embed(noise(1, model.spec))
    assert model.head is not None
    assert model.head.network is not None
    assert (model.backbone.precision, model.head.network.precision) == ("bf16", "fp32")


class TestRefusals:
    @pytest.mark.parametrize("engine", ["tensorflow", "onnx", "torch"])
    def test_engines_that_do_not_read_the_file(self, engine: str) -> None:
        with pytest.raises(Invalid, match=rf"litert or openvino, not in {engine}.*\.onnx"):
            load_birdnet(INFO, engine=engine)

    @pytest.mark.parametrize(
        ("engine", "precision", "said"),
        [
            (None, "bf16", "litert does not run.*in bf16.*--engine openvino does"),
            ("litert", "int8", "litert does not run.*in int8.*fp32"),
            ("openvino", "int8", "openvino does not run.*in int8.*fp32, bf16, fp16"),
            ("openvino", "fp64", "'fp64' is none of fp32"),
        ],
    )
    def test_precisions_it_does_not_run_in(self, engine: str | None, precision: str, said: str) -> None:
        with pytest.raises(Invalid, match=said):
            load_birdnet(INFO, engine=engine, precision=precision)

    def test_the_whole_network_in_an_engine_without_its_transform(self) -> None:
        with pytest.raises(Invalid, match="RFFT2D"):
            load_birdnet(INFO, engine="openvino", whole_graph=True)

    def test_litert_is_the_default(self) -> None:
        assert check_engine(None, "fp32", whole_graph=True) == check_engine("litert", "fp32", whole_graph=False)

    def test_a_precision_the_processor_lacks_is_never_replaced_quietly(self) -> None:
        lacking = [precision for precision in ("bf16", "fp16") if refusal("openvino", precision)]
        if not lacking:
            pytest.skip("this processor computes in both half precisions")
        with pytest.raises(Unavailable) as caught:
            load_birdnet(INFO, engine="openvino", precision=lacking[0])
        assert caught.value.kind == "engine_missing"
