"""Snapshots: numbered, immutable lists of parts. Readers use them, never a glob (FORMAT.md section 7)."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sonotheque.core.errors import Damaged, NotFound, SonothequeError, Unavailable
from sonotheque.core.places import is_object
from store import layout
from store.config import StoreConfig, temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.ledger import PART_DEPTH, Ledger, Part, load_ledger
from store.reading import sha256_of

_NAME = re.compile(r"([1-9][0-9]*)\.json")
_ATTEMPTS = 3  # at a list of files that another host's gc shortens meanwhile


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """One part as a snapshot lists it; paths are relative to the store."""

    part_id: str
    site: str
    date: str | None
    embeddings: str
    predictions: str | None
    rows: int
    live_rows: int
    bytes: int
    sha256: str
    superseded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A numbered list of parts; never changes once written."""

    number: int
    store_digest: str
    parts: tuple[SnapshotPart, ...]

    @property
    def live_rows(self) -> int:
        """Windows that a reader of this snapshot sees."""
        return sum(p.live_rows for p in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all files listed."""
        return sum(p.bytes for p in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the snapshot's file, but for the store's format version."""
        names = [f.name for f in fields(SnapshotPart)]
        parts = [{name: getattr(p, name) for name in names} for p in self.parts]  # asdict copies every superseded id
        return {"snapshot": self.number, "store_digest": self.store_digest, "parts": parts}


def snapshot_numbers(root: str, ops: FileOps | None = None) -> list[int]:
    """Return the numbers of a store's snapshots, oldest first; damaged ones too."""
    names = (ops or ops_of(root)).listdir(f"{root}/{layout.SNAPSHOTS}")
    return sorted(int(found[1]) for n in names if (found := _NAME.fullmatch(n)))


def latest_number(root: str, ops: FileOps | None = None) -> int:
    """Return the newest snapshot's number; 0 if there is none."""
    return max(snapshot_numbers(root, ops), default=0)


def read_snapshot(root: str, number: int | None = None, ops: FileOps | None = None) -> Snapshot:
    """Read a snapshot, the newest by default.

    Raises
    ------
    NotFound
        If the store has no snapshot (of that number) yet, or it was removed.
    Damaged
        If its file cannot be read.
    """
    ops = ops or ops_of(root)
    number = latest_number(root, ops) if number is None else number
    path = f"{root}/{layout.snapshot_path(number)}"
    try:
        value = json.loads(ops.read(path))
        parts = tuple(SnapshotPart(**{**p, "superseded": tuple(p["superseded"])}) for p in value["parts"])
        return Snapshot(value["snapshot"], value["store_digest"], parts)
    except FileNotFoundError:
        raise _no_snapshot(root, number, snapshot_numbers(root, ops)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{path} cannot be read as a snapshot: {error!r}. `sonotheque compact --store {root}` writes a new one of what is committed; "
            "an older one is opened by its number"
        ) from error


def _no_snapshot(root: str, number: int, there: list[int]) -> NotFound:
    if not there:
        return NotFound(
            f"{root} has no snapshot {number or ''}".rstrip()
            + f": nothing was embedded yet, or the first run is still going (`sonotheque status --store {root}`)"
        )
    removed = ": it was removed by `sonotheque gc`" if number < there[-1] else ""
    return NotFound(f"{root} has no snapshot {number}{removed}; it has {', '.join(map(str, there))}")


def read_snapshots(root: str, ops: FileOps | None = None) -> Iterator[tuple[int, Snapshot | str]]:
    """Yield, newest first, every snapshot's number with its content, or with what is wrong with it."""
    for number in reversed(snapshot_numbers(root, ops)):
        try:
            yield number, read_snapshot(root, number, ops)
        except Damaged as error:
            yield number, error.message
        except NotFound:  # removed since the folder was listed
            continue


def lost_part(root: str, snapshot: Snapshot, relative: str) -> SonothequeError:
    """Return the error of a reader whose snapshot lists a file that is not there (any more).

    ``gc`` removes a snapshot before the files that it alone lists. So if the snapshot is gone too, the reader has outlived the
    grace period, and opening the store again helps; else the file is lost.
    """
    if not ops_of(root).exists(f"{root}/{layout.snapshot_path(snapshot.number)}"):
        return Unavailable(
            f"{root} was opened at snapshot {snapshot.number}, which `sonotheque gc` has removed since with parts that only it listed "
            f"({relative} among them): it was superseded for longer than the grace period. Open the store again to go on with the newest "
            "snapshot; for work that takes longer, give gc a longer --grace-h",
            kind="snapshot_gone",
        )
    return Damaged(
        f"{relative} is listed in snapshot {snapshot.number} of {root} and not there. `sonotheque verify --store {root}` lists all damage"
    )


def write_snapshot(
    root: str,
    config: StoreConfig,
    ledger: Ledger,
    *,
    known_sha256: dict[str, str] | None = None,
    again: bool = False,
    note: Callable[[str], None] | None = None,
    ops: FileOps | None = None,
) -> Snapshot:
    """Write the next snapshot of what is committed now; the newest one again if nothing has changed.

    It lists the parts that have a live file; parts that others replace wholly are left out, which is what starts their grace period.
    A part whose footer cannot be read stays as the newest snapshot lists it: readers are to stumble over it, not to do without it.

    Parameters
    ----------
    root, config, ledger
        The store, its settings, and what its footers say.
    known_sha256 : dict, optional
        Part id → digest, as reported by the tasks that committed; digests of the rest come from the newest snapshot that can
        be read, or from reading the file.
    again : bool
        Write one also if nothing has changed.
    note : callable, optional
        Told of each snapshot that cannot be read: it is left behind, and never in the way of the next.
    """
    ops = ops or ops_of(root)
    number, newest = latest_number(root, ops), None
    for found, content in read_snapshots(root, ops):
        if isinstance(content, Snapshot):
            newest = content
            break
        if note:
            note(f"snapshot {found} is left behind: {content}")
    digests = {**{p.part_id: p.sha256 for p in (newest.parts if newest else ())}, **(known_sha256 or {})}
    entries = _entries(root, ledger, digests, newest, ops)
    if newest and newest.number == number and newest.parts == entries and not again:
        return Snapshot(number, config.digest, entries)
    while True:
        number += 1
        snapshot = Snapshot(number, config.digest, entries)
        data = json.dumps({"format_version": config.format_version, **snapshot.to_json()}).encode()
        target = f"{root}/{layout.snapshot_path(number)}"
        with store_errors(root):
            if put_new(ops, f"{root}/{layout.TMP}", temp_name(f"snapshot-{number}"), target, data):
                return snapshot


def _entries(
    root: str, ledger: Ledger, digests: dict[str, str], newest: Snapshot | None, ops: FileOps
) -> tuple[SnapshotPart, ...]:
    for _ in range(_ATTEMPTS):
        try:
            live = [p for p in ledger.parts.values() if not ledger.is_dead(p)]
            sizes = Sizes(root, ops)
            made = [_entry(root, part, ledger, digests.get(part.part_id), sizes) for part in live]
        except FileNotFoundError:  # a ledger read long ago: compaction has moved the rows, and gc removed the part
            ledger = load_ledger(root, ops)
            continue
        unreadable = [p for p in (newest.parts if newest else ()) if p.embeddings in ledger.damaged]
        return tuple(sorted([*made, *unreadable], key=lambda p: (p.site, p.date or "", p.part_id)))
    raise Unavailable(f"the parts of {root} changed again and again while they were listed; try again")


class Sizes:
    """Sizes of part files: of a folder each is looked at, of an object store they come with the listing."""

    def __init__(self, root: str, ops: FileOps) -> None:
        self._root, self._ops = root, ops
        self._listed: dict[str, Mapping[str, int]] = {}

    def __call__(self, relative: str) -> int:
        """Return a part file's size; raises FileNotFoundError if it is not there."""
        if not is_object(self._root):
            return self._ops.size(f"{self._root}/{relative}")
        dataset, _, below = relative.partition("/")
        if dataset not in self._listed:
            self._listed[dataset] = self._ops.sizes_below(f"{self._root}/{dataset}", PART_DEPTH)
        if below not in self._listed[dataset]:
            raise FileNotFoundError(f"{self._root}/{relative}")
        return self._listed[dataset][below]


def _entry(root: str, part: Part, ledger: Ledger, sha256: str | None, sizes: Sizes) -> SnapshotPart:
    size = sizes(part.embeddings)
    if part.predictions:
        with contextlib.suppress(FileNotFoundError):
            size += sizes(part.predictions)
    return SnapshotPart(
        part.part_id,
        part.site,
        part.date,
        part.embeddings,
        part.predictions,
        part.rows,
        ledger.live_rows(part),
        size,
        sha256 or sha256_of(f"{root}/{part.embeddings}"),
        tuple(sorted(ledger.superseded.get(part.part_id, ()))),
    )
