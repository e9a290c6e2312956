"""How snippets and spectrograms are asked for, and what their answers' headers say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_api.http.envelope import failures
from search_api.listening import AudioWish, PictureWish
from search_api.listening import wishes as bounds

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


class AudioQuery(BaseModel):
    """How a piece of sound is to be heard."""

    model_config = ConfigDict(allow_inf_nan=False)

    form: Literal["wav", "flac"] = Field("wav", description="WAV plays everywhere; FLAC is half the size")
    margin_s: float = Field(
        0.0, ge=bounds.MARGIN_S[0], le=bounds.MARGIN_S[1], description="Seconds of sound before and after"
    )
    speed: float = Field(
        1.0,
        ge=bounds.SPEED[0],
        le=bounds.SPEED[1],
        description="Of playback: 0.1 makes a bat ten times slower and lower; infrasound is heard at 20",
    )
    gain_db: float = Field(
        0.0, ge=bounds.GAIN_DB[0], le=bounds.GAIN_DB[1], description="Louder, or softer, by so many dB"
    )
    normalise: Literal["none", "peak"] = Field("none", description="`peak`: as loud as goes, before `gain_db`")

    def wish(self) -> AudioWish:
        """Return it as the use case has it."""
        return AudioWish(**{f.name: getattr(self, f.name) for f in fields(AudioWish)})


class PictureQuery(BaseModel):
    """How a piece of sound is to be drawn."""

    model_config = ConfigDict(allow_inf_nan=False)

    width: int = Field(400, ge=bounds.WIDTH[0], le=bounds.WIDTH[1], description="Pixels")
    height: int = Field(220, ge=bounds.HEIGHT[0], le=bounds.HEIGHT[1], description="Pixels")
    margin_s: float = Field(
        0.0, ge=bounds.MARGIN_S[0], le=bounds.MARGIN_S[1], description="Seconds of sound before and after"
    )
    scale: Literal["linear", "mel"] = Field("linear", description="Of the frequencies; mel is Slaney's, as in librosa")
    colormap: Literal["viridis", "magma", "inferno", "plasma", "gray", "gray_r"] = Field(
        "viridis", description="Colours; `gray_r` is black on white"
    )
    range_db: float = Field(
        80.0, ge=bounds.RANGE_DB[0], le=bounds.RANGE_DB[1], description="From the darkest colour to the brightest"
    )
    min_hz: float | None = Field(None, ge=0, le=bounds.HZ_MAX, description="Lower edge; 0 by default")
    max_hz: float | None = Field(
        None, ge=0, le=bounds.HZ_MAX, description="Upper edge; half the recording's rate by default, and at most"
    )
    reference: Literal["peak", "background"] = Field(
        "peak",
        description="`peak`: the brightest colour is the loudest point; `background`: levels above rumble and hiss",
    )

    def wish(self) -> PictureWish:
        """Return it as the use case has it."""
        return PictureWish(**{f.name: getattr(self, f.name) for f in fields(PictureWish)})


class WindowPictureQuery(PictureQuery):
    """How a window is to be drawn: with a second around it."""

    margin_s: float = Field(
        1.0, ge=bounds.MARGIN_S[0], le=bounds.MARGIN_S[1], description="Seconds of sound before and after"
    )


class _Stretch(BaseModel):
    from_s: float | None = Field(None, ge=0, le=1e9, description="Where to begin; 0 by default")
    to_s: float | None = Field(None, ge=0, le=1e9, description="Where to end; the sound's end by default, and at most")


class StretchAudioQuery(AudioQuery, _Stretch):
    """Which stretch of a sound is to be heard, and how."""


class StretchPictureQuery(PictureQuery, _Stretch):
    """Which stretch of a sound is to be drawn, and how."""


def _header(what: str, kind: str = "number") -> dict[str, Any]:
    return {"description": what, "schema": {"type": kind}}


_SPAN: Final = {
    "ETag": _header("Changes only when the bytes do", "string"),
    "X-Start-S": _header("Where it begins, in seconds of the recording"),
    "X-End-S": _header("Where it ends"),
}
_AUDIO: Final = {
    "content": {"audio/wav": _BINARY, "audio/flac": _BINARY},
    "headers": _SPAN
    | {
        "X-Speed": _header("Seconds of the recording in a second of this file"),
        "Content-Disposition": _header("A name of site and local time", "string"),
    },
}
AUDIO_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The sound", **_AUDIO},
    206: {"description": "The bytes that `Range` asked for", **_AUDIO},
    304: {"description": "The caller has it already"},
    **failures(404, 409, 413, 416),
}
PICTURE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The spectrogram",
        "content": {"image/png": _BINARY},
        "headers": _SPAN
        | {
            "X-Min-Hz": _header("Frequency of the lower edge"),
            "X-Max-Hz": _header("Frequency of the upper edge"),
            "X-Share": _header("Of the sound that was looked at; below 1 only for many hours"),
        },
    },
    304: {"description": "The caller has it already"},
    **failures(404, 409, 413),
}
