"""What a worker tells of its progress: often at first, less often later, never so often that the file grows large."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from search_api.boards.records import Record
from sonotheque.core.errors import SonothequeError

_EVERY_S: Final = 0.5
_EVERY_S_MAX: Final = 10.0
_SHARE: Final = 1 / 200  # of the time so far: a job of a day leaves some ten thousand lines, not two hundred thousand


class Teller:
    """Writes ``progress`` events of a job.

    Parameters
    ----------
    record : Record
    clock : callable, optional
        Seconds that never go back.
    """

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._record, self._clock = record, clock
        self._began = self._stage_began = clock()
        self._stage = ""
        self._told_at = float("-inf")

    def stage(self, stage: str, done: int, total: int) -> None:
        """Take (stage, done, all); the time left is told from the stage's speed so far."""
        now = self._clock()
        if stage != self._stage:
            self._stage_began = now
        spent = now - self._stage_began
        eta_s = spent * (total - done) / done if 0 < done <= total and spent > 0 else None
        self.tell(stage, done, total, eta_s)

    def tell(self, stage: str, done: int, total: int | None, eta_s: float | None, **more: Any) -> None:
        """Write how far it is, unless that was told a moment ago; a new stage, and the end of one, are always told.

        ``total`` is None as long as nobody knows it.
        """
        now = self._clock()
        every_s = min(max(_EVERY_S, (now - self._began) * _SHARE), _EVERY_S_MAX)
        if stage == self._stage and (total is None or done < total) and now - self._told_at < every_s:
            return
        self._stage, self._told_at = stage, now
        facts = {"stage": stage, "done": done, "total": total, "eta_s": None if eta_s is None else round(eta_s, 1)}
        with contextlib.suppress(SonothequeError):  # a full disk is told by the work itself
            self._record.event("progress", **facts, **more)

    def note(self, text: str) -> None:
        """Write something worth a line."""
        with contextlib.suppress(SonothequeError):
            self._record.event("note", text=text)
