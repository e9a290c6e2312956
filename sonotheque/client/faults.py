"""An error answer of the service as an error of our own tree."""

from __future__ import annotations

import json
from typing import Any, Final

from sonotheque.core.errors import (
    CLASS_OF_KIND,
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
    """Return the error of a kind alone, as jobs keep it; Unavailable if it is a kind of a later service, or none."""
    return CLASS_OF_KIND.get(kind, Unavailable)(message, kind=kind if kind in KINDS else None)


def redirected(url: str, status: int, location: str | None) -> SonothequeError:
    """Return the error of an answer that sends the caller elsewhere: the service itself never does."""
    where = f"to {location[:300]}" if location else "elsewhere, and does not say where"
    return Invalid(
        f"{url} answered {status} and sends the caller {where}; give the client the address of the service itself"
    )


def not_ours(url: str, status: int, media_type: str, expected: str = "JSON") -> SonothequeError:
    """Return the error of an answer that is well but is not what the service answers: something else is at this address."""
    return Unavailable(
        f"{url} answered {status} with {media_type[:80] or 'something'} that is not {expected} of a Sonotheque service; is the address right, "
        "and is it the service that answers, not a proxy?"
    )


def _told(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
