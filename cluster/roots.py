"""What stored paths are relative to. A recording's identity is its relative path, so the root decides what is "the same file"."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from sonotheque.core import places
from sonotheque.core.errors import Conflict, Invalid, NotFound
from sonotheque.core.places import inside

_END_BYTES = 65_536


def choose_root(sources: tuple[str, ...], asked: str | None, known: Iterable[str]) -> str:
    """Return the root of a run.

    A folder given alone is its own root; several sources share their deepest common folder; a file's is its folder. A
    source inside a root that this store already knows keeps that root, so its paths stay what they were.

    Parameters
    ----------
    sources : tuple of str
        Folders and files that exist, on this machine or all in one bucket.
    asked : str, optional
        ``--root``.
    known : iterable of str
        Roots of earlier runs into the same store.

    Raises
    ------
    NotFound
        If a source is not there.
    Invalid
        If a source lies outside ``--root``, or sources have no root in common.
    Conflict
        If the root would contain a known one: its files would be stored a second time under longer paths.
    """
    if asked is not None:
        root = _existing(asked)[0]
        for source in sources:
            path = _existing(source)[0]
            if not inside(path, root):
                raise Invalid(f"{path} does not lie in --root {root}")
        return root
    root = _common([_existing(source)[1] for source in sources])
    known = list(known)
    for other in known:
        if inside(root, other):
            return other
    for other in known:
        if inside(other, root):
            raise Conflict(
                f"this store's paths are relative to {other}, which lies inside {root}: its files would be stored a second time "
                f"under longer names. Embed {other} and the other folders one by one with --root {other} where they lie in it, "
                f"or give the new files a --prefix and leave {other} out, or make another --store",
                kind="path_conflict",
            )
    return root


def real_place(source: str) -> str:
    """Return a source's one name: of a path without links and ``..``, of an address its normal spelling."""
    address = places.normal(source)
    return address if places.is_object(address) else str(Path(address).expanduser().resolve())


def _existing(source: str) -> tuple[str, str]:
    """Return a source as it really is called, and the folder it is or lies in."""
    address = places.normal(source)
    if places.is_object(address):
        from embedder.remote import object_at

        is_folder = object_at(address) is None
        return address, address if is_folder else places.parent(address)
    path = _on_disk(address)
    return str(path), str(path if path.is_dir() else path.parent)


def _common(folders: list[str]) -> str:
    kinds = {places.is_object(folder) for folder in folders}
    root = "" if len(kinds) > 1 else places.common(folders) if True in kinds else os.path.commonpath(folders)
    if not root:
        raise Invalid(
            f"{' and '.join(folders)} have no folder in common that stored paths could be relative to: embed them one after the other, "
            "each with a --prefix of its own"
        )
    return root


def _on_disk(path: str) -> Path:
    try:
        return Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, or "~name" of no user
        why = f" ({error.strerror or error})" if isinstance(error, OSError) else f" ({error})"
        why = "" if isinstance(error, FileNotFoundError) else why
        raise NotFound(f"{path} is not there{why}: check the path to the recordings") from None


def relative_path(path: str, root: str, prefix: str) -> str:
    """Return a file's stored path: relative to the root, ``/`` between parts, after the prefix."""
    base = root.rstrip("/") + "/"
    if places.is_object(root):
        relative = places.relative(path, root)
    elif path.startswith(base) and os.path.normpath(path) == path:  # as a walk finds them: ten times as fast
        relative = path[len(base) :]
    else:
        relative = os.path.relpath(path, root).replace(os.sep, "/")
    return f"{prefix.strip('/')}/{relative}" if prefix.strip("/") else relative


def absolute_path(stored: str, root: str, prefix: str) -> str:
    """Return where a stored path lies; the inverse of :func:`relative_path`."""
    inner = prefix.strip("/")
    below = stored[len(inner) + 1 :] if inner else stored
    return places.join(root, below) if places.is_object(root) else str(Path(root) / below)


def holds_another(there: str, file: str) -> bool:
    """Tell whether one place holds another recording than a second: it is there, is not the same file, and is no copy of it."""
    if places.is_object(there):
        same = there == file
    elif not os.path.exists(there):
        return False
    else:
        same = not places.is_object(file) and os.path.samefile(there, file)
    if same:
        return False
    try:
        return _ends(there) != _ends(file)
    except FileNotFoundError:
        return False


def _ends(path: str) -> tuple[int, bytes, bytes]:
    """Return a recording's size, beginning and end: copies of one recording agree in them, two recordings do not."""
    with _opened(path) as handle:
        first = handle.read(_END_BYTES)
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _END_BYTES))
        return size, first, handle.read(_END_BYTES)


def _opened(path: str) -> BinaryIO:
    if not places.is_object(path):
        return open(path, "rb")
    from embedder.remote import RemoteError, as_error, look_at, open_header

    try:
        return BufferedReader(open_header(path, look_at(path).size_bytes))
    except RemoteError as error:
        if error.kind == "absent":
            raise FileNotFoundError(path) from error
        raise as_error(error) from error
