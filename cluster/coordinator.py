"""The loop that keeps a bounded window of tasks in flight and reads what comes back.

Pure of Dask: it knows a Backend. Every part ends in exactly one of ``committed`` and ``given_up``, or is left pending when
the run is stopped; nothing is dropped without a line in the report.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.backends import Backend, Ended, StopAsked, WorkerDied
from cluster.payload import TaskPayload
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import TaskOutcome

TRIES_MAX = 3
RETRY_AFTER_S = 2.0
_WAIT_S = 0.5

# Errors that every other part would meet too: the run ends, with what is committed kept.
ENDS_THE_RUN = frozenset(
    {
        "disk_full",
        "read_only",
        "model_conflict",
        "no_weights",
        "invalid_weights",
        "engine_missing",
        "download_failed",
        "workers_lost",
    }
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A part on its way through the loop."""

    payload: TaskPayload
    tries: int = 0
    guarded: bool = False
    not_before: float = 0.0


@dataclass(slots=True)
class Coordinator:
    """Runs parts on a backend.

    Attributes
    ----------
    backend : Backend
    on_done : callable
        Called with each outcome, in the order they end.
    on_given_up : callable
        Called with a payload and the error after ``TRIES_MAX`` tries.
    on_note : callable
        Called with a line for the event log.
    on_tick : callable
        Called at least twice a second.
    stop_asked : callable
        True ends submission; what is in flight is awaited.
    """

    backend: Backend
    on_done: Callable[[TaskOutcome], None]
    on_given_up: Callable[[TaskPayload, Exception], None]
    on_note: Callable[[str], None]
    on_tick: Callable[[], None]
    stop_asked: Callable[[], bool]
    _waiting: deque[Parcel] = field(default_factory=deque)
    _flying: dict[str, Parcel] = field(default_factory=dict)

    def run(self, payloads: list[TaskPayload]) -> None:
        """Run all parts, or as many as there were when a stop was asked for.

        Raises
        ------
        SonothequeError
            One of ``ENDS_THE_RUN``.
        """
        self._waiting.extend(Parcel(p) for p in payloads)
        while self._flying or (self._waiting and not self.stop_asked()):
            if not self.stop_asked():
                self._fill()
            ended = self.backend.next_ended(_WAIT_S)
            if ended is not None:
                self._take(ended)
            elif not self._flying:
                time.sleep(_WAIT_S / 5)  # only delayed retries are left
            self.on_tick()

    def _fill(self) -> None:
        """Keep twice the slots and four in flight: enough that no worker waits, little enough to cost nothing."""
        window = 2 * self.backend.slots + 4
        for _ in range(len(self._waiting)):
            if len(self._flying) >= window:
                return
            parcel = self._waiting.popleft()
            if parcel.not_before > time.monotonic():
                self._waiting.append(parcel)
                continue
            self._flying[parcel.payload.part.part_id] = parcel
            self.backend.submit(parcel.payload, guarded=parcel.guarded)

    def _take(self, ended: Ended) -> None:
        parcel = self._flying.pop(ended.part_id)
        if ended.outcome is not None:
            self.on_done(ended.outcome)
            return
        error = ended.error or RuntimeError("a task ended without outcome or error")
        if isinstance(error, StopAsked):
            return  # not begun: its files stay pending
        if isinstance(error, SonothequeError) and error.kind in ENDS_THE_RUN:
            raise error
        part = parcel.payload.part
        self.on_note(f"part {part.part_id} ({part.site}, {part.date}): {type(error).__name__}: {error}")
        tries = parcel.tries + 1
        # Whatever is not a passing fault of the disk is looked at file by file.
        guarded = parcel.guarded or isinstance(error, WorkerDied) or not isinstance(error, OSError | SonothequeError)
        if tries >= TRIES_MAX:
            self.on_given_up(parcel.payload, error)
        else:
            again = Parcel(parcel.payload, tries, guarded, time.monotonic() + (0.0 if guarded else RETRY_AFTER_S))
            self._waiting.appendleft(again)
