"""What there is to do: the files found, those the store already has, and those that are new, changed or to be tried again."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np

from cluster.options import EmbedOptions
from cluster.recordings import Recordings
from cluster.roots import absolute_path, holds_another, real_place, relative_path
from cluster.settled import Settled, SettledFiles
from embedder.audio import FoundFile, Problem, find_audio
from embedder.recorders import Describer
from sonotheque.core.errors import Conflict, NotFound
from sonotheque.core.ids import recording_id
from sonotheque.core.outcome import MEANING, Outcome, Status
from sonotheque.core.places import inside, is_object
from sonotheque.core.recording import Recording, SourceFile
from store import Ledger, LedgerFile

_READERS = 8  # headers are read ahead of each other: on a network disk each costs a round trip
_BATCH = 32  # files a thread is given at once: one by one, handing them over took longer than describing them
_READERS_OF_OBJECTS = 64  # of a bucket it is 50 ms each, and costs this machine nothing
Progress = Callable[[int], None]
Mapping = tuple[str, str]  # a root and a prefix: what makes stored paths of files
_Looked = tuple[SourceFile, tuple[str, ...]]  # a file to be described, and the parts that it replaces
__all__ = ["Inventory", "Problem", "Settled", "require_audio", "take_inventory"]


@dataclass(slots=True)
class Inventory:
    """Every file found, each in exactly one of ``new`` and ``settled``.

    Attributes
    ----------
    root, prefix : str
    new : Recordings
    settled : SettledFiles
    problems : list of Problem
        Folders and links that could not be looked at.
    changed : int
        Of ``new``: files that replace an older version of themselves.
    """

    root: str
    prefix: str
    new: Recordings = field(default_factory=Recordings)
    settled: SettledFiles = field(default_factory=SettledFiles)
    problems: list[Problem] = field(default_factory=list)
    changed: int = 0

    @property
    def files(self) -> int:
        """Number of files found."""
        return len(self.new) + len(self.settled)

    @property
    def audio_s(self) -> float:
        """Seconds of audio as the headers say, decoded or not: the size of parts follows from it, on every run alike."""
        return math.fsum(chain(self.new.audio_s, self.settled.audio_s()))


def _found(sources: Iterable[str], problems: list[Problem]) -> Iterator[FoundFile]:
    places = [real_place(source) for source in sources]
    overlap = any(i != k and inside(one, other) for i, one in enumerate(places) for k, other in enumerate(places))
    seen: set[str] = set()
    for place in places:
        for file in find_audio(place, problems):
            if not overlap:
                yield file
            elif file.path not in seen:
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
    inventory = Inventory(root, options.prefix, settled=SettledFiles(ledger.parts))
    ids = array("Q")
    looked = _looked_at(options, inventory, ledger, known, ids, progress)
    for recording in _described(describer, root, options.prefix, looked):
        inventory.new.append(recording)
    if not ids:
        raise _no_audio(options.sources)
    _require_own_ids(ids, inventory)
    return inventory


def _looked_at(
    options: EmbedOptions,
    inventory: Inventory,
    ledger: Ledger,
    known: Sequence[Mapping],
    ids: array[int],
    progress: Progress | None,
) -> Iterator[_Looked]:
    """Yield the files that are to be described; the others go to the inventory, and the ids of all to ``ids``."""
    root, here = inventory.root, (inventory.root, options.prefix)
    others = [mapping for mapping in known if mapping != here]
    is_known = not known or here in known
    for file in _found(options.sources, inventory.problems):
        path = relative_path(file.path, root, options.prefix)
        source = SourceFile(path, file.size_bytes, file.mtime_ns)
        identity = recording_id(path)
        ids.append(identity)
        held = ledger.live.get(identity)
        if held is None:
            _require_one_mapping(file.path, path, others, ledger)
            yield source, ()
        elif _is_settled(source, held[1], retry_failed=options.retry_failed):
            if not (is_known or options.replace):
                _require_moved(file.path, path, others)
            inventory.settled.append(held)
        else:
            _require_replaceable(source, held[1], root, allowed=is_known or options.replace)
            inventory.changed += 1
            yield source, (held[0],)
        if progress and len(ids) % 1000 == 0:
            progress(len(ids))


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


def _require_own_ids(ids: array[int], inventory: Inventory) -> None:
    """Raise Conflict if two files share an id: sorted at the end, because a million of them in a dictionary are 200 MB."""
    ordered = np.sort(np.frombuffer(ids, np.uint64))
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return
    shared = int(twice[0])
    paths = chain(map(inventory.new.path, range(len(inventory.new))), (s.entry.path for s in inventory.settled))
    one, other = islice((path for path in paths if recording_id(path) == shared), 2)
    raise Conflict(
        f"{one} and {other} share the id {shared}: rename one of them, or embed them into two stores",
        kind="path_conflict",
    )


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
        if holds_another(there, file):
            raise Conflict(
                f"{path} is in the store already: it is {there}. {file} would have the same name there and be taken for the same recording. "
                "Give this folder's files a name of their own with --prefix NAME; or, if it is a copy that takes the other's place, say --replace",
                kind="path_conflict",
            )


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


def _described(describer: Describer, root: str, prefix: str, looked: Iterator[_Looked]) -> Iterator[Recording]:
    inner = len(prefix.strip("/")) + 1 if prefix.strip("/") else 0

    def some(batch: list[_Looked]) -> list[Recording]:
        found = []
        for source, replaces in batch:
            described = describer.describe(root, replace(source, path=source.path[inner:]) if inner else source)
            found.append(replace(described, source=source, replaces=replaces) if inner or replaces else described)
        return found

    ahead: deque[Future[list[Recording]]] = deque()
    given = 0
    readers = _READERS_OF_OBJECTS if is_object(root) else _READERS
    with ThreadPoolExecutor(readers) as pool:
        # Few files go one by one, so that every reader has some.
        while batch := list(islice(looked, min(_BATCH, 1 + given // (8 * readers)))):
            given += len(batch)
            ahead.append(pool.submit(some, batch))
            if len(ahead) >= 2 * readers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
