"""A store's file operations on an object store: every commit is one conditional PUT of a file that was finished on this machine.

What is being written, and what is local by nature (:mod:`store.state`), lies in the store's state folder; all the rest are objects.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from sonotheque.core.errors import Unavailable
from sonotheque.core.places import inside, is_object, normal, relative, scheme_of
from store.belonging import PROBE, probe_text, settle_state
from store.fsops import LocalFileOps
from store.remote import Passing, filesystem, no_bucket, patiently, told, waits_s
from store.state import is_local_part, state_root

WRITER: Final = "sonotheque-writer"  # of each object's own metadata: tells whose PUT made it when the answer was lost
_CHUNK = 64 << 20  # twice as much goes in pieces, which the last request joins under the same condition
_PROVING = threading.Lock()
_PROVEN: set[str] = (
    set()
)  # state folders, thus addresses on a server, of stores whose server was found to honour the condition


class ObjectFileOps(LocalFileOps):
    """File operations of one store; see :class:`store.fsops.FileOps`. Paths that are no addresses are local files.

    Parameters
    ----------
    root : str
        The store's address.
    """

    def __init__(self, root: str) -> None:
        self.root = normal(root)
        self._state = state_root(root)

    def local(self, path: str) -> str | None:
        """Return where on this machine a path lies; None for an object."""
        if not is_object(path):
            return path
        below = relative(path, self.root) if inside(path, self.root) else ""
        return os.path.join(self._state, below) if is_local_part(below) else None

    def makedirs(self, path: str) -> None:
        """Make a local folder; an object store has none."""
        if here := self.local(path):
            super().makedirs(here)

    def create(self, path: str) -> BinaryIO:
        """Open a new local file; objects come to be by :meth:`link_new` alone."""
        here = self.local(path)
        if here is None:
            raise OSError(errno.EINVAL, "an object is written whole, from a file in _tmp", path)
        return super().create(here)

    def link_new(self, source: str, target: str) -> bool:
        """Put a finished file under a new name, if the name is free. False if it is another's."""
        from_file = self._file(source)
        if here := self.local(target):
            return super().link_new(from_file, here)
        self.require_put_if_absent()
        return self._put_new(from_file, target)

    def replace(self, source: str, target: str) -> None:
        """Put a finished file over another; it is left to be unlinked, as one that was renamed is not."""
        from_file = self._file(source)
        if here := self.local(target):
            super().replace(from_file, here)
            return
        fs = filesystem(target)
        patiently(target, lambda: fs.put_file(from_file, target))

    def sync_dir(self, path: str) -> None:
        """Force a local folder's entries to disk; an object that was put is safe."""
        if here := self.local(path):
            super().sync_dir(here)

    def unlink(self, path: str) -> None:
        """Remove a name; one that is gone is fine."""
        if here := self.local(path):
            super().unlink(here)
            return
        fs = filesystem(path)
        try:
            patiently(path, lambda: fs.rm_file(path))
        except FileNotFoundError:
            return

    def append(self, path: str, data: bytes, *, forced: bool = False) -> None:
        """Add lines to a local file."""
        super().append(self._file(path), data, forced=forced)

    def make_folder(self, path: str) -> bool:
        """Make a local folder that must be new."""
        return super().make_folder(self._file(path))

    def read(self, path: str) -> bytes:
        """Return the bytes of a file or object."""
        if here := self.local(path):
            return super().read(here)
        fs = filesystem(path)
        # By default s3fs asks for the size before it reads; one request says everything.
        options = {"max_concurrency": 1} if scheme_of(path) == "s3" else {}
        return bytes(patiently(path, lambda: fs.cat_file(path, **options)))

    def exists(self, path: str) -> bool:
        """Tell whether a file or object of this name is there."""
        if here := self.local(path):
            return super().exists(here)
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Return the size of a file or object."""
        if here := self.local(path):
            return super().size(here)
        from store.object_reading import size_of

        return size_of(path)

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a folder, or below a prefix up to the next slash."""
        if here := self.local(path):
            return super().listdir(here)
        fs = filesystem(path)
        try:
            found = patiently(path, lambda: fs.ls(path, detail=False))
        except FileNotFoundError:
            return []
        prefix = f"{_plain(path)}/"
        return sorted({str(one)[len(prefix) :].rstrip("/") for one in found if str(one).startswith(prefix)} - {""})

    def sizes_below(self, path: str, depth: int) -> Mapping[str, int]:
        """Return relative path -> bytes of all files ``depth`` names below a folder: of objects, in one listing, page by page."""
        if here := self.local(path):
            return super().sizes_below(here, depth)
        fs = filesystem(path)
        try:
            found: dict[str, Any] = patiently(path, lambda: fs.find(path, detail=True))
        except FileNotFoundError:
            return {}
        skip = len(_plain(path)) + 1
        sizes = {str(name)[skip:]: int(about["size"]) for name, about in found.items() if about["type"] == "file"}
        return {name: sizes[name] for name in sorted(sizes, key=lambda n: n.split("/")) if name.count("/") == depth - 1}

    def _file(self, path: str) -> str:
        here = self.local(path)
        if here is None:
            raise OSError(errno.EINVAL, "expected a file of this machine", path)
        return here

    def _put_new(self, file: str, target: str) -> bool:
        """Put a file if the name is free, once. An answer that was lost is found out by reading back who wrote what is there."""
        writer = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}"
        last: Passing | None = None
        for wait_s in (*waits_s(target), None):
            try:
                with told(target):
                    _put(file, target, writer)
            except FileExistsError:
                return self._writer(target) == writer
            except (Passing, FileNotFoundError) as error:
                # A bucket that is not there says so (`told`) on S3. Of a file in pieces it is also what a second answer says after
                # a first one was lost: the upload is over, and the object may be there.
                if isinstance(error, FileNotFoundError) and scheme_of(target) != "s3":
                    raise no_bucket(target) from error
                last = error if isinstance(error, Passing) else Passing(target, error)
                if self._writer(target) == writer:
                    return True
                if wait_s is not None:
                    time.sleep(wait_s)
            else:
                self._require_whole(file, target)
                return True
        if last is None:
            raise RuntimeError("a put without an outcome")
        raise last.final() from last

    def _writer(self, target: str) -> str | None:
        """Return who made an object, as its metadata says; None if nobody did, or another program."""
        fs = filesystem(target)
        try:
            return str(patiently(target, lambda: fs.getxattr(target, WRITER)))
        except (FileNotFoundError, KeyError):
            return None

    def _require_whole(self, file: str, target: str) -> None:
        there, here = self.size(target), os.path.getsize(file)
        if there != here:
            raise Unavailable(
                f"{target} has {there:,} bytes after {here:,} were put: this server does not keep what it confirms"
            )

    def require_put_if_absent(self) -> None:
        """Make sure, once in a process, that this store can be written to and that its server never overwrites what is there.

        Raises
        ------
        NotFound
            If there is no such bucket.
        Unavailable
            If it may not be written to, cannot be reached, or ignores the condition: two runs could destroy each other's parts.
        """
        with _PROVING:
            if self._state in _PROVEN:
                return
            probe = f"{self.root}/{PROBE}"
            fs = filesystem(probe)

            def put() -> None:
                fs.pipe_file(probe, probe_text(), mode="create")

            for _ in range(2):  # the first makes it, where nobody has yet; the second must not
                try:
                    patiently(probe, put)
                except FileExistsError:
                    _PROVEN.add(self._state)
                    settle_state(self.root, self)  # before a job's folder is made
                    return
                except FileNotFoundError as error:
                    raise no_bucket(probe) from error
            raise Unavailable(
                f"{self.root}: this server ignores `If-None-Match: *` and overwrites objects that are there, so two runs could destroy each "
                "other's parts. Use Amazon S3, Google Cloud Storage, MinIO or another server with conditional writes, or a folder"
            )


def _put(file: str, target: str, writer: str) -> None:
    keyword = "Metadata" if scheme_of(target) == "s3" else "metadata"
    filesystem(target).put_file(file, target, mode="create", chunksize=_CHUNK, **{keyword: {WRITER: writer}})


def _plain(url: str) -> str:
    """Return an address as fsspec lists it: bucket and key."""
    return url.split("://", 1)[1].rstrip("/")
