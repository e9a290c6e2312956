"""Real embeddings: do short codes put forward the right windows, and do generated vectors look like real ones?

Recordings are embedded with overlapping windows, so that there are enough; those of the query's own recording are its neighbours in
time and are left out, inside the search: leaving them out afterwards would take candidates away from the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_data import SITES, Clusters, queries, site_windows
from benchmarks.search_measure import K, cosines
from sonotheque.core.ids import digest_of
from store import layout

MODEL = "birdnet_v2.4"  # for recordings that are embedded here
CANDIDATES = (100, 200, 500, 1000)
QUERIES = 300
_SEED, _PAIRS, _LISTS = 7, 20_000, 32
Floats = NDArray[np.float32]
Ranked = NDArray[np.int64]


def embedded(scratch: Path, source: Path, hop_s: float) -> Path:
    """Return a store to measure on: a copy of the store given, or a folder's recordings embedded by the main job.

    What was embedded already is not done again. A store that is given stays as it is: its copy gets an index of its own.
    """
    if (source / layout.CONFIG).exists():
        root = scratch / f"real-{digest_of([str(source.resolve())])[:10]}"
        shutil.rmtree(root, ignore_errors=True)
        left = (layout.TMP, layout.JOBS, layout.INDEX, "catalog")
        shutil.copytree(source, root, ignore=lambda at, names: set(left) if Path(at) == source else set())
        return root
    from cluster.options import EmbedOptions, default_workers
    from cluster.run import embed

    root = scratch / f"real-{digest_of([str(source.resolve()), hop_s, MODEL])[:10]}"
    embed(
        EmbedOptions(
            sources=(str(source),), store=str(root), model=MODEL, hop_s=hop_s, top_k=0, workers=default_workers(MODEL)
        )
    )
    return root


def windows_of(root: Path) -> tuple[Floats, NDArray[np.int64], dict[str, Any]]:
    """Return the vectors of a store, but for silent ones, the recording of each, and what they are; in the order of the parts."""
    from store import open_archive

    vectors, recordings = [], []
    with open_archive(root) as archive:
        rule = archive.config.windows
        told = {"model": archive.config.model.name, "hop_s": rule.hop_samples / rule.sample_rate_hz}
        for windows, block in archive.vectors():
            vectors.append(block)
            recordings.append(windows["recording_id"].to_numpy())
    found, of = np.concatenate(vectors), np.concatenate(recordings)
    sounding = np.linalg.norm(found, axis=1) > 0
    return found[sounding], of[sounding], told


def statistics(unit: Floats) -> dict[str, float]:
    """Return how vectors lie: the mean cosine of two, what share of the variance the first dimensions hold, how many are negative."""
    rng = np.random.default_rng(_SEED)
    a, b = rng.integers(0, len(unit), (2, _PAIRS))
    spread = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    held = np.cumsum(spread) / spread.sum()
    energy = {f"variance_in_{d}": round(float(held[min(d, len(held)) - 1]), 3) for d in (64, 128, 256)}
    pairs = np.einsum("ij,ij->i", unit[a], unit[b])[a != b]
    return {
        "mean_cosine": round(float(pairs.mean()), 3),
        "sd_cosine": round(float(pairs.std()), 3),
        **energy,
        "negative_share": round(float((unit < 0).mean()), 3),
    }


def true_rows(unit: Floats, asked: Floats, groups: NDArray[np.int64], own: NDArray[np.int64]) -> list[Ranked]:
    """Return the ``K`` nearest rows of each query, those of its own group left out (-1: none)."""
    found = []
    for query, group in zip(asked, own, strict=True):
        scores = cosines(unit, query)
        scores[groups == group] = -np.inf
        found.append(np.argsort(-scores, kind="stable")[:K])
    return found


def rankings(unit: Floats, asked: Floats) -> dict[str, tuple[float, Ranked]]:
    """Return, for each kind of code, its bytes a window and all rows in the order of their codes, for each query."""
    import faiss

    dim = unit.shape[1]
    turned = faiss.RandomRotationMatrix(dim, dim)
    turned.init(_SEED)
    n, lists = len(unit), min(_LISTS, max(1, len(unit) // 40))
    quantizer = faiss.IndexFlatIP(dim)
    bits = faiss.IndexIVFRaBitQ(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
    bits.nprobe = lists  # all codes are compared
    sq8 = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    kinds: dict[str, tuple[float, Any]] = {"1 bit (RaBitQ)": (dim / 8 + 8, bits), "SQ8": (float(dim), sq8)}
    if n >= 256 and dim % 64 == 0:
        pq = faiss.IndexPQ(dim, 64, 8, faiss.METRIC_INNER_PRODUCT)
        pq.pq.cp.min_points_per_centroid = 1  # or FAISS warns
        kinds["PQ64"] = (64.0, pq)
    found = {}
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(
        1
    )  # nothing is timed here, and threads that wait for each other on busy cores take minutes
    for name, (size, index) in kinds.items():
        mine, theirs = (turned.apply(unit), turned.apply(asked)) if index is bits else (unit, asked)
        index.train(mine)
        index.add(mine)
        _, rows = index.search(theirs, n)
        found[name] = (size, rows)
    faiss.omp_set_num_threads(threads)
    return found


def candidate_recall(unit: Floats, asked: Floats, groups: NDArray[np.int64], own: NDArray[np.int64]) -> dict[str, Any]:
    """Return the recall of re-ranking so many of what codes put forward, the mean and the 5th percentile over the queries."""
    truth = true_rows(unit, asked, groups, own)
    told: dict[str, Any] = {}
    for name, (size, ranked) in rankings(unit, asked).items():
        shares = np.zeros((len(asked), len(CANDIDATES)))
        for number, (rows, right, group) in enumerate(zip(ranked, truth, own, strict=True)):
            left = rows[(rows >= 0) & (groups[rows] != group)]
            shares[number] = [np.isin(right, left[:count]).mean() for count in CANDIDATES]
        told[name] = {
            "bytes_per_window": size,
            **{
                str(count): {"recall": round(float(s.mean()), 4), "recall_p5": round(float(np.quantile(s, 0.05)), 3)}
                for count, s in zip(CANDIDATES, shares.T, strict=True)
            },
        }
    return told


def end_to_end(root: Path, chosen: NDArray[np.int64], vectors: Floats, groups: NDArray[np.int64]) -> dict[str, Any]:
    """Return the recall of this program's index, made to use its codes however few windows there are."""
    from store import open_archive
    from store.index import IndexWishes, SearchQuery, build_index, open_index, searching

    shutil.rmtree(root / "index", ignore_errors=True)
    before, searching.EXACT_ROWS = searching.EXACT_ROWS, 0  # type: ignore[misc] # the planner would compare so few in full
    told: dict[str, Any] = {}
    try:
        with open_archive(root) as archive:
            version = build_index(archive, IndexWishes(kind="coded"))
            told["lists"] = int(version.recipe["lists"])
            index = open_index(archive)
            for name, recall in (("default", None), ("recall 0.999", 0.999)):
                shares, how = [], set()
                for row in chosen:
                    query = {"vectors": vectors[row], "k": K, "without": (int(groups[row]),)}
                    answer = index.search(SearchQuery(**query, recall=recall))
                    right = index.search(SearchQuery(**query, exact=True))
                    least = right.hits[-1].score
                    shares.append(sum(hit.score >= least for hit in answer.hits) / len(right.hits))
                    how.add(answer.plan.how)
                share = np.array(shares)
                told[name] = {
                    "recall": round(float(share.mean()), 4),
                    "recall_p5": round(float(np.quantile(share, 0.05)), 3),
                    "how": sorted(how),
                }
    finally:
        searching.EXACT_ROWS = before  # type: ignore[misc]
    return told


def generated(n: int, dim: int) -> tuple[Floats, Floats]:
    """Return as many generated windows, and queries."""
    clusters = Clusters.make(n, dim, _SEED)
    blocks = [block for site in range(SITES) for block in site_windows(clusters, n, _SEED, site)]
    return _unit(np.concatenate(blocks).astype(np.float32)), queries(clusters, QUERIES, _SEED)


def measure(scratch: Path, source: Path, hop_s: float, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure on a store or on the recordings of a folder, and on as many generated windows beside them."""
    root = embedded(scratch, source, hop_s)
    vectors, groups, told = windows_of(root)
    tell(f"{len(vectors):,} windows of {len(np.unique(groups))} recordings of {told['model']}, hop {told['hop_s']:g} s")
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(vectors), min(QUERIES, len(vectors)), replace=False))
    unit = _unit(vectors)
    made, asked = generated(len(unit), unit.shape[1])
    nobody = np.full(len(made), -1)
    return {
        **told,
        "windows": len(unit),
        "recordings": len(np.unique(groups)),
        "dim": unit.shape[1],
        "queries": len(chosen),
        "statistics": {"real": statistics(unit), "generated": statistics(made)},
        "candidates": {
            "real": candidate_recall(unit, unit[chosen], groups, groups[chosen]),
            "generated": candidate_recall(made, asked, nobody, np.full(len(asked), -2)),
        },
        "end_to_end": end_to_end(root, chosen, vectors, groups),
    }


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found
