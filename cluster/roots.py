"""What stored paths are relative to. A recording's identity is its relative path, so the root decides what is "the same file"."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sonotheque.core.errors import Conflict, Invalid, NotFound


def choose_root(sources: tuple[str, ...], asked: str | None, known: Iterable[str]) -> str:
    """Return the root of a run.

    A folder given alone is its own root; several sources share their deepest common folder; a file's is its folder. A
    source inside a root that this store already knows keeps that root, so its paths stay what they were.

    Parameters
    ----------
    sources : tuple of str
        Folders and files that exist.
    asked : str, optional
        ``--root``.
    known : iterable of str
        Roots of earlier runs into the same store.

    Raises
    ------
    NotFound
        If a source is not there.
    Invalid
        If a source lies outside ``--root``.
    Conflict
        If the root would contain a known one: its files would be stored a second time under longer paths.
    """
    real = [_existing(source) for source in sources]
    if asked is not None:
        root = str(_existing(asked))
        for path in real:
            if not inside(str(path), root):
                raise Invalid(f"{path} does not lie in --root {root}")
        return root
    folders = [str(path if path.is_dir() else path.parent) for path in real]
    root = folders[0] if len(folders) == 1 else os.path.commonpath(folders)
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


def _existing(path: str) -> Path:
    try:
        return Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, or "~name" of no user
        why = f" ({error.strerror or error})" if isinstance(error, OSError) else f" ({error})"
        why = "" if isinstance(error, FileNotFoundError) else why
        raise NotFound(f"{path} is not there{why}: check the path to the recordings") from None


def inside(path: str, root: str) -> bool:
    """Tell whether a path is a folder or lies below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def relative_path(path: str, root: str, prefix: str) -> str:
    """Return a file's stored path: relative to the root, ``/`` between parts, after the prefix."""
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    return f"{prefix.strip('/')}/{relative}" if prefix.strip("/") else relative


def absolute_path(stored: str, root: str, prefix: str) -> str:
    """Return where a stored path lies; the inverse of :func:`relative_path`."""
    inner = prefix.strip("/")
    return str(Path(root) / (stored[len(inner) + 1 :] if inner else stored))
