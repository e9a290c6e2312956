"""Array checks and arithmetic that all models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sonotheque.core.model_spec import ModelSpec


def check_frames(frames: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float32]:
    """Return ``frames`` as a C-ordered array if a model can take them.

    Parameters
    ----------
    frames : NDArray[np.float32]
        What a caller passed to ``embed``.
    spec : ModelSpec
        The model's own width.

    Returns
    -------
    NDArray[np.float32]
        float32 (n, window_samples); the input itself where it is already in C order.

    Raises
    ------
    Invalid
        For another number of axes, width or dtype (both values are named), or for NaN or infinity: one such sample
        would make a vector that poisons every search it takes part in.
    """
    if frames.ndim != 2:
        raise Invalid(
            f"{spec.name} takes frames with 2 axes (windows, samples), got {frames.ndim} with shape {frames.shape}; "
            "pass frames[None, :] for one window"
        )
    if frames.shape[1] != spec.window_samples:
        raise Invalid(
            f"{spec.name} takes windows of {spec.window_samples} samples "
            f"({spec.window_s:g} s at {spec.sample_rate_hz} Hz), got {frames.shape[1]}; resample and frame the "
            "sound for this model"
        )
    if frames.dtype != np.float32:
        raise Invalid(f"{spec.name} takes float32 frames, got {frames.dtype}; full scale is 1.0")
    finite = np.isfinite(frames).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise Invalid(f"window {row} of {len(frames)} holds NaN or infinity; {spec.name} takes finite samples only")
    return np.ascontiguousarray(frames)


def batches(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield half-open row ranges of at most ``size`` rows that cover ``n`` rows in order."""
    for start in range(0, n, size):
        yield start, min(start + size, n)


def sigmoid(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)) as float32, same shape, without overflow at either end.

    Parameters
    ----------
    values : NDArray[np.floating]
        Any shape. Computed in float64, so that scores stay monotone in the logits.
    """
    wide = np.asarray(values, dtype=np.float64)
    small = np.exp(-np.abs(wide))  # in (0, 1] whatever the sign, hence no overflow
    return np.where(wide >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)
