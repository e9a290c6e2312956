"""How well and how fast a search answers: the truth by comparing everything, recall against it, and times. NumPy alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

K = 50
THREADS = (  # of all libraries that are compared: one query is answered on one thread
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS", "LANCE_IO_THREADS"),
)
_BLOCK = 16_384
_IN_DOUBT = 20  # rows beyond the k-th that float32 might have misplaced
_WARM = 10
_EQUAL = 1e-6  # what a float32 sum of some thousand products cannot tell apart

Rows = NDArray[np.int64]


def open_rows(folder: Path, n: int, dim: int) -> NDArray[np.float16]:
    """Map the vectors of a generated archive, float16 (n, dim)."""
    return np.memmap(folder / "vectors.f16", np.float16, "r", shape=(n, dim))


def cosines(vectors: NDArray[Any], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return cosines in float64, row by row."""
    wide, wanted = vectors.astype(np.float64), query.astype(np.float64)
    found: NDArray[np.float64] = np.einsum("ij,j->i", wide, wanted) / np.linalg.norm(wide, axis=1)
    return found / np.linalg.norm(wanted)


def kth_cosines(
    vectors: NDArray[Any], queries: NDArray[np.float32], masks: Sequence[NDArray[np.bool_] | None], k: int = K
) -> list[NDArray[np.float64]]:
    """Return the cosine of each query's ``k``-th nearest row, for each choice of rows; every row is compared.

    A row found is a true one if its cosine is at least this: so rows of equal cosine are equally right.
    """
    keep = k + _IN_DOUBT
    best = [np.full((len(queries), keep), -np.inf, np.float32) for _ in masks]
    rows = [np.full((len(queries), keep), -1, np.int64) for _ in masks]
    for first in range(0, len(vectors), _BLOCK):
        block = vectors[first : first + _BLOCK].astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        scores = queries @ block.T
        for i, mask in enumerate(masks):
            own = np.arange(len(block)) if mask is None else np.flatnonzero(mask[first : first + _BLOCK])
            if len(own):
                _merge(best[i], rows[i], scores if mask is None else scores[:, own], own + first, keep)
    return [_refined(vectors, queries, found, k) for found in rows]


def _merge(best: NDArray[np.float32], rows: Rows, scores: NDArray[np.float32], own: Rows, keep: int) -> None:
    if scores.shape[1] > keep:
        top = np.argpartition(-scores, keep - 1, axis=1)[:, :keep]
        scores, numbers = np.take_along_axis(scores, top, axis=1), own[top]
    else:
        numbers = np.broadcast_to(own, scores.shape)
    everything, numbered = np.concatenate([best, scores], axis=1), np.concatenate([rows, numbers], axis=1)
    top = np.argpartition(-everything, keep - 1, axis=1)[:, :keep]
    best[:], rows[:] = np.take_along_axis(everything, top, axis=1), np.take_along_axis(numbered, top, axis=1)


def _refined(vectors: NDArray[Any], queries: NDArray[np.float32], rows: Rows, k: int) -> NDArray[np.float64]:
    out = np.full(len(queries), -np.inf)
    for number, (query, found) in enumerate(zip(queries, rows, strict=True)):
        real = found[found >= 0]
        scores = np.sort(cosines(vectors[np.sort(real)], query))
        if len(scores):
            out[number] = scores[-min(k, len(scores))]
    return out


def recall_of(
    vectors: NDArray[Any],
    queries: NDArray[np.float32],
    found: Sequence[Rows],
    kth: NDArray[np.float64],
    mask: NDArray[np.bool_] | None = None,
    k: int = K,
) -> dict[str, Any]:
    """Return mean and 5th percentile of the share of true rows among those found.

    Rows that a filter does not mean, and rows that come twice, count as not found.
    """
    able = len(vectors) if mask is None else int(mask.sum())
    shares = []
    for query, rows, least in zip(queries, found, kth, strict=False):
        own = np.unique(rows)[: 10 * k]
        own = own if mask is None else own[mask[own]]
        right = int((cosines(vectors[own], query) >= least - _EQUAL).sum()) if len(own) else 0
        shares.append(min(right, k) / max(1, min(k, able)))
    return {"recall": round(float(np.mean(shares)), 5), "recall_p5": round(float(np.quantile(shares, 0.05)), 4)}


def timed(
    ask: Callable[[NDArray[np.float32]], Any], queries: NDArray[np.float32], *, most_s: float = 30.0, least: int = 10
) -> tuple[list[Any], dict[str, Any]]:
    """Ask one query after the other, after some to warm up.

    Parameters
    ----------
    ask : callable
    queries : float32, (m, dim)
    most_s : float
        No more are begun after so many seconds, if ``least`` were asked.
    least : int

    Returns
    -------
    answers : list
        Of the queries that were asked.
    times : dict
        Medians in milliseconds: CPU time of the whole process, all its threads, and wall time.
    """
    began = time.perf_counter()
    for query in queries[:_WARM]:
        ask(query)
        if time.perf_counter() - began > most_s / 4:
            break
    answers, cpu, wall = [], [], []
    began = time.perf_counter()
    for query in queries:
        at, used = time.perf_counter(), time.process_time()
        answer = ask(query)
        cpu.append((time.process_time() - used) * 1e3)
        wall.append((time.perf_counter() - at) * 1e3)
        answers.append(answer)
        if len(answers) >= least and time.perf_counter() - began > most_s:
            break
    return answers, {
        "cpu_ms": round(float(np.median(cpu)), 3),
        "cpu_ms_mean": round(float(np.mean(cpu)), 3),
        "cpu_ms_p95": round(float(np.quantile(cpu, 0.95)), 3),
        "wall_ms": round(float(np.median(wall)), 3),
        "queries": len(answers),
    }


_MAPPED = {
    "codes": "/index/v1/codes",
    "vectors": "/index/v1/vectors",
    "windows": "/index/v1/windows",
    "plain": "/vectors.f16",
}


def memory() -> dict[str, float]:
    """Return what this process holds, in MB; nothing where there is no ``/proc``.

    Returns
    -------
    dict
        ``resident_mb`` is all of it. ``own_mb`` is what it alone has written; the rest lies in mapped files, where the system may take
        it back and other processes share it: ``codes_mb``, ``vectors_mb`` and ``windows_mb`` of an index, ``plain_mb`` of the
        benchmark's own file of vectors.
    """
    try:
        lines = Path("/proc/self/smaps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    held = dict.fromkeys(("resident", "own", *_MAPPED), 0)
    kind = ""
    for line in lines:
        words = line.split()
        if not words[0].endswith(":"):
            mapped = words[5] if len(words) > 5 else ""
            kind = next((k for k, part in _MAPPED.items() if part in mapped), "")
        elif words[0] == "Rss:":
            held["resident"] += int(words[1])
            if kind:
                held[kind] += int(words[1])
        elif words[0] == "Anonymous:":
            held["own"] += int(words[1])
    return {f"{name}_mb": round(kib * 1024 / 1e6, 1) for name, kib in held.items()}


def peak_mb() -> float:
    """Return the most that this process has held."""
    import resource

    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1
    )
