"""Names deep below a folder, with their sizes on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol


class Lister(Protocol):
    """What a folder is asked."""

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""

    def size(self, path: str) -> int:
        """Return a file's size."""


class SizesBelow(Mapping[str, int]):
    """Relative path -> bytes of the files ``depth`` names below a folder; a listing of a file system does not have the bytes,
    so each file is looked at when it is asked for.
    """

    def __init__(self, ops: Lister, folder: str, depth: int) -> None:
        self._ops, self._folder = ops, folder
        self._names = tuple(_below(ops, folder, depth))

    def __getitem__(self, name: str) -> int:
        return self._ops.size(f"{self._folder}/{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _below(ops: Lister, path: str, depth: int) -> Iterator[str]:
    for name in ops.listdir(path):
        if depth == 1:
            yield name
        else:
            yield from (f"{name}/{below}" for below in _below(ops, f"{path}/{name}", depth - 1))
