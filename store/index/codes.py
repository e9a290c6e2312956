"""FAISS on the CPU: clusters of vectors, and one bit a dimension of each (IVF-RaBitQ)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged, Unavailable
from store.index.projection import Projection

ITERATIONS: Final = 10
_QUERY_BITS = 4  # of RaBitQ's query; 0, a float query, was measured 300 times slower for the same recall
ANEW: Final = "`sonotheque index build` makes the index anew"
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@functools.cache
def load() -> Any:
    """Return the module ``faiss``: imported when it is needed, for it costs a third of a second.

    Raises
    ------
    Unavailable
        If it is not installed; kind ``engine_missing``.
    """
    try:
        import faiss
    except ImportError as error:
        raise Unavailable(
            "searching needs FAISS: install the extra `cpu` (faiss-cpu), or `gpu` on a machine with one (faiss-gpu), never both",
            kind="engine_missing",
        ) from error
    return faiss


def library() -> str:
    """Return FAISS's name and version."""
    return f"faiss {load().__version__}"


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let FAISS use so many threads in this one; 0 = as many as it likes."""
    faiss = load()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def train(sample: Floats, lists: int, seed: int) -> Floats:
    """Return the centres of clusters, float32 (lists, dim), by k-means over projected unit vectors."""
    lists = min(lists, len(sample))
    kmeans = load().Kmeans(
        sample.shape[1],
        lists,
        niter=ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, len(sample) // lists + 1),
    )
    kmeans.train(np.ascontiguousarray(sample))
    return np.ascontiguousarray(kmeans.centroids, np.float32)


def write_codes(
    blocks: Iterable[Floats], centres: Floats, assign: Callable[[Floats, Floats], Rows]
) -> NDArray[np.uint8]:
    """Code projected unit vectors; rows are numbered from 0 as they come.

    Parameters
    ----------
    blocks : iterable of float32, (n, dim)
    centres : float32, (lists, dim)
    assign : callable
        Returns the nearest centre of each row; see :mod:`store.index.training`.

    Returns
    -------
    uint8
        The bytes of a FAISS file.
    """
    faiss = load()
    quantizer = faiss.IndexFlatIP(centres.shape[1])
    quantizer.add(centres)
    index = faiss.IndexIVFRaBitQ(quantizer, centres.shape[1], len(centres), faiss.METRIC_INNER_PRODUCT)
    index.train(centres)
    for block in blocks:
        chosen = assign(block, centres)
        # Plain IVF takes assignments made before; on FastScan indexes of this release that corrupts the heap.
        index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(chosen))
    found: NDArray[np.uint8] = faiss.serialize_index(index)
    return found


class Codes:
    """Codes of one segment, mapped into memory; several threads and processes may search at once.

    Parameters
    ----------
    path : str
    rows, dim : int
        What the file is expected to hold.

    Raises
    ------
    Damaged
        If the file is another, or cannot be read.
    """

    def __init__(self, path: str, rows: int, dim: int) -> None:
        faiss = load()
        try:
            index = faiss.read_index(path, faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise Damaged(f"{path} cannot be read as an index: {str(error).splitlines()[-1]}. {ANEW}") from error
        if not isinstance(index, faiss.IndexIVFRaBitQ) or (index.ntotal, index.d) != (rows, dim):
            found = f"{type(index).__name__} of {index.ntotal:,} x {index.d}"
            raise Damaged(f"{path} holds {found}; expected codes of {rows:,} x {dim}. {ANEW}")
        if not index.is_trained or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise Damaged(f"{path} is not what it was when it was written. {ANEW}")
        self._index, self._path = index, path

    def candidates(
        self, query: Floats, lists: Rows, nearness: Floats, count: int, eligible: NDArray[np.uint8] | None
    ) -> tuple[Floats, Rows]:
        """Return the rows whose codes are nearest to a query, the nearest first.

        Parameters
        ----------
        query : float32, (dim,)
            Projected, length 1.
        lists : int64, (p,)
            Clusters to look through, the nearest first.
        nearness : float32, (p,)
            Inner products of the query with their centres.
        count : int
        eligible : uint8 or None
            One bit a row, lowest first; None: all rows.

        Returns
        -------
        products : float32, at most (count,)
            As the codes have them.
        rows : int64
        """
        faiss = load()
        parameters = faiss.IVFRaBitQSearchParameters()
        parameters.nprobe, parameters.qb = len(lists), _QUERY_BITS
        if eligible is not None:  # the selector does not own the bits: both must live until the search is over
            selector = faiss.IDSelectorBitmap(len(eligible) * 8, faiss.swig_ptr(eligible))
            parameters.sel = selector
        products = np.empty(count, np.float32)
        rows = np.empty(count, np.int64)
        arrays = (query, lists, nearness, products, rows)
        asked, chosen, near, out, at = (faiss.swig_ptr(a) for a in arrays)
        faiss.omp_set_num_threads(1)  # a thread's own setting: one query does not gain by more
        try:
            self._index.search_preassigned_c(  # the wrapped one takes no parameters
                1, asked, count, chosen, near, out, at, False, parameters
            )
        except RuntimeError as error:
            raise Damaged(f"{self._path} cannot be searched: {str(error).splitlines()[-1]}. {ANEW}") from error
        found = rows >= 0
        return products[found], rows[found]


class Clusters:
    """What all segments of an index share: the projection and the clusters' centres.

    Attributes
    ----------
    projection : Projection
    centres : float32, (lists, code_dim)
    """

    def __init__(self, projection: Projection, centres: Floats) -> None:
        self.projection = projection
        self.centres = centres

    def nearest(self, query: Floats, count: int) -> tuple[Floats, Rows, Floats]:
        """Return a unit query projected, the ``count`` nearest clusters, the nearest first, and how near they are."""
        turned = self.projection(query[None])[0]
        products = self.centres @ turned
        chosen = np.arange(len(products))
        if count < len(products):
            chosen = np.argpartition(-products, count - 1)[:count]
        chosen = chosen[np.argsort(-products[chosen], kind="stable")].astype(np.int64)
        return turned, chosen, np.ascontiguousarray(products[chosen])

    def save(self, handle: Any) -> None:
        """Write them to a binary file."""
        arrays: dict[str, Any] = {"centres": self.centres, **self.projection.arrays()}
        whole = BytesIO()  # it wants to seek
        np.savez(whole, **arrays)
        handle.write(whole.getbuffer())

    @classmethod
    def load(cls, path: str, dim: int) -> Clusters:
        """Read those of vectors of ``dim`` numbers back.

        Raises
        ------
        Damaged
            If the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            centres = held.pop("centres")
            found = cls(Projection(**held), centres)
            found.nearest(np.zeros(dim, np.float32), 1)  # all shapes go together
        except Exception as error:  # zip, zlib and NumPy's reader have many ways to fail on bytes that changed
            raise Damaged(f"{path} cannot be read as the clusters of an index: {error}. {ANEW}") from error
        return found
