"""A result in the shape its user works with: Arrow, Polars or pandas."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from sonotheque.core.errors import Invalid, Unavailable

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
