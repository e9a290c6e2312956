"""Weights for the tests: the installed BirdNET files, and small Perch-shaped SavedModels built here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WINDOW_SAMPLES = 160_000
BANDS = 250
GENERA = 2


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: perch)")


@pytest.fixture(scope="session")
def soundscape() -> np.ndarray:
    """The 120 s soundscape that BirdNET-Analyzer ships, 48 kHz, float32 (5_760_000,)."""
    soundfile = pytest.importorskip("soundfile")
    root = Path(__file__).parents[2]
    beside = [folder / "shared" / "recordings" for folder in (root, root.parent)]
    places = [os.environ.get("SONOTHEQUE_TEST_RECORDINGS"), *beside]
    for place in filter(None, places):
        file = Path(place) / "soundscape" / "soundscape.flac"
        if file.is_file():
            samples, rate_hz = soundfile.read(file, dtype="float32")
            assert rate_hz == 48_000
            return np.asarray(samples)
    pytest.skip("the soundscape recording is not here: set SONOTHEQUE_TEST_RECORDINGS")


def birdnet_missing() -> str:
    """Why BirdNET cannot be tested here; empty if it can."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "LiteRT is not installed (extra: birdnet)"
    from embedder.models import weights_status

    status = weights_status("birdnet_v2.4")
    return "" if status.present else status.detail


def write_classes(folder: Path, name: str, classes: list[str], *, namespace: str = "test_classes") -> None:
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / name).write_text("\n".join([namespace, *classes]) + "\n", encoding="utf-8")


class PerchMaker:
    """Builds SavedModels with Perch's call shapes and a fixed random projection for a network.

    The "spectrogram" is the mean magnitude of 250 stretches of the window, which is enough to tell windows apart.
    """

    def __init__(self, tensorflow: Any, root: Path) -> None:
        self.tf = tensorflow
        self.root = root

    def module(self, dim: int, n_classes: int) -> Any:
        tf, rng = self.tf, np.random.default_rng(11)
        module = tf.Module()
        module.projection = tf.Variable(rng.normal(0, 0.1, (BANDS, dim)).astype(np.float32))
        module.head = tf.Variable(rng.normal(0, 0.1, (dim, n_classes)).astype(np.float32))
        module.genus_head = tf.Variable(rng.normal(0, 0.1, (dim, GENERA)).astype(np.float32))

        def forward(inputs: Any) -> tuple[Any, Any, Any, Any]:
            spectrogram = tf.reduce_mean(tf.abs(tf.reshape(inputs, [-1, BANDS, WINDOW_SAMPLES // BANDS])), axis=2)
            embedding = tf.nn.relu(spectrogram @ module.projection)
            return spectrogram, embedding, embedding @ module.head, embedding @ module.genus_head

        module.forward = forward
        return module

    def save(self, module: Any, name: str, signature: Any = None) -> Path:
        folder = self.root / name
        del module.forward
        self.tf.saved_model.save(module, str(folder), signatures={"serving_default": signature} if signature else None)
        return folder

    def _spec(self, rows: int | None, samples: int = WINDOW_SAMPLES) -> Any:
        return self.tf.TensorSpec([rows, samples], self.tf.float32, name="inputs")

    def v2(self, name: str = "v2", *, dim: int = 1536, classes: int = 7, rows: int | None = None) -> Path:
        """Perch 2: no infer_tf, a signature that answers a dict."""
        module = self.module(dim, classes)
        forward = module.forward

        def serving(inputs: Any) -> dict[str, Any]:
            spectrogram, embedding, label, _ = forward(inputs)
            return {"embedding": embedding, "label": label, "spectrogram": spectrogram}

        function = self.tf.function(serving, input_signature=[self._spec(rows)])
        module.serve = function
        folder = self.save(module, name, function)
        write_classes(folder, "labels.csv", [f"Species {n}" for n in range(classes)], namespace="inat2024_fsd50k")
        write_classes(folder, "perch_v2_ebird_classes.csv", ["no_ebird_code"] * classes, namespace="ebird")
        return folder

    def v1_dict(self, name: str = "v1_dict", *, dim: int = 1280, classes: int = 5) -> Path:
        """Perch 1 release 8: infer_tf answers a dict, with more heads than one."""
        module = self.module(dim, classes)
        forward = module.forward

        def infer_tf(inputs: Any) -> dict[str, Any]:
            spectrogram, embedding, label, genus = forward(inputs)
            return {"embedding": embedding, "label": label, "frontend": spectrogram, "genus": genus}

        module.infer_tf = self.tf.function(infer_tf, input_signature=[self._spec(None)])
        folder = self.save(module, name)
        write_classes(folder, "label.csv", [f"code{n}" for n in range(classes)], namespace="ebird2021")
        write_classes(folder, "genus.csv", [f"genus{n}" for n in range(GENERA)])
        return folder

    def v1_pair(self, name: str, *, batchable: bool, dim: int = 1280, classes: int = 5) -> Path:
        """Perch 1 releases 1 to 4: infer_tf answers (logits, embedding)."""
        module = self.module(dim, classes)
        forward = module.forward

        def infer_tf(inputs: Any) -> tuple[Any, Any]:
            _, embedding, label, _ = forward(inputs)
            return label, embedding

        def serving(inputs: Any) -> dict[str, Any]:
            label, embedding = infer_tf(inputs)
            return {"output_0": label, "output_1": embedding}

        rows = None if batchable else 1
        module.infer_tf = self.tf.function(infer_tf, input_signature=[self._spec(rows)])
        module.serve = self.tf.function(serving, input_signature=[self._spec(rows)])
        folder = self.save(module, name, module.serve)
        write_classes(folder, "label.csv", [f"code{n}" for n in range(classes)], namespace="ebird2021")
        return folder

    def custom(self, name: str, answer: Any, *, samples: int = WINDOW_SAMPLES, infer: bool = False) -> Path:
        """A SavedModel that is none of these: ``answer`` maps the inputs to whatever it gives."""
        module = self.tf.Module()
        module.forward = None
        function = self.tf.function(answer, input_signature=[self._spec(None, samples)])
        setattr(module, "infer_tf" if infer else "serve", function)
        folder = self.save(module, name, None if infer else function)
        write_classes(folder, "labels.csv", ["a", "b"])
        return folder


@pytest.fixture(scope="session")
def perch_maker(tensorflow: Any, tmp_path_factory: pytest.TempPathFactory) -> PerchMaker:
    return PerchMaker(tensorflow, tmp_path_factory.mktemp("perch"))


@pytest.fixture(scope="session")
def perch_folders(perch_maker: PerchMaker) -> dict[str, Path]:
    """One small SavedModel of each call shape."""
    return {
        "v2": perch_maker.v2(),
        "v1_dict": perch_maker.v1_dict(),
        "v1_single": perch_maker.v1_pair("v1_single", batchable=False),
        "v1_batch": perch_maker.v1_pair("v1_batch", batchable=True),
    }


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What models keep on a machine (graphs cut out of files) is kept here."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("SONOTHEQUE_CACHE")
    os.environ["SONOTHEQUE_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SONOTHEQUE_CACHE"]
    else:
        os.environ["SONOTHEQUE_CACHE"] = before


@pytest.fixture(scope="session")
def small_standin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The stand-in of Perch 2, narrow and shallow, with 20 classes and embeddings of 320 numbers, as ONNX files."""
    pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")
    from benchmarks.standin import Architecture, ensure

    arch = Architecture(width=0.25, depth=0.5, classes=20)
    return ensure(tmp_path_factory.mktemp("standin"), saved_model=False, arch=arch, seed=3)
