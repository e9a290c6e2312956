"""Files that the store accounts for already, as a list that holds nothing twice: the ledger has them all in memory anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from store import LedgerFile, Part
from store.live import Held


@dataclass(frozen=True, slots=True)
class Settled:
    """A file that the store already accounts for."""

    part_id: str
    entry: LedgerFile
    embeddings: str  # the part's file


class SettledFiles(Sequence[Settled]):
    """A list of settled files that can only grow; each is made when somebody looks at it.

    Parameters
    ----------
    parts : mapping
        Of the ledger.
    """

    def __init__(self, parts: Mapping[str, Part] | None = None) -> None:
        self._parts = parts or {}
        self._held: list[Held] = []

    def append(self, held: Held) -> None:
        """Add a file as the ledger has it."""
        self._held.append(held)

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, index: int) -> Settled: ...

    @overload
    def __getitem__(self, index: slice) -> list[Settled]: ...

    def __getitem__(self, index: int | slice) -> Settled | list[Settled]:
        if isinstance(index, slice):
            return [self._of(held) for held in self._held[index]]
        return self._of(self._held[index])

    def __iter__(self) -> Iterator[Settled]:
        return map(self._of, self._held)

    def _of(self, held: Held) -> Settled:
        return Settled(held[0], held[1], self._parts[held[0]].embeddings)

    def audio_s(self) -> Iterator[float]:
        """Yield the length of each, as its header said."""
        return (entry.audio_s for _, entry in self._held)

    def by_part(self) -> Iterator[tuple[str, set[str]]]:
        """Yield each part's file, in the order in which the walk came by them, with the paths that it settles."""
        of_part: dict[str, list[LedgerFile]] = {}
        for part_id, entry in self._held:
            of_part.setdefault(part_id, []).append(entry)
        for part_id, entries in of_part.items():
            yield self._parts[part_id].embeddings, {entry.path for entry in entries}
