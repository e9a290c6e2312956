"""Text that other programs read: names split, times with their offset, nothing that breaks a line or runs as a formula."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from io import BytesIO
from typing import IO, Final

import polars as pl

from sonotheque.core.formulas import FORMULA

DECIMALS: Final = 6  # of seconds and scores: a microsecond, and below what a float32 score holds
_CONTROL: Final = r"[\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]"
_NAME_BYTES_MAX: Final = 240  # of one name: most file systems hold 255
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def one_line(column: str) -> pl.Expr:
    """Return a text column without tabs, line ends and other control characters: each becomes a space."""
    return pl.col(column).str.replace_all(_CONTROL, " ")


def common_or_label(frame_column: str = "common") -> pl.Expr:
    """Return the common name, or the label itself where it has none: the column that people look at is never empty."""
    return pl.coalesce(frame_column, "label")


def rounded(column: str) -> pl.Expr:
    """Return a column of seconds or scores to a millionth."""
    return pl.col(column).cast(pl.Float64).round(DECIMALS)


def local_iso(local: str = "local_start", utc: str = "utc_start") -> pl.Expr:
    """Return the local time as ISO 8601 text to a millisecond, with its offset from UTC where that is known."""
    minutes = ((pl.col(local) - pl.col(utc).dt.replace_time_zone(None)).dt.total_seconds() / 60).round().cast(pl.Int64)
    size = minutes.abs()
    sign = pl.when(minutes < 0).then(pl.lit("-")).otherwise(pl.lit("+"))
    clock = [(size // 60).cast(pl.String).str.zfill(2), pl.lit(":"), (size % 60).cast(pl.String).str.zfill(2)]
    offset = pl.concat_str([sign, *clock]).fill_null("")
    return pl.concat_str([pl.col(local).dt.round("1ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3f"), offset])


def utc_iso(utc: str = "utc_start") -> pl.Expr:
    """Return a UTC time as ISO 8601 text to a millisecond, with ``Z``."""
    return pl.col(utc).dt.replace_time_zone(None).dt.round("1ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")


def week_48(local: str = "local_start") -> pl.Expr:
    """Return BirdNET's week of the year, 1 to 48: four to a month, the fourth up to the month's end."""
    date = pl.col(local).dt
    return (date.month().cast(pl.Int64) - 1) * 4 + ((date.day().cast(pl.Int64) - 1) // 7).clip(0, 3) + 1


def inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose texts no spreadsheet runs as formulas: those that could be one get a leading apostrophe."""
    texts = [c for c, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(
        pl.when(pl.col(c).str.contains(FORMULA)).then(pl.lit("'") + pl.col(c)).otherwise(pl.col(c)).alias(c)
        for c in texts
    )


def write_csv(frame: pl.DataFrame, handle: IO[bytes], *, header: bool) -> None:
    """Append rows to a CSV file: UTF-8, quoted where needed, an empty field for null, formulas made inert."""
    texts = [c for c, kind in frame.schema.items() if kind == pl.String]
    plain = inert(frame).with_columns(pl.when(pl.col(c) != "").then(pl.col(c)).alias(c) for c in texts)
    text = BytesIO()  # not into the file itself: Polars' own writing has errors without a number
    plain.write_csv(text, include_header=header, quote_style="necessary", float_scientific=False)
    handle.write(text.getbuffer())


def write_tabbed(frame: pl.DataFrame, handle: IO[bytes], *, header: bool) -> None:
    """Append rows to a tab-separated file without quotes; no text may hold a tab or a line end (:func:`one_line`)."""
    text = BytesIO()
    frame.write_csv(text, include_header=header, separator="\t", quote_style="never", float_scientific=False)
    handle.write(text.getbuffer())


def safe_name(text: str, *, bytes_max: int = _NAME_BYTES_MAX) -> str:
    """Return a text as one name that any file system takes: no separator, no control character, not too long."""
    name = _NOT_IN_NAMES.sub("_", text).encode("utf-8", "backslashreplace").decode("utf-8")
    name = _NOT_IN_NAMES.sub("_", name).rstrip(" .")
    if not name or set(name) <= {"."}:
        name = "_" * max(1, len(text))
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    raw = name.encode()
    if len(raw) <= bytes_max:
        return name
    mark = f"~{short_digest(text)}"
    return raw[: bytes_max - len(mark)].decode("utf-8", "ignore") + mark


def short_digest(text: str) -> str:
    """Return eight hexadecimal digits that follow from a text."""
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()


def names_for(paths: Iterable[str], ending: str) -> list[str]:
    """Return a relative file name for each recording: its folders, its stem, and an ending; no two the same.

    Two recordings of one stem keep their own endings (``a.wav`` and ``a.flac``); names that only case, or a character
    that not every file system takes, would tell apart get a mark that follows from the path.

    Parameters
    ----------
    paths : iterable of str
        As stored; whatever they hold, the names stay below the folder they are written to.
    ending : str
        As ``.selection.table.txt``.
    """
    paths = list(paths)
    room = _NAME_BYTES_MAX - len(ending.encode())
    folders = ["/".join(safe_name(part) for part in path.split("/")[:-1]) for path in paths]
    files = [path.rsplit("/", 1)[-1] for path in paths]
    stems = [file.rpartition(".")[0] or file for file in files]

    def joined(names: list[str]) -> list[str]:
        return [f"{a}/{b}" if a else b for a, b in zip(folders, names, strict=True)]

    names = joined([safe_name(stem, bytes_max=room) for stem in stems])
    longer = joined([safe_name(file, bytes_max=room) for file in files])
    names = _where_doubled(names, longer)
    return [
        name + ending
        for name in _where_doubled(names, [f"{n}~{short_digest(p)}" for n, p in zip(names, paths, strict=True)])
    ]


def _where_doubled(names: list[str], others: list[str]) -> list[str]:
    import unicodedata
    from collections import Counter

    folded = [unicodedata.normalize("NFC", name).casefold() for name in names]
    count = Counter(folded)
    return [other if count[key] > 1 else name for name, key, other in zip(names, folded, others, strict=True)]
