"""Sound in: which files there are, and each one as windows at the model's rate. See README.md."""

from __future__ import annotations

from embedder.audio.decode import DECODE_BLOCK_S, BlockReader, Channels
from embedder.audio.discover import AUDIO_EXTENSIONS, FoundFile, Problem, find_audio
from embedder.audio.findings import SEVERITY
from embedder.audio.framing import Window
from embedder.audio.resample import QUALITY, Resampler
from embedder.audio.sources import open_header
from embedder.audio.windows import WindowStream
from sonotheque.core.windows import WindowRule

__all__ = [
    "AUDIO_EXTENSIONS",
    "DECODE_BLOCK_S",
    "QUALITY",
    "SEVERITY",
    "BlockReader",
    "Channels",
    "FoundFile",
    "Problem",
    "Resampler",
    "Window",
    "WindowStream",
    "find_audio",
    "open_header",
    "open_windows",
]


def open_windows(
    path: str,
    rule: WindowRule,
    *,
    channels: Channels = "mean",
    expect: tuple[int, int] | None = None,
) -> WindowStream:
    """Return the windows of one file.

    Parameters
    ----------
    path : str
        Nothing is opened before the first window is asked for.
    rule : WindowRule
        The window grid, with the model's rate.
    channels : {'mean', 'first'}
        How several channels become one.
    expect : (int, int), optional
        Size in bytes and modification time in ns from the plan; a file that differs is ``changed``.

    Returns
    -------
    WindowStream
        Iterate it once; then read ``summary`` and ``stages``. What is wrong with the file never raises.
    """
    return WindowStream(path, rule, channels=channels, expect=expect)
