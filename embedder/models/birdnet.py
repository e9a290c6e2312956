"""BirdNET V2.4 through LiteRT (no TensorFlow): embeddings and logits from one pass.

The published file has one output, the logits. The embedding is an inner tensor, and with the default XNNPACK kernels
inner tensors cannot be read. Of the three ways round that, the file's list of outputs is extended in memory here:
nearly twice as fast as switching XNNPACK off, a fifth faster than keeping every tensor, and bit-identical.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.models.arrays import batches, check_frames, sigmoid
from embedder.models.base import Embedded, Runtime, how_to_install
from embedder.models.birdnet_weights import LICENCE_NOTICE, find_weights, read_labels, unknown_note
from sonotheque.core.errors import Invalid, Unavailable
from sonotheque.core.ids import file_sha256
from sonotheque.core.model_spec import ModelSpec, classes_digest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from embedder.models.base import ModelInfo

__all__ = ["LICENCE_NOTICE", "BirdnetEmbedder", "load_birdnet"]

EMBEDDING_TENSOR = "model/GLOBAL_AVG_POOL/Mean"
LOGIT_CLIP = 15.0  # as in the birdnet package: sigmoid(15) is 1 - 3e-7, so nothing is lost
# Measured on one core (CPU time): 32.6 ms a window at 1, 30.8 at 4, 31.7 at 8; memory 214, 271 and 333 MB.
BATCH_SIZE = 4


@dataclass(slots=True)
class BirdnetEmbedder:
    """BirdNET V2.4 in a LiteRT interpreter that stays allocated for the last batch size used."""

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str
    interpreter: Any
    rows: int  # the batch the interpreter is allocated for

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows; see :class:`embedder.models.base.Embedder`.

        The network normalises each window itself, so gain and offset do not matter. A short last batch is run at its
        own size; the results are the same to the bit.
        """
        frames = check_frames(frames, self.spec)
        embeddings = np.empty((len(frames), self.spec.dim), dtype=np.float32)
        out = np.empty((len(frames), self.spec.n_classes), dtype=np.float32) if logits else None
        logits_at, embedding_at = (detail["index"] for detail in self.interpreter.get_output_details())
        for start, stop in batches(len(frames), self.batch_size):
            self._resize(stop - start)
            self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], frames[start:stop])
            self.interpreter.invoke()
            # Assigning copies, so no result is a view of the interpreter's own buffer.
            embeddings[start:stop] = self.interpreter.get_tensor(embedding_at)
            if out is not None:
                out[start:stop] = self.interpreter.get_tensor(logits_at)
        return Embedded(embeddings, out)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return 1 / (1 + exp(-clip(logit, -15, 15))): the birdnet dialect at sensitivity 1.0.

        Three dialects of "sensitivity" s are in use, and they agree only at 1.0: birdnet and birdnetlib use it as the
        slope, ``sigmoid(s * logit)``; BirdNET-Pi flips it, slope ``2 - s``; BirdNET-Analyzer 2 and later shifts,
        ``sigmoid(logit + 10 * (s - 1))``, clipped at 20. The logits are stored, so any of them can be had later.
        """
        return sigmoid(np.clip(logits, -LOGIT_CLIP, LOGIT_CLIP))

    def _resize(self, rows: int) -> None:
        if rows != self.rows:
            _allocate(self.interpreter, rows, self.spec.window_samples)
            self.rows = rows


def load_birdnet(info: ModelInfo, *, weights: str | None = None, threads: int = 1) -> BirdnetEmbedder:
    """Load BirdNET V2.4.

    Parameters
    ----------
    info : ModelInfo
        Its registry entry.
    weights : str, optional
        As for :func:`embedder.models.birdnet_weights.find_weights`.
    threads : int
        Threads of the interpreter; a second one was measured to buy nothing.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: ai-edge-litert is not installed.
    NotFound
        Kind ``no_weights``.
    Invalid
        Kind ``invalid_weights``: not a LiteRT file, not this network, or labels that do not fit it.
    """
    litert = _import_litert()
    files = find_weights(weights)
    classes = read_labels(files.labels)
    model_sha256 = file_sha256(files.model)
    content, inner = graft_output(files.model, litert.schema)
    try:
        interpreter = litert.interpreter.Interpreter(model_content=content, num_threads=threads)
        _allocate(interpreter, 1, info.window_samples)
    except (ValueError, RuntimeError) as error:
        raise Invalid(f"LiteRT cannot run {files.model}: {error}", kind="invalid_weights") from error
    interpreter.invoke()
    n_classes, dim = (int(detail["shape"][-1]) for detail in interpreter.get_output_details())
    if len(classes) != n_classes:
        raise Invalid(
            f"{files.labels} names {len(classes)} classes, {files.model.name} has {n_classes} logits; "
            "the labels must be those of this model",
            kind="invalid_weights",
        )
    spec = ModelSpec(
        name=info.name,
        version="2.4",
        weights_digest=model_sha256,
        sample_rate_hz=info.sample_rate_hz,
        window_samples=info.window_samples,
        dim=dim,
        n_classes=n_classes,
        classes_digest=classes_digest(classes),
        score_rule="sigmoid(logit), slope 1.0 (birdnet dialect)",
    )
    kernels = "built-in kernels" if _is_readable(interpreter, inner) else "XNNPACK"
    return BirdnetEmbedder(
        spec=spec,
        classes=classes,
        batch_size=BATCH_SIZE,
        runtime=Runtime(engine=f"LiteRT {litert.version} {kernels}", device="CPU", threads=threads),
        note=unknown_note(model_sha256, file_sha256(files.labels)),
        interpreter=interpreter,
        rows=1,
    )


def graft_output(path: Path, schema: Any) -> tuple[bytes, int]:
    """Return a ``.tflite`` file's content with the embedding among its outputs, after the logits.

    Parameters
    ----------
    path : Path
        The published file; it is not changed.
    schema : module
        ``ai_edge_litert.schema_py_generated``.

    Returns
    -------
    content : bytes
        The extended file.
    inner : int
        Index of the tensor the embedding is the mean of: readable after a run only if no XNNPACK kernels are used.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: not a LiteRT file, a damaged one, or a network without that tensor.
    """
    import flatbuffers

    raw = path.read_bytes()
    if raw[4:8] != b"TFL3":
        raise Invalid(f"{path} is not a LiteRT (.tflite) file", kind="invalid_weights")
    try:
        model = schema.ModelT.InitFromPackedBuf(raw, 0)
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise Invalid(f"{path} is damaged or cut short: {error}", kind="invalid_weights") from error
    graph = model.subgraphs[0]
    names = [tensor.name for tensor in graph.tensors]
    if EMBEDDING_TENSOR.encode() not in names or len(graph.outputs) != 1:
        raise Invalid(
            f"{path} is not BirdNET V2.4: it has {len(graph.outputs)} outputs (1 expected) and "
            f"{'a' if EMBEDDING_TENSOR.encode() in names else 'no'} tensor {EMBEDDING_TENSOR}",
            kind="invalid_weights",
        )
    embedding = names.index(EMBEDDING_TENSOR.encode())
    inner = next(int(op.inputs[0]) for op in graph.operators if embedding in op.outputs)
    graph.outputs = np.append(graph.outputs, embedding).astype(np.int32)
    builder = flatbuffers.Builder(len(raw) + (1 << 16))  # the first size fits, so the buffer is never doubled
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), inner


@dataclass(frozen=True, slots=True)
class _LiteRT:
    interpreter: Any
    schema: Any
    version: str


def _import_litert() -> _LiteRT:
    try:
        import ai_edge_litert
        import flatbuffers  # noqa: F401 - needed by graft_output, checked here so that one message covers both
        from ai_edge_litert import interpreter, schema_py_generated
    except ImportError as error:
        raise Unavailable(
            f"BirdNET runs on LiteRT, which cannot be imported ({error}); {how_to_install('birdnet')} adds it",
            kind="engine_missing",
        ) from error
    return _LiteRT(interpreter, schema_py_generated, str(ai_edge_litert.__version__))


def _allocate(interpreter: Any, rows: int, window_samples: int) -> None:
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [rows, window_samples])
    interpreter.allocate_tensors()


def _is_readable(interpreter: Any, tensor: int) -> bool:
    """Tell whether an inner tensor has data after a run; the XNNPACK kernels leave none behind."""
    try:
        interpreter.get_tensor(tensor)
    except ValueError:
        return False
    return True
