"""A value of a query's result as JSON has it, and as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Times are ISO 8601, with ``Z`` if they are instants and without anything if they are a site's clock; what is not a
    finite number is null; bytes are hexadecimal; an interval is text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return _instant(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} s"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def column_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column as :func:`plain` values; float32 in its own shortest digits, 0.9 and not 0.8999999761581421."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)  # Python's times go to a microsecond
    return [_of_type(kind)(value) for value in column.to_pylist()]


def column_texts(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column as :func:`column_values`, its times with a space: ``2019-05-22 04:15:00Z``."""
    values = column_values(column)
    return [v.replace("T", " ", 1) if v else v for v in values] if pa.types.is_timestamp(column.type) else values


def _of_type(kind: pa.DataType) -> Callable[[Any], Any]:
    if pa.types.is_float32(kind):
        return _short
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        inner = _of_type(kind.value_type)
        return lambda values: None if values is None else [inner(v) for v in values]
    return plain


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(str(np.float32(value)))


def for_people(value: Any) -> str:
    """Return a :func:`plain` value as a table shows it: null as nothing, no more than six decimals, one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        small = value != 0 and abs(value) < 1e-4
        return f"{value:.4g}" if small or abs(value) >= 1e15 else f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return f"[{', '.join(for_people(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {for_people(v)}' for k, v in value.items())}}}"
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
