"""Live progress: a bar with speed and ETA in a terminal, a plain line now and then when piped. Always on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from sonotheque.cli.output import audio, seconds, size, tell

if TYPE_CHECKING:
    from cluster.estimate import PlanSummary
    from cluster.watcher import Progress

_LINE_EVERY_S = 10.0


def plan_lines(plan: PlanSummary) -> list[str]:
    """Return the plan for people."""
    lines = [
        f"{plan.files:,} files, {audio(plan.audio_s)} of audio, below {plan.root}",
        f"{plan.new:,} to embed with {plan.model} ({audio(plan.new_audio_s)}), {plan.settled:,} already in the store"
        + (f"; {plan.changed:,} have changed since" if plan.changed else ""),
    ]
    if plan.new:
        lines.append(
            f"about {plan.parts:,} parts, {plan.windows:,} windows, {size(plan.bytes)}, {seconds(plan.wall_s)} ({plan.speed_from})"
        )
        sites = list(plan.sites.items())
        more = f" and {len(sites) - 8} more" if len(sites) > 8 else ""
        lines.append(f"sites: {', '.join(f'{name} {count:,}' for name, count in sites[:8])}{more}")
    if plan.without_time:
        lines.append(f"{plan.without_time:,} files have no known start time: see --time-pattern and --times")
    if plan.without_utc:
        lines.append(
            f"{plan.without_utc:,} files have a local time and no time zone: UTC stays unknown. "
            "--timezone ZONE (e.g. Europe/Paris) sets it"
        )
    if plan.without_zone:
        lines.append(
            f"{plan.without_zone:,} files tell UTC and no time zone is given: their local time and date are those of the recorder's clock "
            "(UTC on most AudioMoths). --timezone ZONE sets the site's"
        )
    if plan.outside_deployments:
        lines.append(f"{plan.outside_deployments:,} files match no row of the deployments table")
    if plan.deployments_unused:
        lines.append(f"deployments without files: {', '.join(plan.deployments_unused[:10])}")
    lines += [f"note: {note}" for note in plan.notes]
    lines += [f"could not look into {p['path']}: {p['reason']}" for p in plan.problems[:10]]
    return lines


class PlainWatcher:
    """Plain lines, for pipes and log files."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._line_at = time.monotonic()

    def _tell(self, text: str) -> None:
        if not self._quiet:
            tell(text)

    def looking(self, files: int) -> None:
        """Say how many files were looked at, for archives that take a while."""
        if files % 10_000 == 0:
            self._tell(f"looked at {files:,} files ...")

    def planned(self, plan: PlanSummary) -> None:
        """Print the plan."""
        for line in plan_lines(plan):
            self._tell(line)

    def started(self, where: str) -> None:
        """Say where it runs."""
        self._tell(f"running on {where}")

    def progress(self, progress: Progress) -> None:
        """Print a line every ten seconds."""
        now = time.monotonic()
        if now - self._line_at >= _LINE_EVERY_S:
            self._line_at = now
            self._tell(progress_text(progress))

    def note(self, text: str) -> None:
        """Print a note."""
        self._tell(f"note: {text}")

    def close(self) -> None:
        """Nothing to close."""


def progress_text(progress: Progress) -> str:
    """Return one line of progress."""
    share = progress.audio_s / progress.audio_total_s if progress.audio_total_s else 1.0
    return (
        f"{min(share, 1.0):4.0%}  {progress.files:,}/{progress.files_total:,} files  {progress.windows:,} windows  "
        f"{progress.current_x_realtime or progress.x_realtime:,.0f} x realtime  {seconds(progress.eta_s)} left"
    )


class BarWatcher(PlainWatcher):
    """A live bar, for terminals."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.percentage:>3.0f}%"), BarColumn(), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task: Any = None

    def _tell(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def progress(self, progress: Progress) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("starting", total=max(progress.audio_total_s, 1e-9))
            self._bar.start()
        self._bar.update(self._task, completed=progress.audio_s, description=progress_text(progress).partition("  ")[2])

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def watcher(*, quiet: bool) -> PlainWatcher:
    """Return the watcher that fits where stderr goes."""
    if quiet:
        return PlainWatcher(quiet=True)
    return BarWatcher() if sys.stderr.isatty() else PlainWatcher()
