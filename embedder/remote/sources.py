"""What an address given by a user is: an object, or a folder of objects."""

from __future__ import annotations

from contextlib import suppress

from embedder.remote.asking import list_below, look_at
from embedder.remote.facts import ObjectFacts
from embedder.remote.faults import RemoteError, as_error
from sonotheque.core.errors import NotFound
from sonotheque.core.places import bucket_and_key


def object_at(url: str) -> ObjectFacts | None:
    """Return the facts of an object, or None if the address is a folder: one with objects below it.

    Parameters
    ----------
    url : str
        Normal, see :mod:`sonotheque.core.places`.

    Raises
    ------
    NotFound
        If there is neither.
    SonothequeError
        If it cannot be looked at: forbidden, expired credentials, wrong region, not reachable.
    """
    try:
        if next(iter(list_below(url, limit=1)), None) is not None:
            return None
        if bucket_and_key(url)[1]:
            with suppress(FileNotFoundError):
                return _found(url)
    except RemoteError as error:
        with suppress(RemoteError):  # a key that may read objects and may not list them
            if error.kind == "forbidden" and bucket_and_key(url)[1]:
                return look_at(url)
        raise as_error(error) from error
    raise NotFound(f"{url}: there is nothing at this address; check the bucket's name and the path (capitals count)")


def _found(url: str) -> ObjectFacts:
    try:
        return look_at(url)
    except RemoteError as error:
        if error.kind == "absent":
            raise FileNotFoundError(url) from error
        raise
