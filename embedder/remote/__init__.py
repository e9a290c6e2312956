"""Recordings in object stores: looked at, listed, and read by ranges. See README.md; nothing of a store's library is imported here."""

from __future__ import annotations

from embedder.remote.asking import ANONYMOUS, list_below, look_at
from embedder.remote.blocks import CACHE_BYTES
from embedder.remote.facts import ObjectFacts
from embedder.remote.faults import RemoteError, as_error
from embedder.remote.files import RangeFile, header_of, open_header, open_whole
from embedder.remote.sources import object_at

__all__ = [
    "ANONYMOUS",
    "CACHE_BYTES",
    "ObjectFacts",
    "RangeFile",
    "RemoteError",
    "as_error",
    "header_of",
    "list_below",
    "look_at",
    "object_at",
    "open_header",
    "open_whole",
]
