"""Small JSON files that only the service's own user may read: replaced whole, locked while they are changed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonotheque.core.errors import Damaged, Unavailable

_MODE = 0o600
_FULL = (errno.ENOSPC, errno.EDQUOT)


class PrivateFile:
    """One JSON object in a file with mode 0600. A reader sees the old or the new one, never half.

    Parameters
    ----------
    path : Path
    what : str
        What it is called in messages.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what

    def signature(self) -> tuple[int, int, int]:
        """Return what differs after every change: inode, size, time of change; zeros if there is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_ino, found.st_size, found.st_mtime_ns)

    def read(self) -> dict[str, Any]:
        """Return the object; an empty one if there is no file.

        Raises
        ------
        Damaged
            If the file holds something else. Nobody is let in by a file that cannot be read.
        """
        try:
            value = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Damaged(f"{self._what} {self.path} cannot be read: {error}. Put a copy back, or remove it") from error
        if not isinstance(value, dict):
            raise Damaged(f"{self._what} {self.path} is no JSON object. Put a copy back, or remove it")
        return value

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """Yield the object to be changed; it is written when the block ends well. One process at a time.

        Raises
        ------
        Damaged
            As :meth:`read`.
        Unavailable
            Kind ``read_only`` or ``disk_full``: the file cannot be written.
        """
        with self._locked():
            value = self.read()
            yield value
            try:
                self._write(value)
            except OSError as error:
                raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, value: dict[str, Any]) -> None:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(json.dumps(value, indent=1).encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unwritable(self, error: OSError) -> Unavailable:
        kind = "disk_full" if error.errno in _FULL else "read_only"
        why = error.strerror or error
        return Unavailable(f"{self._what} {self.path} cannot be written: {why}; nothing was changed", kind=kind)
