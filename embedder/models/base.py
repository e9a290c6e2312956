"""The one protocol every model stands behind, and the records that go with it.

Nothing here imports NumPy or an engine at run time: listing the models has to be instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from embedder.engines.base import Runtime, how_to_install

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonotheque.core.model_spec import ModelSpec

__all__ = ["Embedded", "Embedder", "ModelInfo", "Runtime", "WeightsStatus", "how_to_install"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a model says of n windows. The arrays are fresh: no engine will write into them again.

    Attributes
    ----------
    embeddings : NDArray[np.float32]
        float32 (n, dim), as the model gives them: not L2-normalised.
    logits : NDArray[np.float32] or None
        float32 (n, n_classes), raw; None if they were not asked for or the model has no classes.
    """

    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model before anything is loaded.

    Attributes
    ----------
    name : str
        Registry name, as in ``--model``.
    title : str
        Name for people.
    sample_rate_hz : int
        Rate of the sound the model wants.
    window_s : float
        Length of one window in seconds at that rate.
    dim, n_classes : int
        Length of an embedding and of the logits, as published.
    licence, licence_url : str
        Licence of the weights, which is not always that of the code that runs them.
    needs_extra : str
        Optional extra of this package that brings the engine (``perch``); empty if none is needed.
    home : str
        Page of the publisher.
    note : str
        What a user should know before choosing it.
    """

    name: str
    title: str
    sample_rate_hz: int
    window_s: float
    dim: int
    n_classes: int
    licence: str
    licence_url: str
    needs_extra: str
    home: str
    note: str

    @property
    def window_samples(self) -> int:
        """Length of one window in samples."""
        return round(self.window_s * self.sample_rate_hz)


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """Whether a model's weights are on this machine.

    Attributes
    ----------
    present : bool
        True if loading needs no download and no file is missing.
    where : str
        Path of the weights; if absent, where they would come from.
    detail : str
        One sentence for people.
    """

    present: bool
    where: str
    detail: str


class Embedder(Protocol):
    """A loaded model.

    One embedder belongs to one thread: the engines keep state between calls. It may depend on nothing but the window:
    a window's result is the same in any batch and in any order (within the tolerance its tests name).

    Attributes
    ----------
    spec : ModelSpec
        Exactly which model this is.
    classes : tuple of str
        Class names in logit order; as many as ``spec.n_classes``.
    batch_size : int
        Windows that are worth passing at once; any number is accepted.
    runtime : Runtime
        Engine and device in use.
    note : str
        Something the user should be told (unknown weights file, say); empty if there is nothing.
    """

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows.

        Parameters
        ----------
        frames : NDArray[np.float32]
            float32 (n, window_samples), n >= 0, at the model's rate, full scale 1.0; finite. Not modified.
        logits : bool
            Whether to return the logits too.

        Returns
        -------
        Embedded
            Fresh arrays, finite for digital silence too.

        Raises
        ------
        Invalid
            If ``frames`` has another width, dtype or number of axes, or holds NaN or infinity.
        """
        ...

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn logits into scores in [0, 1] by the rule named in ``spec.score_rule``; same shape, float32."""
        ...
