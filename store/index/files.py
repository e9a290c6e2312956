"""Writes files of an index: whole under their final name or not there, named by what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from sonotheque.core.ids import file_sha256
from store import layout
from store.config import temp_name
from store.fsops import FileOps, store_errors
from store.index.manifest import IndexFile
from store.state import state_root

Write = Callable[[Any], None]
_KEPT: Final = 16  # characters of a digest in a name


class _Hashed:
    """A binary file that knows the digest of what was written to it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.sha256.update(view)
        self.bytes += len(view)
        return int(self._handle.write(view))


def put_file(root: str, kind: str, made_from: str, suffix: str, write: Write, ops: FileOps) -> IndexFile:
    """Write a file through ``write(handle)``, unless a whole one made from the same is there.

    Raises
    ------
    Unavailable
        Disk full or read-only.
    """
    if found := _whole(root, kind, made_from, suffix, ops):
        return found
    temporary = f"{root}/{layout.TMP}/{temp_name('index')}"
    with store_errors(root):
        ops.makedirs(f"{root}/{layout.TMP}")
        ops.makedirs(f"{root}/{layout.index_folder()}")
        try:
            with ops.create(temporary) as handle:
                hashed = _Hashed(handle)
                write(hashed)
                ops.sync_file(handle)
            digest = hashed.sha256.hexdigest()
            relative = layout.index_file(kind, made_from, digest, suffix)
            ops.link_new(temporary, f"{root}/{relative}")
            ops.sync_dir(f"{root}/{layout.index_folder()}")
        finally:
            with contextlib.suppress(OSError):
                ops.unlink(temporary)
    return IndexFile(relative, hashed.bytes, digest)


def _whole(root: str, kind: str, made_from: str, suffix: str, ops: FileOps) -> IndexFile | None:
    """Return a file that is there and holds what its name says; remove one that does not."""
    folder = layout.index_folder()
    for name in ops.listdir(f"{root}/{folder}"):
        if name.startswith(f"{kind}-{made_from[:_KEPT]}-") and name.endswith(f".{suffix}"):
            path = f"{state_root(root)}/{folder}/{name}"
            with contextlib.suppress(OSError):
                digest = file_sha256(path)
                if digest[:_KEPT] == name.removesuffix(f".{suffix}").rpartition("-")[2]:
                    return IndexFile(f"{folder}/{name}", os.path.getsize(path), digest)
            with store_errors(root):
                ops.unlink(path)
    return None


def damaged_files(root: str, files: Iterable[IndexFile]) -> list[str]:
    """Return what is wrong with files, by reading all of them."""
    found = []
    for file in files:
        try:
            digest = file_sha256(f"{state_root(root)}/{file.path}")
        except OSError as error:
            found.append(f"{file.path}: {error.strerror}")
            continue
        if digest != file.sha256:
            found.append(f"{file.path}: holds {digest[:12]}, was written as {file.sha256[:12]}")
    return found
