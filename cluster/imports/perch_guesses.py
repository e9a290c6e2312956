"""The prediction files of perch-cpu-inference: one CSV a checkpoint, ten classes a window in two times ten columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from cluster.imports.perch_files import Faulty
from embedder.models.arrays import sigmoid
from embedder.models.perch import SCORE_RULES, V2_INTERCEPT, V2_SLOPE

_TOP: Final = re.compile(r"top([1-9]\d*)")
_KEYS: Final = {"file_path": pa.string(), "chunk_idx": pa.int64()}


def score_rule(model: str) -> str:
    """Return the name of a model's rule from logit to score."""
    return SCORE_RULES.get(model, "sigmoid(logit)")


def scores(model: str, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores in [0, 1] by the model's rule; same shape."""
    if model == "perch_v2":
        return sigmoid(V2_SLOPE * np.asarray(logits, np.float64) + V2_INTERCEPT)
    return sigmoid(logits)


def top_k(path: str) -> int:
    """Return how many classes a row of a prediction file has; 0 if it has no such columns.

    Raises
    ------
    Faulty
        If it has no header.
    """
    try:
        with Path(path).open(encoding="utf-8") as handle:
            header = handle.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise Faulty(f"cannot be read ({error})") from error
    if not header.strip():
        raise Faulty("is empty")
    titles = {title.strip('"') for title in header.rstrip("\r\n").split(",")}
    numbers = {int(match[1]) for title in titles if (match := _TOP.fullmatch(title))}
    k = 0
    while k + 1 in numbers and f"score{k + 1}" in titles:
        k += 1
    if not k or not {"file_path", "chunk_idx"} <= titles:
        raise Faulty("its header lacks some of file_path, chunk_idx, top1, score1")
    return k


def read_guesses(path: str, k: int) -> pa.Table:
    """Read a prediction file: ``file_path``, ``chunk_idx``, ``top1`` to ``top<k>`` (dictionaries) and ``score1`` to ``score<k>``.

    Raises
    ------
    Faulty
        If it is not whole: a line with too few cells, a number that is none.
    """
    types: dict[str, Any] = dict(_KEYS)
    for i in range(1, k + 1):
        types |= {f"top{i}": pa.dictionary(pa.int32(), pa.string()), f"score{i}": pa.float32()}
    try:
        with Path(path).open("rb") as handle:
            handle.seek(0, 2)
            if handle.tell():
                handle.seek(-1, 2)
                if handle.read(1) != b"\n":
                    raise Faulty("ends in the middle of a line: the run was stopped while it was written")
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(use_threads=False),
            convert_options=pacsv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise Faulty(f"cannot be read ({' '.join(str(error).split())[:200]})") from error
    for name in _KEYS:
        if table[name].null_count:
            raise Faulty(f"has a line without {name}")
    return table


class CheckpointGuesses:
    """The guesses of one checkpoint: as many rows as its prediction file has lines.

    Attributes
    ----------
    names : list of str
        Distinct classes.
    index : int32, (n, k)
        Into ``names``; -1 where there is none.
    logit : float32, (n, k)
    """

    def __init__(self, table: pa.Table, k: int) -> None:
        n = table.num_rows
        self.names: list[str] = []
        self.index = np.full((n, k), -1, np.int32)
        self.logit = np.zeros((n, k), np.float32)
        self.paths = table["file_path"].combine_chunks()
        self.chunks = table["chunk_idx"].to_numpy()
        numbers: dict[str, int] = {}
        for i in range(k):
            encoded = table[f"top{i + 1}"].unify_dictionaries().combine_chunks()
            known = np.array(
                [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()], np.int32
            )
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            logits = table[f"score{i + 1}"].to_numpy()
            there = (codes >= 0) & np.isfinite(logits)
            if i:
                there &= self.index[:, i - 1] >= 0  # no guess after one that is missing
            self.index[there, i] = known[codes[there]]
            self.logit[there, i] = logits[there]
        self.names = list(numbers)

    def lines_of(self, paths: pa.Array, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the line of each (file_path, chunk_idx); of several the last, -1 if there is none."""
        if len(paths) == len(self.paths) and np.array_equal(chunks, self.chunks) and paths.equals(self.paths):
            return np.arange(len(paths), dtype=np.int64)
        lines = {key: i for i, key in enumerate(zip(self.paths.to_pylist(), self.chunks.tolist(), strict=True))}
        wanted = zip(paths.to_pylist(), chunks.tolist(), strict=True)
        return np.array([lines.get(key, -1) for key in wanted], np.int64)
