"""Boards for tests: a store with judgements, jobs that are waited for, a service of its own process that can be killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_api.annotations import add_annotation
from search_api.boards import Board
from search_api.boards.records import ENDED
from search_api.boards.views import Job

WAIT_S = 60.0
LOW = (("north/20240501_040000.wav", 0.0), ("north/20240501_220000.wav", 0.0), ("south/20240501_040000.wav", 4.0))
NOT_LOW = (("north/20240501_040000.wav", 2.0), ("south/20240502_050000.wav", 0.0), ("south/20240501_040000.wav", 2.0))
QUICK = {"negatives": {"weak": 5}, "bootstrap": 0, "shots": []}
LONG = {"negatives": {"weak": 10}, "bootstrap": 10_000, "shots": [1, 2]}
"""An experiment that takes some seconds, nearly all of them in one go."""


def judge(store: str) -> None:
    """Say of six windows whether there is a low tone in them."""
    for judgement, windows in (("positive", LOW), ("negative", NOT_LOW)):
        for path, start_s in windows:
            add_annotation(store, path, start_s, start_s + 2.0, "low", judgement=judgement, annotator="Ana")


def until(found: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
    """Wait for something to come about, and return it."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)
    return value


def ended(board: Board, job_id: str) -> Job:
    """Wait for a job's end."""
    return until(lambda: (j := board.job(job_id)).state in ENDED and j, f"the end of {job_id}")


def log_of(board: Board, job_id: str) -> str:
    """What a job's process wrote."""
    return (Path(board.jobs) / job_id / "log.txt").read_text()
