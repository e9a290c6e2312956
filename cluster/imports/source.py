"""What an import reads from: one small protocol, and the records that go with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cluster.imports.index import WindowIndex
    from sonotheque.core.model_spec import ModelSpec

Progress = Callable[[str, float, float], None]  # phase, done, of
UNKNOWN_DIGEST = "unknown"  # of weights and class lists that the source does not give


@dataclass(frozen=True, slots=True)
class Settings:
    """What a source's vectors are, known once it was read.

    Attributes
    ----------
    spec : ModelSpec
    hop_s : float or None
        Seconds between window starts; None: the window, no overlap.
    rate_factor : float
    decode : dict
        As in ``sonotheque.json``.
    top_k : int
        Predictions a window at most; 0 for none.
    """

    spec: ModelSpec
    hop_s: float | None
    decode: dict[str, Any]
    top_k: int
    rate_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Note:
    """What a source itself says of a recording; empty or None where it says nothing."""

    site: str = ""
    deployment: str | None = None
    start: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Guesses:
    """The model's own classes for n windows, best first.

    Attributes
    ----------
    names : list of str
        Distinct class names.
    index : int32, (n, k)
        Into ``names``; -1 where there is no guess, and none after it.
    logit, score : float32, (n, k)
    """

    names: list[str]
    index: NDArray[np.int32]
    logit: NDArray[np.float32]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SourceAnnotation:
    """A judgement in a source: the key of its recording, and what it says."""

    key: int
    start_s: float
    end_s: float
    label: str
    judgement: str
    provenance: str


@dataclass(slots=True)
class Found:
    """What reading a source found, besides its rows.

    Attributes
    ----------
    rows : int
        Rows of windows read.
    counts : Counter
        Rows and windows left out, by why.
    damaged : dict
        File (or row) that cannot be read -> why.
    notes : list of str
        What a person should know.
    bytes : Counter
        Size of the source's files, by what they hold.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bytes: Counter[str] = field(default_factory=Counter)


class Source(Protocol):
    """A folder or database of another program.

    Making one looks no further than whether it is there. :meth:`fill` reads everything but the vectors.
    """

    kind: str
    path: str
    found: Found
    ends_known: bool  # whether its rows say where a recording's sound ends

    def fill(self, index: WindowIndex, progress: Progress) -> None:
        """Check every file and put the place of every window into the index."""

    def settings(self) -> Settings:
        """Return what the vectors are; after :meth:`fill`.

        Raises
        ------
        Invalid
            If the vectors cannot be of the model.
        """

    def root(self) -> str:
        """Return what stored paths leave out; after :meth:`fill`."""

    def vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at n places, float32 (n, dim), in the order asked for.

        Raises
        ------
        Damaged
            If a file cannot be read.
        """

    def guesses(self, places: NDArray[np.int64]) -> Guesses | None:
        """Return the predictions at n places; None if the source has none at all."""

    def annotations(self) -> Iterator[SourceAnnotation]:
        """Yield the judgements, those of one recording together."""

    def close(self) -> None:
        """Let go of files."""
