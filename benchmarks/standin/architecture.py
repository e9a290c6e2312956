"""Perch 2's network, written once: log-mel, EfficientNet-B3, and a head of four prototypes a class.

Source: google-research/perch, ``chirp/models/perch_2.py`` and ``heads.py``, with the measured corrections: a stem without
padding, and the front end's floor and padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarks.standin.ops import Ops

HOP, FFT, BINS, MELS = 320, 1024, 513, 128
SE_RATIO = 0.25
OUTPUTS = ("embedding", "spatial_embedding", "spectrogram", "label")


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one kind, as in EfficientNet-B0: before width and depth are scaled."""

    kernel: int
    stride: int
    expand: int
    filters: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes. Tests build a narrow and shallow one; the input and the grid of cells are the same."""

    width: float = 1.2
    depth: float = 1.4
    classes: int = 14_795
    prototypes: int = 4
    frames: int = 500
    cells: int = 16 * 4

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return self.frames * HOP

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.filters(1280)

    def filters(self, base: int) -> int:
        """Scale a number of filters to a multiple of 8, never more than a tenth below."""
        wanted = base * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def repeats(self, base: int) -> int:
        """Scale a number of blocks."""
        return math.ceil(base * self.depth)


PERCH_2 = Architecture()


def network(ops: Ops, inputs: Any, arch: Architecture, *, label: bool = True) -> dict[str, Any]:
    """Run the network on float32 [n, samples].

    Parameters
    ----------
    ops : Ops
    inputs : Any
        Of the backend's own kind.
    arch : Architecture
    label : bool
        With the head, and the outputs that the embedding alone has no use for.

    Returns
    -------
    dict
        ``embedding``, and with ``label`` all of ``OUTPUTS``.
    """
    spectrogram = _log_mel(ops, inputs, arch)
    image = _backbone(ops, ops.image(spectrogram), arch)
    embedding = ops.mean(image, keep=False)
    if not label:
        return {"embedding": embedding}
    spatial = ops.channels_last(image)
    return {
        "embedding": embedding,
        "spatial_embedding": spatial,
        "spectrogram": spectrogram,
        "label": _head(ops, spatial, arch),
    }


def _log_mel(ops: Ops, inputs: Any, arch: Architecture) -> Any:
    magnitude = ops.magnitude(ops.frames(inputs, arch.frames, HOP))
    return ops.log(ops.matmul(magnitude, "frontend/mel", MELS), 1e-5, 0.1)


def _backbone(ops: Ops, x: Any, arch: Architecture) -> Any:
    filters_in = arch.filters(32)
    x = ops.swish(ops.conv(x, "stem", filters_in, 3, 2, same=False))
    for s, stage in enumerate(STAGES, 1):
        filters = arch.filters(stage.filters)
        for r in range(arch.repeats(stage.repeats)):
            x = _block(
                ops, x, f"block{s}{chr(ord('a') + r)}", stage, filters_in, filters, stage.stride if r == 0 else 1
            )
            filters_in = filters
    return ops.swish(ops.conv(x, "top", arch.dim))


def _block(ops: Ops, x: Any, name: str, stage: Stage, filters_in: int, filters: int, stride: int) -> Any:
    """Expand, convolve each channel, gate the channels (squeeze and excite), project; add what came in if it fits."""
    wide = filters_in * stage.expand
    y = ops.swish(ops.conv(x, f"{name}/expand", wide)) if stage.expand > 1 else x
    y = ops.swish(ops.depthwise(y, f"{name}/depthwise", stage.kernel, stride))
    gate = ops.conv(ops.mean(y, keep=True), f"{name}/squeeze", max(1, int(filters_in * SE_RATIO)))
    gate = ops.conv(ops.swish(gate), f"{name}/excite", wide)
    y = ops.multiply(y, ops.sigmoid(gate))
    if stride == 1 and filters == filters_in:
        return ops.add(ops.conv(y, f"{name}/refine", filters), x)
    return ops.conv(y, f"{name}/project", filters)


def _head(ops: Ops, spatial: Any, arch: Architecture) -> Any:
    """Return the logits: each prototype's best cosine among the cells, weighed and summed a class."""
    columns = arch.classes * arch.prototypes
    cosines = ops.matmul(ops.unit_cells(spatial), "head/prototypes", columns)
    return ops.class_sums(ops.best_cell(cosines, arch.cells), "head", arch.classes)
