"""Vectors of a whole part with their windows' identities, block by block: what is multiplied, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from store.catalog import UnitFault
from store.reading import parquet, source
from store.snapshots import SnapshotPart

_GROUPS: Final = (
    2  # row groups a block: 2,048 windows, so that a block's logits by hundreds of classes stay in megabytes
)


@dataclass(frozen=True, slots=True)
class ScoreBlock:
    """Consecutive windows of a part, superseded ones too.

    Attributes
    ----------
    first_row : int
        Of the block in the part.
    recording_ids, start_samples : int64, (n,)
    vectors : float32, (n, dim)
        As stored.
    """

    first_row: int
    recording_ids: NDArray[np.int64]
    start_samples: NDArray[np.int64]
    vectors: NDArray[np.float32]


def score_blocks(root: str, part: SnapshotPart, dim: int) -> Iterator[ScoreBlock]:
    """Yield all rows of a part, in blocks that follow from the file alone.

    Raises
    ------
    Damaged
        If the part cannot be read.
    """
    path = f"{root}/{part.embeddings}"
    try:
        with parquet(path, memory_map=True) as file:
            first = 0
            for group in range(0, file.metadata.num_row_groups, _GROUPS):
                groups = list(range(group, min(group + _GROUPS, file.metadata.num_row_groups)))
                table = file.read_row_groups(
                    groups, columns=["recording_id", "start_sample", "embedding"], use_threads=False
                )
                ids, starts = (table[c].to_numpy() for c in ("recording_id", "start_sample"))
                yield ScoreBlock(first, ids, starts, _matrix(table["embedding"], dim))
                first += table.num_rows
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UnitFault(part.embeddings, str(error)) from error


def block_rows(root: str, part: SnapshotPart, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return ``path``, ``start_s``, ``recording_id`` and ``start_sample`` of some rows of a part, for messages.

    Raises
    ------
    Damaged
        If the part cannot be read.
    """
    columns = ["path", "start_s", "recording_id", "start_sample"]
    try:
        found: list[dict[str, Any]] = (
            pq.read_table(source(f"{root}/{part.embeddings}"), columns=columns, partitioning=None)
            .take(rows)
            .to_pylist()
        )
    except (OSError, pa.ArrowException) as error:
        raise UnitFault(part.embeddings, str(error)) from error
    return found


def _matrix(column: pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """Return an embedding column as float32, (n, dim), widened once."""
    out = np.empty((len(column), dim), np.float32)
    at = 0
    for chunk in column.chunks:
        out[at : at + len(chunk)] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        at += len(chunk)
    return out
