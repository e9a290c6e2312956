"""One spelling of a store's address, whatever the user wrote: ``s3a://bucket/archive/`` is ``s3://bucket/archive``."""

from __future__ import annotations

from collections.abc import Iterable

from sonotheque.core.places import normal

_OPTION = "--store"


def with_normal_stores(words: Iterable[str]) -> list[str]:
    """Return the words of a command line, the values of ``--store`` spelled as they are everywhere else.

    Raises
    ------
    Invalid
        If such a value is an address of an unknown kind, or holds a password.
    """
    out: list[str] = []
    for word in words:
        if out and out[-1] == _OPTION:
            out.append(normal(word))
        elif word.startswith(f"{_OPTION}="):
            out.append(f"{_OPTION}={normal(word.partition('=')[2])}")
        else:
            out.append(word)
    return out
