"""Writes one part: two Parquet files in ``_tmp/``, then the commit of FORMAT.md section 6."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sonotheque.core.errors import Damaged, Unavailable
from sonotheque.core.ids import file_sha256
from sonotheque.core.places import is_object
from store import layout
from store.config import StoreConfig, temp_name
from store.fsops import FileOps, ops_of, store_errors, sync_up
from store.ledger import read_part
from store.reading import sha256_of
from store.rows import WindowRows, embeddings_table, predictions_table
from store.schema import LEDGER_KEY, ROW_GROUP_ROWS, embeddings_schema, predictions_schema, writer_options
from store.state import state_root

PREDICTION_ROW_GROUP_ROWS = 16 * ROW_GROUP_ROWS


@dataclass(frozen=True, slots=True)
class Committed:
    """The result of a commit.

    Attributes
    ----------
    won : bool
        False if another attempt had committed this part already; its files are the ones in the store.
    rows, bytes_written : int
    sha256 : str
        Of the embeddings file in the store.
    """

    won: bool
    rows: int
    bytes_written: int
    sha256: str


class _GroupedFile:
    """A Parquet file in ``_tmp/`` that gets row groups of one exact size, so its bytes do not depend on batching."""

    def __init__(self, ops: FileOps, path: str, schema: pa.Schema, group_rows: int, options: dict[str, Any]) -> None:
        self.path, self.rows = path, 0
        self._ops, self._schema, self._group_rows = ops, schema, group_rows
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._handle: BinaryIO = ops.create(path)
        try:
            self._writer = pq.ParquetWriter(self._handle, schema, **options)
        except BaseException:
            with contextlib.suppress(OSError):
                self._handle.close()
            raise
        self._open = True

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self.rows += table.num_rows
        if self._waiting_rows >= self._group_rows:
            self._write(last=False)

    def _write(self, *, last: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        end = table.num_rows if last else table.num_rows // self._group_rows * self._group_rows
        if end:
            self._writer.write_table(table.slice(0, end).combine_chunks(), row_group_size=self._group_rows)
        self._waiting, self._waiting_rows = [table.slice(end)], table.num_rows - end

    def finish(self, metadata: dict[bytes, bytes] | None = None) -> None:
        self._write(last=True)
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        self._ops.sync_file(self._handle)
        self._handle.close()
        self._open = False

    def drop(self) -> None:
        """Close without finishing; the writer's own close may fail again on the disk that just failed."""
        if self._open:
            self._open = False
            for close in (self._writer.close, self._handle.close):
                with contextlib.suppress(OSError, pa.ArrowException):
                    close()


class PartWriter:
    """Collects the rows of one part and commits them, or leaves nothing.

    Use as a context manager: leaving it without :meth:`commit` removes the temporary files.

    Parameters
    ----------
    root : str
        The store's folder.
    config : StoreConfig
    part_id, site, date
        As planned; ``date`` is None where unknown.
    classes : tuple of str
        The model's class list, in logit order.
    ops : FileOps, optional
    """

    def __init__(
        self,
        root: str,
        config: StoreConfig,
        *,
        part_id: str,
        site: str,
        date: str | None,
        classes: tuple[str, ...],
        ops: FileOps | None = None,
    ) -> None:
        self.root, self.config, self.part_id, self.site, self.date = root, config, part_id, site, date
        self.ops = ops or ops_of(root)
        self._classes = pa.array(classes, pa.string())
        self._embeddings: _GroupedFile | None = None
        self._predictions: _GroupedFile | None = None
        self._temporary: list[str] = []

    def __enter__(self) -> Self:
        try:
            with store_errors(self.root):
                self._begin()
        except BaseException:  # Python calls no __exit__ for an __enter__ that failed
            self._discard()
            raise
        return self

    def _begin(self) -> None:
        folder = f"{state_root(self.root)}/{layout.TMP}"
        self.ops.makedirs(folder)
        stem = f"{folder}/{temp_name(self.part_id)}"
        dtype = self.config.dtype
        schema = embeddings_schema(self.config.model.dim, dtype)
        self._embeddings = self._open(f"{stem}.e", schema, ROW_GROUP_ROWS, writer_options(dtype))
        if self.config.top_k:
            group = PREDICTION_ROW_GROUP_ROWS
            self._predictions = self._open(f"{stem}.p", predictions_schema(), group, writer_options(None))

    def _open(self, path: str, schema: pa.Schema, group_rows: int, options: dict[str, Any]) -> _GroupedFile:
        self._temporary.append(path)
        return _GroupedFile(self.ops, path, schema, group_rows, options)

    @property
    def rows(self) -> int:
        """Windows added so far."""
        return self._files()[0].rows

    def _files(self) -> tuple[_GroupedFile, _GroupedFile | None]:
        if self._embeddings is None:
            raise RuntimeError("a PartWriter is used as a context manager")
        return self._embeddings, self._predictions

    def add(self, rows: WindowRows) -> None:
        """Add consecutive windows of one recording; recordings come in path order."""
        embeddings, predictions = self._files()
        with store_errors(self.root):
            embeddings.add(embeddings_table(rows, self.config.windows, self.config.dtype))
            if predictions:
                table = predictions_table(rows, self.config.windows, self._classes)
                if table is not None:
                    predictions.add(table)

    def add_tables(self, embeddings: pa.Table | None, predictions: pa.Table | None) -> None:
        """Add rows of another part as they are; see :meth:`add` for their order."""
        own, own_predictions = self._files()
        with store_errors(self.root):
            if embeddings is not None:
                own.add(embeddings)
            if own_predictions and predictions is not None:
                own_predictions.add(predictions)

    def commit(self, files: list[dict[str, Any]], *, compacted_from: Sequence[str] = ()) -> Committed:
        """Commit the part.

        Parameters
        ----------
        files : list of dict
            One ``ledger_entry`` for every file of the part, in path order.
        compacted_from : sequence of str
            Parts that the rows were copied from.

        Raises
        ------
        Unavailable
            Disk full, read-only, or another attempt got in between; nothing is committed.
        Damaged
            What was written does not read back as it should; nothing is committed.
        """
        with store_errors(self.root):
            return self._commit(files, {"compacted_from": list(compacted_from)} if compacted_from else {})

    def _commit(self, files: list[dict[str, Any]], origin: dict[str, Any]) -> Committed:
        embeddings, predictions = self._files()
        described, prediction_target = None, None
        if predictions:
            predictions.finish()
            described, prediction_target = self._name_predictions(predictions)
        ledger = {
            "format_version": self.config.format_version,
            "part_id": self.part_id,
            "store_digest": self.config.digest,
            "site": self.site,
            "date": self.date,
            "rows": embeddings.rows,
            "predictions": described,
            **origin,
            "files": files,
        }
        text = json.dumps(ledger, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        embeddings.finish({LEDGER_KEY: text})
        _check_written(embeddings.path, embeddings.rows, text)
        bytes_written = sum(self.ops.size(path) for path in self._temporary)
        sha256 = file_sha256(embeddings.path)
        target = (
            f"{self.root}/{layout.part_path(layout.EMBEDDINGS, self.site, self.date, layout.part_name(self.part_id))}"
        )
        folder = target.rpartition("/")[0]
        won = False
        if not self.ops.exists(target):  # else this attempt's predictions would stay behind, belonging to no part
            if predictions and prediction_target:
                self._link_predictions(predictions.path, prediction_target)
            self.ops.makedirs(folder)
            won = self.ops.link_new(embeddings.path, target)
        sync_up(self.ops, folder, self.root)  # also when another attempt won: it may not have come so far
        if won and predictions and prediction_target and not self.ops.exists(prediction_target):
            # An orphan of an attempt that died was found there and taken for ours; `gc` has removed it meanwhile.
            self._link_predictions(predictions.path, prediction_target)
        if not won:
            sha256 = self._sha256_of_another(target)
        return Committed(won, embeddings.rows, bytes_written, sha256)

    def _sha256_of_another(self, target: str) -> str:
        """Return the digest of the part that another attempt committed; in an object store it is looked at first."""
        if is_object(
            target
        ):  # a file system's link names a file that was read back; who put an object there is not known
            read_part(self.root, target.removeprefix(f"{self.root}/"), detail=False)
        return sha256_of(target)

    def _name_predictions(self, predictions: _GroupedFile) -> tuple[dict[str, Any], str]:
        """Choose the predictions file's name before the footer that records it is written (FORMAT.md, step 4)."""
        _check_written(predictions.path, predictions.rows, None)
        sha256 = file_sha256(predictions.path)
        name = layout.part_name(self.part_id)
        target = f"{self.root}/{layout.part_path(layout.PREDICTIONS, self.site, self.date, name)}"
        if self.ops.exists(target) and sha256_of(target) != sha256:
            name = layout.part_name(self.part_id, sha256)
            target = f"{self.root}/{layout.part_path(layout.PREDICTIONS, self.site, self.date, name)}"
        return {"file": name, "rows": predictions.rows, "sha256": sha256}, target

    def _link_predictions(self, source: str, target: str) -> None:
        folder = target.rpartition("/")[0]
        self.ops.makedirs(folder)
        if not self.ops.link_new(source, target) and sha256_of(target) != file_sha256(source):
            raise Unavailable(f"another attempt at part {self.part_id} wrote {target} at the same moment; try again")
        sync_up(self.ops, folder, self.root)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _discard(self) -> None:
        for file in (self._embeddings, self._predictions):
            if file:
                file.drop()
        for path in self._temporary:
            try:
                self.ops.unlink(path)
            except OSError:  # left for gc: a temporary name is never read
                continue


def _check_written(path: str, rows: int, ledger: bytes | None) -> None:
    """Reopen a finished file: what cannot be read back must not be committed."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{path} does not read back after it was written: {error}") from error
    if metadata.num_rows != rows or (ledger is not None and (metadata.metadata or {}).get(LEDGER_KEY) != ledger):
        raise Damaged(
            f"{path} reads back with {metadata.num_rows} rows where {rows} were written, or with another ledger"
        )
