"""BirdNET V2.4's front end: 3 s of sound to two mel spectrograms. The constants come out of the model's own file.

The network takes the *real part* of a Fourier transform, not its magnitude, and that makes all of it but the last step
linear: no transform is computed here, only products of folded frames with matrices that were made when it was loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.frontends.blas import one_blas_thread
from embedder.frontends.decimation import LEAD, Decimator
from embedder.frontends.framing import Mirrored, check_windows
from embedder.frontends.mel_parts import Part, parts_of
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]


ASYMMETRY_MAX = 1e-6  # the published windows were computed in float32, and differ by 2.4e-7 between their halves


@dataclass(frozen=True, slots=True)
class MelBand:
    """Constants of one of the two spectrograms, as they stand in the model's file.

    Attributes
    ----------
    window : NDArray[np.float32]
        float32 (fft,): the periodic Hann window; its length is that of a frame and of its Fourier transform.
    hop_samples : int
        From one frame to the next; the first starts at sample 0.
    filters : NDArray[np.float32]
        float32 (bands, fft // 2 + 1): mel weights of the real parts, lowest band first.
    exponent : float
        Power that the squares are raised to; positive.
    """

    window: Float32
    hop_samples: int
    filters: Float32
    exponent: float


class BirdnetSpectrograms:
    """Both spectrograms of windows of sound, as the network's first layer (a batch norm) takes them.

    It keeps constants alone, so one may serve several threads; they take turns.

    Parameters
    ----------
    bands : tuple of MelBand
        In the order of the channels; the same number of filters and of frames each.
    window_samples : int
        Length of a window of sound.
    epsilon, centre, gain : float
        Of the normalisation: ``x -= min; x /= max + epsilon; x = (x - centre) * gain``.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: constants of other shapes, spectrograms of different sizes, or a window that is not
        zero at its first sample and symmetric about its middle.
    """

    def __init__(
        self,
        bands: tuple[MelBand, ...],
        *,
        window_samples: int = 144_000,
        epsilon: float = 1e-6,
        centre: float = 0.5,
        gain: float = 2.0,
    ) -> None:
        self.window_samples = window_samples
        self.shape = _spectrogram_shape(bands, window_samples)
        self._epsilon, self._centre, self._gain = np.float32(epsilon), np.float32(centre), np.float32(gain)
        self._exponents = [np.float32(band.exponent) for band in bands]
        self._decimator = Decimator(window_samples)
        self._parts = [parts_of(band.window, band.filters, band.hop_samples, self.shape[1]) for band in bands]

    def __call__(self, frames: Float32) -> Float32:
        """Return the spectrograms.

        Parameters
        ----------
        frames : NDArray[np.float32]
            float32 (n, 144000), n >= 0, finite, full scale 1.0. Not modified.

        Returns
        -------
        NDArray[np.float32]
            float32 (n, 96, 511, 2), fresh, finite; the highest band first, as the network has it. A window's values
            do not depend on the others.

        Raises
        ------
        Invalid
            If the windows have another length, or are not given as (windows, samples).
        """
        check_windows(frames, self.window_samples)
        n_bands, n_frames, channels = self.shape
        out = np.empty((len(frames), *self.shape), dtype=np.float32)
        fine, coarse = Mirrored(self._decimator.samples_in), Mirrored(self._decimator.samples_out)
        products = [[_Product(part, fine, coarse, n_frames) for part in parts] for parts in self._parts]
        values, room = np.empty((n_frames, n_bands), dtype=np.float32), self._decimator.room()
        with one_blas_thread():
            for window, pictures in zip(frames, out, strict=True):
                constant = self._normalise(window, fine.signal[LEAD : LEAD + self.window_samples])
                self._decimator.keep(fine.signal, room, coarse.signal)
                fine.changed()
                coarse.changed()
                for channel in range(channels):
                    for product in products[channel]:
                        product.run(constant, values)
                    np.multiply(values, values, out=values)
                    np.power(values, self._exponents[channel], out=values)
                    pictures[:, :, channel] = values.T[::-1]
        return out

    def _normalise(self, window: Float32, out: Float32) -> np.float32:
        """Write the normalised sound without its constant part, and return that part.

        Most bands weigh the constant part with next to nothing, and the network squares and roots what they give: for
        silence it sees the rounding of the sum, made large. Apart, that sum is exact. The steps before are the graph's
        own, in its order: what they round away of a faint sound is heard too, and one product would round otherwise.
        """
        np.subtract(window, window.min(), out=out)
        out /= out.max() + self._epsilon
        out -= self._centre
        out *= self._gain
        constant = out.mean()
        out -= constant
        return np.float32(constant)


class _Product:
    """A part with its room to work in: the frames it sees as views, and the matrix their folds are written to."""

    def __init__(self, part: Part, fine: Mirrored, coarse: Mirrored, n_frames: int) -> None:
        self._part = part
        rows = len(range(*part.frames.indices(n_frames)))
        self._folded = np.empty((rows, len(part.weights)), dtype=np.float32)
        split = 1 + (part.coarse.columns if part.coarse else 0)
        self._sums = [(*fine.halves(part.fine, rows), self._folded[:, split:])]
        if part.coarse:
            self._sums.append((*coarse.halves(part.coarse, rows), self._folded[:, 1:split]))

    def run(self, constant: np.float32, values: Float32) -> None:
        self._folded[:, 0] = constant
        for ahead, back, out in self._sums:
            np.add(ahead, back, out=out)
        np.matmul(self._folded, self._part.weights, out=values[self._part.frames, self._part.bands])


def _spectrogram_shape(bands: tuple[MelBand, ...], window_samples: int) -> tuple[int, int, int]:
    """Return (bands, frames, channels), having checked that the constants are what the arithmetic here relies on."""
    sizes = set()
    for band in bands:
        length = len(band.window)
        if (
            band.filters.ndim != 2
            or band.filters.shape[1] != length // 2 + 1
            or length % 2
            or not 0 < length <= window_samples
        ):
            raise Invalid(
                f"front end: a window of {length} samples with filters of shape {band.filters.shape}; expected an even "
                f"number of 2 to {window_samples} samples and (bands, {length // 2 + 1})",
                kind="invalid_weights",
            )
        if band.hop_samples < 1:
            raise Invalid(
                f"front end: from one frame to the next are {band.hop_samples} samples, expected 1 or more",
                kind="invalid_weights",
            )
        if band.window[0] != 0 or np.abs(band.window[1:] - band.window[:0:-1]).max() > ASYMMETRY_MAX:
            raise Invalid(
                f"front end: the window of {length} samples is not a periodic one, zero at its first sample and "
                "symmetric about its middle",
                kind="invalid_weights",
            )
        sizes.add((len(band.filters), (window_samples - length) // band.hop_samples + 1))
    if len(sizes) != 1:
        raise Invalid(f"front end: spectrograms of different sizes {sorted(sizes)}", kind="invalid_weights")
    ((n_bands, n_frames),) = sizes
    return n_bands, n_frames, len(bands)
