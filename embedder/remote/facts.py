"""What an object store says of an object, and the three requests that a store must answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object.

    Attributes
    ----------
    key : str
    size_bytes : int
    modified : datetime
        Aware.
    version : str
        ETag (S3) or generation (Google): another one means another content under the same name.
    """

    key: str
    size_bytes: int
    modified: datetime
    version: str

    @property
    def mtime_ns(self) -> int:
        """The second it was written, and below the second 30 bits of its version's hash.

        Stores tell times in whole seconds. So an object that is replaced within the second, by one of the same size, still has
        another time, and what was planned is told from what is there by size and time, as on a disk.
        """
        digest = hashlib.blake2b(self.version.encode(), digest_size=8).digest()
        return int(self.modified.timestamp()) * _SECOND_NS + int.from_bytes(digest, "big") % _SECOND_NS


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing; ``token`` asks for the next one and is empty after the last."""

    objects: list[ObjectFacts]
    token: str


class StoreClient(Protocol):
    """One kind of object store; every method raises :class:`~embedder.remote.faults.RemoteError` and tries once."""

    def page(self, bucket: str, prefix: str, token: str, limit: int) -> Page:
        """Return the next objects whose keys begin with a prefix, in the order of their keys' bytes."""

    def facts(self, bucket: str, key: str) -> ObjectFacts:
        """Return what is known of one object."""

    def fetch(self, bucket: str, key: str, start: int, stop: int, version: str, into: bytearray) -> None:
        """Append the bytes ``[start, stop)`` of a version (any, where it is empty) as they come: what came before an error stays."""
