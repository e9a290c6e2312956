"""A result in the shape its user works with: Arrow, Polars or pandas; identities as NumPy."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid, Unavailable

IDS = np.dtype([("recording_id", np.int64), ("start_sample", np.int64)])
RESULTS: Final = ("arrow", "polars", "pandas")


def shaped(table: pa.Table, result: str) -> Any:
    """Return a table as ``pyarrow.Table``, ``polars.DataFrame`` or ``pandas.DataFrame``.

    Raises
    ------
    Invalid
        If ``result`` is none of ``RESULTS``.
    Unavailable
        If pandas is asked for and not installed.
    """
    if result == "arrow":
        return table
    if result == "polars":
        import polars as pl

        return pl.from_arrow(table)
    if result == "pandas":
        try:
            return table.to_pandas()
        except ImportError as error:
            raise Unavailable(
                "pandas is not installed: `pip install pandas`, or ask for result='polars'", kind="engine_missing"
            ) from error
    raise Invalid(f"result={result!r}: expected one of {', '.join(RESULTS)}")


def ids_of(windows: pa.Table) -> NDArray[Any]:
    """Return the identities of windows as a structured array (``recording_id``, ``start_sample``; int64)."""
    ids = np.empty(windows.num_rows, IDS)
    for name in ("recording_id", "start_sample"):
        ids[name] = windows[name].to_numpy()
    return ids
