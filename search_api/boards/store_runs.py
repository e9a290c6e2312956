"""Embedding runs as the store itself knows them, those of the command line too: read from its own job folders."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Set
from pathlib import Path
from typing import Any, Final

from cluster.job import DEAD, STOPPING, JobFolder, job_numbers
from cluster.job import FAILED as RUN_FAILED
from cluster.job import FINISHED as RUN_FINISHED
from cluster.job import RUNNING as RUN_RUNNING
from cluster.job import STOPPED as RUN_STOPPED
from cluster.machine import CLOCK_STEP_S
from search_api.boards.processes import ProcessMark
from search_api.boards.records import CANCELLED, ENDED, FAILED, FINISHED, INTERRUPTED, RUNNING
from search_api.boards.requests import EMBED
from search_api.boards.views import Job, can_resume
from search_api.boards.work import embed_result
from sonotheque.core.errors import NotFound

RUN_ID: Final = re.compile(r"run-([1-9]\d{0,8})")
LISTED: Final = 100
_LOOKED_AT: Final = 8  # runs among which that of a worker is looked for: it is the newest, unless somebody is quick
_STATES: Final = {
    RUN_RUNNING: RUNNING,
    STOPPING: RUNNING,
    RUN_FINISHED: FINISHED,
    RUN_STOPPED: CANCELLED,
    RUN_FAILED: FAILED,
    DEAD: INTERRUPTED,
}
_BEAT: Final = {"phase": "stage", "files": "done", "files_total": "total", "at": "at"}
_MORE: Final = ("eta_s", "windows", "audio_s", "audio_total_s", "x_realtime")


def run_of(root: str, mark: ProcessMark | None) -> int | None:
    """Return the number of the run that a process of this machine is, or was, at work on; None if it came not so far."""
    if mark is None:
        return None
    for number in reversed(job_numbers(root)[-_LOOKED_AT:]):
        beat = JobFolder(root, number).read_json("heartbeat.json")
        started = beat.get("process_started")
        if (
            beat.get("pid") == mark.pid
            and beat.get("host") == mark.host
            and started is not None
            and abs(float(started) - mark.created) < CLOCK_STEP_S
        ):
            return number
    return None


def require_run(root: str, number: int) -> JobFolder:
    """Return a run's folder, or raise NotFound."""
    if number not in job_numbers(root):
        raise NotFound(f"there is no job run-{number}")
    return JobFolder(root, number)


def running_run(root: str) -> int | None:
    """Return the number of the run that works on the store now; None if none does."""
    numbers = job_numbers(root)
    if numbers and JobFolder(root, numbers[-1]).state() in (RUN_RUNNING, STOPPING):
        return numbers[-1]
    return None


def seen_run(root: str, number: int) -> Job:
    """Return a run as a job."""
    folder = require_run(root, number)
    word = folder.state()
    state = _STATES[word]
    beat, summary = folder.read_json("heartbeat.json"), folder.read_json("summary.json")
    started = _first_event(folder)
    ended = summary.get("ended_at") or (beat.get("at") if state in ENDED else None)
    asked = folder.cancel_asked()
    sources = folder.read_json("job.json").get("options", {}).get("sources") or ["recordings"]
    names = ", ".join(Path(str(s)).name for s in sources[:3]) + (" ..." if len(sources) > 3 else "")
    return Job(
        f"run-{number}",
        EMBED,
        state,
        f"Embed {names} (from the command line)",
        started or beat.get("at") or "",
        started,
        ended if state in ENDED else None,
        1,
        None,
        asked and state not in ENDED,
        progress_of(beat),
        embed_result(summary) if summary else None,
        _error(folder, state),
        number,
        state == RUNNING and not asked,
        can_resume(EMBED, state),
        folder.has_plan(),
    )


def seen_runs(root: str, claimed: Set[int]) -> list[Job]:
    """Return the newest runs that are no job of a board."""
    free = [n for n in job_numbers(root) if n not in claimed]
    return [seen_run(root, number) for number in free[-LISTED:]]


def progress_of(beat: dict[str, Any]) -> dict[str, Any] | None:
    """Return a heartbeat as a job's progress; None if it has none."""
    if "phase" not in beat:
        return None
    told = {name: beat.get(key) for key, name in _BEAT.items()}
    return told | {"eta_s": None} | {key: beat[key] for key in _MORE if key in beat}


def stop_run(root: str, number: int) -> None:
    """Ask a run to stop, as `sonotheque stop` does; what was committed stays."""
    folder = require_run(root, number)
    beat = folder.read_json("heartbeat.json")
    # From another machine a run can look dead and not be: asking costs nothing.
    if folder.state() in (RUN_RUNNING, STOPPING) or (
        folder.state() == DEAD
        and beat.get("host") != socket.gethostname()
        and time.time() - beat.get("at_s", 0) < 86_400
    ):
        folder.ask_cancel()


def _first_event(folder: JobFolder) -> str | None:
    try:
        with folder.file("events.jsonl").open("rb") as handle:
            told = json.loads(handle.readline())
    except (OSError, ValueError):
        return None
    return str(told["at"]) if isinstance(told, dict) and "at" in told else None


def _error(folder: JobFolder, state: str) -> dict[str, Any] | None:
    if state == INTERRUPTED:
        said = "the run's processes have gone without a word: resume it; what was committed stays"
        return {"kind": "unavailable", "message": said}
    if state != FAILED:
        return None
    said = "the run was ended by an error"
    try:
        with folder.file("events.jsonl").open("rb") as handle:
            for line in handle:
                if b"ended by an error" in line:
                    said = str(json.loads(line).get("error", said))
    except (OSError, ValueError):
        pass
    return {"kind": "unavailable", "message": said}
