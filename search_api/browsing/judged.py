"""Annotations page by page, newest first, and as files that another program reads, made while they are sent."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from search_api.annotations import list_annotations, matching
from search_api.browsing.cursors import Cursor, decode, list_digest
from search_api.browsing.recordings import annotation_row
from search_api.browsing.windows import ListPage
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.annotations import AnnotationLog
from store.annotations.asking import named, page_of
from store.annotations.files import laid_out
from store.annotations.formats import FORMATS
from store.formats.text import write_csv

EXPORTS: Final = ("csv", "json", "raven", "audacity")
_ROWS: Final = 5_000  # of a block that is sent
_CHUNK_BYTES: Final = 1 << 16
_FOR_EXPORT: Final = "SELECT recording_id, path, duration_s, sample_rate_hz, site, deployment, utc_start, utc_offset_min, channels FROM recordings"


@dataclass(frozen=True, slots=True)
class Only:
    """Which annotations.

    Attributes
    ----------
    label, annotator, judgement : str or None
    recording : str or None
        A stored path; ``*`` and ``?`` stand for any characters and any one.
    """

    label: str | None = None
    annotator: str | None = None
    recording: str | None = None
    judgement: str | None = None

    def to_json(self) -> list[str | None]:
        """Return what was asked for."""
        return [self.label, self.annotator, self.recording, self.judgement]


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is made while it is sent.

    Attributes
    ----------
    name : str
    media_type : str
    annotations : int
    chunks : iterator of bytes
    """

    name: str
    media_type: str
    annotations: int
    chunks: Iterator[bytes]


def list_judged(root: str, only: Only, *, limit: int, cursor: str | None = None) -> ListPage:
    """Return a page of the annotations that count, newest first.

    Raises
    ------
    NotFound
        If no annotation ever had the label, annotator or recording; near names are told.
    Invalid
        If the cursor is none of this list.
    """
    of = list_digest("annotations", only.to_json())
    before = None if cursor is None else decode(cursor, of, "", [int])[0]
    found = page_of(
        root,
        before_id=before,
        limit=limit + 1,
        label=only.label,
        annotator=only.annotator,
        judgement=only.judgement,
        path_glob=only.recording,
    )
    if not found.num_rows and cursor is None:
        _require_known(root, only)
    rows = [annotation_row(row) for row in found.slice(0, limit).to_pylist()]
    more = found.num_rows > limit
    return ListPage(rows, Cursor(of, "", (rows[-1]["annotation_id"],)).encode() if more else None)


def _require_known(root: str, only: Only) -> None:
    """Raise NotFound for a name that no annotation ever had; one whose annotations were all undone is known, and has none."""
    for column, wanted in (("label", only.label), ("annotator", only.annotator), ("path", only.recording)):
        if wanted is None or _among(set(named(root, column)), column, wanted):
            continue
        known = set(AnnotationLog(root).events()[column].unique().to_pylist())  # those that were undone, too
        if not _among(known, column, wanted):
            what = "recording" if column == "path" else column
            raise NotFound(f"no annotation has the {what} {wanted!r}; {did_you_mean(wanted, sorted(known))}")


def _among(known: set[str], column: str, wanted: str) -> bool:
    return bool(matching(known, wanted)) if column == "path" else wanted in known


def export_judged(archive: Archive, form: str, only: Only) -> Export:
    """Return the annotations that count as a file for another program.

    Parameters
    ----------
    archive : Archive
    form : str
        ``csv`` and ``json``: everything that is known of each. ``raven`` and ``audacity``: a table for each recording, in one ZIP file;
        only positive ones unless another judgement is asked for, since those programs would take a negative for a sound that is there.
    only : Only

    Raises
    ------
    Invalid
        If there is no such form.
    NotFound
        If there is nothing to write.
    """
    if form not in EXPORTS:
        raise Invalid(f"form {form!r}: {did_you_mean(form, EXPORTS)}")
    wanted = only.judgement or ("positive" if form in ("raven", "audacity") else None)
    table = list_annotations(archive.root, label=only.label, annotator=only.annotator, recording=only.recording)
    kept = table if wanted is None else table.filter(pc.equal(table["judgement"], wanted))
    if not kept.num_rows and form in ("raven", "audacity"):
        raise NotFound(f"there are no such annotations to write ({table.num_rows:,} of other judgements)")
    if form == "csv":
        return Export("annotations.csv", "text/csv; charset=utf-8", kept.num_rows, _csv(kept))
    if form == "json":
        return Export("annotations.json", "application/json", kept.num_rows, _json(kept))
    recordings = archive.sql(_FOR_EXPORT)
    return Export(f"annotations-{form}.zip", "application/zip", kept.num_rows, _zipped(form, kept, recordings))


def _csv(table: pa.Table) -> Iterator[bytes]:
    for first in range(0, max(table.num_rows, 1), _ROWS):
        block = pl.from_arrow(table.slice(first, _ROWS))
        text = io.BytesIO()
        if isinstance(block, pl.DataFrame):
            times = pl.col("created_utc").dt.replace_time_zone(None).dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")
            ids = pl.col("recording_id").cast(pl.String)  # a spreadsheet rounds what has more than 15 digits
            write_csv(block.with_columns(ids, times), text, header=first == 0)
        yield text.getvalue()


def _json(table: pa.Table) -> Iterator[bytes]:
    """Yield one JSON list, a block of rows at a time."""
    yield b"["
    for first in range(0, table.num_rows, _ROWS):
        rows = table.slice(first, _ROWS).to_pylist()
        text = ",\n".join(json.dumps(annotation_row(row), ensure_ascii=False) for row in rows)
        yield (",\n" if first else "").encode() + text.encode()
    yield b"]\n"


def _zipped(form: str, table: pa.Table, recordings: pa.Table) -> Iterator[bytes]:
    """Yield a ZIP file with one table a recording."""
    sink = _Sink()
    files = laid_out(FORMATS[form], table, recordings, Path(_FOLDER))
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            # One time for all: equal annotations give equal bytes.
            entry = zipfile.ZipInfo(path.relative_to(_FOLDER).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
            yield from sink.taken(_CHUNK_BYTES)
    yield from sink.taken(0)


_FOLDER: Final = "annotations of this archive"  # never made: only names below it are used


class _Sink(io.RawIOBase):
    """What a ZIP file is written into: bytes that wait to be sent. It cannot go back, so that nothing needs to be kept."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        self._held += data
        self._at += len(data)
        return len(data)

    def taken(self, least: int) -> Iterator[bytes]:
        """Yield what is held, if it is more than ``least`` bytes."""
        if len(self._held) > least:
            yield bytes(self._held)
            self._held.clear()
