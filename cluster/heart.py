"""The heartbeat: written by a thread of its own, so that a run which is busy for long does not look dead from elsewhere."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Any, Self

from cluster.job import RUNNING, JobFolder, heartbeat
from sonotheque.core.errors import SonothequeError

EVERY_S = 5.0


class Heart:
    """Writes ``heartbeat.json`` every few seconds with whatever was last told; use as a context manager.

    Parameters
    ----------
    job : JobFolder
    """

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._facts: dict[str, Any] = {"phase": "starting"}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        heartbeat(self._job, RUNNING, **self._facts)
        self._thread.start()
        return self

    def tell(self, **facts: Any) -> None:
        """Change what the next beat says."""
        self._facts = facts

    def _beat(self) -> None:
        while not self._stop.wait(EVERY_S):
            # A full disk is told by the run itself, and a fault that passes must not end this thread: no beat, no life.
            with contextlib.suppress(SonothequeError, OSError):
                heartbeat(self._job, RUNNING, **self._facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
