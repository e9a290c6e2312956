"""``sonotheque logs``: what a run wrote down as it went, as lines for people."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from sonotheque.cli.output import document, say, seconds
from sonotheque.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from cluster.tailing import Tail

_LINES: Final = 100
_POLL_S: Final = 0.5
_EPILOG = """Examples:

sonotheque logs --store archive

sonotheque logs --store archive --follow

sonotheque logs --store archive --job 3 --lines 0"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs", epilog=_EPILOG)(logs)


def logs(
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    job: int = typer.Option(
        None, "--job", metavar="N", help="The events of this job [default: the newest, and its output]."
    ),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until the run has ended."),
    lines: int = typer.Option(_LINES, "--lines", "-n", metavar="N", min=0, help="The last so many of each; 0: all."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> int:
    """Print a run's events and, if it was detached, its output."""
    from cluster.keeper import keeper_of

    if as_json and follow:
        raise Invalid("--json prints one document, and --follow has no end: leave one of them out")
    kept = keeper_of(store) if job is None else None
    reader = _Reader(store, job, kept.log if kept else None)
    last = lines or None
    if as_json:
        document(reader.to_json(last))
        return 0
    reader.say_new(last, ended=not follow)
    while follow:
        ended = reader.ended()  # before the last look: what is written in between is seen by it
        reader.say_new(None, ended=ended)
        if ended:
            break
        time.sleep(_POLL_S)
    return 0


def event_line(event: dict[str, Any]) -> str:
    """Return an event for people: when, what, and its facts."""
    facts = {k: v for k, v in event.items() if k not in ("at", "event")}
    name = str(event.get("event", "?"))
    if name == "part" and {"part", "rows", "won", "wall_s"} <= facts.keys():
        took = seconds(facts["wall_s"]) if isinstance(facts["wall_s"], int | float) else facts["wall_s"]
        other = "" if facts["won"] else "; another process had committed it"
        told = f"part {facts['part']}: {facts['rows']} windows in {took}{other}"
    elif set(facts) == {"text"} or set(facts) == {"error"}:
        told = f"{name}: {next(iter(facts.values()))}"
    else:
        told = "  ".join([name, *(f"{key}={_fact(value)}" for key, value in facts.items())])
    return f"{event.get('at', '?')}  {printable(told)}"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def printable(text: str) -> str:
    """Return text without control characters: names of files may hold any, and this goes to a terminal."""
    return "".join(c if c == "\t" or c.isprintable() else "�" for c in text)


class _Reader:
    """Reads events and output of a store's run; of the newest one, whichever that is by then."""

    def __init__(self, store: str, job: int | None, output: Path | None) -> None:
        from cluster.job import latest_job
        from cluster.status import require_job
        from cluster.tailing import Tail

        self._store, self._fixed, self._output_file = store, job is not None, output
        self._output = Tail(output) if output else None
        self._number: int | None = None
        self._title = ""
        self._events: Tail | None = None
        try:
            self._turn_to((latest_job(store) if job is None else require_job(store, job)).number)
        except NotFound:
            if output is None:
                raise
            # It has not planned yet, or never came so far: its output says which.

    def _turn_to(self, number: int) -> None:
        from cluster.job import JobFolder
        from cluster.tailing import Tail

        self._number = number
        self._events = Tail(JobFolder(self._store, number).file("events.jsonl"))

    def _new(self, last: int | None, *, ended: bool) -> tuple[list[str], list[str]]:
        from cluster.job import job_numbers

        events = self._events.new(last=last, to_the_end=ended) if self._events else []
        if not self._fixed and (numbers := job_numbers(self._store)) and numbers[-1] != self._number:
            self._turn_to(numbers[-1])
            if self._events:
                events += self._events.new(last=last, to_the_end=ended)
        return events, self._output.new(last=last, to_the_end=ended) if self._output else []

    def say_new(self, last: int | None, *, ended: bool) -> None:
        """Print what has come since."""
        from cluster.tailing import event_of

        events, output = self._new(last, ended=ended)
        if events:
            self._head(f"-- events of job {self._number}")
        for line in events:
            event = event_of(line)
            say(event_line(event) if event else f"?  {printable(line)} (half a line: its writer was cut off)")
        if output:
            self._head(f"-- output, {self._output_file}")
            say("\n".join(printable(line) for line in output))
        sys.stdout.flush()

    def _head(self, title: str) -> None:
        """Say whose lines follow, where that changes."""
        if title != self._title:
            self._title = title
            say(title)

    def ended(self) -> bool:
        """Tell whether nobody writes on."""
        from cluster.job import RUNNING, STOPPING, JobFolder
        from cluster.stopping import keepers_of

        if not self._fixed and keepers_of(self._store):
            return False
        return self._number is None or JobFolder(self._store, self._number).state() not in (RUNNING, STOPPING)

    def to_json(self, last: int | None) -> dict[str, Any]:
        """Return all of it as one JSON object."""
        from cluster.tailing import event_of

        events, output = self._new(last, ended=True)
        return {
            "job": self._number,
            "events": [event_of(line) or {"damaged": line} for line in events],
            "log": str(self._output_file) if self._output_file else None,
            "output": output,
        }
