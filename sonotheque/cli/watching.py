"""``sonotheque status``: how far a run is, once or until it ends."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from sonotheque.cli.output import audio, document, say, seconds
from sonotheque.core.errors import EXIT_FILES_FAILED, EXIT_OK, EXIT_STOPPED, NotFound, Unavailable

if TYPE_CHECKING:
    from cluster.keeper import Keeper

_TERMINAL_EVERY_S, _PLAIN_EVERY_S = 1.0, 10.0
_POLL_S: Final = 0.5  # a line is written at once when the state changes, however seldom they are otherwise
_EXIT_FAILED: Final = 1
_STAGES = {"verify": "verifying the store", "report": "writing the report"}


def status_lines(found: dict[str, Any], store: str) -> list[str]:
    """Return a job's status for people."""
    beat = found["heartbeat"]
    parts = f"{found['parts_committed']:,} of {found['parts_planned']:,} parts committed"
    if not found["parts_planned"] and found["state"] == "running":
        parts = "loading the model and planning"
    lines = [f"job {found['job']} is {found['state']}: {parts}"]
    if found.get("problem"):
        lines.append(f"  {found['problem']}")
    if "audio_s" in beat:
        lines.append(f"  {_far(beat)}")
    lines.append(f"  last word {beat.get('at', 'never')} from {beat.get('host', '?')}, process {beat.get('pid', '?')}")
    if stage := _stage(found):
        lines.append(f"  {stage}")
    if found["state"] in ("dead", "stopped", "failed"):
        lines.append(f"  go on with: sonotheque resume --store {store}")
    return lines


def _far(beat: dict[str, Any]) -> str:
    return (
        f"{beat['files']:,} of {beat['files_total']:,} files, {audio(beat['audio_s'])} of {audio(beat['audio_total_s'])}, "
        f"{beat['x_realtime']:,.0f} x realtime, {seconds(beat['eta_s'])} left"
    )


def _stage(found: dict[str, Any]) -> str:
    """Return what a batch does after its run; empty before."""
    kept = found.get("keeper") or {}
    going = kept.get("alive") and kept["stage"] in _STAGES
    if going:
        return f"{_STAGES[kept['stage']]}, process {kept['pid']}"
    # A run that goes on holds the store itself.
    planning = found.get("holder") and found["state"] not in ("running", "stopping")
    return f"the next run is being planned, or the store is looked after: process {found['holder']}" if planning else ""


class _Look:
    """The newest run of a store, looked at again and again."""

    def __init__(self, store: str) -> None:
        from cluster.keeper import keeper_of
        from cluster.status import PartCount

        self._store = store
        self._counts: dict[int, PartCount] = {}
        kept = keeper_of(store)
        # Only one that lives now: what was left by an earlier one says nothing of this run.
        self._keeper: Keeper | None = kept if kept is not None and kept.process is not None else None
        self.found: dict[str, Any] = {}

    def look(self) -> bool:
        """Look, and tell whether it goes on."""
        from cluster.job import RUNNING, STOPPING, JobFolder, job_numbers
        from cluster.status import PartCount, job_status
        from cluster.stopping import keepers_of

        keeping = bool(keepers_of(self._store))
        numbers = job_numbers(self._store)
        if numbers:
            newest = numbers[-1]
            count = self._counts.setdefault(newest, PartCount(JobFolder(self._store, newest)))
            self.found = job_status(self._store, newest, parts=count)
        elif not keeping:
            raise NotFound(
                f"{self._store} has no job yet: `sonotheque embed RECORDINGS --store {self._store}` starts one"
            )
        return keeping or self.found["state"] in (RUNNING, STOPPING)

    def lines(self) -> list[str]:
        """Return what there is to say."""
        return status_lines(self.found, self._store) if self.found else [f"{self._store}: planning, no job yet"]

    def line(self) -> str:
        """Return it in one line, for a log."""
        if not self.found:
            return self.lines()[0]
        beat = self.found["heartbeat"]
        far = f"; {_far(beat)}" if "audio_s" in beat else ""
        stage = _stage(self.found)
        return f"{self.lines()[0]}{far}{f'; {stage}' if stage else ''}"

    def state(self) -> tuple[Any, ...]:
        """Return what is worth a line at once when it changes."""
        return self.found.get("job"), self.found.get("state"), (self.found.get("keeper") or {}).get("stage")

    def exit_code(self) -> int:
        """Return the code that the run itself ended with, or the one that says the same."""
        from cluster.job import FINISHED, STOPPED, JobFolder
        from cluster.keeper import keeper_of

        if self._keeper is not None:
            kept = keeper_of(self._store)
            if kept is not None and kept.name == self._keeper.name and kept.exit_code is not None:
                return kept.exit_code
        if not self.found or self.found["state"] == "dead":
            return Unavailable.exit_code
        if self.found["state"] == STOPPED:
            return EXIT_STOPPED
        if self.found["state"] != FINISHED:
            return _EXIT_FAILED
        summary = JobFolder(self._store, self.found["job"]).read_json("summary.json")
        return EXIT_FILES_FAILED if summary.get("failed") or summary.get("problems") else EXIT_OK


def watch_run(store: str, *, every_s: float | None = None, as_json: bool = False) -> int:
    """Tell of the newest run until it, and whoever looks after it, has ended.

    Parameters
    ----------
    store : str
    every_s : float, optional
        Seconds between looks.
    as_json : bool
        Say nothing until then, and print one JSON document.

    Returns
    -------
    int
        The exit code that the run has, as far as it is known.
    """
    look = _Look(store)
    if as_json:
        while look.look():
            time.sleep(every_s or _TERMINAL_EVERY_S)
        document(look.found)
    elif sys.stdout.isatty():
        _live(look, every_s or _TERMINAL_EVERY_S)
    else:
        _plain(look, every_s or _PLAIN_EVERY_S)
    return look.exit_code()


def _live(look: _Look, every_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        going = True
        while going:
            going = look.look()
            live.update(Text("\n".join(look.lines())), refresh=True)
            if going:
                time.sleep(every_s)


def _plain(look: _Look, every_s: float) -> None:
    before, said_at = None, 0.0
    going = True
    while going:
        going = look.look()
        now = time.monotonic()
        if look.state() != before or now - said_at >= every_s:
            before, said_at = look.state(), now
            say(look.line())
            sys.stdout.flush()
        if going:
            time.sleep(min(every_s, _POLL_S))
    if tail := look.lines()[1:]:
        say("\n".join(tail))
