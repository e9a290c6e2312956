"""Place and time of indexed windows, in a memory-mapped Arrow file beside the vectors: what a filter inside the search asks.

Row ``i`` of the table is row ``i`` of the segment; superseded rows are null and not ``live``. A table follows from the parts and from
the metadata; it is made again, in seconds, when either has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sonotheque.core.errors import Unavailable
from sonotheque.core.ids import digest_of
from store import layout
from store.archive import Archive
from store.config import temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.index.columns import values
from store.index.files import damaged_files, put_file
from store.index.manifest import IndexFile, IndexVersion, Segment

_TEXT = ("site", "deployment", "path")
COLUMNS = (
    *("recording_id", "start_sample", "site", "deployment", "path", "date", "local_start", "utc_start"),
    *("minutes_since_sunrise", "minutes_since_sunset", "start_s", "end_s", "valid_s"),
)
_FORM = 1  # of the table
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)
Parts = Sequence[tuple[str, int]]


def windows_of(archive: Archive, parts: Parts) -> pa.Table:
    """Return the table of some parts' rows, made from the catalog.

    Returns
    -------
    pyarrow.Table, (rows,)
        ``COLUMNS`` as in the view ``windows``, texts as dictionaries, ``live`` (bool) and ``row`` (int32).
    """
    n = sum(rows for _, rows in parts)
    firsts = np.concatenate([[0], np.cumsum([rows for _, rows in parts])])[:-1].astype(np.int64)
    asked = pa.table({"part_id": pa.array([p for p, _ in parts], pa.string()), "first": pa.array(firsts)})
    columns = ", ".join(f"w.{c}" for c in COLUMNS)
    found = archive.sql_with(
        {"_asked": asked},
        f"SELECT {columns}, a.first + w.part_row AS place FROM windows w JOIN _asked a USING (part_id) ORDER BY place",
    )
    at = values(found["place"])
    live = np.zeros(n, np.bool_)
    live[at] = True
    table = found.select(list(COLUMNS))
    if found.num_rows < n:
        taken = np.zeros(n, np.int64)
        taken[at] = np.arange(found.num_rows)
        table = table.take(pa.array(taken, mask=~live))
    for name in _TEXT:
        place = table.column_names.index(name)
        table = table.set_column(place, name, pc.dictionary_encode(table[name]).unify_dictionaries().combine_chunks())
    table = table.append_column("live", pa.array(live))
    return table.append_column("row", pa.array(np.arange(n, dtype=np.int32))).combine_chunks()


class WindowTables:
    """Finds or makes the tables of an index's segments, for an archive's snapshot and metadata.

    Parameters
    ----------
    archive : Archive
    ops : FileOps, optional
    """

    def __init__(self, archive: Archive, ops: FileOps | None = None) -> None:
        self._archive = archive
        self._base = archive.catalog.base
        self._ops = ops or ops_of(archive.root)

    def open(self, version: IndexVersion) -> list[pa.Table]:
        """Return the tables of all segments, mapped into memory."""
        listed = self._list_path(version)
        with contextlib.suppress(*_UNREADABLE):
            files = self._listed(listed, version)
            if all(os.path.getsize(f"{self._base}/{f.path}") == f.bytes for f in files):
                tables = [_mapped(f"{self._base}/{f.path}") for f in files]
                if [t.num_rows for t in tables] == [s.rows for s in version.segments]:
                    return tables
        try:
            files = [self._made(segment) for segment in version.segments]
            self._list(listed, version, files)
        except Unavailable as error:
            if error.kind not in ("read_only", "disk_full"):
                raise
            return [windows_of(self._archive, segment.parts) for segment in version.segments]
        return [_mapped(f"{self._base}/{f.path}") for f in files]

    def damaged(self, version: IndexVersion) -> list[str]:
        """Return what is wrong with the tables that there are, by reading all of them."""
        with contextlib.suppress(*_UNREADABLE):
            return damaged_files(self._base, self._listed(self._list_path(version), version))
        return []

    def _list_path(self, version: IndexVersion) -> str:
        manifest = self._archive.catalog.manifest
        return f"{self._base}/{layout.index_windows_list(manifest.snapshot, manifest.metadata, version.number)}"

    def _listed(self, listed: str, version: IndexVersion) -> list[IndexFile]:
        value = json.loads(self._ops.read(listed))
        if value["segments"] != [_name(s) for s in version.segments]:
            raise ValueError("it is of other segments")
        return [IndexFile(**f) for f in value["files"]]

    def _list(self, listed: str, version: IndexVersion, files: list[IndexFile]) -> None:
        value = {"segments": [_name(s) for s in version.segments], "files": [asdict(f) for f in files]}
        with store_errors(self._base):
            self._ops.unlink(listed)  # one that could not be read, or of files that are gone
            data = json.dumps(value).encode()
            put_new(self._ops, f"{self._base}/{layout.TMP}", temp_name("windows"), listed, data)

    def _made(self, segment: Segment) -> IndexFile:
        def write(handle: Any) -> None:
            table = windows_of(self._archive, segment.parts)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            handle.write(sink.getvalue())

        return put_file(self._base, "windows", self._digest(segment), "arrow", write, self._ops)

    def _digest(self, segment: Segment) -> str:
        """Return a digest of all that the table follows from."""
        import polars as pl

        from store.catalog.files import frame_digest

        names = pa.table({"part_id": pa.array([p for p, _ in segment.parts], pa.string())})
        query = (
            "SELECT recording_id, path, site, deployment, date, local_start, utc_start, latitude, longitude, r.part_id "
            "FROM recordings r JOIN _asked a USING (part_id) ORDER BY recording_id"
        )
        found = pl.DataFrame(self._archive.sql_with({"_asked": names}, query))
        return digest_of([_FORM, self._archive.config.digest, list(segment.parts), frame_digest(found)])


def _name(segment: Segment) -> str:
    return digest_of(list(segment.parts))


def _mapped(path: str) -> pa.Table:
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()
