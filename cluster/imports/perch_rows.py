"""Vectors and predictions of perch-cpu-inference's files, by place; what was read last is held, for the next part wants it too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.imports.perch_files import Faulty, WideFile, open_wide
from cluster.imports.perch_guesses import CheckpointGuesses, read_guesses, scores, top_k
from cluster.imports.source import Guesses
from sonotheque.core.errors import Damaged

_ROW_BITS = 32
_HELD_BYTES = 128 << 20
_BATCH_ROWS = 4096
_GUESSES_HELD = 16


def place_of(file: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of rows of a file; files are numbered in the order in which they were written."""
    return (np.int64(file) << _ROW_BITS) | rows


class WideRows:
    """Reads rows of wide files.

    Parameters
    ----------
    files : sequence of WideFile
        By number.
    model : str
        Whose rule turns logits into scores.
    k : int
        Classes a row at most.
    damaged : set of str
        Prediction files to leave alone.
    """

    def __init__(self, files: Sequence[WideFile], model: str, k: int, damaged: set[str]) -> None:
        self._files, self._model, self._k, self._damaged = files, model, k, damaged
        self._bounds: dict[int, NDArray[np.int64]] = {}
        self._held: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()
        self._guesses: OrderedDict[int, tuple[CheckpointGuesses, NDArray[np.int64]] | None] = OrderedDict()

    def vectors(self, places: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
        """Return the vectors at n places, float32 (n, dim).

        Raises
        ------
        Damaged
            If a file cannot be read.
        """
        out = np.empty((len(places), dim), np.float32)
        files, rows = places >> _ROW_BITS, places & ((1 << _ROW_BITS) - 1)
        for number in np.unique(files).tolist():
            try:
                bounds = self._group_bounds(number)
                here = np.flatnonzero(files == number)
                groups = np.searchsorted(bounds, rows[here], side="right") - 1
                for group in np.unique(groups).tolist():
                    chosen = here[groups == group]
                    out[chosen] = self._of_group(number, group, rows[chosen] - bounds[group])
            except (OSError, pa.ArrowException, Faulty) as error:
                raise Damaged(
                    f"{self._files[number].path}: its vectors cannot be read ({' '.join(str(error).split())[:160]}). What was imported so "
                    "far is whole and stays; put a good copy in its place, or move it away, and run the same command again"
                ) from error
        return out

    def _group_bounds(self, number: int) -> NDArray[np.int64]:
        if number not in self._bounds:
            meta = pq.read_metadata(self._files[number].path)
            sizes = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
            self._bounds[number] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return self._bounds[number]

    def _of_group(self, number: int, group: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        key = (number, group)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][rows]
        file, columns = open_wide(self._files[number].path)
        size = int(np.diff(self._bounds[number])[group])
        if size * len(columns) * 4 > _HELD_BYTES // 2:  # too large to hold: what is wanted is picked as it streams by
            return _picked(file, group, columns, rows)
        matrix = _matrix(file.read_row_group(group, columns=columns), columns)
        self._held[key] = matrix
        while sum(m.nbytes for m in self._held.values()) > _HELD_BYTES:
            self._held.popitem(last=False)
        return matrix[rows]

    def guesses(self, places: NDArray[np.int64]) -> Guesses:
        """Return the predictions at n places; -1 where the checkpoint's prediction file has none, or is not there."""
        n = len(places)
        index = np.full((n, self._k), -1, np.int32)
        logit = np.zeros((n, self._k), np.float32)
        numbers: dict[str, int] = {}
        files, rows = places >> _ROW_BITS, places & ((1 << _ROW_BITS) - 1)
        for number in np.unique(files).tolist():
            held = self._checkpoint(number)
            if held is None:
                continue
            guesses, lines = held
            here = np.flatnonzero(files == number)
            line = lines[rows[here]]
            here, line = here[line >= 0], line[line >= 0]
            known = np.array([numbers.setdefault(name, len(numbers)) for name in guesses.names] + [-1], np.int32)
            k = guesses.index.shape[1]
            index[here, :k] = known[guesses.index[line]]  # -1 finds the -1 at the end
            logit[here, :k] = guesses.logit[line]
        return Guesses(list(numbers), index, logit, scores(self._model, logit))

    def _checkpoint(self, number: int) -> tuple[CheckpointGuesses, NDArray[np.int64]] | None:
        if number not in self._guesses:
            self._guesses[number] = self._read_checkpoint(self._files[number])
            while len(self._guesses) > _GUESSES_HELD:
                self._guesses.popitem(last=False)
        self._guesses.move_to_end(number)
        return self._guesses[number]

    def _read_checkpoint(self, file: WideFile) -> tuple[CheckpointGuesses, NDArray[np.int64]] | None:
        if file.predictions in self._damaged or not Path(file.predictions).exists():
            return None
        try:
            k = top_k(file.predictions)
            guesses = CheckpointGuesses(read_guesses(file.predictions, k), k)
            small = open_wide(file.path)[0].read(columns=["file_path", "chunk_idx"])
        except (OSError, pa.ArrowException, Faulty) as error:
            raise Damaged(f"{file.predictions} changed while it was imported: {error}") from error
        paths = small["file_path"].combine_chunks().cast(pa.string())
        return guesses, guesses.lines_of(paths, small["chunk_idx"].cast(pa.int64()).to_numpy())


def _matrix(table: pa.Table, columns: Sequence[str]) -> NDArray[np.float32]:
    """Return columns side by side, float32 (n, dim): one copy a column and one of the whole."""
    turned = np.empty((len(columns), table.num_rows), np.float32)
    for i, name in enumerate(columns):
        turned[i] = table[name].to_numpy()
    return np.ascontiguousarray(turned.T)


def _picked(file: pq.ParquetFile, group: int, columns: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    out = np.empty((len(rows), len(columns)), np.float32)
    first = 0
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=list(columns)):
        here = np.flatnonzero((rows >= first) & (rows < first + batch.num_rows))
        if len(here):
            out[here] = _matrix(pa.Table.from_batches([batch]), columns)[rows[here] - first]
        first += batch.num_rows
    return out
