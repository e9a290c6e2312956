"""BirdNET V2.4: embeddings and logits, through LiteRT or OpenVINO, without TensorFlow.

Two thirds of the time of the published file go into its Fourier transform, and that one operator keeps other engines
from taking the file at all. So it is cut in three: the sound's two spectrograms are made in NumPy, the backbone gives
the embedding, and the last layer, which holds half of the weights, runs only where logits are asked for. A file that
is laid out otherwise runs whole, as does any with ``whole_graph=True``, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.engines import open_network
from embedder.models.arrays import batches, check_frames
from embedder.models.base import Embedded
from embedder.models.birdnet_graph import UnknownLayout, graft, graft_output, import_schema, read_graph, shape_of
from embedder.models.birdnet_parts import LITERT, LazyHead, check_engine, split
from embedder.models.birdnet_weights import LICENCE_NOTICE, find_weights, is_known, read_labels, unknown_note
from embedder.models.scores import SCORE_RULES, scores_of
from sonotheque.core.errors import Invalid
from sonotheque.core.ids import file_sha256
from sonotheque.core.model_spec import FULL_PRECISION, ModelSpec, classes_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.engines import Network
    from embedder.frontends import BirdnetSpectrograms
    from embedder.models.base import ModelInfo, Runtime
    from embedder.models.birdnet_graph import TfliteGraph
    from embedder.models.birdnet_parts import Parts
    from embedder.models.birdnet_weights import BirdnetFiles

__all__ = ["LICENCE_NOTICE", "BirdnetEmbedder", "graft_output", "load_birdnet"]

# Measured on one core (CPU time, ms a window at 1, 4, 8, 16; embeddings alone): LiteRT 12.0, 11.1, 11.6, 12.3; OpenVINO
# fp32 12.8, 11.7, 12.1, 12.8; bf16 9.7, 8.2, 7.8, 8.6. Logits add less than 1 from 4 on. Whole, LiteRT takes 31 to 33.
BATCH_SIZE = 4


@dataclass(slots=True)
class BirdnetEmbedder:
    """BirdNET V2.4 in the parts it was cut into.

    Attributes
    ----------
    front_end : BirdnetSpectrograms or None
        Makes the spectrograms that ``backbone`` takes; None if ``backbone`` is the whole network and takes sound.
    backbone : Network
        Gives the embedding, and after it the logits if it is the whole network.
    head : LazyHead or None
        Turns embeddings into logits; None with the whole network.
    """

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str
    front_end: BirdnetSpectrograms | None
    backbone: Network
    head: LazyHead | None

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows; see :class:`embedder.models.base.Embedder`.

        Each window is normalised for itself, so gain and offset do not matter. A short last batch is run at its own
        size; the results are the same to the bit.
        """
        frames = check_frames(frames, self.spec)
        embeddings = np.empty((len(frames), self.spec.dim), dtype=np.float32)
        out = np.empty((len(frames), self.spec.n_classes), dtype=np.float32) if logits else None
        for start, stop in batches(len(frames), self.batch_size):
            given = frames[start:stop]
            found = self.backbone.run(given if self.front_end is None else self.front_end(given))
            # Assigning copies, so no result is a view of an engine's own buffer.
            embeddings[start:stop] = found[0]
            if out is not None:
                out[start:stop] = found[1] if self.head is None else self.head.run(embeddings[start:stop])
        return Embedded(embeddings, out)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return 1 / (1 + exp(-clip(logit, -15, 15))): the birdnet dialect at sensitivity 1.0.

        Three dialects of "sensitivity" s are in use, and they agree only at 1.0: birdnet and birdnetlib use it as the
        slope, ``sigmoid(s * logit)``; BirdNET-Pi flips it, slope ``2 - s``; BirdNET-Analyzer 2 and later shifts,
        ``sigmoid(logit + 10 * (s - 1))``, clipped at 20. The logits are stored, so any of them can be had later.
        """
        return scores_of(self.spec.name, logits)

    @property
    def interpreter(self) -> Any:
        """LiteRT's interpreter of the last layer, for a look at its tensors, which have the published file's numbers.

        Only where the engine is LiteRT.
        """
        network: Any = self.backbone if self.head is None else self.head.open()
        return network.interpreter


def load_birdnet(
    info: ModelInfo,
    *,
    weights: str | None = None,
    threads: int = 1,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
    whole_graph: bool = False,
) -> BirdnetEmbedder:
    """Load BirdNET V2.4 from its ``.tflite`` file.

    Parameters
    ----------
    info : ModelInfo
        Its registry entry.
    weights : str, optional
        As for :func:`embedder.models.birdnet_weights.find_weights`.
    threads : int
        Threads of the engine; a second one was measured to buy nothing. The front end has one.
    engine : str, optional
        ``"litert"`` (the default) or ``"openvino"``.
    precision : str
        Of the backbone: ``"fp32"``; in OpenVINO also ``"bf16"`` and ``"fp16"``, where the processor has them.
    whole_graph : bool
        Run the published network as it is, its own front end included: the reference for the parts. LiteRT only.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: ai-edge-litert, which reads the file, or the engine is not installed, or this machine
        cannot compute in that precision.
    NotFound
        Kind ``no_weights``.
    Invalid
        An engine or precision that does not run this file. Kind ``invalid_weights``: not a LiteRT file, not this
        network, or labels that do not fit it.
    """
    engine = check_engine(engine, precision, whole_graph=whole_graph)
    schema = import_schema()
    files = find_weights(weights)
    classes = read_labels(files.labels)
    model_sha256 = file_sha256(files.model)
    graph = read_graph(files.model, schema)
    _check_labels(classes, graph, files)
    notes = [unknown_note(model_sha256, file_sha256(files.labels))]
    try:
        parts = None if whole_graph else _split(graph, info, engine, notes, known=is_known(model_sha256))
        content = parts.backbone if parts else graft(graph)
        network = open_network(engine, content, precision=precision, threads=threads)
    except Invalid as error:
        # The engines are given bytes, and cannot say whose.
        raise Invalid(f"{files.model}: {error.message}", kind="invalid_weights") from error
    return BirdnetEmbedder(
        spec=_spec(info, graph, model_sha256, classes, network.precision),
        classes=classes,
        batch_size=BATCH_SIZE,
        runtime=network.runtime,
        note=" ".join(filter(None, notes)),
        front_end=parts.front_end if parts else None,
        backbone=network,
        head=LazyHead(engine, parts.head, threads) if parts else None,
    )


def _check_labels(classes: tuple[str, ...], graph: TfliteGraph, files: BirdnetFiles) -> None:
    n_classes = shape_of(graph.subgraph.tensors[graph.logits])[-1]
    if len(classes) != n_classes:
        raise Invalid(
            f"{files.labels} names {len(classes)} classes, {files.model.name} has {n_classes} logits; "
            "the labels must be those of this model",
            kind="invalid_weights",
        )


def _spec(
    info: ModelInfo, graph: TfliteGraph, model_sha256: str, classes: tuple[str, ...], precision: str
) -> ModelSpec:
    return ModelSpec(
        name=info.name,
        version="2.4",
        weights_digest=model_sha256,
        sample_rate_hz=info.sample_rate_hz,
        window_samples=info.window_samples,
        dim=shape_of(graph.subgraph.tensors[graph.embedding])[-1],
        n_classes=len(classes),
        classes_digest=classes_digest(classes),
        score_rule=SCORE_RULES[info.name],
        precision=precision,
    )


def _split(graph: TfliteGraph, info: ModelInfo, engine: str, notes: list[str], *, known: bool) -> Parts | None:
    """Return the parts of a network; None, with a note, if it cannot be cut and LiteRT can run it whole."""
    try:
        return split(graph, info.window_samples, verify=not known)
    except UnknownLayout as why:
        if engine != LITERT:
            raise Invalid(
                f"its front end cannot be taken out ({why.message}), and {engine} cannot run it; use --engine {LITERT}"
            ) from why
        notes.append(f"The network runs whole, which is slower: its front end could not be taken out ({why.message}).")
        return None


def _is_readable(interpreter: Any, tensor: int) -> bool:
    """Tell whether an inner tensor has data after a run; the XNNPACK kernels leave none behind."""
    try:
        interpreter.get_tensor(tensor)
    except ValueError:
        return False
    return True
