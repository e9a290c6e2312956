"""Cursors: where a page of a list ended, as a text that a caller hands back and need not understand.

A cursor names the list, the filter and the state of the archive that it was made for, and the key of the last row. So the next page
begins after that row, whatever was added or removed before it, and never with a row of another list.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sonotheque.core.errors import Conflict, Invalid
from sonotheque.core.ids import digest_of

_DIGEST_CHARS: Final = 16
_LENGTH_MAX: Final = 8_000
_INT_MAX: Final = 2**63 - 1
_NOT_ONE: Final = "the cursor is none that this archive gave: leave it out to begin at the first page"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of a page.

    Attributes
    ----------
    of : str
        Digest of the list and its filter; see :func:`list_digest`.
    state : str
        What the archive was at: a page of another state might leave rows out.
    key : tuple
        Of the last row; texts, numbers and None.
    """

    of: str
    state: str
    key: tuple[Any, ...]

    def encode(self) -> str:
        """Return it as a text of letters, digits, ``-`` and ``_``."""
        body = [self.of, self.state, list(self.key)]
        text = json.dumps([digest_of(body)[:_DIGEST_CHARS], *body], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def list_digest(name: str, *asked: Any) -> str:
    """Return what tells one list from another: its name and all that was asked of it, as JSON values."""
    return digest_of([name, *asked])[:_DIGEST_CHARS]


def decode(text: str, of: str, state: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the key of a cursor.

    Parameters
    ----------
    text : str
    of, state : str
        Of the list that the page is asked of.
    kinds : sequence of type
        Of the key's values, ``datetime`` for ISO 8601 texts of them; each may be None.

    Raises
    ------
    Invalid
        If the text was changed or cut, or is a cursor of another list or filter.
    Conflict
        If the archive has another state than when the cursor was made.
    """
    found = _read(text)
    if found.of != of:
        raise Invalid("the cursor is of another list or of another filter: leave it out to begin at the first page")
    if len(found.key) != len(kinds):
        raise Invalid(_NOT_ONE)
    key = tuple(None if v is None else _typed(v, kind) for v, kind in zip(found.key, kinds, strict=True))
    if found.state != state:
        raise Conflict(
            "the archive has a newer snapshot than this cursor; start again at the first page, without a cursor"
        )
    return key


def _typed(value: Any, kind: type) -> Any:
    """Return a key's value: anybody can work out a digest, so that its kind is looked at too."""
    if kind is datetime:
        try:
            datetime.fromisoformat(value)
        except (ValueError, TypeError):
            raise Invalid(_NOT_ONE) from None
    elif type(value) is not kind or (isinstance(value, int) and abs(value) > _INT_MAX):
        raise Invalid(_NOT_ONE)
    return value


def _read(text: str) -> Cursor:
    try:
        if len(text) > _LENGTH_MAX:
            raise Invalid(_NOT_ONE)
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        digest, of, state, key = json.loads(data)
        if digest != digest_of([of, state, key])[:_DIGEST_CHARS] or not isinstance(key, list):
            raise Invalid(_NOT_ONE)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise Invalid(_NOT_ONE) from None
    return Cursor(str(of), str(state), tuple(key))
