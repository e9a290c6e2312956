"""Vectors from a file: NumPy, CSV or JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_api.queries import WINDOWS_MAX, Query
from sonotheque.core.errors import Invalid, Limit, NotFound
from store import Archive

ENDINGS: Final = (".npy", ".csv", ".json")
_BYTES_MAX: Final = 1 << 30


def vector_query(archive: Archive, path: str) -> Query:
    """Return the vectors of a file as a query.

    Parameters
    ----------
    archive : Archive
    path : str
        ``.npy`` of one vector or of a row a vector, ``.csv`` of a line a vector, or ``.json`` with a list of numbers or of such
        lists.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        If it holds something else, or vectors that are not of the store's length, not finite, or zero.
    Limit
        If it holds more than 1,000 vectors.
    """
    file = Path(path)
    if file.suffix.lower() not in ENDINGS:
        raise Invalid(f"vector file {path}: the ending says the format, and must be {', '.join(ENDINGS)}")
    if not file.is_file():
        raise NotFound(f"there is no file {path}" if not file.exists() else f"{path} is a folder; name a file")
    size = file.stat().st_size
    if not size:
        raise Invalid(f"{path} has 0 bytes: it holds no vector")
    if size > _BYTES_MAX:
        raise Limit(f"{path} has {size:,} bytes; a file of query vectors has at most {_BYTES_MAX:,}")
    read = {".npy": _npy, ".csv": _csv, ".json": _json}[file.suffix.lower()]
    vectors = checked_vectors(archive, path, read(file))
    what = "1 vector" if len(vectors) == 1 else f"{len(vectors):,} vectors"
    return Query("vector", path, vectors, about=f"{what} of {file.name}")


def checked_vectors(archive: Archive, path: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return query vectors, float32 (m, dim), of the numbers in a file; raises as :func:`vector_query`."""
    spec = archive.config.model
    if values.ndim == 2 and values.shape[1] == 1 and values.shape[0] > 1:
        values = values[:, 0]  # one number a line is one vector
    if values.ndim not in (1, 2) or not values.size:
        raise Invalid(f"{path} has shape {values.shape}: expected one vector of {spec.dim:,} numbers, or one a row")
    values = np.atleast_2d(values)
    if values.shape[1] != spec.dim:
        raise Invalid(
            f"{path} holds vectors of {values.shape[1]:,} numbers, the store {archive.root} vectors of {spec.dim:,} ({spec.name})"
        )
    if len(values) > WINDOWS_MAX:
        raise Limit(f"{path} holds {len(values):,} vectors; a search takes at most {WINDOWS_MAX:,}")
    with np.errstate(over="ignore"):
        vectors = values.astype(np.float32)
    for number, vector in enumerate(vectors, 1):
        which = path if len(vectors) == 1 else f"{path}, vector {number:,} of {len(vectors):,}"
        wrong = int(np.count_nonzero(~np.isfinite(vector)))
        if wrong:
            raise Invalid(f"{which}: {wrong:,} of its {len(vector):,} numbers are NaN or infinite")
        if not vector.any():
            raise Invalid(
                f"{which}: all its {len(vector):,} numbers are zero, so it points nowhere and nothing is near it"
            )
    return vectors


def _npy(file: Path) -> NDArray[Any]:
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Invalid(f"{file} is no NumPy array: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise Invalid(f"{file} holds {getattr(values, 'dtype', type(values).__name__)}; expected real numbers")
    return values


def _csv(file: Path) -> NDArray[Any]:
    rows: list[list[float]] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            for number, cells in enumerate(csv.reader(handle), 1):
                if any(cell.strip() for cell in cells):
                    rows.append(_numbers(cells, f"{file} line {number:,}"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"{file} is no CSV text: {error}") from error
    return _even(rows, str(file))


def _json(file: Path) -> NDArray[Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Invalid(f"{file} is no JSON: {error}") from error
    if not isinstance(value, list) or not value:
        raise Invalid(f"{file}: expected a list of numbers, or of such lists")
    lists = value if isinstance(value[0], list) else [value]
    if not all(isinstance(one, list) for one in lists):
        raise Invalid(f"{file}: expected a list of numbers, or of such lists, not both")
    return _even([_numbers(one, f"{file}, list {i:,}") for i, one in enumerate(lists, 1)], str(file))


def _numbers(cells: list[Any], where: str) -> list[float]:
    out = []
    for cell in cells:
        value = _number(cell)
        if value is None:
            raise Invalid(f"{where}: {str(cell)[:40]!r} is no number")
        out.append(value)
    return out


def _number(cell: Any) -> float | None:
    if not isinstance(cell, str | int | float) or isinstance(cell, bool):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


def _even(rows: list[list[float]], name: str) -> NDArray[Any]:
    if not rows or not rows[0]:
        raise Invalid(f"{name} holds no vector")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise Invalid(f"{name}: vector {number:,} has {len(row):,} numbers, the first has {len(rows[0]):,}")
    return np.array(rows, np.float64)
