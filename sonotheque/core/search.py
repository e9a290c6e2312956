"""What a search is asked and what it answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.model_spec import ModelSpec

COMBINE: Final = ("best", "mean")
GROUPS: Final = ("recording", "site", "day")
K_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class SearchQuery:
    """One search.

    Attributes
    ----------
    vectors : float32, (m, dim)
        One for each window of the query; need not be normalised.
    k : int
        Hits wanted; 0 is allowed and finds none.
    where : SearchFilter or None
        Applied inside the search: fewer than ``k`` hits come back only if no more windows match.
    combine : str
        Of several query windows, what a hit's score is: ``best`` or ``mean`` of its cosines.
    without : tuple of int
        Recordings to leave out, by id, inside the search.
    best_per : str or None
        At most one hit, the best, of each ``recording``, ``site`` or ``day`` (a site's local date).
    distinct : float or None
        Leave out a hit whose cosine with a better hit is at least this.
    exact : bool
        Compare every eligible window.
    recall : float or None
        Wanted share of the true hits; what the index was tuned for by default.
    model : ModelSpec or None
        Of the vectors; one that is not the store's is an error.

    Raises
    ------
    Invalid
        If a value cannot be right; a vector is zero or not finite.
    """

    vectors: NDArray[np.float32]
    k: int = 50
    where: SearchFilter | None = None
    combine: str = "best"
    without: tuple[int, ...] = ()
    best_per: str | None = None
    distinct: float | None = None
    exact: bool = False
    recall: float | None = None
    model: ModelSpec | None = None

    def __post_init__(self) -> None:
        vectors = np.atleast_2d(np.asarray(self.vectors, np.float32))
        object.__setattr__(self, "vectors", vectors)
        if vectors.ndim != 2 or not len(vectors):
            raise Invalid(f"the query has shape {vectors.shape}; expected one vector, or several of the same length")
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        if wrong := [i for i, norm in enumerate(norms) if not np.isfinite(norm) or norm == 0.0]:
            which = "the query vector" if len(vectors) == 1 else f"query vector {wrong[0] + 1} of {len(vectors)}"
            raise Invalid(f"{which} is zero or not finite: it points nowhere, so nothing is near it")
        if not 0 <= self.k <= K_MAX:
            raise Invalid(f"k is {self.k}: a search returns 0 to {K_MAX:,} windows")
        for what, value, known in (("combine", self.combine, COMBINE), ("best_per", self.best_per, GROUPS)):
            if value is not None and value not in known:
                raise Invalid(f"{what} {value!r}: expected {' or '.join(known)}")
        for what, share in (("distinct", self.distinct), ("recall", self.recall)):
            if share is not None and not 0.0 < share <= 1.0:
                raise Invalid(f"{what} {share:g}: expected a number above 0, at most 1")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One window found.

    Attributes
    ----------
    rank : int
        1 = nearest.
    score : float
        Cosine similarity computed from the stored vector, higher is closer: the same number whatever found it.
    path, site, deployment, start_s, end_s, utc_start, local_start
        The window, as the view ``windows`` has it.
    recording_id, start_sample : int
        Its identity.
    part_id, part_row
        Where its vector is.
    query : int
        Number of the query's window that it is nearest to, from 0.
    valid_s : float or None
        Seconds of it that are sound; None where whoever searched did not look it up.
    exact : bool
        True: every eligible window of its part of the archive was compared. False: codes chose what was compared, so a better one
        may have been missed; the answer's ``plan`` has the measured recall. The score is exact in both cases.
    """

    rank: int
    score: float
    path: str
    site: str
    start_s: float
    end_s: float
    utc_start: datetime | None
    local_start: datetime | None
    exact: bool = True
    deployment: str | None = None
    recording_id: int = 0
    start_sample: int = 0
    part_id: str = ""
    part_row: int = 0
    query: int = 0
    valid_s: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class SearchPlan:
    """How an answer was found.

    Attributes
    ----------
    how : str
        ``exact``, ``codes`` (of all eligible windows), ``lists`` (codes of the likeliest clusters), ``gpu``, or ``nothing``.
    windows : int
        Live windows of the snapshot.
    eligible : int
        Those that the filter means.
    compared : int
        Full-precision comparisons.
    coded : int
        Codes compared (an estimate where clusters were chosen).
    fresh : int
        Eligible windows committed after the index was built; they were compared exactly.
    recall : float
        Measured when the index was built or tuned, of k = 50 without a filter; 1.0 where everything was compared.
    index : int
        Its version; 0 where there is none.
    snapshot : int
    took_ms : float
    notes : list of str
        What a user should know and do, such as to update the index.
    """

    how: str
    windows: int = 0
    eligible: int = 0
    compared: int = 0
    coded: int = 0
    fresh: int = 0
    recall: float = 1.0
    index: int = 0
    snapshot: int = 0
    took_ms: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Hits, best first; equal scores by recording id, then start."""

    hits: list[SearchHit]
    plan: SearchPlan
