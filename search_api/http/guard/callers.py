"""Who is calling: by a key in a header, or by the page's session cookie. And whether it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from search_api.http.guard.headers import values
from search_api.http.guard.rates import HEALTH
from search_api.http.guard.refusals import state_of, unauthorized
from search_api.keys import SCOPES, Key, KeyRing
from search_api.sessions import Sessions
from sonotheque.core.errors import Damaged, Refused

COOKIE: Final = "sonotheque_session"
OPEN_NAME: Final = "local"
# What anybody may ask for: whether the service lives, its page, what it could do, and to be let in.
_PUBLIC: Final = frozenset({*HEALTH, "/openapi.json", "/v1/session"})
_HOW: Final = (
    "send a key as `Authorization: Bearer KEY`; whoever runs the service makes one with `sonotheque keys create NAME`"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes
    ----------
    name : str
        Of the key, or ``local`` where the service is open.
    scopes : frozenset of str
        What it may do, implied scopes included.
    key_id : str or None
        None where the service is open.
    by_cookie : bool
        Whether it is a browser's session.
    """

    name: str
    scopes: frozenset[str]
    key_id: str | None = None
    by_cookie: bool = False


class Door:
    """Finds out who is calling.

    Parameters
    ----------
    keys : KeyRing
    sessions : Sessions
    open_scopes : frozenset of str
        What anybody may do while no key was ever made; empty where the service can be reached from elsewhere.
    on_wrong : callable
        Told of every key that is not valid; may raise.
    """

    def __init__(
        self, keys: KeyRing, sessions: Sessions, open_scopes: frozenset[str], on_wrong: Callable[[Scope], None]
    ) -> None:
        self.keys = keys
        self.sessions = sessions
        self._open_scopes = open_scopes
        self._on_wrong = on_wrong

    def __call__(self, scope: Scope) -> None:
        """Remember the caller; raise ``Refused`` (``unauthorized``) if there is none and the address is not public.

        A key that is sent and wrong is refused everywhere but at the service's health, also where none is needed. A file of keys that
        cannot be read closes what needs a key, and nothing else.

        Raises
        ------
        Damaged
            If the file of keys or of sessions cannot be read.
        """
        state_of(scope)["caller"] = None
        path = scope["path"]
        if path in HEALTH:
            return
        guarded = _guarded(path) and path not in _PUBLIC
        try:
            caller = state_of(scope)["caller"] = self._found(scope)
        except Damaged:
            if guarded:
                raise
            return
        if caller is None and guarded:
            raise unauthorized(f"this needs a key: {_HOW}")

    def sign_in(self, secret: str, scope: Scope) -> tuple[Caller, str]:
        """Return the caller of a key, and the token of a new session; raises ``Refused`` if the key is not valid."""
        key = self._key(secret, scope)
        return _caller(key, by_cookie=True), self.sessions.begin(key)

    def _key(self, secret: str, scope: Scope) -> Key:
        key = self.keys.check(secret)
        if key is None:
            self._on_wrong(scope)
            raise unauthorized(f"this key is not valid, or was revoked; {_HOW}")
        return key

    def _found(self, scope: Scope) -> Caller | None:
        secrets = _secrets(scope)
        if len(secrets) > 1:
            raise unauthorized("a request carries one key, in one header")
        if secrets:
            return _caller(self._key(secrets.pop(), scope))
        token = session_token(scope)
        session = self.sessions.check(token) if token else None
        if session:
            return _caller(session, by_cookie=True)
        return Caller(OPEN_NAME, self._open_scopes) if self._open_scopes and self.keys.unused else None


def session_token(scope: Scope) -> str:
    """Return the token in the session cookie; empty if there is none."""
    for line in values(scope, b"cookie"):
        for part in line.split(";"):
            try:
                found = SimpleCookie(part.strip()).get(COOKIE)
            except CookieError:  # another program's, on the same host
                continue
            if found:
                return found.value
    return ""


def caller_of(request: Request) -> Caller | None:
    """Return who sent a request; None if nobody is known."""
    found: Caller | None = getattr(request.state, "caller", None)
    return found


def require_scope(scope: str) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency of routes that need a scope.

    Raises
    ------
    Refused
        When it runs: kind ``unauthorized`` (401) without a caller, ``forbidden`` (403) if the caller may not.
    """
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is no scope")

    async def demand(request: Request) -> None:
        caller = caller_of(request)
        if caller is None:
            raise unauthorized(f"this needs a key: {_HOW}")
        if scope not in caller.scopes:
            raise Refused(
                f"this needs the scope {scope!r}, and {caller.name!r} has {', '.join(sorted(caller.scopes)) or 'none'}",
                kind="forbidden",
            )

    return demand


def _caller(key: Key, *, by_cookie: bool = False) -> Caller:
    return Caller(key.name, key.allowed, key.key_id, by_cookie)


def _secrets(scope: Scope) -> set[str]:
    """Keys in headers; never from the address, which is logged, kept in histories and passed on as referrer."""
    found = set(values(scope, b"x-api-key"))
    for value in values(scope, b"authorization"):
        scheme, _, secret = value.partition(" ")
        # Another scheme is a key that is not valid: it is not taken for no key.
        found.add(secret.strip() if scheme.lower() == "bearer" else "")
    return found


def _guarded(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/") or path == "/metrics"
