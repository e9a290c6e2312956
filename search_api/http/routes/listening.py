"""Snippets and spectrograms of windows, recordings and clips, by id."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

from fastapi import Path, Query, Request, Response
from starlette.types import Receive, Scope, Send

from search_api.http.envelope import failures
from search_api.http.routing import api_router
from search_api.http.service import Service, ServiceDep
from search_api.http.wire.listening import (
    AUDIO_ANSWERS,
    PICTURE_ANSWERS,
    AudioQuery,
    StretchAudioQuery,
    StretchPictureQuery,
    WindowPictureQuery,
)
from search_api.listening import (
    AudioWish,
    HeldSound,
    Picture,
    PictureWish,
    Piece,
    Snippet,
    clip_piece,
    recording_piece,
    window_piece,
)
from search_api.listening.lookup import RECORDING_ID, WINDOW_ID
from search_api.listening.ranges import known_tags, wanted_range
from search_api.uploads.samples import clip_samples
from sonotheque.core.errors import Unavailable

R = TypeVar("R", bound=Callable[..., Any])

router = api_router("listening")
_CACHE: Final = "private, max-age=3600"
_SMALL_BYTES: Final = 1 << 20
_SENDING_BYTES: Final = (
    512 << 20
)  # in memory at once, of what is not small: a client that does not read has half a minute
_CLIP_ANSWERS: Final = failures(415)

WindowId = Annotated[str, Path(pattern=WINDOW_ID, description="As a search gives it")]
RecordingId = Annotated[str, Path(pattern=RECORDING_ID, description="As a search gives it")]
ClipId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="As POST /v1/clips gives it")]


def _get(path: str, answers: dict[int | str, dict[str, Any]]) -> Callable[[R], R]:
    """Return a decorator for GET, and for HEAD, which the document leaves out."""

    def both(route: R) -> R:
        router.head(path, include_in_schema=False, response_class=Response)(route)
        return router.get(path, responses=answers, response_class=Response)(route)

    return both


@_get("/windows/{window_id}/audio", AUDIO_ANSWERS)
async def window_audio(
    request: Request, service: ServiceDep, window_id: WindowId, how: Annotated[AudioQuery, Query()]
) -> Response:
    """Return a window's sound."""
    return await _audio(request, service, await _window(service, window_id), how.wish())


@_get("/windows/{window_id}/spectrogram", PICTURE_ANSWERS)
async def window_spectrogram(
    request: Request, service: ServiceDep, window_id: WindowId, how: Annotated[WindowPictureQuery, Query()]
) -> Response:
    """Return a window's spectrogram as PNG."""
    return await _picture(request, service, await _window(service, window_id), how.wish())


@_get("/recordings/{recording_id}/audio", AUDIO_ANSWERS)
async def recording_audio(
    request: Request, service: ServiceDep, recording_id: RecordingId, how: Annotated[StretchAudioQuery, Query()]
) -> Response:
    """Return a stretch of a recording's sound."""
    piece = await service.read(recording_piece, recording_id, how.from_s, how.to_s)
    return await _audio(request, service, piece, how.wish())


@_get("/recordings/{recording_id}/spectrogram", PICTURE_ANSWERS)
async def recording_spectrogram(
    request: Request, service: ServiceDep, recording_id: RecordingId, how: Annotated[StretchPictureQuery, Query()]
) -> Response:
    """Return the spectrogram of a recording, or of a stretch of it, as PNG."""
    piece = await service.read(recording_piece, recording_id, how.from_s, how.to_s)
    return await _picture(request, service, piece, how.wish())


@_get("/clips/{clip_id}/audio", AUDIO_ANSWERS | _CLIP_ANSWERS)
async def clip_audio(
    request: Request, service: ServiceDep, clip_id: ClipId, how: Annotated[StretchAudioQuery, Query()]
) -> Response:
    """Return a stretch of an uploaded clip's sound."""
    piece = await _clip(service, clip_id, how.from_s, how.to_s)
    return await _audio(request, service, piece, how.wish())


@_get("/clips/{clip_id}/spectrogram", PICTURE_ANSWERS | _CLIP_ANSWERS)
async def clip_spectrogram(
    request: Request, service: ServiceDep, clip_id: ClipId, how: Annotated[StretchPictureQuery, Query()]
) -> Response:
    """Return the spectrogram of an uploaded clip, or of a stretch of it, as PNG."""
    piece = await _clip(service, clip_id, how.from_s, how.to_s)
    return await _picture(request, service, piece, how.wish())


async def _window(service: Service, window_id: str) -> Piece:
    state, memo = service.readers.state, service.gallery.memo
    piece = memo.get(state, window_id)
    if piece is None:
        piece = await service.read(window_piece, window_id)
        memo.put(state, window_id, piece)
    return piece


async def _clip(service: Service, clip_id: str, from_s: float | None, to_s: float | None) -> Piece:
    clip = await service.run("read", service.clips.get, clip_id)
    sound = HeldSound(clip.clip_id)
    return clip_piece(sound, clip.name, clip.duration_s, clip.sample_rate_hz, clip.channels, from_s=from_s, to_s=to_s)


async def _with_samples(service: Service, piece: Piece, sound: HeldSound, margin_s: float) -> Piece:
    """Return a clip's piece with its samples, decoded in a limited process: nobody vouches for a clip."""
    data = await service.run("read", service.clips.read, sound.identity)
    span = piece.span(margin_s)
    samples = await clip_samples(service.sounds.pool, data, piece.name, piece.rate_hz, span)
    return replace(piece, sound=replace(sound, samples=samples, first_s=span[0]), channels=1)


async def _audio(request: Request, service: Service, piece: Piece, wish: AudioWish) -> Response:
    known, gallery = known_tags(request.headers.get("if-none-match")), service.gallery
    if isinstance(piece.sound, HeldSound):  # decoded only if it must be
        kept = await service.run("draw", gallery.kept_audio, piece, wish, known=known)
        if kept:
            return _snippet_answer(request, kept)
        piece = await _with_samples(service, piece, piece.sound, wish.margin_s)
    return _snippet_answer(request, await service.run("draw", gallery.audio, piece, wish, known=known))


async def _picture(request: Request, service: Service, piece: Piece, wish: PictureWish) -> Response:
    known, gallery = known_tags(request.headers.get("if-none-match")), service.gallery
    long = gallery.takes_long(piece, wish)
    if long or isinstance(piece.sound, HeldSound):
        kept = await service.run("draw", gallery.kept_picture, piece, wish, known=known)
        if kept:
            return _picture_answer(request, kept)
    if isinstance(piece.sound, HeldSound):
        piece = await _with_samples(service, piece, piece.sound, wish.margin_s)
    async with gallery.long_turn() if long else contextlib.nullcontext():
        found = await service.run("draw", gallery.picture, piece, wish, known=known)
    return _picture_answer(request, found)


def _snippet_answer(request: Request, found: Snippet) -> Response:
    headers = _headers(found) | {
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition(found.filename),
        "X-Speed": f"{found.speed:g}",
    }
    if found.data is None:
        return Response(status_code=304, headers=headers)
    size = len(found.data)
    part = wanted_range(request.headers.get("range"), request.headers.get("if-range"), size, found.etag)
    if part is None:
        return _body(request, found.data, 200, found.media_type, headers)
    headers["Content-Range"] = part.content_range
    return _body(request, found.data[part.first : part.last + 1], 206, found.media_type, headers)


def _picture_answer(request: Request, found: Picture) -> Response:
    headers = _headers(found) | {
        "X-Min-Hz": f"{found.min_hz:.10g}",
        "X-Max-Hz": f"{found.max_hz:.10g}",
        "X-Share": f"{found.share:.4g}",
    }
    if found.data is None:
        return Response(status_code=304, headers=headers)
    return _body(request, found.data, 200, "image/png", headers)


def _headers(found: Snippet | Picture) -> dict[str, str]:
    return {
        "ETag": found.etag,
        "Cache-Control": _CACHE,
        "X-Start-S": f"{found.start_s:.10g}",
        "X-End-S": f"{found.end_s:.10g}",
    }


def _body(request: Request, data: bytes, status: int, media_type: str, headers: dict[str, str]) -> Response:
    if request.method == "HEAD":
        return Response(status_code=status, media_type=media_type, headers=headers | {"Content-Length": str(len(data))})
    if len(data) <= _SMALL_BYTES:
        return Response(data, status, media_type=media_type, headers=headers)
    return _Large(data, status, media_type=media_type, headers=headers)


class _Large(Response):
    """An answer that is counted while it is being sent: how long that takes is up to the client."""

    sending = 0  # bytes, of all of them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _Large.sending and _Large.sending + len(self.body) > _SENDING_BYTES:
            raise Unavailable("many large sounds are being sent; ask again in a moment", kind="overloaded")
        _Large.sending += len(self.body)
        try:
            await super().__call__(scope, receive, send)
        finally:
            _Large.sending -= len(self.body)


def _disposition(filename: str) -> str:
    """Return a header that any browser reads: in ASCII, and as it is."""
    plain = filename.encode("ascii", "replace").decode("ascii").replace("?", "_").replace('"', "_").replace("\\", "_")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
