"""The cross-check: a sample of what lies in the store, read back and compared with the source it came from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.imports.choosing import choose, part_of
from cluster.imports.index import Planned, WindowIndex
from cluster.imports.source import Source
from sonotheque.core.errors import Damaged
from store import Ledger

SAMPLED_RECORDINGS = 64
SAMPLED_WINDOWS = 32
COSINE_MIN = 0.9999


def check_import(root: str, index: WindowIndex, source: Source, ledger: Ledger) -> dict[str, Any]:
    """Compare stored vectors with the source's: recordings evenly over the import, windows evenly over each.

    Returns
    -------
    dict
        ``recordings``, ``windows``, ``missing`` (windows compared that are not in the store), ``cosine_min``,
        ``cosine_median`` (None if there was nothing to compare), ``ok``.
    """
    sample = _sample(index)
    cosines: list[NDArray[np.float64]] = []
    missing = compared = 0
    for planned in sample:
        rows = index.windows([planned.number])
        starts = np.unique(rows.start)
        chosen_starts = starts[np.unique(np.linspace(0, len(starts) - 1, SAMPLED_WINDOWS).astype(int))]
        rows = part_of(rows, np.isin(rows.start, chosen_starts))
        chosen = choose(rows, source)
        stored, vectors = _stored(root, ledger, planned.recording)
        place = {start: i for i, start in enumerate(stored.tolist())}
        pairs = [(i, place[s]) for i, s in enumerate(rows.start[chosen.kept].tolist()) if s in place]
        missing += len(chosen.kept) - len(pairs)
        if pairs:
            ours, theirs = (np.array(side) for side in zip(*pairs, strict=True))
            cosines.append(_cosine(chosen.vectors[ours], vectors[theirs]))
            compared += len(pairs)
    found = np.concatenate(cosines) if cosines else np.empty(0)
    found = found[np.isfinite(found)]  # two vectors of zeros have no angle
    least = float(found.min()) if len(found) else None
    return {
        "recordings": len(sample),
        "windows": compared,
        "missing": missing,
        "cosine_min": None if least is None else round(least, 8),
        "cosine_median": None if least is None else round(float(np.median(found)), 8),
        "ok": missing == 0 and (least is None or least >= COSINE_MIN),
    }


def _sample(index: WindowIndex) -> list[Planned]:
    total = index.totals()[0]
    wanted = set(np.linspace(0, total - 1, min(total, SAMPLED_RECORDINGS)).astype(int).tolist())
    return [p for p in index.planned() if p.number in wanted and p.windows]


def _stored(root: str, ledger: Ledger, recording: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (starts, vectors) of a recording as any reader sees them."""
    part = ledger.parts[ledger.live[recording][0]]
    try:
        table = pq.read_table(
            f"{root}/{part.embeddings}", columns=["recording_id", "start_sample", "embedding"], partitioning=None
        )
    except (OSError, pa.ArrowException) as error:
        raise Damaged(f"{part.embeddings} does not read back: {error}") from error
    table = table.filter(pc.equal(table["recording_id"], recording)).combine_chunks()
    vectors = table["embedding"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return table["start_sample"].to_numpy(), flat.reshape(table.num_rows, vectors.type.list_size)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosine: NDArray[np.float64] = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return cosine
