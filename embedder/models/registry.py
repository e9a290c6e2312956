"""The models that can be named, and how to get one. Listing them imports no engine."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from embedder.engines.base import ENGINES, PRECISIONS
from embedder.models.base import ModelInfo, WeightsStatus
from embedder.models.hub import is_hub_address, is_onnx
from embedder.models.published import RECOMMENDED
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    from embedder.models.base import Embedder

DEFAULT_MODEL = "perch_v2"

_APACHE_URL = "https://www.apache.org/licenses/LICENSE-2.0"
_KAGGLE_PERCH = "https://www.kaggle.com/models/google/bird-vocalization-classifier"

MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        ModelInfo(
            name="perch_v2",
            title="Perch 2",
            sample_rate_hz=32_000,
            window_s=5.0,
            dim=1536,
            n_classes=14_795,
            licence="Apache-2.0",
            licence_url=_APACHE_URL,
            needs_extra="perch",
            home=_KAGGLE_PERCH,
            note="Birds, frogs, insects, mammals and everyday sounds. Downloaded from Kaggle (about 400 MB) at first "
            "use. The CPU and the GPU edition have two digests: give --weights to mix such machines on one store. That "
            "SavedModel is a StableHLO export, which the usual TensorFlow to ONNX converters do not take; for the faster engines "
            f"give the published ONNX file: --weights {RECOMMENDED.address}",
        ),
        ModelInfo(
            name="perch_v1",
            title="Perch 1 (bird vocalization classifier)",
            sample_rate_hz=32_000,
            window_s=5.0,
            dim=1280,
            n_classes=10_932,
            licence="Apache-2.0",
            licence_url=_APACHE_URL,
            needs_extra="perch",
            home=_KAGGLE_PERCH,
            note="Birds. Release 8 is downloaded; releases 1 to 4 run from a local folder (--weights).",
        ),
        ModelInfo(
            name="birdnet_v2.4",
            title="BirdNET 2.4",
            sample_rate_hz=48_000,
            window_s=3.0,
            dim=1024,
            n_classes=6522,
            licence="CC BY-NC-SA 4.0",
            licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
            needs_extra="birdnet",
            home="https://github.com/birdnet-team/BirdNET-Analyzer",
            note="Birds and a few other sounds, up to 15 kHz. Non-commercial weights, also for what is trained on "
            "them. Installed with the extra: nothing to download.",
        ),
        ModelInfo(
            name="placeholder",
            title="Placeholder (band energies, not a sound model)",
            sample_rate_hz=16_000,
            window_s=2.0,
            dim=64,
            n_classes=3,
            licence="none",
            licence_url="",
            needs_extra="",
            home="",
            note="No weights and no knowledge of any animal: for tests and for trying the tools out.",
        ),
    )
}


def model_info(name: str) -> ModelInfo:
    """Return what is known of a model.

    Raises
    ------
    NotFound
        Kind ``unknown_model``, with the nearest name and the list.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise NotFound(f"no model is named {name!r}{hint} there are: {', '.join(MODELS)}", kind="unknown_model")


def load_model(
    name: str,
    *,
    weights: str | None = None,
    threads: int = 1,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
) -> Embedder:
    """Load a model; its engine is imported here and not before.

    Parameters
    ----------
    name : str
        A key of ``MODELS``.
    weights : str, optional
        Local copy of the weights: a SavedModel folder for Perch, a folder or ``.tflite`` file for BirdNET; or for any of
        them an ``.onnx`` file, here or on Hugging Face (``hf:OWNER/NAME/FILE.onnx``).
        By default the published ones, downloaded where needed.
    threads : int
        Threads one call may use, at least 1. More processes scale better than more threads.
    engine : str, optional
        One of ``ENGINES``; by default the one that the weights were published for: TensorFlow for a SavedModel, LiteRT for a
        ``.tflite`` file, ONNX Runtime for an ``.onnx`` file. :func:`embedder.choosing.choose` finds the fastest.
    precision : str
        One of ``PRECISIONS``; only what is named here is ever used.

    Raises
    ------
    NotFound
        ``unknown_model``, or ``no_weights``: nothing is at the given or the usual place.
    Invalid
        ``invalid_weights``: what is there is not this model; or ``threads`` below 1; or an engine or a precision that
        there is not, or not for these weights.
    Unavailable
        ``engine_missing``: the extra is not installed, or not able to compute so here; ``download_failed``: the weights
        could not be fetched.
    """
    info = model_info(name)
    if threads < 1:
        raise Invalid(f"threads is {threads}, a model needs at least 1")
    _check_choice(engine, precision)
    if name == "placeholder":
        from embedder.models.placeholder import load_placeholder

        if engine is not None or precision != FULL_PRECISION:
            asked = " ".join(filter(None, (engine, precision)))
            raise Invalid(f"the placeholder is a few lines of arithmetic without an engine, asked for {asked}")
        return load_placeholder(info, weights=weights, threads=threads)
    if weights is not None and is_onnx(weights):
        from embedder.models.onnx_model import load_onnx

        return load_onnx(info, weights=weights, threads=threads, engine=engine, precision=precision)
    if name.startswith("perch"):
        from embedder.models.perch import load_perch

        return load_perch(info, weights=weights, threads=threads, engine=engine, precision=precision)
    from embedder.models.birdnet import load_birdnet

    return load_birdnet(info, weights=weights, threads=threads, engine=engine, precision=precision)


def _check_choice(engine: str | None, precision: str) -> None:
    for word, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value is not None and value not in known:
            raise Invalid(f"there is no {word} {value!r}; choose one of {', '.join(known)}")


def require_weights(name: str, weights: str | None) -> None:
    """Look whether weights given as a path are there and are what they must be, as far as that is seen without loading them.

    Raises
    ------
    NotFound
        ``no_weights``, ``unknown_model``.
    Invalid
        ``invalid_weights``: a folder that lacks a part.
    """
    model_info(name)
    if weights is None or name == "placeholder" or is_hub_address(weights):
        return
    if is_onnx(weights):
        from embedder.models.onnx_files import find_onnx

        find_onnx(weights)
    elif name.startswith("perch"):
        from embedder.models.perch_weights import local_folder

        local_folder(weights)
    else:
        from embedder.models.birdnet_weights import find_weights

        find_weights(weights)


def weights_status(name: str, weights: str | None = None) -> WeightsStatus:
    """Tell whether a model's weights are here, without importing an engine and without a network.

    Parameters
    ----------
    name : str
        A key of ``MODELS``.
    weights : str, optional
        As for :func:`load_model`.

    Raises
    ------
    NotFound
        Kind ``unknown_model``.
    """
    info = model_info(name)
    if name == "placeholder":
        return WeightsStatus(True, "built in", "The placeholder has no weights: it is a few lines of arithmetic.")
    if weights is not None and is_onnx(weights):
        from embedder.models.onnx_files import onnx_weights_status

        return onnx_weights_status(info, weights)
    if name.startswith("perch"):
        from embedder.models.perch_weights import perch_weights_status

        return perch_weights_status(info.name, weights)
    from embedder.models.birdnet_weights import birdnet_weights_status

    return birdnet_weights_status(weights)
