"""Sounds that were heard, and the last of them kept: another filter on the same clip needs no model."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search_api.queries import QueryWindow

KEPT_BYTES: Final = 64 << 20
Key = tuple[str, float | None, float | None]  # digest of the sound, from_s, to_s


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A sound, decoded and embedded.

    Attributes
    ----------
    name : str
        What it is called.
    windows : tuple of QueryWindow
    embeddings : float32, (n, dim)
    logits : float32, (n, n_classes) or None
        None for a model without classes.
    duration_s : float
    sample_rate_hz, channels : int
    ranged : bool
        Whether a range was asked for.
    notes : tuple of str
        What a user should know.
    decode_ms, embed_ms : float
        How long each took; 0 where the sound was known already.
    """

    name: str
    windows: tuple[QueryWindow, ...]
    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32] | None
    duration_s: float
    sample_rate_hz: int
    channels: int
    ranged: bool
    notes: tuple[str, ...]
    decode_ms: float = 0.0
    embed_ms: float = 0.0

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self.embeddings.nbytes + (0 if self.logits is None else self.logits.nbytes)


class Heardbook:
    """What was heard last, up to so many bytes. Used by the event loop's thread alone.

    Parameters
    ----------
    most : int
        Bytes of all arrays.
    """

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[Key, Heard] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, name: str) -> Heard | None:
        """Return what was heard, under the name that it has now; None if it is not kept."""
        known = self._kept.get(key)
        if known is None:
            return None
        self._kept.move_to_end(key)
        notes = tuple(note.replace(known.name, name) for note in known.notes)
        return replace(known, name=name, notes=notes, decode_ms=0.0, embed_ms=0.0)

    def put(self, key: Key, heard: Heard) -> None:
        """Keep what was heard, unless it would push out most of the rest."""
        if key in self._kept or heard.nbytes > self._most // 8:
            return
        self._kept[key] = heard
        self._bytes += heard.nbytes
        while self._bytes > self._most:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
