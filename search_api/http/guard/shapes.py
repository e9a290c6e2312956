"""Errors that the framework answers with plain text, in the one shape that every other error has."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.guard.refusals import KINDS, send_failure

_TOLD: Final = {413: "the request's body is larger than the service takes"}


class Shapes:
    """Puts our words in place of plain-text errors. Inside of ``Bodies``, which must see the end of the answer that is sent.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        replaced = False

        async def shaped(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_bare(message):
                replaced = True
                await _answer(scope, send, message)
            elif not replaced:
                await send(message)

        await self._app(scope, receive, shaped)


async def _answer(scope: Scope, send: Send, message: Message) -> None:
    status, headers = message["status"], message["headers"]
    kept = {n.decode(): v.decode("latin-1") for n, v in headers if n in (b"connection", b"retry-after", b"allow")}
    text = _TOLD.get(status, HTTPStatus(status).phrase.lower())
    await send_failure(scope, send, status, KINDS.get(status, "invalid"), text, kept)


def _is_bare(message: Message) -> bool:
    if message["status"] < 400:
        return False
    return any(n.lower() == b"content-type" and v.startswith(b"text/plain") for n, v in message.get("headers", []))
