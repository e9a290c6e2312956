"""Sonotheque: a distributed embedding store and similarity search for sound archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonotheque.core.version import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from store import Archive

__version__ = VERSION
__all__ = ["__version__", "open"]


def open(path: str | Path, snapshot: int | None = None) -> Archive:
    """Open a store for reading.

    Parameters
    ----------
    path : path-like
        The store's folder.
    snapshot : int, optional
        A snapshot's number; the newest by default.

    Returns
    -------
    store.Archive
        With ``.sql(query)`` and ``.vectors()``.

    Raises
    ------
    NotFound
        If the folder is no store, or nothing was committed yet.
    """
    from store import open_archive

    return open_archive(path, snapshot)
