"""Writes the scores of one part: one Parquet file in ``_tmp/``, committed as parts are (FORMAT.md, section 12)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged
from store import layout
from store.config import temp_name
from store.fsops import FileOps, ops_of, store_errors, sync_up
from store.reading import parquet_footer
from store.scores.sets import ScoreSet
from store.state import state_root

SCORES_KEY: Final = b"sonotheque.scores"
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        pa.field("recording_id", pa.int64(), nullable=False),
        pa.field("start_sample", pa.int64(), nullable=False),
        pa.field("probe", _TEXT, nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("label", _TEXT, nullable=False),
        pa.field("logit", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
_GROUP_ROWS: Final = 131_072
_WAITING_ROWS: Final = 1_000_000  # sorted and written at a time: 40 MB
# Identities repeat for every class of a window: their dictionaries are small, and make both columns a fraction as large.
_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["recording_id", "start_sample", "probe", "version", "label"],
    "store_schema": True,
}


@dataclass(frozen=True, slots=True)
class WrittenScores:
    """What became of the scores of a part.

    Attributes
    ----------
    won : bool
        False if another attempt had committed them already; its file is the one in the store.
    rows, bytes : int
    """

    won: bool
    rows: int
    bytes: int


class ScoreWriter:
    """Collects the scores of one part and commits them, or leaves nothing.

    Use as a context manager: leaving it without :meth:`commit` removes the temporary file.

    Parameters
    ----------
    root : str
    wanted : ScoreSet
        Its ``set.json`` must be there (:meth:`ScoreSet.put`).
    part_id : str
    ops : FileOps, optional
    """

    def __init__(self, root: str, wanted: ScoreSet, part_id: str, ops: FileOps | None = None) -> None:
        self._root, self._set, self._part_id = root, wanted, part_id
        self._ops = ops or ops_of(root)
        owner = [p for p in wanted.probes for _ in p.classes]
        names = list(dict.fromkeys(p.name for p in wanted.probes))
        labels = list(dict.fromkeys(c for p in wanted.probes for c in p.classes))
        self._names, self._labels = pa.array(names, pa.string()), pa.array(labels, pa.string())
        name_number, label_number = {n: i for i, n in enumerate(names)}, {n: i for i, n in enumerate(labels)}
        self._of_probe = np.array([name_number[p.name] for p in owner], np.int32)
        self._of_version = np.array([p.version for p in owner], np.int32)
        self._of_label = np.array([label_number[c] for p in wanted.probes for c in p.classes], np.int32)
        self._waiting: list[tuple[NDArray[Any], ...]] = []
        self._waiting_rows = self._rows = 0
        self._path = f"{state_root(root)}/{layout.TMP}/{temp_name(f'{part_id}-{wanted.name}')}"
        self._handle: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        try:
            with store_errors(self._root):
                self._ops.makedirs(self._path.rpartition("/")[0])
                self._handle = self._ops.create(self._path)
                self._writer = pq.ParquetWriter(self._handle, SCHEMA, **_OPTIONS)
        except BaseException:  # Python calls no __exit__ for an __enter__ that failed
            self._discard()
            raise
        return self

    def add(
        self,
        columns: NDArray[np.int64],
        recording_ids: NDArray[np.int64],
        start_samples: NDArray[np.int64],
        logits: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> None:
        """Add scores; ``columns`` are numbers of classes, counted through the probes of the set. All are (n,)."""
        if not len(columns):
            return
        self._waiting.append((columns, recording_ids, start_samples, logits, scores))
        self._waiting_rows += len(columns)
        if self._waiting_rows >= _WAITING_ROWS:
            with store_errors(self._root):
                self._flush()

    def _flush(self) -> None:
        """Write what waits, class by class: a question is about one class, and reads only the row groups that hold it."""
        if not self._waiting or self._writer is None:
            return
        columns, ids, starts, logits, scores = (np.concatenate(values) for values in zip(*self._waiting, strict=True))
        order = np.argsort(columns, kind="stable")
        columns = columns[order]
        values = [
            pa.array(ids[order]),
            pa.array(starts[order]),
            pa.DictionaryArray.from_arrays(pa.array(self._of_probe[columns]), self._names),
            pa.array(self._of_version[columns]),
            pa.DictionaryArray.from_arrays(pa.array(self._of_label[columns]), self._labels),
            pa.array(logits[order]),
            pa.array(scores[order]),
        ]
        self._writer.write_table(pa.Table.from_arrays(values, schema=SCHEMA), row_group_size=_GROUP_ROWS)
        self._rows += len(order)
        self._waiting, self._waiting_rows = [], 0

    def commit(self, windows: int, not_scored: list[dict[str, Any]]) -> WrittenScores:
        """Commit the file.

        Parameters
        ----------
        windows : int
            Rows of the part that were looked at.
        not_scored : list of dict
            Those whose vector is not finite: ``path``, ``start_s``, ``recording_id``, ``start_sample``.

        Raises
        ------
        Unavailable
            If the disk is full or cannot be written to; nothing is committed.
        Damaged
            If what was written does not read back; nothing is committed.
        """
        if self._handle is None or self._writer is None:
            raise RuntimeError("a ScoreWriter is used as a context manager")
        with store_errors(self._root):
            self._flush()
            about = {
                "part_id": self._part_id,
                "set": self._set.name,
                "windows": windows,
                "rows": self._rows,
                "not_scored": not_scored,
            }
            text = json.dumps(about, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")
            self._writer.add_key_value_metadata({SCORES_KEY: text})
            self._writer.close()
            self._ops.sync_file(self._handle)
            size = self._handle.tell()
            self._handle.close()
            self._handle = self._writer = None
            _require_written(self._path, self._rows, text)
            target = f"{self._root}/{layout.score_part(self._set.name, self._part_id)}"
            folder = target.rpartition("/")[0]
            self._ops.makedirs(folder)
            won = self._ops.link_new(self._path, target)
            sync_up(self._ops, folder, self._root)  # also when another attempt won: it may not have come so far
        return WrittenScores(won, self._rows, size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _discard(self) -> None:
        for file in (self._writer, self._handle):
            if file is not None:  # the writer's own close may fail again on the disk that just failed
                with contextlib.suppress(OSError, pa.ArrowException, ValueError):
                    file.close()
        self._writer = self._handle = None
        with contextlib.suppress(OSError):  # left for gc: a temporary name is never read
            self._ops.unlink(self._path)


def scores_footer(path: str) -> dict[str, Any]:
    """Return what the footer of a file of scores says: ``part_id, set, windows, rows, not_scored``.

    Raises
    ------
    Damaged
        If it cannot be read.
    """
    try:
        value: dict[str, Any] = json.loads((parquet_footer(path).metadata or {})[SCORES_KEY])
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise Damaged(
            f"{path} cannot be read: {error!r}. Scores are derived: remove the file and run `sonotheque probe apply` again"
        ) from error
    return value


def _require_written(path: str, rows: int, text: bytes) -> None:
    """Reopen a finished file: what cannot be read back must not be committed."""
    try:
        found = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{path} does not read back after it was written: {error}") from error
    if found.num_rows != rows or (found.metadata or {}).get(SCORES_KEY) != text:
        raise Damaged(f"{path} reads back with {found.num_rows} rows where {rows} were written, or with another footer")
