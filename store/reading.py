"""Reads a store's files, whether they lie in a folder or in an object store: what pyarrow opens, sizes, digests."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sonotheque.core.ids import file_sha256
from sonotheque.core.places import is_object

_TAIL: Final = 1 << 18  # holds the footer of a part of two hours of short files; a longer one is read by itself
_MAGIC_BYTES: Final = 8


def source(path: str) -> Any:
    """Return what pyarrow opens to read a file: its path, or a reader of the object.

    Raises
    ------
    FileNotFoundError
        If there is no such object; a path is not looked at.
    """
    if not is_object(path):
        return path
    from store.object_reading import ObjectReader

    return ObjectReader(path)


def parquet(path: str, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file; the columns of a row group of an object are fetched in one range where they lie side by side."""
    if not is_object(path):
        return pq.ParquetFile(path, **options)
    return pq.ParquetFile(source(path), pre_buffer=True)


def parquet_footer(path: str) -> pq.FileMetaData:
    """Return the metadata of a Parquet file; of an object, in one request for its end."""
    if not is_object(path):
        return pq.read_metadata(path)
    from store.object_reading import read_tail

    tail = read_tail(path, _TAIL)
    needed = int.from_bytes(tail[-_MAGIC_BYTES:-4], "little") + _MAGIC_BYTES
    if tail[-4:] == b"PAR1" and len(tail) == _TAIL < needed:
        tail = read_tail(path, needed)
    return pq.read_metadata(pa.BufferReader(tail))


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file's or object's bytes, read in blocks."""
    if not is_object(path):
        return file_sha256(path)
    from store.object_reading import blocks

    sha = hashlib.sha256()
    for block in blocks(path):
        sha.update(block)
    return sha.hexdigest()


def size_of(path: str) -> int:
    """Return a file's or object's size; raises FileNotFoundError if it is not there."""
    if not is_object(path):
        return os.path.getsize(path)
    from store import object_reading

    return object_reading.size_of(path)
