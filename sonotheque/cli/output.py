"""What the command line prints: text for people, one JSON document for machines. The only module that writes to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO


def say(text: str = "") -> None:
    """Print a line for people on stdout."""
    sys.stdout.write(_writable(text) + "\n")


def tell(text: str) -> None:
    """Print a line on stderr: progress, notes, errors."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def document(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(_writable(json.dumps(value, indent=2, ensure_ascii=False, default=str)) + "\n")


def binary_output() -> BinaryIO:
    """Return stdout for bytes that are right as they are: CSV in UTF-8."""
    sys.stdout.flush()
    return sys.stdout.buffer


def _writable(text: str) -> str:
    """Return text that stdout takes: bytes of a path that are not UTF-8 as ``\\udcXX``, which is JSON's own escape too."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def seconds(value: float | None) -> str:
    """Return a duration in the largest two units that matter."""
    if value is None:
        return "?"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    for unit, size, below, small in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {below}"
    return f"{whole} s"


def audio(value_s: float) -> str:
    """Return an amount of audio."""
    return (
        f"{value_s:.1f} s"
        if value_s < 60
        else f"{value_s / 60:.1f} min"
        if value_s < 3600
        else f"{value_s / 3600:,.1f} h"
    )


def size(value: float) -> str:
    """Return an amount of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def label(value: str) -> str:
    """Return a class label for people: ``Poecile atricapillus_Black-capped Chickadee`` with the common name first."""
    scientific, mark, common = value.partition("_")
    return f"{common} ({scientific})" if mark and common != scientific else scientific


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[int] = ()) -> str:
    """Return an aligned table; columns numbered in ``right`` are set flush right."""
    cells = [[str(h) for h in headings], *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]

    def line(row: list[str]) -> str:
        set_ = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(set_).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])
