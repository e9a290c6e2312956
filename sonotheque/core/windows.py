"""How a recording is cut into windows, in integer samples.

A window is half-open, ``[start, start + window)``. Windows start at 0, hop, 2 hop ... and stop with the first one that
reaches the end of the sound (the rule of BirdNET's own reference results); that last one is padded with zeros at its
end and kept if it holds at least ``valid_samples_min`` of sound.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import ModelSpec

VALID_S_MIN = 1.0  # a shorter remainder is mostly padding: its vector says more about zeros than about sound
HOP_S_MIN = 0.05
RATE_FACTOR_MIN, RATE_FACTOR_MAX = 0.01, 100.0


@dataclass(frozen=True, slots=True)
class WindowRule:
    """The window grid of one store.

    Attributes
    ----------
    sample_rate_hz : int
        The model's rate; all sample counts below are at this rate.
    window_samples, hop_samples, valid_samples_min : int
        Window length, distance between starts, least sound a padded window must hold.
    rate_factor : float
        Time expansion before the model: 10 plays a recording ten times slower (bats), 0.1 ten times faster (whales).
    """

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    valid_samples_min: int
    rate_factor: float = 1.0

    @classmethod
    def for_model(cls, spec: ModelSpec, *, hop_s: float | None = None, rate_factor: float = 1.0) -> WindowRule:
        """Return the rule for a model.

        Parameters
        ----------
        spec : ModelSpec
        hop_s : float, optional
            Distance between window starts in the model's own time; the window's length by default (no overlap).
        rate_factor : float
            See the class.

        Raises
        ------
        Invalid
            If the hop is not in [0.05 s, window] or the factor not in [0.01, 100].
        """
        hop_samples = spec.window_samples if hop_s is None else round(hop_s * spec.sample_rate_hz)
        if hop_s is not None and not HOP_S_MIN <= hop_s <= spec.window_s:
            raise Invalid(
                f"--hop-s {hop_s:g}: a hop must lie between {HOP_S_MIN:g} s and the window of {spec.name}, "
                f"{spec.window_s:g} s; half of it, {spec.window_s / 2:g}, gives 50 % overlap"
            )
        if not RATE_FACTOR_MIN <= rate_factor <= RATE_FACTOR_MAX:
            raise Invalid(
                f"--rate-factor {rate_factor:g}: must lie between {RATE_FACTOR_MIN:g} and {RATE_FACTOR_MAX:g}; "
                "10 slows a recording down ten times (bats), 0.1 speeds it up ten times (whales)"
            )
        valid_min = min(spec.window_samples, round(VALID_S_MIN * spec.sample_rate_hz))
        return cls(spec.sample_rate_hz, spec.window_samples, hop_samples, valid_min, float(rate_factor))

    def count(self, n_samples: int) -> int:
        """Return how many windows ``n_samples`` of sound (at the model's rate) give."""
        if n_samples < self.valid_samples_min:
            return 0
        if n_samples <= self.window_samples:
            return 1
        steps = -(-(n_samples - self.window_samples) // self.hop_samples)  # ceil: the first window reaching the end
        last_valid = n_samples - steps * self.hop_samples
        return steps + 1 if last_valid >= self.valid_samples_min else steps

    def seconds(self, samples: int) -> float:
        """Return where a sample of the model's time lies in the recording, in seconds of true time."""
        return samples / (self.sample_rate_hz * self.rate_factor)

    @property
    def window_s(self) -> float:
        """True seconds of recording that one window covers."""
        return self.seconds(self.window_samples)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> WindowRule:
        """Rebuild a rule from :meth:`to_json`."""
        return cls(**value)
