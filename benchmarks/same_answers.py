"""Does it matter which engine made a store? The same recordings embedded twice, the same windows searched for in both.

Beside that the crossed question: vectors that one engine made, asked of the store that the other made, as a clip is that is searched for
on another machine. A query's own recording is left out, as it is for users; what is found is told by recording and start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.embed_runs import Job, fresh, sonotheque

QUERIES, K = 50, 10

Window = tuple[int, int]  # recording, first sample
Vectors = dict[Window, NDArray[np.float32]]


def measure(
    jobs: Sequence[Job],
    sources: Sequence[str],
    *,
    workers: int = 2,
    queries: int = QUERIES,
    root: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Embed the recordings with each job, and compare what is found with what is found in the first job's store.

    Parameters
    ----------
    jobs : sequence of Job
        Of one model and its weights; the first is the reference.
    sources : sequence of str
        Recordings, or folders of them.
    workers : int
        0: no Dask.
    queries : int
        Windows searched for, evenly chosen.
    root : str, optional
        What stored paths are relative to.
    tell : callable

    Returns
    -------
    list of dict
        A row for each job but the first.

    Raises
    ------
    RuntimeError
        If embedding fails.
    """
    with fresh() as folder:
        stores = [folder / str(number) for number in range(len(jobs))]
        for job, store in zip(jobs, stores, strict=True):
            tell(f"{job.model}: a store by {job.engine} {job.precision}")
            fixed = ["--store", str(store), "--workers", str(workers), "--quiet", *(["--root", root] if root else [])]
            # Exit 3: a file among real recordings that holds no sound.
            sonotheque("embed", *sources, *job.options, *fixed, clean=False)
        return [
            {
                "key": f"{other.engine}-{other.precision}",
                "first": f"{jobs[0].engine} {jobs[0].precision}",
                "second": f"{other.engine} {other.precision}",
                **compared(stores[0], store, queries),
            }
            for other, store in zip(jobs[1:], stores[1:], strict=True)
        ]


def compared(first: Path, second: Path, queries: int = QUERIES) -> dict[str, Any]:
    """Ask both stores for the neighbours of the same windows.

    Returns
    -------
    dict
        ``stores``: each asked for its own vectors; ``crossed``: the first one asked for the second's vectors. ``top10_agreement`` is
        the share of the ten that is found in both, ``first_agreement`` that of the best one, ``same_sets`` how many of the queries
        found the same ten. Where ten differ, ``score_gap_max`` tells by how little: the largest difference, in the cosine that the
        first store gives, between what was missed and the worst that was found instead.
    """
    from store import open_archive

    with open_archive(first) as a, open_archive(second) as b:
        mine, theirs = _vectors(a), _vectors(b)
        common = sorted(mine.keys() & theirs.keys())
        at = np.unique(np.linspace(0, len(common) - 1, min(queries, len(common))).round().astype(int))
        asked = [common[i] for i in at]
        found = [_found(a, w, mine[w]) for w in asked]
        own = [_found(b, w, theirs[w]) for w in asked]
        crossed = [_found(a, w, theirs[w]) for w in asked]
        return {
            "windows": len(common),
            "queries": len(asked),
            "k": K,
            "stores": agreement(asked, found, own, mine),
            "crossed": agreement(asked, found, crossed, mine),
        }


def agreement(
    asked: Sequence[Window], found: Sequence[list[Window]], other: Sequence[list[Window]], vectors: Vectors
) -> dict[str, float]:
    """Return how much two series of answers to the same questions have in common."""
    shares = [len(set(a) & set(b)) / max(len(a), 1) for a, b in zip(found, other, strict=True)]
    gaps = [_gap(w, a, b, vectors) for w, a, b in zip(asked, found, other, strict=True)]
    return {
        "top10_agreement": round(float(np.mean(shares)), 4),
        "first_agreement": round(float(np.mean([a[:1] == b[:1] for a, b in zip(found, other, strict=True)])), 4),
        "same_sets": sum(set(a) == set(b) for a, b in zip(found, other, strict=True)),
        "same_order": sum(a == b for a, b in zip(found, other, strict=True)),
        "score_gap_max": round(max(gaps, default=0.0), 6),
    }


def _gap(window: Window, a: list[Window], b: list[Window], vectors: Vectors) -> float:
    missed, instead = (set(a) - set(b)) & vectors.keys(), (set(b) - set(a)) & vectors.keys()
    if not missed or not instead:
        return 0.0
    query = vectors[window]
    return max(_cosine(query, vectors[w]) for w in missed) - min(_cosine(query, vectors[w]) for w in instead)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _vectors(archive: Any) -> Vectors:
    """Return the vectors of a store by window, but for silent ones, which are near to nothing."""
    found = {}
    for windows, vectors in archive.vectors():
        keys = zip(windows["recording_id"].to_pylist(), windows["start_sample"].to_pylist(), strict=True)
        found.update({key: vector for key, vector in zip(keys, vectors, strict=True) if vector.any()})
    return found


def _found(archive: Any, window: Window, vector: NDArray[np.float32]) -> list[Window]:
    """Return the windows nearest to a vector, those of its own recording left out."""
    from search_api.queries import Query
    from search_api.search import SearchOptions, search

    query = Query("vector", "", vector[None], recording_id=window[0])
    hits = search(archive, query, SearchOptions(k=K)).answer.hits
    return [(hit.recording_id, hit.start_sample) for hit in hits]
