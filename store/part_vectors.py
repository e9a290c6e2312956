"""Vectors of chosen windows, read from only those row groups that hold them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from store.catalog import UnitFault
from store.reading import parquet
from store.snapshots import Snapshot, SnapshotPart, lost_part

_READERS = 4


@contextlib.contextmanager
def lost_told(root: str, snapshot: Snapshot) -> Iterator[None]:
    """Say of a part that is not there whether it is lost or was removed since the snapshot was opened."""
    try:
        yield
    except UnitFault as fault:
        if isinstance(fault.__cause__, FileNotFoundError):
            raise lost_part(root, snapshot, fault.relative.removeprefix(f"{root}/")) from fault
        raise


def read_vectors(
    root: str,
    parts: Mapping[str, SnapshotPart],
    part_ids: pa.ChunkedArray,
    part_rows: NDArray[np.int32],
    dim: int,
    *,
    readers: int = _READERS,
) -> NDArray[np.float32]:
    """Return the vectors of rows given by part and position.

    Parameters
    ----------
    root : str
    parts : mapping
        Part id -> as the snapshot lists it.
    part_ids : string array, (n,)
    part_rows : int32, (n,)
        Row in the part's embeddings file.
    dim : int
    readers : int
        Files read at a time.

    Returns
    -------
    float32, (n, dim)
        In the order asked for.

    Raises
    ------
    Damaged
        If a part cannot be read; the message names it.
    """
    out = np.empty((len(part_rows), dim), np.float32)
    if not len(part_rows):
        return out
    coded = part_ids.combine_chunks().dictionary_encode()
    names = coded.dictionary.to_pylist()
    codes = coded.indices.to_numpy()
    order = np.lexsort((part_rows, codes))
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))

    def one(k: int) -> None:
        places = order[bounds[k] : bounds[k + 1]]
        out[places] = _of_part(f"{root}/{parts[names[k]].embeddings}", part_rows[places], dim)

    with ThreadPoolExecutor(max(1, min(readers, len(names)))) as pool:
        list(pool.map(one, range(len(names))))
    return out


def _of_part(path: str, rows: NDArray[np.int32], dim: int) -> NDArray[np.float32]:
    """Return the vectors of one file's rows, which ascend."""
    try:
        with parquet(path, memory_map=True) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            firsts = np.concatenate([[0], np.cumsum(sizes)])
            holding = np.searchsorted(firsts, rows, side="right") - 1
            groups = np.unique(holding)
            table = file.read_row_groups(groups.tolist(), columns=["embedding"])
    except (OSError, pa.ArrowException) as error:
        raise UnitFault(path, str(error)) from error
    read_from = np.concatenate([[0], np.cumsum([sizes[g] for g in groups])])
    places = rows - firsts[holding] + read_from[np.searchsorted(groups, holding)]
    flat = [c.flatten().to_numpy(zero_copy_only=False) for c in table["embedding"].chunks]
    vectors = (flat[0] if len(flat) == 1 else np.concatenate(flat)).reshape(-1, dim)
    return np.asarray(vectors[places], np.float32)  # chosen first: most of a row group may not be wanted


def part_blocks(root: str, part: SnapshotPart, dim: int) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
    """Yield a part's live rows in blocks of at most 8,192: the columns but the vectors, and the vectors.

    Raises
    ------
    Damaged
        If the part cannot be read.
    """
    dead = pa.array(part.superseded, pa.int64())
    try:
        with parquet(f"{root}/{part.embeddings}") as file:
            for batch in file.iter_batches(8192):
                table = pa.Table.from_batches([batch])
                if len(dead):
                    table = table.filter(pc.invert(pc.is_in(table["recording_id"], value_set=dead)))
                if table.num_rows:
                    yield _named(table, part), matrix(table["embedding"], dim)
    except (OSError, pa.ArrowException) as error:
        raise UnitFault(part.embeddings, str(error)) from error


def _named(table: pa.Table, part: SnapshotPart) -> pa.Table:
    n = table.num_rows
    out = table.drop_columns(["embedding"])
    out = out.append_column("site", pa.array([part.site] * n, pa.string()))
    return out.append_column("date", pa.array([part.date] * n, pa.string()).cast(pa.date32()))


def matrix(column: pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """Return an embedding column as float32, (n, dim)."""
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(-1, dim).astype(np.float32) if flat else np.empty((0, dim), np.float32)
