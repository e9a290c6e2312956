"""Exact search: every live vector is read and compared. The dumb twin that any index has to equal."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.search import SearchHit
from store.archive import Archive
from store.scoring import cosines


def exact_search(
    archive: Archive, query: NDArray[np.float32], k: int = 10, *, without_recording: int | None = None
) -> list[SearchHit]:
    """Return the ``k`` nearest windows by cosine similarity.

    Parameters
    ----------
    archive : Archive
    query : float32, (dim,)
        Need not be normalised.
    k : int
    without_recording : int, optional
        Id of a recording to leave out, inside the search (leaving it out afterwards would return fewer than ``k``).

    Returns
    -------
    list of SearchHit
        Best first; equal scores by recording id, then start. Fewer than ``k`` only if there are not more windows.

    Raises
    ------
    Invalid
        If the query's length is not the store's ``dim``, or it is zero or not finite; or ``k`` is negative.
    """
    dim = archive.config.model.dim
    query = np.asarray(query, np.float32)
    if query.shape != (dim,):
        raise Invalid(f"the query has shape {query.shape}, the store {archive.root} holds vectors of shape ({dim},)")
    if k < 0:
        raise Invalid(f"k is {k}: a search returns no fewer than 0 windows")
    norm = float(np.linalg.norm(query.astype(np.float64)))
    if not np.isfinite(norm) or norm == 0.0:
        raise Invalid("the query vector is zero or not finite: it points nowhere, so nothing is near it")
    best: pa.Table | None = None
    for windows, vectors in archive.vectors():
        block = windows.append_column("score", pa.array(cosines(vectors, query)))
        if without_recording is not None:
            block = block.filter(pc.not_equal(block["recording_id"], without_recording))
        best = _best(block if best is None else pa.concat_tables([best, block]), k)
    rows = best.to_pylist() if best is not None else []
    keys = ("score", "path", "site", "start_s", "end_s", "utc_start", "local_start")
    return [SearchHit(rank, *(row[key] for key in keys)) for rank, row in enumerate(rows, 1)]


def _best(table: pa.Table, k: int) -> pa.Table:
    order = [("score", "descending"), ("recording_id", "ascending"), ("start_sample", "ascending")]
    return table.take(pc.sort_indices(table, sort_keys=order)[:k])
