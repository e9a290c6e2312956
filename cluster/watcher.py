"""Who looks on at a run: what is told, and to whom."""

from __future__ import annotations

from collections import deque
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
    current_x_realtime : float or None
        True seconds of audio per second over the last minute.
    """

    files: int
    files_total: int
    windows: int
    audio_s: float
    audio_total_s: float
    wall_s: float
    current_x_realtime: float | None = None

    @property
    def x_realtime(self) -> float:
        """True seconds of audio per second so far."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the current speed; None before there is one."""
        left = max(0.0, self.audio_total_s - self.audio_s)
        speed = self.current_x_realtime or self.x_realtime
        return left / speed if speed > 0 else None


class Speedometer:
    """Speed over the last minute: a long run's average hides that a worker has just gone."""

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, float]] = deque()

    def read(self, now_s: float, audio_s: float) -> float | None:
        """Take down how much audio is done now, and return true seconds of audio per second lately; None at first."""
        self._seen.append((now_s, audio_s))
        while now_s - self._seen[0][0] > self._window_s and len(self._seen) > 2:
            self._seen.popleft()
        then_s, before_s = self._seen[0]
        return max(0.0, audio_s - before_s) / (now_s - then_s) if now_s - then_s >= 1.0 else None


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
