"""Rewrites a group of parts as one: live rows bit for bit, in order of path and start, a row group at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sonotheque.core.errors import Damaged
from sonotheque.core.ids import digest_of, file_sha256
from store.care.selection import Group
from store.config import StoreConfig
from store.fsops import FileOps
from store.ledger import LedgerFile, Part, read_part
from store.live import Held, ancestors
from store.part_writer import Committed, PartWriter
from store.schema import embeddings_schema, predictions_schema

_OPEN_FILES = 16
_ID_VERSION = 2  # of the rule for a compacted part's id (FORMAT.md, section 6)


class SourceFault(Damaged):
    """A part that was to be rewritten does not read as it was committed."""

    def __init__(self, embeddings: str, relative: str, why: str) -> None:
        super().__init__(
            f"{relative} {why}; nothing of it was copied, and it stays as it is. `sonotheque verify --deep` lists all damage; "
            "compact --skip-damaged leaves such parts alone and goes on with the others"
        )
        self.embeddings, self.relative, self.why = embeddings, relative, why

    def __reduce__(self) -> tuple[object, ...]:
        return (SourceFault, (self.embeddings, self.relative, self.why))


class _Files:
    """Parquet files open for reading, few at a time: a group may have more parts than a process may have open files."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._groups: dict[str, tuple[int, pa.Table]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close_oldest()

    def file(self, relative: str) -> pq.ParquetFile:
        """Return a file, opened again if it was closed to make room."""
        if relative not in self._open:
            if len(self._open) >= _OPEN_FILES:
                self._close_oldest()
            self._open[relative] = pq.ParquetFile(f"{self._root}/{relative}")
        self._open.move_to_end(relative)
        return self._open[relative]

    def group(self, relative: str, number: int) -> pa.Table:
        """Return a row group; the last one of each open file is kept."""
        file = self.file(relative)
        held = self._groups.get(relative)
        if held is None or held[0] != number:
            held = self._groups[relative] = (number, file.read_row_group(number))
        return held[1]

    def _close_oldest(self) -> None:
        relative, file = self._open.popitem(last=False)
        self._groups.pop(relative, None)
        file.close()


class _Rows:
    """Rows of one Parquet file, by recording."""

    def __init__(self, part: Part, files: _Files, relative: str, schema: pa.Schema) -> None:
        self._part, self._files, self._relative, self._schema = part, files, relative, schema
        try:
            file = files.file(relative)
            if not file.schema_arrow.equals(schema, check_metadata=False):
                raise SourceFault(
                    part.embeddings, relative, "has other columns than this format's: copying would lose them"
                )
            ids = file.read(columns=["recording_id"])["recording_id"].to_numpy()
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            raise self._fault(f"cannot be read: {error}") from error
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        cuts = np.flatnonzero(np.diff(ids)) + 1
        starts, ends = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(ids)]])
        self.runs: dict[int, tuple[int, int]] = {}
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if len(ids) else ():
            if int(ids[start]) in self.runs:
                raise self._fault("has rows of one recording in two places")
            self.runs[int(ids[start])] = (start, end)

    def _fault(self, why: str) -> SourceFault:
        return SourceFault(self._part.embeddings, self._relative, why)

    def of(self, recording: int) -> Iterator[pa.Table]:
        """Yield a recording's rows, as they are."""
        row, end = self.runs.get(recording, (0, 0))
        while row < end:
            group = int(np.searchsorted(self._firsts, row, side="right")) - 1
            last = min(end, int(self._firsts[group + 1]))
            try:
                table = self._files.group(self._relative, group)
            except (OSError, pa.ArrowException) as error:
                raise self._fault(f"cannot be read: {error}") from error
            taken = table.slice(row - int(self._firsts[group]), last - row)
            yield pa.Table.from_arrays(taken.columns, schema=self._schema)
            row = last


@dataclass(slots=True)
class _Source:
    part: Part
    embeddings: _Rows
    predictions: _Rows | None


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Makes compacted parts.

    Attributes
    ----------
    root : str
    config : StoreConfig
    superseded : mapping
        Part id -> ids of its recordings that are not copied.
    holders : mapping
        Recording id -> the parts that hold it, for recordings that several do.
    digests : mapping
        Part id -> SHA-256 of its embeddings file, as far as snapshots tell: damaged bytes must not be copied into a sound file.
    ops : FileOps
    """

    root: str
    config: StoreConfig
    superseded: Mapping[str, set[int]]
    holders: Mapping[int, Sequence[Held]]
    digests: Mapping[str, str]
    ops: FileOps

    def rewrite(self, group: Group) -> tuple[str, Committed]:
        """Write and commit the part that takes the place of a group; return its id and what was written.

        Raises
        ------
        SourceFault
            If a part of the group is damaged; nothing is committed.
        Unavailable
            Disk full or read-only; nothing is committed.
        """
        with _Files(self.root) as files_open:
            sources = [self._open(part, files_open) for part in group.parts]
            taken = sorted(
                ((f, source) for source in sources for f in self._live(source.part)), key=lambda item: item[0].path
            )
            files = [self._entry(f, source.part) for f, source in taken]
            names = sorted(part.part_id for part in group.parts)
            identity = compacted_id(self.config.digest, names, files)
            with PartWriter(
                self.root, self.config, part_id=identity, site=group.site, date=group.date, classes=(), ops=self.ops
            ) as writer:
                for entry, (file, source) in zip(files, taken, strict=True):
                    entry["first_row"] = writer.rows
                    self._copy(writer, file.recording_id, source)
                return identity, writer.commit(files, compacted_from=names)

    def _open(self, part: Part, files: _Files) -> _Source:
        """Open a part, sure that it is what was committed."""
        if part.store_digest != self.config.digest:
            raise SourceFault(part.embeddings, part.embeddings, "was written under other settings than this store's")
        for relative, expected in (
            (part.embeddings, self.digests.get(part.part_id)),
            (part.predictions, part.predictions_sha256),
        ):
            if relative and expected and self._sha256(part, relative) != expected:
                raise SourceFault(part.embeddings, relative, "does not have the bytes it was committed with")
        try:
            whole = read_part(self.root, part.embeddings)
        except Damaged as error:
            raise SourceFault(part.embeddings, part.embeddings, f"cannot be read: {error.message}") from error
        schema = embeddings_schema(self.config.model.dim, self.config.dtype)
        rows = _Rows(part, files, part.embeddings, schema)
        if rows.runs != {f.recording_id: (_first(f), _first(f) + f.windows) for f in whole.files if f.windows}:
            raise SourceFault(part.embeddings, part.embeddings, "does not have the rows that its ledger lists")
        predictions = None
        if part.predictions:
            predictions = _Rows(part, files, part.predictions, predictions_schema())
        return _Source(whole, rows, predictions)

    def _sha256(self, part: Part, relative: str) -> str:
        try:
            return file_sha256(f"{self.root}/{relative}")
        except OSError as error:
            raise SourceFault(part.embeddings, relative, f"cannot be read: {error}") from error

    def _live(self, part: Part) -> list[LedgerFile]:
        gone = self.superseded.get(part.part_id, set())
        return [f for f in part.files if f.recording_id not in gone]

    def _entry(self, file: LedgerFile, part: Part) -> dict[str, Any]:
        held = (part.part_id, file)
        return {**(file.detail or {}), **moved(held, self.holders.get(file.recording_id, [held]))}

    def _copy(self, writer: PartWriter, recording: int, source: _Source) -> None:
        for table in source.embeddings.of(recording):
            writer.add_tables(table, None)
        for table in source.predictions.of(recording) if source.predictions else ():
            writer.add_tables(None, table)


def moved(held: Held, holders: Sequence[Held]) -> dict[str, Any]:
    """Return what a file's ledger object says of its version in a compacted part: the same version, in another place.

    Parameters
    ----------
    held : Held
        The source.
    holders : sequence of Held
        All parts that hold the recording.
    """
    name, file = held
    origin = file.origin or name
    return {
        "replaces": sorted({*file.replaces, *ancestors(holders, held)}),
        "origin": origin,
        "moved_from": sorted({*file.moved_from, name} - {origin}),
    }


def compacted_id(store_digest: str, sources: Sequence[str], files: Sequence[Mapping[str, Any]]) -> str:
    """Return the id of a compacted part: the same on any machine that saw the same parts."""
    keys = ("path", "size_bytes", "mtime_ns", "replaces", "origin", "moved_from")
    told = [[f[key] for key in keys] for f in files]
    return digest_of({"format_version": _ID_VERSION, "store": store_digest, "compacted_from": sources, "files": told})


def _first(file: LedgerFile) -> int:
    return int((file.detail or {})["first_row"])
