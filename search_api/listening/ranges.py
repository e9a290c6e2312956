"""Which bytes of a file a caller asks for, and whether it has them already: RFC 9110, sections 13 and 14, for one range."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from sonotheque.core.errors import Invalid

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
HEADER_MAX: Final = 4000  # a longer one is no browser's


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file.

    Attributes
    ----------
    first, last : int
        Both are meant too.
    size : int
        Of the whole file.
    """

    first: int
    last: int
    size: int

    @property
    def content_range(self) -> str:
        """The header that says it."""
        return f"bytes {self.first}-{self.last}/{self.size}"


class Unsatisfiable(Invalid):
    """A range that begins after the end; ``headers`` tell the size."""

    http_status: ClassVar[int] = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range asked for begins after the end: the file has {size:,} bytes")
        self.headers = {"Content-Range": f"bytes */{size}"}


def wanted_range(header: str | None, if_range: str | None, size: int, etag: str) -> ByteRange | None:
    """Return the bytes to send; None for the whole file.

    Parameters
    ----------
    header : str or None
        ``Range``. What is not one range of bytes is left aside, as the standard allows: several would let one request ask for the
        same bytes a thousand times.
    if_range : str or None
        ``If-Range``: the range is meant for this version of the file. A date never fits, as none is sent.
    size : int
    etag : str
        Strong, with its quotes.

    Raises
    ------
    Unsatisfiable
        If none of the bytes is there.
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _RANGE.fullmatch(header) if len(header) <= HEADER_MAX else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = int(found[2])
        if not length or not size:
            raise Unsatisfiable(size)
        return ByteRange(max(0, size - length), size - 1, size)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    if first >= size:
        raise Unsatisfiable(size)
    return ByteRange(first, min(last, size - 1), size)


def known_tags(if_none_match: str | None) -> frozenset[str]:
    """Return the tags of ``If-None-Match``, each with its quotes; ``*`` for any."""
    if not if_none_match or len(if_none_match) > HEADER_MAX:
        return frozenset()
    if if_none_match.strip() == "*":
        return frozenset({"*"})
    return frozenset(_TAG.findall(if_none_match))
