"""Keys of the service: who may do what. A key is shown once, when it is made; the file holds its digest."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from search_api.private_files import PrivateFile
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from sonotheque.core.suggest import did_you_mean

SCOPES: Final = ("read", "annotate", "embed", "admin", "sql")
IMPLIED: Final = frozenset({"read", "annotate", "embed", "admin"})  # by admin; SQL is never implied
_PREFIX: Final = "sntq_"  # so that a scanner for leaked keys, and a person, can tell what it is
_NAME: Final = re.compile(r"[\w][\w .@+-]{0,63}")
_SECRET_MAX: Final = 200
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret.

    Attributes
    ----------
    key_id : str
        Stays the same for ever; names the key where two have had one name.
    name : str
        Of the person or program that holds it; judgements made with it carry this name.
    scopes : tuple of str
        As given, in the order of ``SCOPES``.
    created, revoked : str
        UTC, ISO 8601; ``revoked`` is empty while the key counts.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    created: str
    revoked: str = ""

    @property
    def allowed(self) -> frozenset[str]:
        """Every scope it has, implied ones included."""
        return allowed_scopes(self.scopes)

    def to_json(self) -> dict[str, Any]:
        """Return it for the terminal and for JSON."""
        return {
            "key_id": self.key_id,
            "name": self.name,
            "scopes": list(self.scopes),
            "created": self.created,
            "revoked": self.revoked or None,
        }


_Records: TypeAlias = list[tuple[Key, bytes]]  # with the SHA-256 of the secret


class KeyRing:
    """The keys of one service, in one file. Safe to share between threads; other processes' changes are seen at once.

    Parameters
    ----------
    path : str or Path
        Such as ``<store>/service/keys.json``; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = PrivateFile(self.path, "the file of keys")
        self._turn = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._records: _Records = []

    @property
    def unused(self) -> bool:
        """Whether no key was ever made. A service with keys stays closed when its last key is revoked."""
        return not self._read()

    def create(self, name: str, scopes: Iterable[str]) -> tuple[Key, str]:
        """Make a key.

        Parameters
        ----------
        name : str
            1 to 64 letters, digits, spaces or ``. _ @ + -``, of nobody else who has a key.
        scopes : iterable of str
            Of ``SCOPES``, at least one.

        Returns
        -------
        key : Key
        secret : str
            Not kept anywhere: this is the only time that it can be seen.

        Raises
        ------
        Invalid
            If the name or a scope cannot be right.
        Conflict
            If a key that counts has the name.
        Unavailable
            If the file cannot be written.
        """
        wanted = _checked_scopes(scopes)
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of a key: 1 to 64 letters, digits, spaces or . _ @ + -")
        secret = _PREFIX + secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(4), name, wanted, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._file.changing() as value:
            records = _records(value, self.path)
            if any(other.name == name and not other.revoked for other, _ in records):
                raise Conflict(f"there is a key of the name {name!r} already; revoke it first, or choose another name")
            value["version"] = _VERSION
            value["keys"] = [_to_record(k, d) for k, d in [*records, (key, _digest(secret))]]
        return key, secret

    def list(self) -> tuple[Key, ...]:
        """Return all keys, revoked ones included, oldest first; raises ``Damaged`` if the file is not a key file."""
        return tuple(key for key, _ in self._read())

    def revoke(self, name: str) -> Key:
        """Make a key count no more, from now on; its session cookies too.

        Parameters
        ----------
        name : str
            Its name or id.

        Raises
        ------
        NotFound
            If no key that counts has it.
        Unavailable
            If the file cannot be written.
        """
        with self._file.changing() as value:
            records = _records(value, self.path)
            live = [key for key, _ in records if not key.revoked]
            found = next((key for key in live if name in (key.name, key.key_id)), None)
            if found is None:
                near = did_you_mean(name, [key.name for key in live]) if live else "there is none"
                raise NotFound(f"no key that counts has the name {name!r}; {near}")
            gone = Key(
                found.key_id, found.name, found.scopes, found.created, datetime.now(UTC).isoformat(timespec="seconds")
            )
            value["keys"] = [_to_record(gone if key is found else key, digest) for key, digest in records]
        return gone

    def check(self, secret: str) -> Key | None:
        """Return the key that a secret opens; None if it opens nothing. Raises ``Damaged`` if the file is not whole."""
        if not secret or len(secret) > _SECRET_MAX:
            return None
        digest = _digest(secret)
        found = None
        for key, known in self._read():
            # Every key is compared, and each in a time that does not tell how much of it was right.
            if hmac.compare_digest(known, digest) and not key.revoked:
                found = key
        return found

    def of_id(self, key_id: str) -> Key | None:
        """Return the key of an id if it counts; None otherwise."""
        return next((key for key, _ in self._read() if key.key_id == key_id and not key.revoked), None)

    def _read(self) -> _Records:
        with self._turn:
            seen = self._file.signature()
            if seen != self._seen:
                self._records = _records(self._file.read(), self.path)
                self._seen = seen
            return self._records


def allowed_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes with those that ``admin`` implies."""
    given = frozenset(scopes)
    return given | IMPLIED if "admin" in given else given


def _checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    given = list(scopes)
    for scope in given:
        if scope not in SCOPES:
            raise Invalid(f"{scope!r} is no scope; {did_you_mean(scope, SCOPES, shown=len(SCOPES))}")
    if not given:
        raise Invalid(f"a key needs at least one scope: {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in given)


def _digest(secret: str) -> bytes:
    # A secret of 32 random bytes cannot be guessed, so that a fast digest is enough.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _to_record(key: Key, digest: bytes) -> dict[str, Any]:
    return {**key.to_json(), "sha256": digest.hex()}


def _records(value: dict[str, Any], path: Path) -> _Records:
    try:
        if value and value["version"] != _VERSION:
            raise Damaged(f"{path} was written by a later version ({value['version']}); update the program")
        return [
            (
                Key(str(r["key_id"]), str(r["name"]), tuple(r["scopes"]), str(r["created"]), r["revoked"] or ""),
                bytes.fromhex(r["sha256"]),
            )
            for r in value.get("keys", [])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(
            f"{path} is no file of keys: {error!r}. Put a copy back, or remove it and make new keys"
        ) from error
