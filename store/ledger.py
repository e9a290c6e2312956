"""The ledger: what each part says of each of its files, and which rows are live (FORMAT.md sections 5 and 6)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa

from sonotheque.core.errors import Damaged
from sonotheque.core.ids import digest_of
from sonotheque.core.outcome import MEANING, DecodeSummary, Outcome, Status, TopLabel
from sonotheque.core.places import is_object
from sonotheque.core.recording import Recording
from store import layout
from store.fsops import FileOps, ops_of
from store.live import resolve_live
from store.reading import parquet_footer
from store.schema import LEDGER_KEY

_READERS = 8
PART_DEPTH = 3  # site, date and name below a dataset's folder
_ID_VERSION = 1  # of the rule for part ids; the store's own version is in its digest
FileIdentity = tuple[str, int, int, list[str]]  # path, bytes, modification time in ns, ids of the parts it supersedes


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """One file of a part, reduced to what decides and counts; ``detail`` has every key of FORMAT.md section 5.

    A whole ledger is held without details: at 10^6 files they are gigabytes.

    Attributes
    ----------
    origin : str or None
        In a compacted part: the part that these rows of the recording were first committed in.
    moved_from : tuple of str
        In a compacted part: the other parts that have held them since.
    precision : str or None
        Of the file's vectors, where it is not the store's.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    recording_id: int
    replaces: tuple[str, ...]
    status: str
    windows: int
    duration_s: float
    audio_s: float = 0.0
    detail: dict[str, Any] | None = None
    origin: str | None = None
    moved_from: tuple[str, ...] = ()
    precision: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Done, skipped or failed; a status of a later version counts by its windows."""
        try:
            return MEANING[Status(self.status)].outcome
        except ValueError:
            return Outcome.DONE if self.windows else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Part:
    """One committed part, from its footer; ``compacted_from`` names the parts that compaction copied its rows from."""

    part_id: str
    site: str
    date: str | None
    embeddings: str
    predictions: str | None
    predictions_rows: int
    predictions_sha256: str | None
    rows: int
    store_digest: str
    files: tuple[LedgerFile, ...]
    compacted_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All committed parts, and which recording is live where.

    Attributes
    ----------
    parts : dict
        By part id.
    live : dict
        Recording id → (part id, ledger entry).
    superseded : dict
        Part id → ids of its recordings that another part replaces.
    damaged : dict
        Path (relative to the store) of a part file that cannot be read → why.
    """

    parts: dict[str, Part]
    live: dict[int, tuple[str, LedgerFile]]
    superseded: dict[str, set[int]]
    damaged: dict[str, str] = field(default_factory=dict)

    def live_files(self, part: Part) -> list[LedgerFile]:
        """Return the files of a part that no other part replaces, those without windows too."""
        gone = self.superseded.get(part.part_id, set())
        return [f for f in part.files if f.recording_id not in gone]

    def live_rows(self, part: Part) -> int:
        """Return how many rows of a part readers see."""
        return sum(f.windows for f in self.live_files(part))

    def is_dead(self, part: Part) -> bool:
        """Tell whether other parts replace every file of a part."""
        return len(self.superseded.get(part.part_id, ())) == len(part.files)


def part_id(store_digest: str, recordings: Iterable[Recording]) -> str:
    """Return the id of the part that holds these recordings: the same on any machine."""
    return part_id_of(
        store_digest, ((r.source.path, r.source.size_bytes, r.source.mtime_ns, list(r.replaces)) for r in recordings)
    )


def part_id_of(store_digest: str, files: Iterable[FileIdentity]) -> str:
    """Return the id of the part that holds these files; see :func:`part_id`."""
    return digest_of({"format_version": _ID_VERSION, "store": store_digest, "files": sorted(files)})


def ledger_entry(
    recording: Recording,
    summary: DecodeSummary,
    *,
    windows: int,
    first_row: int,
    top: TopLabel | None,
    precision: str | None = None,
) -> dict[str, Any]:
    """Return the ledger's object for one file. Nothing in it depends on the clock or the machine.

    ``precision`` is given only where it is not the store's: somebody asked to mix.
    """
    entry = recording.to_json()
    del entry["site"]
    return {
        **entry,
        "recording_id": recording.recording_id,
        "status": str(summary.status),
        "reason": summary.reason,
        "sample_rate_hz": summary.sample_rate_hz,
        "channels": summary.channels,
        "declared_frames": summary.declared_frames,
        "decoded_frames": summary.decoded_frames,
        "duration_s": summary.duration_s,
        "container": summary.container,
        "codec": summary.codec,
        "windows": windows,
        "first_row": first_row,
        "top": None if top is None else {"label": top.label, "score": top.score, "start_s": top.start_s},
        **({} if precision is None else {"precision": precision}),
    }


def read_part(root: str, relative: str, *, detail: bool = True) -> Part:
    """Read one part's footer.

    Parameters
    ----------
    root, relative : str
        The store, and the part's path in it.
    detail : bool
        Keep every key of each file.

    Raises
    ------
    Damaged
        If the file is no readable Parquet file, has no ledger, or does not agree with its own name and row count.
    """
    try:
        metadata = parquet_footer(f"{root}/{relative}")
        text = (metadata.metadata or {}).get(LEDGER_KEY)
        if text is None:
            raise Damaged(f"{relative} has no ledger in its footer: it was not written by this program")
        value = json.loads(text)
        part = _part_of(relative, value, detail=detail)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{relative} cannot be read as a part: {error}") from error
    name = relative.rpartition("/")[2]
    if name != layout.part_name(part.part_id) or layout.parse_partition(relative) != (part.site, part.date):
        raise Damaged(f"{relative} says it is part {part.part_id} of {part.site}, {part.date}: it was renamed or moved")
    if not metadata.num_rows == part.rows == sum(f.windows for f in part.files):
        raise Damaged(
            f"{relative} has {metadata.num_rows} rows, its ledger says {part.rows} "
            f"and its files add up to {sum(f.windows for f in part.files)}"
        )
    return part


@lru_cache(maxsize=4096, typed=True)
def _shared(value: Any) -> Any:
    """Return the object of an equal value that was met lately: recorders on a schedule write files of few lengths, and a season has 10^6."""
    return value


def _part_of(relative: str, value: dict[str, Any], *, detail: bool) -> Part:
    predictions = value["predictions"]
    folder = layout.partition(value["site"], value["date"])
    files = tuple(
        LedgerFile(
            f["path"],
            _shared(f["size_bytes"]),
            f["mtime_ns"],
            f["recording_id"],
            tuple(f["replaces"]),
            sys.intern(f["status"]),
            f["windows"],
            _shared(f["duration_s"]),
            _shared(f["audio_s"]),
            f if detail else None,
            f.get("origin"),
            tuple(f.get("moved_from", ())),
            f.get("precision"),
        )
        for f in value["files"]
    )
    return Part(
        value["part_id"],
        sys.intern(value["site"]),
        value["date"] and sys.intern(value["date"]),
        relative,
        f"{layout.PREDICTIONS}/{folder}/{predictions['file']}" if predictions else None,
        predictions["rows"] if predictions else 0,
        predictions["sha256"] if predictions else None,
        value["rows"],
        sys.intern(value["store_digest"]),
        files,
        tuple(value.get("compacted_from", ())),
    )


def list_part_files(root: str, dataset: str = layout.EMBEDDINGS, ops: FileOps | None = None) -> Iterator[str]:
    """Yield the paths, relative to the store, of every file of a dataset that is named as a part is."""
    ops = ops or ops_of(root)
    for below in ops.sizes_below(f"{root}/{dataset}", PART_DEPTH):
        if layout.part_id_of(below.rpartition("/")[2]):
            yield f"{dataset}/{below}"


def committed_among(root: str, relatives: Collection[str]) -> set[str]:
    """Return which of some part files are in a store; of an object store in one listing."""
    if is_object(root):
        return set(relatives).intersection(list_part_files(root)) if relatives else set()
    return {relative for relative in relatives if os.path.exists(f"{root}/{relative}")}


def load_ledger(root: str, ops: FileOps | None = None) -> Ledger:
    """Read every footer in a store; damaged files are collected, not raised."""

    def one(relative: str) -> Part | tuple[str, str]:
        try:
            return read_part(root, relative, detail=False)
        except Damaged as error:
            return relative, error.message

    parts: dict[str, Part] = {}
    damaged: dict[str, str] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for found in pool.map(one, list_part_files(root, ops=ops)):
            if isinstance(found, Part):
                parts[found.part_id] = found
            else:
                damaged[found[0]] = found[1]
    live, superseded = resolve_live(parts.values())
    return Ledger(parts, live, superseded, damaged)
