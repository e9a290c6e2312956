"""Messages between the service and its query processes: a JSON header and, behind it, bytes."""

from __future__ import annotations

import json
import struct
from typing import IO, Any, Final

_HEAD: Final = struct.Struct(">IQ")


def packed(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a message as it goes over a pipe."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return _HEAD.pack(len(text), len(body)) + text + body


def read_frame(pipe: IO[bytes], bytes_max: int | None = None) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message of a pipe; None if it ended, in the middle of one or before it, or is longer than ``bytes_max``."""
    head = _exactly(pipe, _HEAD.size)
    if head is None:
        return None
    header_size, body_size = _HEAD.unpack(head)
    if bytes_max is not None and header_size + body_size > bytes_max:
        return None
    header, body = _exactly(pipe, header_size), _exactly(pipe, body_size)
    if header is None or body is None:
        return None
    return json.loads(header), body


def _exactly(pipe: IO[bytes], size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        piece = pipe.read(min(size - len(found), 1 << 20))
        if not piece:
            return None
        found += piece
    return bytes(found)
