"""Signal over noise of windows, from the sound itself: how loud the loudest tenth of a window is over its quietest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes import Examples
from search_api.cutting import cut_spans
from search_api.locating import Locator
from sonotheque.core.errors import Damaged, Invalid, NotFound

FRAME_S: Final = 0.025
_LOUD, _QUIET = 0.9, 0.2  # quantiles of the frames' energies
_FLOOR: Final = 1e-12


def snr_db(samples: NDArray[np.floating], sample_rate_hz: int) -> float:
    """Return a window's signal over noise in dB; NaN for silence and for less than ten frames.

    Parameters
    ----------
    samples : float, (frames,)
    sample_rate_hz : int

    Notes
    -----
    The ratio of the 90 % and the 20 % quantile of the energies of frames of 25 ms. Samples are replaced by their differences first, which leaves
    out most of what wind and engines add below 500 Hz. It serves to sort windows; a sound that fills its window has none.
    """
    length = max(1, round(FRAME_S * sample_rate_hz))
    steps = np.diff(samples.astype(np.float64))
    frames = steps[: len(steps) // length * length].reshape(-1, length)
    if len(frames) < 10:
        return float("nan")
    energies = (frames**2).mean(axis=1)
    loud, quiet = np.quantile(energies, [_LOUD, _QUIET])
    return float(10 * np.log10(loud / max(quiet, _FLOOR * loud))) if loud > 0 else float("nan")


def with_snr(examples: Examples, locator: Locator) -> tuple[Examples, list[str]]:
    """Return examples with ``snr_db`` of the judged ones, and notes on recordings that could not be read.

    Weak negatives are left out: reading the sound of a thousand windows that nobody looked at takes longer than the training.
    """
    found = examples.snr_db.copy()
    judged = (examples.weights >= 1.0).any(axis=1)
    unread: list[str] = []
    by_path: dict[str, list[int]] = {}
    for i in np.flatnonzero(judged)[np.argsort(examples.start_s[judged], kind="stable")]:
        by_path.setdefault(str(examples.paths[i]), []).append(int(i))
    for path, rows in by_path.items():
        spans = [(float(examples.start_s[i]), float(examples.end_s[i])) for i in rows]
        try:
            for index, sound in cut_spans(locator.find(path), spans):
                if not isinstance(sound, Damaged):
                    found[rows[index]] = snr_db(sound.samples.mean(axis=1), sound.sample_rate_hz)
        except (NotFound, Invalid, Damaged, OSError) as error:
            unread.append(f"{path}: {error}")
    notes = [f"signal over noise is not known of {len(unread):,} recordings; the first: {unread[0]}"] if unread else []
    return replace(examples, snr_db=found), notes
