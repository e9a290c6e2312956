"""Names that are the same on every machine: recording ids, part ids, digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def recording_id(path: str) -> int:
    """Return the id of a recording: 63 bits of its relative path's BLAKE2b hash.

    Parameters
    ----------
    path : str
        Path relative to the archive's root, with ``/`` between its parts.

    Returns
    -------
    int
        Not negative, below 2**63, so it fits a Parquet and SQL ``BIGINT``. Among 10^6 recordings two share an id
        with probability 5e-8; the planner refuses such a pair.
    """
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def digest_of(value: object) -> str:
    """Return the BLAKE2b-128 hex digest of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes, read in blocks."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(_CHUNK_BYTES):
            sha.update(block)
    return sha.hexdigest()
