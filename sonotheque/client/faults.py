"""An error answer of the service as an error of our own tree."""

from __future__ import annotations

import json
from typing import Any, Final

from sonotheque.core.errors import (
    KINDS,
    Conflict,
    Damaged,
    Invalid,
    Limit,
    NotFound,
    Refused,
    SonothequeError,
    Unavailable,
)

_OF_STATUS: Final[dict[int, type[SonothequeError]]] = {
    401: Refused,
    403: Refused,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    413: Limit,
    429: Limit,
    503: Unavailable,
}
_OF_KIND: Final[dict[str, type[SonothequeError]]] = {
    "timeout": Unavailable,
    "overloaded": Unavailable,
    "rate_limited": Limit,
    "unauthorized": Refused,
    "forbidden": Refused,
    "not_found": NotFound,
    "conflict": Conflict,
    "limit": Limit,
    "damaged": Damaged,
}


def fault_of(status: int, body: bytes) -> SonothequeError:
    """Return the error that an answer means.

    Parameters
    ----------
    status : int
        Of the answer.
    body : bytes
        Its content: the service's own shape, or anything a proxy in between has made.

    Returns
    -------
    SonothequeError
        Of the same class and kind as in the service; a note names the request, for the service's log.
    """
    told = _told(body)
    kind, message = str(told.get("kind", "")), str(told.get("message", ""))
    if not message:
        kind, message = (
            "",
            f"the service answered {status}: {body[:200].decode('utf-8', 'replace').strip() or 'nothing more'}",
        )
    if kind == "damaged":
        made: type[SonothequeError] = Damaged
    elif status >= 500:
        made = Unavailable
    else:
        made = _OF_STATUS.get(status, Invalid)
    error = made(message, kind=kind if kind in KINDS else None)
    for field in told.get("fields") or []:
        error.add_note(f"{field.get('where')}: {field.get('message')}")
    if request_id := told.get("request_id"):
        error.add_note(f"request {request_id}")
    return error


def fault_of_kind(kind: str, message: str) -> SonothequeError:
    """Return the error of a kind alone, as jobs keep it."""
    return _OF_KIND.get(kind, Invalid)(message, kind=kind if kind in KINDS else None)


def _told(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
