"""Questions asked in a process of their own: importing, opening, and the first answer of each kind, warm and from the disk.

``python -m benchmarks.ask_fresh sonotheque|plain ROOT LABEL SITE`` prints one JSON line of seconds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

HOUR, SCORE_MIN = 5, 0.5
FIRST, LAST = date(2025, 4, 1), date(2025, 5, 12)  # 42 days of 240 windows between five and six: 10,080


def evict(root: str) -> None:
    """Ask the system to forget a store's files, so that the next reader takes them from the disk."""
    for folder, _, names in os.walk(root):
        for name in names:
            handle = os.open(f"{folder}/{name}", os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def fresh(kind: str, root: str, label: str, site: str, times: int, *, cold: bool = False) -> dict[str, Any]:
    """Return medians over ``times`` processes, in seconds; ``process_s`` from its start to its end."""
    told = []
    for _ in range(times):
        if cold:
            evict(root)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ask_fresh", kind, root, label, site],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
        )
        if done.returncode:
            raise RuntimeError(f"{kind} in a fresh process: {done.stderr[-2000:]}")
        told.append({**json.loads(done.stdout), "process_s": time.perf_counter() - began})
    medians = {key: round(statistics.median(t[key] for t in told), 4) for key in told[0]}
    return {**medians, "all": [{k: round(v, 4) for k, v in t.items()} for t in told]}


def command(root: str, label: str, times: int) -> dict[str, Any]:
    """Return the median wall time of the whole command ``sonotheque activity``, from the shell's point of view."""
    program = str(Path(sys.executable).parent / "sonotheque")
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(
            [program, "activity", "--species", label, "--store", root, "--json"], capture_output=True, check=True
        )
        taken.append(round(time.perf_counter() - began, 4))
    return {"what": "sonotheque activity --species NAME --json", "s": statistics.median(taken), "all": taken}


def _sonotheque(root: str, label: str, site: str) -> dict[str, float]:
    clock = _Clock()
    import sonotheque
    import store  # noqa: F401  (what `open` imports, so that opening is told apart from importing)

    clock.lap("import_s")
    archive = sonotheque.open(root)
    clock.lap("open_s")
    from search_api.questions.activity import activity
    from sonotheque.core.filters import HourSpan, SearchFilter

    wanted = SearchFilter(sites=(site,), hours=HourSpan(HOUR * 60, HOUR * 60 + 60), date_from=FIRST, date_to=LAST)
    clock.lap("import_questions_s")
    activity(archive, [label], SearchFilter(score_min=SCORE_MIN))
    clock.lap("activity_s")
    archive.windows(wanted)
    clock.lap("hour_s")
    archive.embeddings(wanted)
    clock.lap("vectors_s")
    return clock.laps


def _plain(root: str, label: str, site: str) -> dict[str, float]:
    clock = _Clock()
    from benchmarks.ask_plain import Plain

    clock.lap("import_s")
    plain = Plain(root, 1536)
    clock.lap("open_s")
    asked: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("activity_s", lambda: plain.activity(label, SCORE_MIN)),
        ("hour_s", lambda: plain.hours(site, HOUR, FIRST, LAST)),
        ("vectors_s", lambda: plain.vectors_of_hours(site, HOUR, FIRST, LAST)),
    )
    for name, ask in asked:
        ask()
        clock.lap(name)
    return clock.laps


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


if __name__ == "__main__":
    print(json.dumps({"sonotheque": _sonotheque, "plain": _plain}[sys.argv[1]](*sys.argv[2:5])))
