"""Where recordings lie now: stored paths are relative, and a store may be older than a move of its recordings."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cluster.roots import absolute_path
from cluster.settle import known_roots
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.places import inside, is_object, normal

_SURROGATE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True)
class Locator:
    """Finds recordings below known folders.

    Parameters
    ----------
    roots : tuple of (str, str)
        Folder, and the prefix that stored paths of its recordings begin with; tried in order.
    follow_links : bool
        Also take what symbolic links below a folder lead to outside of it.
    """

    roots: tuple[tuple[str, str], ...]
    follow_links: bool = False

    @classmethod
    def of(cls, store: str, recordings: str | None = None, *, follow_links: bool = False) -> Locator:
        """Return the locator of a store: the folders that its jobs read, the newest first, or the one that is given.

        Parameters
        ----------
        store : str
        recordings : str, optional
            Folder, or address in an object store, that holds what the jobs' folders held.
        follow_links : bool
        """
        known = [(_spelled(root), prefix.strip("/")) for root, prefix in reversed(known_roots(store))]
        if recordings is not None:
            known = [(normal(recordings), prefix) for prefix in dict.fromkeys([*(p for _, p in known), ""])]
        return cls(tuple(dict.fromkeys(known)), follow_links)

    def require_there(self) -> None:
        """Raise NotFound unless at least one of the folders is there."""
        if not any(is_object(root) or os.path.isdir(root) for root, _ in self.roots):
            tried = ", ".join(dict.fromkeys(root for root, _ in self.roots)) or "none is known"
            raise NotFound(f"the recordings are not where they were ({tried}); say where they are: --recordings DIR")

    def told(self, paths: Sequence[str]) -> list[str]:
        """Return where recordings should lie, for tables that name files; nothing is opened.

        A folder of another system (``D:\\\\audio``) gives paths of that system. A path that no folder's prefix fits stays
        as it is; of several folders, the first that has the file, or the first.
        """
        return [self._told(path) for path in paths]

    def find(self, path: str) -> str:
        """Return the real path of a recording, or its address.

        Parameters
        ----------
        path : str
            As stored: bytes that are not UTF-8 as ``\\\\udcXX``.

        Raises
        ------
        NotFound
            If it lies in none of the folders.
        Invalid
            If the path leads out of them, by ``..`` or by a link.
        SonothequeError
            If an object store refuses, or does not answer.
        """
        if path.startswith("/") or "\x00" in path or {"", ".", ".."} & set(path.split("/")):
            raise Invalid(f"{path!r} is no path below a folder of recordings: nothing outside is read")
        outside = None
        for root, prefix in self._fitting(path):
            for spelled in dict.fromkeys((path, _with_bytes(path))):
                full = absolute_path(spelled, root, prefix)
                if is_object(root):
                    if _is_object_there(full):
                        return full
                    continue
                if not os.path.isfile(full):
                    continue
                real = os.path.realpath(full)
                if self.follow_links or inside(real, os.path.realpath(root)):
                    return real
                outside = real
        if outside is not None:
            raise Invalid(f"{path} is a link that leads out of its folder, to {outside}: add --follow-links to read it")
        tried = ", ".join(dict.fromkeys(root for root, _ in self.roots))
        raise NotFound(
            f"{path} is not below {tried or 'any known folder'}; say where the recordings are: --recordings DIR"
        )

    def _fitting(self, path: str) -> list[tuple[str, str]]:
        return [(root, prefix) for root, prefix in self.roots if not prefix or path.startswith(f"{prefix}/")]

    def _told(self, path: str) -> str:
        fitting = self._fitting(path)
        if not fitting:
            return path
        places = [_joined(root, path[len(prefix) + 1 :] if prefix else path) for root, prefix in fitting]
        if len(self._folders) == 1 and len(fitting) == 1:
            return places[0]
        return next((place for place in places if not is_object(place) and os.path.isfile(place)), places[0])

    @cached_property
    def _folders(self) -> set[str]:
        return {root for root, _ in self.roots}


def _spelled(root: str) -> str:
    return root if is_object(root) else str(Path(root))


def size_and_time(place: str) -> tuple[int, int]:
    """Return the size in bytes and the modification time in ns of a path or address that :meth:`Locator.find` gave.

    Raises
    ------
    OSError
        If a path cannot be looked at.
    SonothequeError
        If an object store refuses, does not answer, or has no such object any more.
    """
    if not is_object(place):
        info = os.stat(place)
        return info.st_size, info.st_mtime_ns
    from embedder.remote import RemoteError, as_error, look_at

    try:
        facts = look_at(place)
    except RemoteError as error:
        raise as_error(error) from error
    return facts.size_bytes, facts.mtime_ns


def _is_object_there(url: str) -> bool:
    try:
        size_and_time(url)
    except NotFound:
        return False
    return True


def _joined(root: str, inner: str) -> str:
    if _WINDOWS.match(root):
        return root.rstrip("\\/") + "\\" + inner.replace("/", "\\")
    return f"{root.rstrip('/')}/{inner}"


def _with_bytes(path: str) -> str:
    """Return a stored path as the operating system has it: the inverse of ``printable_path``."""
    return _SURROGATE.sub(lambda found: chr(int(found[1], 16)), path)
