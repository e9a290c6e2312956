"""What there is to do: the files found, those the store already has, and those that are new, changed or to be tried again."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from cluster.options import EmbedOptions
from cluster.roots import absolute_path, inside, relative_path
from embedder.audio import FoundFile, Problem, find_audio
from embedder.recorders import Describer
from sonotheque.core.errors import Conflict, NotFound
from sonotheque.core.ids import recording_id
from sonotheque.core.outcome import MEANING, Outcome, Status
from sonotheque.core.recording import Recording, SourceFile
from store import Ledger, LedgerFile

_READERS = 8  # headers are read ahead of each other: on a network disk each costs a round trip
_CHUNK = 512
_END_BYTES = 65_536
Progress = Callable[[int], None]
Mapping = tuple[str, str]  # a root and a prefix: what makes stored paths of files


@dataclass(frozen=True, slots=True)
class Settled:
    """A file that the store already accounts for."""

    part_id: str
    entry: LedgerFile
    embeddings: str  # the part's file


@dataclass(slots=True)
class Inventory:
    """Every file found, each in exactly one of ``new`` and ``settled``.

    Attributes
    ----------
    root, prefix : str
    new : list of Recording
    settled : list of Settled
    problems : list of Problem
        Folders and links that could not be looked at.
    changed : int
        Of ``new``: files that replace an older version of themselves.
    """

    root: str
    prefix: str
    new: list[Recording] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    changed: int = 0

    @property
    def files(self) -> int:
        """Number of files found."""
        return len(self.new) + len(self.settled)

    @property
    def audio_s(self) -> float:
        """Seconds of audio as the headers say, decoded or not: the size of parts follows from it, on every run alike."""
        return math.fsum([*(r.audio_s for r in self.new), *(s.entry.audio_s for s in self.settled)])

    @property
    def without_time(self) -> int:
        """New files whose start is unknown."""
        return sum(r.time.local_start is None for r in self.new)

    @property
    def without_zone(self) -> int:
        """New files whose UTC start is known and whose site's zone is not: their local time is the recorder's own clock."""
        return sum(r.time.utc_start is not None and r.time.zone is None for r in self.new)

    @property
    def without_utc(self) -> int:
        """New files whose local start is known and whose offset from UTC is not."""
        return sum(r.time.local_start is not None and r.time.utc_start is None for r in self.new)


def _found(sources: Iterable[str], problems: list[Problem]) -> Iterator[FoundFile]:
    seen = set()
    for source in sources:
        for file in find_audio(str(Path(source).expanduser().resolve()), problems):
            if file.path not in seen:  # one source may lie inside another
                seen.add(file.path)
                yield file


def take_inventory(
    options: EmbedOptions,
    root: str,
    describer: Describer,
    ledger: Ledger,
    *,
    known: Sequence[Mapping] = (),
    progress: Progress | None = None,
) -> Inventory:
    """Walk the sources and compare them with the ledger.

    Parameters
    ----------
    options : EmbedOptions
    root : str
        From ``roots.choose_root``.
    describer : Describer
        Finds time, site and length of a new file.
    ledger : Ledger
        What the store has.
    known : sequence of (root, prefix)
        Of earlier runs into this store. Under one of them a changed file replaces its older self unasked.
    progress : callable, optional
        Called with the number of files looked at.

    Raises
    ------
    NotFound
        If there is no audio file (kind ``no_audio``).
    Conflict
        If two files would share a name or an id, or one file would be stored under two names.
    """
    here = (root, options.prefix)
    others = [mapping for mapping in known if mapping != here]
    is_known = not known or here in known
    inventory = Inventory(root, options.prefix)
    looked: list[tuple[SourceFile, tuple[str, ...]]] = []
    names: dict[int, str] = {}
    for file in _found(options.sources, inventory.problems):
        path = relative_path(file.path, root, options.prefix)
        source = SourceFile(path, file.size_bytes, file.mtime_ns)
        identity = recording_id(path)
        _require_one_name(names, identity, path)
        held = ledger.live.get(identity)
        if held is None:
            _require_one_mapping(file.path, path, others, ledger)
            looked.append((source, ()))
        elif _is_settled(source, held[1], retry_failed=options.retry_failed):
            if not (is_known or options.replace):
                _require_moved(file.path, path, others)
            inventory.settled.append(Settled(held[0], held[1], ledger.parts[held[0]].embeddings))
        else:
            _require_replaceable(source, held[1], root, allowed=is_known or options.replace)
            inventory.changed += 1
            looked.append((source, (held[0],)))
        if progress and len(names) % 1000 == 0:
            progress(len(names))
    if not names:
        raise _no_audio(options.sources)
    inventory.new = list(_describe(describer, root, options.prefix, looked))
    return inventory


def require_audio(sources: Sequence[str]) -> None:
    """Raise NotFound (kind ``no_audio``) if there is nothing to embed; looks no further than the first file."""
    if next(_found(sources, []), None) is None:
        raise _no_audio(sources)


def _no_audio(sources: Sequence[str]) -> NotFound:
    return NotFound(
        f"no audio file in {', '.join(sources)}: looked for .wav .flac .ogg .opus .mp3 .aif(f) in any case, in all sub-folders. "
        "Check the path; a single file of another name can be given directly",
        kind="no_audio",
    )


def _require_one_name(names: dict[int, str], identity: int, path: str) -> None:
    if identity in names:
        raise Conflict(
            f"{names[identity]} and {path} share the id {identity}: rename one of them, or embed them into two stores",
            kind="path_conflict",
        )
    names[identity] = path


def _require_one_mapping(file: str, path: str, others: Sequence[Mapping], ledger: Ledger) -> None:
    """Raise Conflict if the store has this very file under the name that another root or prefix gave it."""
    for root, prefix in others:
        if not inside(file, root):
            continue
        other = relative_path(file, root, prefix)
        held = ledger.live.get(recording_id(other))
        if held and held[1].path == other:
            raise Conflict(
                f"{file} is in the store already, as {other}; this run would store it a second time, as {path}. Use the same --root and "
                f"--prefix as then (--root {root}{f' --prefix {prefix}' if prefix else ''}), or another --store",
                kind="path_conflict",
            )


def _require_moved(file: str, path: str, others: Sequence[Mapping]) -> None:
    """Raise Conflict if a name that is taken belongs to another recording that is still there: then nothing has moved.

    Same name, size and time are not enough: two recorders on one schedule write just that.
    """
    for root, prefix in others:
        inner = prefix.strip("/")
        if inner and not path.startswith(f"{inner}/"):
            continue
        there = absolute_path(path, root, prefix)
        if os.path.exists(there) and not os.path.samefile(there, file) and _ends(there) != _ends(file):
            raise Conflict(
                f"{path} is in the store already: it is {there}. {file} would have the same name there and be taken for the same recording. "
                "Give this folder's files a name of their own with --prefix NAME; or, if it is a copy that takes the other's place, say --replace",
                kind="path_conflict",
            )


def _ends(path: str) -> tuple[int, bytes, bytes]:
    """Return a file's size, beginning and end: copies of one recording agree in them, two recordings do not."""
    with open(path, "rb") as handle:
        first = handle.read(_END_BYTES)
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _END_BYTES))
        return size, first, handle.read(_END_BYTES)


def _is_settled(source: SourceFile, entry: LedgerFile, *, retry_failed: bool) -> bool:
    """Tell whether the ledger's entry still holds: same file, and no reason to try it again."""
    if (source.path, source.size_bytes, source.mtime_ns) != (entry.path, entry.size_bytes, entry.mtime_ns):
        return False
    if entry.outcome is not Outcome.FAILED:
        return True
    known = entry.status in set(Status)
    transient = known and MEANING[Status(entry.status)].transient
    return not (transient or retry_failed)


def _require_replaceable(source: SourceFile, entry: LedgerFile, root: str, *, allowed: bool) -> None:
    if source.path != entry.path:
        raise Conflict(
            f"{source.path} and {entry.path} (in the store) share an id: rename one of them, or use another --store",
            kind="path_conflict",
        )
    if not allowed:
        raise Conflict(
            f"{source.path} is in the store already with {entry.size_bytes} bytes, and in {root}, which this store has not seen before, "
            f"it has {source.size_bytes}, or another modification time. If it is another recording, give this folder a name of its own with "
            "--prefix NAME; if the archive was moved and the file replaced, say --replace",
            kind="path_conflict",
        )


def _describe(
    describer: Describer, root: str, prefix: str, looked: list[tuple[SourceFile, tuple[str, ...]]]
) -> Iterator[Recording]:
    inner = len(prefix.strip("/")) + 1 if prefix.strip("/") else 0

    def one(item: tuple[SourceFile, tuple[str, ...]]) -> Recording:
        source, replaces = item
        found = describer.describe(root, replace(source, path=source.path[inner:]))
        return replace(found, source=source, replaces=replaces)

    remaining = iter(looked)
    with ThreadPoolExecutor(_READERS) as pool:
        while chunk := list(islice(remaining, _CHUNK)):
            yield from pool.map(one, chunk)
