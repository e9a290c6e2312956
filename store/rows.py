"""Rows of one recording, as the embedder hands them over, turned into Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged
from sonotheque.core.recording import Recording, printable_path
from sonotheque.core.windows import WindowRule
from store.schema import embeddings_schema, predictions_schema

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class TopClasses:
    """The best classes of each window, best first.

    Attributes
    ----------
    index : int32, (n, k)
        Class numbers.
    logit, score : float32, (n, k)
    """

    index: NDArray[np.int32]
    logit: NDArray[np.float32]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Consecutive windows of one recording.

    Attributes
    ----------
    recording : Recording
    start_samples, valid_samples : int64, (n,)
        At the model's rate.
    embeddings : float32, (n, dim)
        Every element finite.
    top : TopClasses or None
    """

    recording: Recording
    start_samples: NDArray[np.int64]
    valid_samples: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    top: TopClasses | None


def _microseconds(moment: datetime | None, seconds: NDArray[np.float64]) -> NDArray[np.int64] | None:
    if moment is None:
        return None
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    delta = naive - _EPOCH
    base = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return base + np.rint(seconds * 1e6).astype(np.int64)


def _moments(values: NDArray[np.int64] | None, n: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(n, kind) if values is None else pa.array(values, pa.int64()).cast(kind)


def _window_columns(rows: WindowRows, rule: WindowRule, repeat: int) -> dict[str, pa.Array]:
    """Return the columns that both datasets share, each window ``repeat`` times."""
    start = np.repeat(rows.start_samples, repeat)
    n = len(start)
    start_s = start / (rule.sample_rate_hz * rule.rate_factor)
    time = rows.recording.time
    path = pa.array([printable_path(rows.recording.source.path)]).take(pa.array(np.zeros(n, np.int32)))
    return {
        "recording_id": pa.array(np.full(n, rows.recording.recording_id, np.int64)),
        "path": path,
        "start_sample": pa.array(start),
        "start_s": pa.array(start_s),
        "end_s": pa.array(start_s + rule.window_s),
        "utc_start": _moments(_microseconds(time.utc_start, start_s), n, pa.timestamp("us", tz="UTC")),
        "local_start": _moments(_microseconds(time.local_start, start_s), n, pa.timestamp("us")),
    }


def embeddings_table(rows: WindowRows, rule: WindowRule, dtype: str) -> pa.Table:
    """Return the rows of the embeddings dataset.

    Raises
    ------
    Damaged
        If a vector is not finite once cast to the store's dtype: such a vector would poison every search.
    """
    with np.errstate(over="ignore"):
        vectors = rows.embeddings.astype(np.float16 if dtype == "float16" else np.float32)
    if not np.isfinite(vectors).all():
        largest = float(np.abs(rows.embeddings).max()) if np.isfinite(rows.embeddings).all() else float("nan")
        raise Damaged(
            f"{rows.recording.source.path}: a vector is not finite as {dtype} (largest value {largest:g}); "
            "values above 65,504 need a store made with --dtype float32"
        )
    schema = embeddings_schema(vectors.shape[1], dtype)
    columns = _window_columns(rows, rule, 1)
    columns["valid_s"] = pa.array(rows.valid_samples / (rule.sample_rate_hz * rule.rate_factor))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(vectors).ravel()), type=schema.field("embedding").type
    )
    return pa.table([columns[name] for name in schema.names], schema=schema)


def predictions_table(rows: WindowRows, rule: WindowRule, classes: pa.Array) -> pa.Table | None:
    """Return the rows of the predictions dataset, ``k`` for each window; None without classes."""
    if rows.top is None:
        return None
    n, k = rows.top.index.shape
    columns = _window_columns(rows, rule, k)
    columns["rank"] = pa.array(np.tile(np.arange(1, k + 1, dtype=np.int16), n))
    columns["label"] = classes.take(pa.array(rows.top.index.ravel()))
    columns["logit"] = pa.array(rows.top.logit.ravel())
    columns["score"] = pa.array(rows.top.score.ravel())
    schema = predictions_schema()
    return pa.table([columns[name] for name in schema.names], schema=schema)
