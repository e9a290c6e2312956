"""Whether a graph's own front end gives what ours does, and where the spectrogram then goes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.engines import installed_engines, open_network
from embedder.engines.onnx_graph import cut_cached
from embedder.frontends import LogMel
from embedder.models.preprocess import peak_normalise
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from embedder.models.onnx_plan import OnnxPlan

# Of values that run from -1.15 to about 0.4. Two correct float32 front ends differ by a hundredth of it; one with another floor,
# window, padding or filter bank by a thousand times as much.
AGREEMENT_MAX = 1e-4


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What takes the sound.

    Attributes
    ----------
    tensor : str
        The network's input: where the spectrogram goes in, or the sound itself.
    shape : tuple of int
        Of the spectrogram, without the rows.
    log_mel : LogMel or None
        Ours; None if the graph's own front end is used.
    note : str
        Which of the two, and why.
    """

    tensor: str
    shape: tuple[int, ...]
    log_mel: LogMel | None
    note: str

    def __call__(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network takes, float32 (n, ...), of float32 (n, window_samples)."""
        return frames if self.log_mel is None else self.log_mel(frames).reshape(len(frames), *self.shape)


def own_front_end(plan: OnnxPlan, why: str = "") -> FrontEnd:
    """Return the graph's own front end; the note is empty where there was no other."""
    return FrontEnd(plan.input, (), None, f"Spectrogram by the graph's own front end: {why}." if why else "")


def find_front_end(path: Path, digest: str, plan: OnnxPlan, engine: str) -> FrontEnd:
    """Return our front end if the graph's own one agrees with it on two test windows, else the graph's.

    Parameters
    ----------
    path, digest
        The file and its SHA-256.
    plan : OnnxPlan
    engine : str
        The one that will run the rest. The check itself runs in ONNX Runtime where that is installed: OpenVINO lacks the DFT
        operator that the front end may consist of.
    """
    if not plan.spectrograms:
        return own_front_end(
            plan, "no spectrogram of the known shape was found in it" if plan.expects_spectrogram else ""
        )
    names = tuple(name for name, _ in plan.spectrograms)
    frames = check_frames_of(plan.rows or 2)
    log_mel = LogMel()
    ours = log_mel(frames)
    try:
        checker = "onnx" if "onnx" in installed_engines() else engine
        piece = cut_cached(path, digest, (plan.input,), names)
        network = open_network(checker, piece, outputs=names, precision="fp32", threads=1)
        theirs = network.run(frames)
    except Invalid as error:
        return own_front_end(plan, f"it could not be run apart ({error.message})")
    differences = [float(np.abs(one.reshape(ours.shape) - ours).max()) for one in theirs]
    # The last that agrees: what comes after it is the network's own.
    for (name, shape), difference in reversed(list(zip(plan.spectrograms, differences, strict=True))):
        if difference <= AGREEMENT_MAX:
            return FrontEnd(
                name, shape, log_mel, f"Log-mel by FFT outside the graph, within {difference:.0e} of the graph's own."
            )
    return own_front_end(plan, f"it differs from ours by {min(differences):.0e}, at most {AGREEMENT_MAX:.0e} is taken")


def check_frames_of(rows: int) -> NDArray[np.float32]:
    """Return float32 (rows, 160000), normalised: tones in noise up to the highest band, and a click in silence, in turn."""
    rng = np.random.default_rng(1)
    time_s = np.arange(160_000) / 32_000
    loud = 0.1 * rng.standard_normal(len(time_s)) + np.sin(2 * np.pi * (500 + 1200 * time_s) * time_s)
    click = np.zeros(len(time_s))
    click[[0, 71_003, -1]] = 1.0, -0.5, 0.25  # the first and the last sample: how the edges are padded shows in them
    return peak_normalise(np.stack([(loud, click)[row % 2] for row in range(rows)]).astype(np.float32))
