"""Perch 1 and 2 as TensorFlow SavedModels: the only module that imports TensorFlow, and only when a model is loaded."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.models.arrays import batches, check_frames
from embedder.models.base import Embedded, Runtime
from embedder.models.perch_calls import PerchCall, detect_call
from embedder.models.perch_weights import (
    HANDLES,
    INSTALL,
    cached_folder,
    fetch,
    folder_digest,
    local_folder,
    reach_hub,
    read_classes,
)
from embedder.models.preprocess import peak_normalise
from embedder.models.published import RECOMMENDED
from embedder.models.scores import SCORE_RULES, V2_INTERCEPT, V2_SLOPE, scores_of
from sonotheque.core.errors import Invalid, Unavailable
from sonotheque.core.model_spec import FULL_PRECISION, ModelSpec, classes_digest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from embedder.models.base import ModelInfo

__all__ = ["SCORE_RULES", "V2_INTERCEPT", "V2_SLOPE", "PerchEmbedder", "load_perch"]

_log = logging.getLogger(__name__)

BATCH_SIZE_CPU, BATCH_SIZE_GPU = 8, 32  # one core gains nothing from more; a GPU is filled by a few dozen


@dataclass(slots=True)
class PerchEmbedder:
    """A Perch SavedModel behind the one protocol, whichever way it is called."""

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str
    call: PerchCall
    tensorflow: Any
    model: Any  # held because its functions refer to its variables only weakly

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows; see :class:`embedder.models.base.Embedder`.

        Each window is centred and brought to a peak of 0.25 first. The graph computes its logits in any case, so
        ``logits=False`` saves memory and no time.
        """
        frames = check_frames(frames, self.spec)
        embeddings = np.empty((len(frames), self.spec.dim), dtype=np.float32)
        out = np.empty((len(frames), self.spec.n_classes), dtype=np.float32) if logits else None
        for start, stop in batches(len(frames), self.batch_size):
            rows = stop - start
            # XLA compiles once per batch size: rounding up to a power of two bounds that to a handful.
            padded = np.zeros((min(1 << (rows - 1).bit_length(), self.batch_size), frames.shape[1]), dtype=np.float32)
            padded[:rows] = peak_normalise(frames[start:stop])
            embedding, label = self.call.run(self.tensorflow.constant(padded))
            # Assigning copies: .numpy() may be a view of TensorFlow's own memory.
            embeddings[start:stop] = embedding.numpy()[:rows]
            if out is not None:
                out[start:stop] = label.numpy()[:rows]
        return Embedded(embeddings, out)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores by ``spec.score_rule``: Perch 2's logits are scaled and shifted before the sigmoid."""
        return scores_of(self.call.family, logits)


def load_perch(
    info: ModelInfo,
    *,
    weights: str | None = None,
    threads: int = 1,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
) -> PerchEmbedder:
    """Load a Perch model.

    Parameters
    ----------
    info : ModelInfo
        Its registry entry.
    weights : str, optional
        A SavedModel folder, of any embedding length. By default the published one: from the hub client's cache, else
        downloaded, in the edition for a GPU if TensorFlow sees one.
    threads : int
        Threads within and between TensorFlow's operations; ignored if TensorFlow is already running.
    engine : str, optional
        ``tensorflow``: a SavedModel runs on nothing else.
    precision : str
        ``fp32``.

    Raises
    ------
    Unavailable
        ``engine_missing`` or ``download_failed``.
    NotFound
        ``no_weights``: ``weights`` is not a folder.
    Invalid
        ``invalid_weights``: the folder lacks a part, cannot be read, is called in no known way, belongs to the other
        Perch, or its class list does not fit its logits; kind ``invalid``: another engine or precision.
    """
    _refuse_other_engines(info, engine, precision)
    folder = local_folder(weights) if weights is not None else None
    if importlib.util.find_spec("tensorflow") is None:
        raise Unavailable(f"Perch runs on TensorFlow, which is not installed; {INSTALL}", kind="engine_missing")
    handles = HANDLES[info.name]
    if folder is None and not any(cached_folder(handle) for handle in handles.all):
        reach_hub(info.name, handles.cpu)  # before TensorFlow's slow import: an offline machine hears of it at once
    tensorflow = _start_tensorflow(threads)
    if folder is None:
        folder = fetch(info.name, handles.gpu if tensorflow.config.list_physical_devices("GPU") else handles.cpu)
    return _wrap(tensorflow, folder, info, published=weights is None)


def _refuse_other_engines(info: ModelInfo, engine: str | None, precision: str) -> None:
    if engine in (None, "tensorflow") and precision == FULL_PRECISION:
        return
    asked = " ".join(filter(None, (engine, precision)))
    ways = (
        f" The published SavedModel is a StableHLO export, which the usual TensorFlow to ONNX converters do not take: the way to "
        f"other engines is the published ONNX file, --weights {RECOMMENDED.address}"
        if info.name == RECOMMENDED.model
        else " Other engines take an ONNX file: --weights FILE.onnx"
    )
    raise Invalid(f"{info.name} as a SavedModel runs on tensorflow in {FULL_PRECISION}, asked for {asked}.{ways}")


def _start_tensorflow(threads: int) -> Any:
    """Import TensorFlow and set its threads and its use of GPU memory, where it still lets us."""
    # Its start-up notes go to stderr from C++; whoever wants them sets the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError as error:
        raise Unavailable(f"TensorFlow cannot be imported ({error}); {INSTALL}", kind="engine_missing") from error
    # On a card it multiplies in TF32 unless told not to: factors rounded to 10 bits, which is not what "fp32" says.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in tensorflow.config.list_physical_devices("GPU"):
            # Without growth the first process takes the whole GPU, and an index or a second worker gets none.
            tensorflow.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # the only answer of a TensorFlow that has already run something
        _log.info("TensorFlow is already running, its threads stay as they are: %s", error)
    return tensorflow


def _wrap(tensorflow: Any, folder: Path, info: ModelInfo, *, published: bool) -> PerchEmbedder:
    """Load a SavedModel folder, run it once, and check that it is what the registry says."""
    try:
        model = tensorflow.saved_model.load(str(folder))
    except (OSError, ValueError, IndexError, RuntimeError, tensorflow.errors.OpError) as error:
        # What TensorFlow was seen to raise for damaged files; an IndexError for values cut short.
        raise Invalid(f"TensorFlow cannot load {folder}: {error}", kind="invalid_weights") from error
    call, embedding, label = _first_run(tensorflow, model, folder, info.window_samples)
    if call.family != info.name:
        raise Invalid(
            f"{folder} is called as {call.family} is, not as {info.name}; give --model {call.family}, "
            "or the folder of the other",
            kind="invalid_weights",
        )
    classes = read_classes(folder)
    _check_lengths(embedding, label, classes, info, folder, published=published)
    spec = ModelSpec(
        name=info.name,
        version=call.version,
        weights_digest=folder_digest(folder),
        sample_rate_hz=info.sample_rate_hz,
        window_samples=info.window_samples,
        dim=int(embedding.shape[-1]),
        n_classes=len(classes),
        classes_digest=classes_digest(classes),
        score_rule=SCORE_RULES[call.family],
    )
    runtime = Runtime(
        engine=f"TensorFlow {tensorflow.__version__}",
        device=_device_name(tensorflow, str(embedding.device)),
        threads=int(tensorflow.config.threading.get_intra_op_parallelism_threads()),
    )
    full = BATCH_SIZE_GPU if runtime.device.startswith("GPU") else BATCH_SIZE_CPU
    return PerchEmbedder(
        spec=spec,
        classes=classes,
        batch_size=full if call.batchable else 1,
        runtime=runtime,
        note="" if published else f"Weights from the local folder {folder}.",
        call=call,
        tensorflow=tensorflow,
        model=model,
    )


def _first_run(tensorflow: Any, model: Any, folder: Path, window_samples: int) -> tuple[PerchCall, Any, Any]:
    """Find out how the model is called, and call it with one silent window: (call, embedding, logits)."""
    probe = tensorflow.zeros((1, window_samples), dtype=tensorflow.float32)
    try:
        call = detect_call(model, probe, str(folder))
        return call, *call.run(probe)
    except tensorflow.errors.ResourceExhaustedError as error:
        raise Unavailable(f"{folder}: not enough memory to run the model: {error}") from error
    except tensorflow.errors.OpError as error:
        raise Invalid(
            f"{folder} loads and does not run here, perhaps because it was made for another device: {error}",
            kind="invalid_weights",
        ) from error


def _check_lengths(
    embedding: Any, label: Any, classes: tuple[str, ...], info: ModelInfo, folder: Path, *, published: bool
) -> None:
    """Refuse a model whose answer is not two matrices, whose classes do not fit, or that is not the published one."""
    if embedding.shape.rank != 2 or label.shape.rank != 2:
        raise Invalid(
            f"{folder} answers an embedding of shape {tuple(embedding.shape)} and logits of shape "
            f"{tuple(label.shape)}; both must have 2 axes (windows, values)",
            kind="invalid_weights",
        )
    if label.shape[-1] != len(classes):
        raise Invalid(
            f"{folder}: the class list names {len(classes)} classes, the model gives {label.shape[-1]} logits; "
            "the list in assets/ must be that of this model",
            kind="invalid_weights",
        )
    # A local folder may be a fine-tuned or cut-down model; what the hub serves may not differ from what it published.
    found, known = (int(embedding.shape[-1]), len(classes)), (info.dim, info.n_classes)
    if published and found != known:
        raise Invalid(
            f"{folder} gives embeddings of {found[0]} and {found[1]} classes, {info.name} has {known[0]} and "
            f"{known[1]}; delete the folder and run again to download it anew",
            kind="invalid_weights",
        )


def _device_name(tensorflow: Any, device: str) -> str:
    """Return ``CPU`` or ``GPU:0 NVIDIA H200`` from the device a result lies on."""
    kind, _, index = device.rpartition("device:")[2].partition(":")
    if kind != "GPU":
        return kind or "CPU"
    gpu = tensorflow.config.list_physical_devices("GPU")[int(index)]
    details = tensorflow.config.experimental.get_device_details(gpu)
    return f"GPU:{index} {details.get('device_name', '')}".strip()
