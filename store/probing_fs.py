"""What a store's file system can do, tried out before a run: some network disks have no hard links, locks or folder syncs.

Nothing is decided by it: a commit takes the best way there is, each time (``LocalFileOps.link_new``). It is told, because it bears on
what a power cut or a second run beside this one may do.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Unavailable
from store import layout
from store.config import temp_name
from store.fsops import FileOps, LocalFileOps, kernel_rename_new, store_errors

LINK, RENAME, LOOK = "link", "rename", "look"


class FsCalls:
    """The calls that a file system may refuse, bare: without the ways around it that ``LocalFileOps`` knows."""

    def link(self, source: str, target: str) -> None:
        """Make a hard link."""
        os.link(source, target)

    def rename_new(self, source: str, target: str) -> bool | None:
        """Rename without overwriting; None if there is no such step."""
        return kernel_rename_new(source, target)

    def sync_dir(self, path: str) -> None:
        """Force a folder's entries to disk."""
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> None:
        """Lock a file; the lock ends with the call."""
        with open(path, "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True, slots=True)
class FileSystemFacts:
    """What was found.

    Attributes
    ----------
    hard_links, rename_new, sync_folders, locks : bool
    commit : str
        How parts get their names: ``link``; ``rename``, which never overwrites either; or ``look``: look first, then rename.
    """

    hard_links: bool
    rename_new: bool
    sync_folders: bool
    locks: bool

    @property
    def commit(self) -> str:
        """How parts get their names."""
        return LINK if self.hard_links else RENAME if self.rename_new else LOOK

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the way of a commit as a JSON object."""
        return {"commit": self.commit, **asdict(self)}

    def notes(self, store: str) -> list[str]:
        """Return what people should know, a sentence each; none where everything is there."""
        told = []
        if self.commit == RENAME:
            told.append(
                "it has no hard links: parts get their names by a rename that never overwrites, which is as safe"
            )
        if self.commit == LOOK:
            told.append(
                "it has neither hard links nor a rename that never overwrites: have one run at a time write to it, or choose a --store elsewhere"
            )
        if not self.sync_folders:
            told.append(
                "a folder's names cannot be forced to disk: after a power cut run the same command again and `sonotheque verify`"
            )
        if not self.locks:
            told.append("it has no locks: nothing keeps two runs from planning the same files, so start one at a time")
        return [f"the file system of {store}: {one}" for one in told]


def probe_file_system(root: str, ops: FileOps | None = None, calls: FsCalls | None = None) -> FileSystemFacts:
    """Try out a store's file system with a few small files in ``_tmp/``, all of which are removed.

    Parameters
    ----------
    root : str
        The store; its ``_tmp/`` folder is made.
    ops : FileOps, optional
    calls : FsCalls, optional

    Raises
    ------
    Unavailable
        If nothing can be written there (kind ``read_only`` or ``disk_full``).
    """
    ops, calls = ops or LocalFileOps(), calls or FsCalls()
    folder = f"{root}/{layout.TMP}"
    stem = f"{folder}/{temp_name('probe')}"
    first, linked, renamed = f"{stem}.a", f"{stem}.b", f"{stem}.c"
    with store_errors(root):
        ops.makedirs(folder)
        try:
            _write(ops, first, root)
            links = _works(lambda: calls.link(first, linked))
            return FileSystemFacts(
                hard_links=links,
                rename_new=_renames(calls, first, renamed),
                sync_folders=_works(lambda: calls.sync_dir(folder)),
                locks=_locks(calls, ops, first, renamed),
            )
        finally:
            for path in (first, linked, renamed):
                ops.unlink(path)


def _write(ops: FileOps, path: str, root: str) -> None:
    data = b"sonotheque"
    with ops.create(path) as handle:
        handle.write(data)
        ops.sync_file(handle)
    if (found := ops.read(path)) != data:
        raise Unavailable(
            f"{root} does not give back what was written to it: {data!r} became {found!r}. Choose another --store"
        )


def _works(call: Callable[[], None]) -> bool:
    try:
        call()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return False
    return True


def _renames(calls: FsCalls, source: str, target: str) -> bool:
    """Tell whether a rename gives a new name, and refuses one that is taken."""
    try:
        if not calls.rename_new(source, target):
            return False
        with open(source, "xb"):
            pass
        return calls.rename_new(source, target) is False
    except OSError:
        return False


def _locks(calls: FsCalls, ops: FileOps, *paths: str) -> bool:
    there = next((path for path in paths if ops.exists(path)), None)
    return there is not None and _works(lambda: calls.lock(there))
