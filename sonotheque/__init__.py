"""Sonotheque: a distributed embedding store and similarity search for sound archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonotheque.core.filters import SearchFilter
from sonotheque.core.version import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from store import Archive

__version__ = VERSION
__all__ = ["SearchFilter", "__version__", "open"]


def open(path: str | Path, snapshot: int | None = None, *, skip_damaged: bool = False) -> Archive:
    """Open a store for reading.

    Parameters
    ----------
    path : path-like
        The store's folder.
    snapshot : int, optional
        A snapshot's number; the newest by default.
    skip_damaged : bool
        Leave out parts that cannot be read and name them in ``.damaged``; by default they are an error.

    Returns
    -------
    store.Archive
        With ``.sql(query)``, ``.windows(filter)``, ``.predictions(filter)``, ``.embeddings(filter)``, ``.bitmap(filter)``
        and ``.vectors()``. Building its catalog takes a while the first time.

    Raises
    ------
    NotFound
        If the folder is no store, or nothing was committed yet.
    Damaged
        If something that must be read cannot be.
    """
    from store import open_archive

    return open_archive(path, snapshot, skip_damaged=skip_damaged)
