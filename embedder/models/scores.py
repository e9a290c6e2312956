"""How scores in [0, 1] follow from a model's raw logits; the raw logits are what is returned and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.models.arrays import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Perch 2's logits are scaled to be used with a sigmoid: slope and intercept from perch-hoplite (``logit_slope``,
# ``logit_intercept``).
V2_SLOPE, V2_INTERCEPT = 0.97, -10.0
LOGIT_CLIP = 15.0  # of BirdNET, as in the birdnet package: sigmoid(15) is 1 - 3e-7, so nothing is lost
SCORE_RULES = {
    "perch_v2": "sigmoid(0.97*logit - 10), perch-hoplite",
    "perch_v1": "sigmoid(logit)",
    "birdnet_v2.4": "sigmoid(logit), slope 1.0 (birdnet dialect)",
}


def scores_of(name: str, logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the scores of a model's logits by its rule in ``SCORE_RULES``.

    Parameters
    ----------
    name : str
        Registry name.
    logits : NDArray[np.floating]
        Any shape.
    """
    if name == "perch_v2":
        return sigmoid(V2_SLOPE * np.asarray(logits, dtype=np.float64) + V2_INTERCEPT)
    return sigmoid(np.clip(logits, -LOGIT_CLIP, LOGIT_CLIP) if name.startswith("birdnet") else logits)
