"""One plan in a process of its own, so that its peak of memory is its own: from the command to the first task, or to the end if all is done.

``python -m benchmarks.planning_child SOURCE STORE --files N [--make] [--on-disk]`` prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.planning_listing import instead_of_a_disk
from cluster.backends import Ended
from cluster.estimate import PlanSummary
from cluster.job import JobFolder
from cluster.models_here import model_here
from cluster.options import EmbedOptions
from cluster.payload import ModelChoice, TaskPayload
from cluster.run import Silent, embed
from cluster.running import Run
from cluster.task import peak_rss_bytes
from sonotheque.core.model_spec import ModelSpec


class FirstTask(Exception):  # noqa: N818 - the end of what is measured
    """The plan has led to its first task."""


class Times(Silent):
    """When each step had ended, in seconds of the wall clock and of CPU, and the peak of memory so far."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.monotonic(), time.process_time()
        self.steps: dict[str, dict[str, float]] = {}
        self.told: dict[str, Any] = {}

    def mark(self, name: str) -> None:
        self.steps[name] = {
            "wall_s": round(time.monotonic() - self._wall_s, 2),
            "cpu_s": round(time.process_time() - self._cpu_s, 2),
            "peak_rss_mb": round(peak_rss_bytes() / 1e6, 1),
        }

    def planned(self, plan: PlanSummary) -> None:
        self.mark("planned")
        self.told = {"files": plan.files, "new": plan.new, "settled": plan.settled, "parts_estimated": plan.parts}


class NoWork:
    """A backend that takes no task: the first one it is given ends the measurement."""

    title, slots = "nowhere", 2

    def __init__(self, model: ModelChoice, times: Times) -> None:
        self._model, self._times = model, times

    def start(self) -> ModelSpec:
        return model_here(self._model).spec

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        self._times.mark("first task")
        raise FirstTask

    def next_ended(self, timeout_s: float) -> Ended | None:
        return None

    def close(self, *, now: bool = False) -> None:
        """Nothing to end."""


def measure(options: EmbedOptions) -> dict[str, Any]:
    """Run a job up to its first task, or to its end if there is nothing to do."""
    times = Times()
    Run._backend = lambda _, choice: NoWork(choice, times)  # type: ignore[method-assign]
    write_plan = JobFolder.write_plan

    def marked(job: JobFolder, lines: Iterator[dict[str, Any]]) -> int:
        count = write_plan(job, lines)
        times.mark("plan written")
        return count

    JobFolder.write_plan = marked  # type: ignore[method-assign]
    try:
        report = embed(options, times)
        times.told["state"] = report.state
        times.mark("finished")
    except FirstTask:
        job = max((int(p.name) for p in Path(options.store, "jobs").iterdir() if p.name.isdigit()), default=0)
        times.told["plan_bytes"] = Path(options.store, "jobs", str(job), "plan.jsonl.gz").stat().st_size
    return {**times.told, "steps": times.steps, "rss_mb_at_start": START_RSS_MB}


START_RSS_MB = round(peak_rss_bytes() / 1e6, 1)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("store")
    parser.add_argument("--files", type=int, required=True)
    parser.add_argument("--make", action="store_true", help="make the store instead: as if all of it were embedded")
    parser.add_argument("--on-disk", action="store_true", help="walk the source and read its headers")
    args = parser.parse_args()
    options = EmbedOptions((args.source,), args.store, model="placeholder", workers=0, engine="reference")
    with contextlib.nullcontext() if args.on_disk else instead_of_a_disk(args.files):
        if args.make:
            from benchmarks.planning_store import make_store

            told = make_store(options)
        else:
            told = measure(options)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
