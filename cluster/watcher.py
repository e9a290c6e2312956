"""Who looks on at a run: what is told, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cluster.estimate import PlanSummary


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    files, files_total, windows : int
    audio_s, audio_total_s, wall_s : float
        ``wall_s`` counts from the first task.
    """

    files: int
    files_total: int
    windows: int
    audio_s: float
    audio_total_s: float
    wall_s: float

    @property
    def x_realtime(self) -> float:
        """True seconds of audio per second so far."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at this speed; None before there is one."""
        left = max(0.0, self.audio_total_s - self.audio_s)
        return left / self.x_realtime if self.x_realtime > 0 else None


class Watcher(Protocol):
    """Somebody who looks on; the command line's progress display is one."""

    def looking(self, files: int) -> None:
        """Files found so far."""

    def planned(self, plan: PlanSummary) -> None:
        """The plan, before anything is run."""

    def started(self, where: str) -> None:
        """Workers are up and the model is loaded."""

    def progress(self, progress: Progress) -> None:
        """Called about twice a second."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """A watcher that says nothing."""

    def looking(self, files: int) -> None:
        """Say nothing."""

    def planned(self, plan: PlanSummary) -> None:
        """Say nothing."""

    def started(self, where: str) -> None:
        """Say nothing."""

    def progress(self, progress: Progress) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
