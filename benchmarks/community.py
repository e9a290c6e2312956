"""The classes of the synthetic store: a long-tailed community with its hours, and the ten best of any window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store import TopClasses

TOP_K = 10
CHIFFCHAFF, OWL = "Phylloscopus collybita", "Strix aluco"
# The commonest classes, with when they call; the tail is made up.
KNOWN = (
    ("Turdus merula", "dawn"),
    ("Erithacus rubecula", "dawn"),
    (CHIFFCHAFF, "day"),
    ("Fringilla coelebs", "day"),
    ("Parus major", "day"),
    (OWL, "night"),
    ("Sylvia atricapilla", "day"),
    ("Cuculus canorus", "dawn"),
    ("Asio otus", "night"),
    ("Rain", "any"),
)
_ACTIVE = {"day": range(5, 21), "dawn": range(3, 9), "night": (20, 21, 22, 23, 0, 1, 2, 3), "any": range(24)}
QUIET = 0.02  # what is left of a class's weight at other hours
CLASSES = 600  # classes


@dataclass(frozen=True, slots=True)
class Community:
    """The classes, and how likely each is by hour.

    Attributes
    ----------
    labels : tuple of str, (classes,)
    log_weights : float32, (24, classes)
    """

    labels: tuple[str, ...]
    log_weights: NDArray[np.float32]

    @classmethod
    def of(cls, seed: int) -> Community:
        """Return the community of a seed: weights fall as 1 / (rank + 5)."""
        rng = np.random.default_rng([seed, 0])
        kinds = [kind for _, kind in KNOWN] + list(rng.choice(list(_ACTIVE), CLASSES - len(KNOWN)))
        labels = [name for name, _ in KNOWN] + [f"Avis ficta{i:03d}" for i in range(len(KNOWN), CLASSES)]
        weights = np.full((24, CLASSES), QUIET)
        for i, kind in enumerate(kinds):
            weights[list(_ACTIVE[str(kind)]), i] = 1.0
        weights /= np.arange(CLASSES) + 6.0
        return cls(tuple(labels), np.log(weights).astype(np.float32))

    def top(self, hours: NDArray[np.int64], liking: NDArray[np.float32], rng: np.random.Generator) -> TopClasses:
        """Draw the best classes of windows: Gumbel noise on the logarithms of weights is a draw without replacement.

        Parameters
        ----------
        hours : int64, (n,)
            Of the day.
        liking : float32, (classes,)
            Added to the logarithms: what the site is like.
        """
        noise = -np.log(rng.standard_exponential((len(hours), len(self.labels)), np.float32) + np.float32(1e-20))
        logits = self.log_weights[hours] + liking + noise - np.float32(1.5)
        index = np.argpartition(-logits, TOP_K, axis=1)[:, :TOP_K]
        chosen = np.take_along_axis(logits, index, axis=1)
        order = np.lexsort((index, -chosen))  # equal logits by class number, as the format asks
        index = np.take_along_axis(index, order, axis=1)
        logit = np.take_along_axis(chosen, order, axis=1)
        return TopClasses(index.astype(np.int32), logit, (1 / (1 + np.exp(-logit))).astype(np.float32))

    def likings(self, seed: int, site: int) -> NDArray[np.float32]:
        """Return what a site is like, float32 (classes,): to be added to the logarithms of weights."""
        return np.random.default_rng([seed, 3, site]).normal(0, 0.8, len(self.labels)).astype(np.float32)
