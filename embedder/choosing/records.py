"""What was measured of each way to run a model, and what was chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from embedder.choosing.fidelity import Fidelity

REFUSED, FAILED, RAN = "refused", "failed", "ran"


@dataclass(frozen=True, slots=True)
class Measured:
    """One engine at one precision, tried here.

    Attributes
    ----------
    engine, precision : str
        As asked for.
    state : str
        ``ran``; ``refused``: this machine or library does not do it, nothing was loaded; ``failed``: it was loaded
        or run, and that went wrong.
    reason : str
        Why it was refused or failed; empty if it ran.
    fidelity : Fidelity or None
        Against the reference; None if it did not run.
    cpu_ms, wall_ms : float
        A window, milliseconds: of processor time over all threads, and by the clock; medians over rounds.
    load_s : float
        Loading, seconds by the clock.
    rss_mib : float
        Resident memory of a process that holds it and has run it, MiB.
    window_s : float
        Length of one window, seconds of sound.
    runtime : str
        Library, version and kernels, as observed.
    device : str
        ``CPU``, or the accelerator.
    """

    engine: str
    precision: str
    state: str
    reason: str = ""
    fidelity: Fidelity | None = None
    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    load_s: float = 0.0
    rss_mib: float = 0.0
    window_s: float = 0.0
    runtime: str = ""
    device: str = ""

    @property
    def name(self) -> str:
        """Engine and precision in words."""
        return f"{self.engine} {self.precision}"

    @property
    def on_cpu(self) -> bool:
        """Whether the processor does the work: then its time is the price of a window, else the clock's."""
        return self.device.upper().startswith("CPU")

    @property
    def x_realtime(self) -> float:
        """Seconds of sound per second: of one core on a CPU, of the clock on an accelerator; 0 if it did not run."""
        ms = self.cpu_ms if self.on_cpu else self.wall_ms
        return self.window_s * 1000.0 / ms if ms > 0 else 0.0

    @property
    def passes(self) -> bool:
        """Whether it ran and may be chosen unasked."""
        return self.state == RAN and self.fidelity is not None and self.fidelity.passes(self.precision)

    @property
    def verdict(self) -> str:
        """``passes``, or why not."""
        if self.state != RAN or self.fidelity is None:
            return f"{self.state}: {self.reason}"
        return self.fidelity.shortfall(self.precision) or "passes"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Measured:
        """Rebuild one from :meth:`to_json`.

        Raises
        ------
        TypeError
            If a field is missing or one too many is there.
        """
        fidelity = value.get("fidelity")
        return cls(**{**value, "fidelity": Fidelity.from_json(fidelity) if fidelity else None})


@dataclass(frozen=True, slots=True)
class Choice:
    """How a model is to be loaded here.

    Attributes
    ----------
    engine : str or None
        For :func:`embedder.models.load_model`; None for a model that is built in and has no engine.
    precision : str
    why : str
        For people, one sentence without its full stop.
    measured : tuple of Measured
        All that was tried, slower ones and failures with their reasons; empty if there was nothing to choose.
    warning : str
        What the user should know before relying on it: a precision that was asked for and misses the rules; may be
        empty.
    """

    engine: str | None
    precision: str
    why: str
    measured: tuple[Measured, ...] = ()
    warning: str = ""

    @property
    def name(self) -> str:
        """Engine and precision in words."""
        return f"{self.engine or 'built in'} {self.precision}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {
            "engine": self.engine,
            "precision": self.precision,
            "why": self.why,
            "warning": self.warning,
            "measured": [
                {**m.to_json(), "x_realtime": m.x_realtime, "passes": m.passes, "verdict": m.verdict}
                for m in self.measured
            ],
        }
