"""Sound and pictures of windows, recordings and clips; uploads of clips."""

from __future__ import annotations

from typing import Any

from sonotheque.client.base import Part, in_path
from sonotheque.client.nouns import Window
from sonotheque.client.transport import Sound
from sonotheque.core.errors import Invalid


class Listening(Part):
    """The part of a client that listens."""

    def upload(self, sound: Sound, *, name: str | None = None) -> dict[str, Any]:
        """Keep a clip with the service for some days; ``clip_id`` of the answer is what searches take."""
        answer = self._transport.upload("/v1/clips", sound, {"name": name} if name else None)
        found: dict[str, Any] = self._transport.told(answer)["data"]
        return found

    def clip(self, clip_id: str) -> dict[str, Any]:
        """Return what an uploaded clip is."""
        return self._dict(f"/v1/clips/{in_path(clip_id, 'clip id')}")

    def audio(
        self,
        window: str | Window | None = None,
        *,
        recording: str | None = None,
        clip: str | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        form: str = "wav",
        margin_s: float | None = None,
        speed: float | None = None,
        gain_db: float | None = None,
        normalise: str | None = None,
    ) -> bytes:
        """Return the sound of a window, or of a stretch of a recording or clip, as a WAV or FLAC file.

        Parameters
        ----------
        window : str or Window, optional
        recording, clip : str, optional
            Its id; with ``from_s`` and ``to_s``.
        form : str
            ``wav`` or ``flac``.
        margin_s : float, optional
            Seconds before and after.
        speed : float, optional
            Of playback: 0.1 makes a bat ten times slower and lower.
        gain_db, normalise
            Louder by so many dB; ``peak``: as loud as goes.
        """
        params = {
            "form": form,
            "margin_s": margin_s,
            "speed": speed,
            "gain_db": gain_db,
            "normalise": normalise,
            "from_s": from_s,
            "to_s": to_s,
        }
        return self._transport.send("GET", f"{_place(window, recording, clip)}/audio", params).content

    def spectrogram(
        self,
        window: str | Window | None = None,
        *,
        recording: str | None = None,
        clip: str | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        **how: Any,
    ) -> bytes:
        """Return a spectrogram as PNG.

        Parameters
        ----------
        window, recording, clip, from_s, to_s
            As :meth:`audio`.
        **how
            ``width, height, margin_s, scale, colormap, range_db, min_hz, max_hz, reference``.
        """
        params = {**how, "from_s": from_s, "to_s": to_s}
        return self._transport.send("GET", f"{_place(window, recording, clip)}/spectrogram", params).content


def _place(window: str | Window | None, recording: str | None, clip: str | None) -> str:
    given = {
        "windows": window.window_id if isinstance(window, Window) else window,
        "recordings": recording,
        "clips": clip,
    }
    named = [(folder, one) for folder, one in given.items() if one is not None]
    if len(named) != 1:
        raise Invalid("give one of window, recording and clip")
    folder, one = named[0]
    return f"/v1/{folder}/{in_path(one, f'{folder[:-1]} id')}"
