"""What Perch's own tools do to each window before the model sees it.

Source: perch-hoplite, ``zoo/zoo_interface.py``, ``normalize_audio`` with ``target_peak = 0.25``; the same for Perch 1
and 2. Level matters to these models: without the normalisation, quieter copies of a sound drift away from it
(cosine 0.982 at a tenth of the peak, in a third-party port).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET_PEAK = 0.25


def peak_normalise(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract each window's mean, divide by its peak, multiply by 0.25.

    Parameters
    ----------
    frames : NDArray[np.float32]
        float32 (n, samples), finite. Not modified.

    Returns
    -------
    NDArray[np.float32]
        float32 (n, samples), fresh; every window's peak is 0.25, except that a silent or constant window is all
        zeros: its peak is 0 and never divided by.
    """
    # The mean in float64: a float32 mean of a constant window is off by rounding, and dividing by the tiny rest would
    # turn an offset into full-scale noise. In float64 the mean of equal samples rounds back to that sample exactly.
    mean = frames.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    centred: NDArray[np.float32] = frames - mean
    peak = np.abs(centred).max(axis=1, keepdims=True, initial=np.float32(0))
    # Divide and not multiply by 1/peak: the reciprocal of a subnormal peak is infinite, the quotient is not.
    np.divide(centred, peak, out=centred, where=peak > 0)
    centred *= np.float32(TARGET_PEAK)
    return centred
