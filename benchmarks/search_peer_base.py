"""What a peer is: filled, opened and asked through its public API, in its own default settings where it has some.

Imported in the peers' environment, where nothing of this program is installed but NumPy: see ``requirements/peers.txt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_layout import Choice, Layout
from benchmarks.search_measure import K, Rows

Vector = NDArray[np.float32]
Ask = Callable[[Vector], Any]
BATCH = 10_000


class Peer(ABC):
    """One peer, over the vectors of a folder.

    Attributes
    ----------
    name : str
    packages : tuple of str
        Whose versions are told.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, data: Path, vectors: NDArray[np.float16], layout: Layout, *, one_thread: bool) -> None:
        self.data, self.vectors, self.layout = data, vectors, layout
        self.threads = 1 if one_thread else 0

    @abstractmethod
    def build(self) -> None:
        """Fill it from nothing and write it to disk."""

    @abstractmethod
    def open(self) -> None:
        """Open what was written."""

    @abstractmethod
    def settings(self) -> dict[str, Ask]:
        """Return what asks a query without a filter, by the setting's name."""

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        """Return what asks a query with a filter, by the way it is done; empty if it has none."""
        return {}

    def rows(self, answer: Any) -> Rows:
        """Return the rows of what was answered."""
        return np.asarray(answer, np.int64)


def best(scores: Vector) -> Rows:
    """Return the places of the ``K`` highest scores, the highest first."""
    k = min(K, len(scores))
    top = np.argpartition(-scores, k - 1)[:k]
    return top[np.argsort(-scores[top])]
