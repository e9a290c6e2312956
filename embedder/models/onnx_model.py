"""Any model here as an ONNX file: cut into front end, trunk and head, and run by ONNX Runtime or OpenVINO.

Of Perch 2's arithmetic four fifths are the label head, and of the rest two fifths the spectrogram where that is a product of
matrices. So the head is a network of its own, opened when logits are first asked for, and the spectrogram is computed by an FFT
outside the graph wherever that was checked to give what the graph's own front end gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from embedder.engines import refusal
from embedder.models.arrays import batches, check_frames
from embedder.models.base import Embedded
from embedder.models.onnx_files import OnnxFile, find_classes, find_onnx, identify
from embedder.models.onnx_frontend import find_front_end, own_front_end
from embedder.models.onnx_parts import OnnxParts
from embedder.models.onnx_plan import plan_of
from embedder.models.preprocess import peak_normalise
from embedder.models.scores import SCORE_RULES, scores_of
from sonotheque.core.errors import Invalid, Unavailable
from sonotheque.core.ids import file_sha256
from sonotheque.core.model_spec import FULL_PRECISION, ModelSpec, classes_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.models.base import ModelInfo, Runtime

ENGINES = ("onnx", "openvino")
# Measured on one core: 4 windows are as fast as 8 or 16 on either engine, 1 is a tenth slower. With Perch 2's logits 4 take 1.0 GB
# and 16 take 1.8 GB, without them 0.3 to 0.4 GB. A card is filled by a few dozen.
BATCH_SIZE_CPU, BATCH_SIZE_GPU = 4, 64
_VERSIONS = {"perch_v2": "2", "perch_v1": "1", "birdnet_v2.4": "2.4"}


@dataclass(slots=True)
class OnnxEmbedder:
    """A model cut out of an ONNX file; see :class:`embedder.models.base.Embedder`."""

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str
    parts: OnnxParts
    normalise: bool

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows; see :class:`embedder.models.base.Embedder`.

        Perch's windows are centred and brought to a peak of 0.25 first. Without ``logits`` the head is neither run nor opened.
        """
        frames = check_frames(frames, self.spec)
        logits = logits and self.spec.n_classes > 0
        embeddings = np.empty((len(frames), self.spec.dim), dtype=np.float32)
        out = np.empty((len(frames), self.spec.n_classes), dtype=np.float32) if logits else None
        fixed = self.parts.plan.rows
        for start, stop in batches(len(frames), fixed or self.batch_size):
            rows = stop - start
            part = frames[start:stop]
            if self.normalise:
                part = peak_normalise(part)
            if fixed > rows:
                part = np.concatenate([part, np.zeros((fixed - rows, part.shape[1]), dtype=np.float32)])
            embedding, label = self.parts.run(part, logits=logits)
            # Assigning copies, so no result is a view of the engine's own memory.
            embeddings[start:stop] = embedding[:rows]
            if out is not None and label is not None:
                out[start:stop] = self._checked(label)[:rows]
        return Embedded(embeddings, out)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores by ``spec.score_rule``."""
        return scores_of(self.spec.name, logits)

    def _checked(self, label: NDArray[np.float32]) -> NDArray[np.float32]:
        if label.ndim != 2 or label.shape[1] != self.spec.n_classes:
            raise Invalid(
                f"{self.parts.path} gives logits of shape {label.shape}, its class list names {self.spec.n_classes:,} classes",
                kind="invalid_weights",
            )
        return label


def load_onnx(
    info: ModelInfo,
    *,
    weights: str,
    threads: int = 1,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
    whole_graph: bool = False,
) -> OnnxEmbedder:
    """Load a model from an ONNX file.

    Parameters
    ----------
    info : ModelInfo
        Its registry entry.
    weights : str
        An ``.onnx`` file with one input (windows, samples), or ``hf:OWNER/NAME/FILE.onnx``. Outputs are found by the names
        ``embedding`` and ``label``, else by their lengths; a file without classes gives a model without classes. The class list
        lies beside the file (``labels.csv``, ``classes.json``).
    threads : int
        Threads one call may use.
    engine : str, optional
        ``onnx`` (the default) or ``openvino``.
    precision : str
        What the network computes in; sound, spectrogram and results are float32 in any case.
    whole_graph : bool
        Run the file as it is, its own front end and the head included: what variants are compared with.

    Raises
    ------
    NotFound
        ``no_weights``: no file, or no class list.
    Invalid
        ``invalid_weights``: not this model, damaged, or not what was published under its name; or an engine that runs no ONNX.
    Unavailable
        ``engine_missing``: a library is not installed or cannot do that precision here; ``download_failed``.
    """
    engine = engine or ENGINES[0]
    if engine not in ENGINES:
        raise Invalid(f"{weights} is an ONNX file, which runs on {' and '.join(ENGINES)}, asked for {engine}")
    refused = refusal(engine, precision)
    if refused:
        raise Unavailable(f"{engine} cannot run {info.name} in {precision} here: {refused}", kind="engine_missing")
    file = find_onnx(weights)
    digest = file_sha256(file.path)
    identity = identify(file, digest)
    plan = plan_of(file.path, digest, info)
    front_end = own_front_end(plan) if whole_graph else find_front_end(file.path, digest, plan, engine)
    if plan.has_fourier and front_end.log_mel is None and engine == "openvino":
        raise Invalid(
            f"{file.path} holds a Fourier transform as one operation, which OpenVINO has not, and it cannot be taken out"
            f"{': ' + front_end.note if front_end.note else ''}; run it with --engine onnx, or take a file without it (no_dft)"
        )
    parts = OnnxParts(
        path=file.path,
        digest=digest,
        info=info,
        plan=plan,
        front_end=front_end,
        engine=engine,
        precision=precision,
        threads=threads,
        whole=whole_graph,
    )
    return _wrap(file, parts, identity)


def _wrap(file: OnnxFile, parts: OnnxParts, identity: str) -> OnnxEmbedder:
    """Find the class names, run the network once, and describe what was loaded."""
    info, plan, front_end = parts.info, parts.plan, parts.front_end
    classes, class_note = _classes(file, parts)
    dim, runtime, used = _first_run(parts)
    precision_note = "" if used == parts.precision else f"Asked for {parts.precision}, it computes in {used}."
    spec = ModelSpec(
        name=info.name,
        version=_VERSIONS.get(info.name, ""),
        weights_digest=parts.digest,
        sample_rate_hz=info.sample_rate_hz,
        window_samples=info.window_samples,
        dim=dim,
        n_classes=len(classes),
        classes_digest=classes_digest(classes),
        score_rule=SCORE_RULES[info.name],
        precision=used,
    )
    return OnnxEmbedder(
        spec=spec,
        classes=classes,
        batch_size=plan.rows or (BATCH_SIZE_CPU if runtime.device.startswith("CPU") else BATCH_SIZE_GPU),
        runtime=replace(runtime, engine=f"{runtime.engine}, log-mel by SciPy") if front_end.log_mel else runtime,
        note=" ".join(filter(None, (identity, class_note, front_end.note, precision_note))),
        parts=parts,
        normalise=info.name.startswith("perch"),
    )


def _first_run(parts: OnnxParts) -> tuple[int, Runtime, str]:
    """Run one silent window: the embedding's length, the engine, and the precision really used."""
    trunk = parts.open_trunk()
    silence = _silence(parts)
    embedding, _ = parts.run(silence, logits=False)
    if embedding.ndim != 2 or len(embedding) != len(silence):
        raise Invalid(
            f"{parts.path} answers an embedding of shape {embedding.shape} to {len(silence)} windows; "
            "it must have 2 axes (windows, values)",
            kind="invalid_weights",
        )
    return embedding.shape[1], trunk.runtime, trunk.precision


def _classes(file: OnnxFile, parts: OnnxParts) -> tuple[tuple[str, ...], str]:
    """Return the class names and what is to be said of them; where the graph does not tell how many there are, it is run."""
    if not parts.plan.label:
        return (), "It has no classes."
    n_classes = parts.plan.n_classes
    if not n_classes:
        _, label = parts.run(_silence(parts), logits=True)
        n_classes = 0 if label is None else label.shape[-1]
    return find_classes(file, parts.info, n_classes)


def _silence(parts: OnnxParts) -> NDArray[np.float32]:
    return np.zeros((parts.plan.rows or 1, parts.info.window_samples), dtype=np.float32)
