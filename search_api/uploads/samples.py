"""The samples of an upload at its own rate, decoded by the limited processes: to be drawn and heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.windows import WindowRule

if TYPE_CHECKING:
    from search_api.uploads.decoded import Told
    from search_api.uploads.decoding import DecodePool


async def clip_samples(
    pool: DecodePool, data: bytes, name: str, rate_hz: int, span: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a stretch of a sound file, as its channels' mean.

    Parameters
    ----------
    pool : DecodePool
    data : bytes
        The file.
    name : str
        What it is called in messages.
    rate_hz : int
        Its own rate: nothing is resampled.
    span : (float, float)
        Seconds; not longer than the pool's uploads may be.

    Returns
    -------
    float32, (n,)
        Fewer than the span has, if the sound ends in it.

    Raises
    ------
    Invalid, Limit, Unavailable
        As :meth:`search_api.uploads.decoding.DecodePool.decode`.
    """
    begin_s, end_s = span
    second = WindowRule(rate_hz, rate_hz, rate_hz, 1)  # windows of a second, the last as short as it is
    request = pool.request(name, second.to_json(), "mean", begin_s, end_s)

    def whole(told: Told) -> NDArray[np.float32]:
        pieces = [frame[:valid] for _, valid, frame in told[0]]
        if not pieces:
            raise Invalid(f"{name} has no sound from {begin_s:g} to {end_s:g} s", kind="unsupported_audio")
        wanted = max(1, round(end_s * rate_hz) - round(begin_s * rate_hz))
        return np.concatenate(pieces)[:wanted]

    return await pool.ask(data, request, whole)
