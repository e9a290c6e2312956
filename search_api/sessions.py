"""Sessions of the page: a browser holds a cookie in place of a key. They outlive a restart, and end with their key."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from search_api.keys import Key, KeyRing
from search_api.private_files import PrivateFile
from sonotheque.core.errors import Damaged

LIFE_S: Final = 7 * 24 * 3600
_SESSIONS_MAX: Final = 1000
_TOKEN_MAX: Final = 200


class Sessions:
    """Sessions of one service, in one file, by the digest of their token.

    Parameters
    ----------
    path : str or Path
    keys : KeyRing
        A session is worth what its key is worth now.
    now : callable, optional
        Returns seconds since 1970.
    """

    def __init__(self, path: str | Path, keys: KeyRing, now: Callable[[], float] = time.time) -> None:
        self._file = PrivateFile(Path(path), "the file of sessions")
        self._keys = keys
        self._now = now
        self._turn = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, tuple[str, float]] = {}  # digest -> key id, end

    @property
    def life_s(self) -> int:
        """Seconds that a session lasts."""
        return LIFE_S

    def begin(self, key: Key) -> str:
        """Begin one and return its token, which is kept nowhere else; raises as :meth:`PrivateFile.changing`."""
        token = secrets.token_urlsafe(32)
        now = self._now()
        with self._file.changing() as value:
            kept = {d: e for d, e in _entries(value).items() if e[1] > now}
            newest = sorted(kept.items(), key=lambda item: item[1][1])[-(_SESSIONS_MAX - 1) :]
            value["sessions"] = {**dict(newest), _digest(token): (key.key_id, now + LIFE_S)}
        return token

    def check(self, token: str) -> Key | None:
        """Return the key behind a session; None if there is no such session, it is over, or its key was revoked."""
        if not token or len(token) > _TOKEN_MAX:
            return None
        # Looked up by digest: how long it takes tells nothing about a token.
        key_id, end = self._read().get(_digest(token), ("", 0.0))
        return self._keys.of_id(key_id) if end > self._now() else None

    def end(self, token: str) -> bool:
        """End one; tell whether it was there. Raises as :meth:`PrivateFile.changing`."""
        if _digest(token) not in self._read():
            return False
        with self._file.changing() as value:
            entries = _entries(value)
            found = entries.pop(_digest(token), None)
            value["sessions"] = entries
        return found is not None

    def _read(self) -> dict[str, tuple[str, float]]:
        with self._turn:
            seen = self._file.signature()
            if seen != self._seen:
                self._known = _entries(self._file.read())
                self._seen = seen
            return self._known


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _entries(value: dict[str, Any]) -> dict[str, tuple[str, float]]:
    try:
        return {str(d): (str(key_id), float(end)) for d, (key_id, end) in value.get("sessions", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise Damaged(f"the file of sessions is not whole: {error}. Remove it: everybody signs in again") from error
