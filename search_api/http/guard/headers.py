"""Headers: reading those of a request, and those that every answer carries."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "style-src 'self'",
        "script-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not "no-referrer": then a browser sends "Origin: null" with the page's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
)


def values(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header, as sent; ``name`` in lower case."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def with_security(scope: Scope, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with those of ``SECURITY`` that it does not have: a route may know better.

    What the API answers is not kept by browsers unless the route says so: it may be another user's next time.
    """
    have = {name.lower() for name, _ in headers}
    more = [(name, value) for name, value in SECURITY if name not in have]
    if b"cache-control" not in have and scope["path"].startswith("/v1"):
        more.append((b"cache-control", b"no-store"))
    return [*headers, *more]
