"""Pictures of windows: spectrograms side by side, for a person to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

_FFT_S = 0.04  # long enough to show a tone's pitch, short enough to show its rhythm
FLOOR_DB = 80.0  # below the peak, as bird listeners' tools show by default
_TOP_KHZ_MAX = 8.0


def levels_db(sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return a sound's spectrogram, (frequencies, times), in dB below its peak; the frequencies go from 0 to half the rate."""
    import librosa

    n_fft = 2 ** round(np.log2(_FFT_S * rate_hz))
    if len(sound) < n_fft:
        sound = np.pad(sound, (0, n_fft - len(sound)))
    power = np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=n_fft // 4))
    levels: NDArray[np.float32] = librosa.amplitude_to_db(power, ref=np.max, top_db=FLOOR_DB)
    return levels


def above_background_db(sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return a sound's spectrogram as :func:`levels_db`, in dB above its background.

    The background is the median over time of each frequency, and of its neighbours within 500 Hz: rumble and hiss vanish, calls and
    steady tones stay.
    """
    levels = levels_db(sound, rate_hz)
    steady = np.median(levels, axis=1)
    reach = max(1, round(500.0 / (rate_hz / 2) * len(steady)))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steady, reach, mode="edge"), 2 * reach + 1)
    found: NDArray[np.float32] = levels - np.median(around, axis=1)[:, None]
    return found


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of an audio file and the words above its picture."""

    path: str
    start_s: float
    end_s: float
    title: str


def spectrogram_sheet(clips: Sequence[Clip], target: str | Path, *, title: str, columns: int = 3) -> None:
    """Draw clips as spectrograms on one sheet: kHz upwards, seconds of the recording to the right, dB below the clip's peak.

    Parameters
    ----------
    clips : sequence of Clip
        At least one.
    target : path-like
        A PNG, SVG or PDF file.
    title : str
    columns : int
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = -(-len(clips) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.8 * columns, 2.4 * rows + 0.5), squeeze=False, layout="constrained"
    )
    for axis, clip in zip(axes.flat, clips, strict=False):
        with sf.SoundFile(clip.path) as file:
            rate = file.samplerate
            file.seek(round(clip.start_s * rate))
            sound = file.read(round((clip.end_s - clip.start_s) * rate), dtype="float32", always_2d=True).mean(axis=1)
        level_db = levels_db(sound, rate)
        extent = (clip.start_s, clip.end_s, 0.0, rate / 2000)
        axis.imshow(level_db, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=-FLOOR_DB, vmax=0)
        axis.set_ylim(0, min(_TOP_KHZ_MAX, rate / 2000))
        axis.set_title(clip.title, fontsize=8, loc="left")
        axis.set_xlabel("s in the recording", fontsize=7)
        axis.set_ylabel("kHz", fontsize=7)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(clips) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(target, dpi=110)
    plt.close(figure)
