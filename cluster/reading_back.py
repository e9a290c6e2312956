"""Reads back what a task has committed, with patience: a disk of several machines may show it to this one a little later."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from sonotheque.core.errors import Damaged, SonothequeError, Unavailable
from sonotheque.core.passing import is_gone, is_passing
from store.fsops import ops_of
from store.ledger import Part, read_part

WAITS_S: Final = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0, 14.0, 30.0)  # before each further look; a minute in all


def read_committed(store: str, relative: str, *, wait: Callable[[float], None] = time.sleep) -> Part:
    """Return a part that a task has said is committed.

    NFS remembers for a while that a name was not there, and a server that is restarted answers EIO or ESTALE: neither is a fault of
    the part.

    Parameters
    ----------
    store, relative : str
        The store, and the part's path in it.
    wait : callable
        Waits so many seconds.

    Raises
    ------
    Damaged
        If it can be read and is no part.
    Unavailable
        If it cannot be read for a minute. It is committed: the next run finds it.
    """
    for wait_s in WAITS_S:
        try:
            return read_part(store, relative)
        except Damaged as error:
            if not _may_pass(error):
                raise
        wait(wait_s)
        with contextlib.suppress(OSError, SonothequeError):
            # A listing makes the kernel ask the server again for names that it holds to be missing.
            ops_of(store).listdir(f"{store}/{relative.rpartition('/')[0]}")
    try:
        return read_part(store, relative)
    except Damaged as error:
        if not _may_pass(error):
            raise
        raise Unavailable(
            f"{relative} was committed and cannot be read from here: {error.__cause__}. Nothing is lost: look at the disk or mount of "
            f"{store} on this machine, and run the same command again"
        ) from error


def _may_pass(error: Damaged) -> bool:
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return False
    # Without a number it is the Parquet reader's own word on what it has read.
    return is_gone(cause) or (cause.errno is not None and is_passing(cause))
