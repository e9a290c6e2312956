"""Sessions of the page: a key once, then a cookie that scripts cannot read."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from search_api.http.envelope import EVERYWHERE, Answer, answer, failures
from search_api.http.guard import COOKIE, Door, session_token
from search_api.http.wire.info import Session, SessionEnd, SignIn

_BODY_BYTES: Final = 4096  # a key: anybody may send it, so nobody may send much
router = APIRouter(prefix="/v1", tags=["session"], responses=failures(*EVERYWHERE))


@router.post("/session", response_model=Answer[Session], max_body_size=_BODY_BYTES)
async def begin_session(request: Request, response: Response, wanted: SignIn) -> object:
    """Begin a session of the page with a key. The cookie counts for a week, or until the key is revoked."""
    door: Door = request.app.state.door
    caller, token = await run_in_threadpool(door.sign_in, wanted.key, request.scope)
    _set_cookie(request, response, token, max_age=door.sessions.life_s)
    return answer(Session(name=caller.name, scopes=sorted(caller.scopes)))


@router.delete("/session", response_model=Answer[SessionEnd])
async def end_session(request: Request, response: Response) -> object:
    """End the session of the page."""
    door: Door = request.app.state.door
    token = session_token(request.scope)
    ended = bool(token) and await run_in_threadpool(door.sessions.end, token)
    _set_cookie(request, response, "", max_age=0)
    return answer(SessionEnd(ended=ended))


def _set_cookie(request: Request, response: Response, token: str, max_age: int) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=max_age,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
