"""Where to cut an ONNX graph: found by looking at it, and not at who wrote it.

Three pieces are looked for: the front end (sound to spectrogram), the trunk (to the embedding) and the head (to the logits), which
in Perch 2 is most of the arithmetic and of the file. Only the nodes and the shapes are read here; no weight is looked at.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from embedder.engines.kept_files import kept, kept_name, made
from embedder.engines.onnx_graph import taken
from embedder.models.onnx_walk import Walk
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

    from embedder.models.base import ModelInfo

PLAN_VERSION = 2  # of what is kept about a file: raised when plans are made differently
EMBEDDING, LABEL = "embedding", "label"
_FRAMES, _MELS = 500, 128  # of Perch 2's spectrogram
_SPECTROGRAMS = ((_FRAMES, _MELS), (_FRAMES, _MELS, 1), (1, _FRAMES, _MELS))
_FOURIER = ("DFT", "STFT")
_PASSED_ON = ("Identity", "Cast", "Reshape", "Squeeze", "Flatten")  # give the numbers that they take


@dataclass(frozen=True, slots=True)
class OnnxPlan:
    """What to cut out of a file.

    Attributes
    ----------
    input : str
        The tensor that takes the sound, float32 (n, window_samples).
    outputs : tuple of str
        What the file itself gives.
    rows : int
        Windows a call must have; 0 if any number will do.
    embedding : str
        The tensor (n, dim).
    label : str
        The tensor (n, n_classes) of raw logits; empty for a file without classes.
    n_classes : int
        0 where there are none, or the graph does not say.
    head_inputs : tuple of str
        What of the trunk the logits are made from.
    spectrograms : tuple of (str, shape)
        Tensors of a spectrogram's shape without the rows, in order, any of which can take the sound's place.
    expects_spectrogram : bool
        Whether the model is one whose spectrogram is known.
    has_fourier : bool
        Whether the front end holds a Fourier transform as one operation, which OpenVINO has not.
    """

    input: str
    outputs: tuple[str, ...]
    rows: int
    embedding: str
    label: str
    n_classes: int
    head_inputs: tuple[str, ...]
    spectrograms: tuple[tuple[str, tuple[int, ...]], ...]
    expects_spectrogram: bool
    has_fourier: bool

    def to_json(self) -> str:
        """Return it as JSON text, with the version of the rules."""
        return json.dumps({"version": PLAN_VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> OnnxPlan | None:
        """Return the plan, or None if the text is not one of these rules' (cut short, or older)."""
        try:
            value = json.loads(text)
            if value.pop("version") != PLAN_VERSION:
                return None
            value["head_inputs"], value["outputs"] = tuple(value["head_inputs"]), tuple(value["outputs"])
            value["spectrograms"] = tuple((name, tuple(shape)) for name, shape in value["spectrograms"])
            return cls(**value)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def plan_of(path: Path, digest: str, info: ModelInfo) -> OnnxPlan:
    """Return :func:`make_plan`'s answer, kept on this machine: only the first worker reads the 400 MB."""
    name = kept_name(digest, ".plan.json", PLAN_VERSION, info.name)
    file = kept(name, lambda target: _write(target, make_plan(path, info)))
    try:
        found = OnnxPlan.from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        found = plan = make_plan(path, info)
        with contextlib.suppress(OSError):  # what cannot be written is made again by the next
            made(file, lambda target: _write(target, plan))
    return found


def _write(target: Path, plan: OnnxPlan) -> None:
    target.write_text(plan.to_json(), encoding="utf-8")


def make_plan(path: Path, info: ModelInfo) -> OnnxPlan:
    """Read a file's graph and find the cuts.

    Parameters
    ----------
    path : Path
    info : ModelInfo
        The model it is to be: its window, and the lengths to look for where names do not say.

    Raises
    ------
    Invalid
        ``invalid_weights``: not an ONNX file, or not of this model's inputs and outputs.
    NotFound, Unavailable
        As of :func:`embedder.engines.onnx_graph.read_graph`.
    """
    walk = Walk.read(path)
    source = _input(walk, info, path)
    live = walk.live(source)
    label = _logits(walk, info, live, path)
    embedding = _embedding(walk, info, label, live, path)
    head_inputs = _head_inputs(walk, embedding, label, live) if label else ()
    wanted = tuple(dict.fromkeys([embedding, *head_inputs]))
    known = info.name == "perch_v2"
    return OnnxPlan(
        input=source,
        outputs=tuple(walk.outputs),
        rows=walk.shape(source)[0] or 0,
        embedding=embedding,
        label=label,
        n_classes=(walk.shape(label) or (0,))[-1] or 0,
        head_inputs=head_inputs,
        spectrograms=_spectrograms(walk, source, wanted, live) if known else (),
        expects_spectrogram=known,
        has_fourier=any(walk.nodes[i].op_type in _FOURIER for i in walk.needed(wanted)),
    )


def _input(walk: Walk, info: ModelInfo, path: Path) -> str:
    """Return the input, whatever its name; it must take windows of this model's length."""
    if len(walk.inputs) == 1:
        shape = walk.shape(walk.inputs[0])
        if len(shape) == 2 and shape[1] in (None, info.window_samples):
            return walk.inputs[0]
    raise Invalid(
        f"{path} takes {walk.text(walk.inputs)}; {info.name} takes one input (windows, {info.window_samples} samples)",
        kind="invalid_weights",
    )


def _logits(walk: Walk, info: ModelInfo, live: set[str], path: Path) -> str:
    """Return the tensor of the raw logits, or an empty name."""
    outputs = walk.outputs
    found = [LABEL] if LABEL in outputs else walk.of_length(outputs, info.n_classes)
    if not found:
        # Other classes than the published ones: the one matrix that is not the embedding, where there is an embedding too.
        matrices = [name for name in outputs if len(walk.shape(name)) == 2]
        others = [name for name in matrices if name != EMBEDDING and walk.shape(name)[1] != info.dim]
        alone = len(matrices) == 1 and not _inner(walk, others, info, live)
        found = others if len(others) == 1 and len(matrices) <= 2 and not alone else []
    return _before_sigmoid(walk, found[0], path) if found else ""


def _before_sigmoid(walk: Walk, output: str, path: Path) -> str:
    """Return what an output was before its last sigmoid, itself if it has none: logits are what is stored, and not scores."""
    made = walk.made_by(output)
    direct = True
    while made is not None and made.op_type in _PASSED_ON and made.input:
        direct = direct and made.op_type in ("Identity", "Cast")
        made = walk.made_by(made.input[0])
    if made is None or made.op_type not in ("Sigmoid", "Softmax"):
        return output
    before, shape = str(made.input[0]), walk.shape(output)
    same = (
        len(shape) == 2 and shape[1] is not None and len(walk.shape(before)) == 2 and walk.shape(before)[1] == shape[1]
    )
    if made.op_type == "Softmax" or not (direct or same):
        raise Invalid(
            f"{path} gives probabilities, logits are needed: {walk.text([output])} comes of the {made.op_type} of "
            f"{walk.text([before])}; export it without that last step",
            kind="invalid_weights",
        )
    return before


def _inner(walk: Walk, outputs: list[str], info: ModelInfo, live: set[str]) -> list[str]:
    """Return the inner matrices of the embedding's length that outputs are made from, in order."""
    names = [name for i in sorted(walk.needed(outputs)) for name in walk.nodes[i].output if name in live]
    return [name for name in walk.of_length(names, info.dim) if name not in outputs]


def _embedding(walk: Walk, info: ModelInfo, label: str, live: set[str], path: Path) -> str:
    """Return the tensor of the embedding: an output, or the last inner one of its length that the logits hang on."""
    outputs = [name for name in walk.outputs if name in live and name != label]
    if EMBEDDING in outputs:
        return EMBEDDING
    fits = walk.of_length(outputs, info.dim)
    if not fits and not label:
        fits = [name for name in outputs if len(walk.shape(name)) == 2]  # of another length than the published one
    if len(fits) == 1:
        return fits[0]
    fits = _inner(walk, [label], info, live) if label else []
    if fits:
        return fits[-1]
    raise Invalid(
        f"{path} gives {walk.text(walk.outputs)}: none is named {EMBEDDING}, and no tensor has {info.dim} numbers a window, as "
        f"{info.name}'s embedding has",
        kind="invalid_weights",
    )


def _head_inputs(walk: Walk, embedding: str, label: str, live: set[str]) -> tuple[str, ...]:
    """Return the tensors of the trunk that the logits are made from; the logits themselves if they lie in the trunk."""
    trunk = walk.needed([embedding])
    given = {name for i in trunk for name in walk.nodes[i].output} & live
    head = sorted(walk.needed([label]) - trunk)
    return tuple(dict.fromkeys(name for i in head for name in taken(walk.nodes[i]) if name in given)) or (label,)


def _spectrograms(
    walk: Walk, source: str, wanted: tuple[str, ...], live: set[str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the tensors of a spectrogram's shape behind which nothing that is wanted depends on the sound itself."""
    found = []
    for i in sorted(walk.needed(wanted)):
        for name in walk.nodes[i].output:
            lengths = tuple(n or 0 for n in walk.shape(name)[1:])
            if name in live and lengths in _SPECTROGRAMS and _replaces(walk, name, source, wanted):
                found.append((name, lengths))
    return tuple(found)


def _replaces(walk: Walk, name: str, source: str, wanted: tuple[str, ...]) -> bool:
    left = walk.needed(wanted, instead=name)
    return name not in wanted and all(source not in taken(walk.nodes[i]) for i in left)
