"""Bodies that are sounds: read as they come, as raw audio, from a form, or named in JSON; and what of it OpenAPI tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from search_api.http.settings import Limits
from sonotheque.core.errors import Invalid, Limit

SECONDS_MAX: Final = 86_400.0
M = TypeVar("M", bound=BaseModel)
ClipId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Id of a clip, as its upload answered")]
WindowId = Annotated[
    str, Field(pattern="^[0-9]{1,19}:[0-9]{1,19}$", description="`window_id` of a window of the archive")
]
FromS = Annotated[
    float | None, Query(ge=0, le=SECONDS_MAX, allow_inf_nan=False, description="Only from this second on")
]
ToS = Annotated[float | None, Query(gt=0, le=SECONDS_MAX, allow_inf_nan=False, description="Only up to this second")]
NameParam = Annotated[
    str | None, Query(min_length=1, max_length=300, description="What the sound is called in answers and messages")
]
_RAW: Final = re.compile(r"audio/[\w.+-]+|application/octet-stream|application/ogg|video/ogg")
_FORM_FIELDS_MAX: Final = 8


class SoundRange(BaseModel):
    """Part of a clip."""

    model_config = ConfigDict(extra="forbid")

    from_s: float | None = Field(
        None, ge=0, le=SECONDS_MAX, allow_inf_nan=False, description="Only from this second on"
    )
    to_s: float | None = Field(None, gt=0, le=SECONDS_MAX, allow_inf_nan=False, description="Only up to this second")

    @staticmethod
    def require_no_range(address: Iterable[str]) -> None:
        """Raise Invalid if the address has a range, which is of a sound in the body, beside JSON."""
        if ranged := sorted(set(address) & {"from_s", "to_s"}):
            raise Invalid(f"{' and '.join(ranged)} in the address are of a sound that is sent: give them in the JSON")


class SoundWindow(BaseModel):
    """A window of a sound that was sent."""

    start_s: float = Field(description="Seconds from the sound's start")
    end_s: float
    valid_s: float = Field(description="Seconds of it that are sound and not padding")


class ClipFacts(BaseModel):
    """A clip that is kept for a while."""

    clip_id: str = Field(description="Names its content: the same sound has the same id")
    name: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    windows: int = Field(description="Windows of the archive's model in it")
    bytes: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A body.

    Attributes
    ----------
    data : bytes or None
        The sound, if it is one.
    json : bytes or None
        The JSON text, if it is that.
    name : str or None
        What a form calls the file.
    """

    data: bytes | None = None
    json: bytes | None = None
    name: str | None = None


async def receive(request: Request, limits: Limits, *, json: bool = True) -> Sent:
    """Return a request's body, whatever way it came.

    Parameters
    ----------
    request : Request
    limits : Limits
    json : bool
        Whether JSON is taken as well.

    Raises
    ------
    Invalid
        ``unsupported_audio`` for another content type; for a form without a file, or with more.
    Limit
        ``too_large``: more bytes than are taken.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" and json:
        return Sent(json=await _body(request, limits.json_bytes))
    if kind == "multipart/form-data":
        return await _form(request, limits.body_bytes)
    if _RAW.fullmatch(kind):
        return Sent(data=await _body(request, limits.body_bytes))
    also = ", or application/json" if json else ""
    raise Invalid(
        f"content type {kind[:60] or 'none'!r}: send a sound as audio/* or application/octet-stream, as the field file of "
        f"multipart/form-data{also}",
        kind="unsupported_audio",
    )


def told(request: Request, notes: Iterable[str]) -> list[str]:
    """Return notes as they may be sent: without the server's own folders."""
    scrubber = getattr(request.app.state, "scrubber", None)
    return [scrubber.clean(note) if scrubber else note for note in notes]


def parsed(model: type[M], text: bytes) -> M:
    """Return a JSON body as a model; raises FastAPI's error of wrong values, which names each."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        found = [
            {**fault, "loc": ("body", *fault["loc"])}
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise RequestValidationError(found) from None


def sound_body(model: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return what OpenAPI tells of a body that is a sound, or JSON of a model."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary", "description": "A sound file"}},
        }
    }
    content: dict[str, Any] = {"audio/*": binary, "application/octet-stream": binary, "multipart/form-data": form}
    if model is not None:
        content = {"application/json": {"schema": _inlined(model.model_json_schema())}, **content}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, known: Mapping[str, Any] | None = None) -> Any:
    """Return a schema without references, as it may stand anywhere in a document."""
    if isinstance(schema, dict):
        known = schema.get("$defs", known)
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            return {**_inlined((known or {})[name], known), **{k: v for k, v in schema.items() if k != "$ref"}}
        return {key: _inlined(value, known) for key, value in schema.items() if key != "$defs"}
    if isinstance(schema, list):
        return [_inlined(value, known) for value in schema]
    return schema


async def _body(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
    return b"".join(pieces)


async def _form(request: Request, most: int) -> Sent:
    async with request.form(max_files=1, max_fields=_FORM_FIELDS_MAX) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Invalid("the form has no file in its field 'file'")
        if others := sorted(set(form) - {"file"}):
            raise Invalid(f"the form's field {others[0][:60]!r} is not known: options are parameters of the address")
        data = await file.read(most + 1)
        if len(data) > most:
            raise _too_large(most)
        return Sent(data=data, name=file.filename)


def _too_large(most: int) -> Limit:
    return Limit(f"the body has more than {most:,} bytes, which is what this service takes", kind="too_large")
