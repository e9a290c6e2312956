"""The loop that keeps a bounded window of tasks in flight and reads what comes back.

Pure of Dask: it knows a Backend. Every part ends in exactly one of ``committed`` and ``given_up``, or is left pending when
the run is stopped; nothing is dropped without a line in the report.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from cluster.backends import Backend, Ended, StopAsked, WorkerDied, WorkerLost
from cluster.payload import TaskPayload
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import TaskOutcome

TRIES_MAX = 3
# Under the poison-file rule a file can kill a throw-away process and not the worker: a worker lost there was taken away for other
# reasons (machines that vanish in groups), and that is no fault of the part. Still bounded: nothing is tried for ever.
LOST_MAX = 12
RETRY_AFTER_S = 2.0
_RETRY_AFTER_S_MAX = 30.0
_WAIT_S = 0.5

# Errors that every other part would meet too: the run ends, with what is committed kept.
ENDS_THE_RUN = frozenset(
    {
        "disk_full",
        "read_only",
        "no_store",
        "model_conflict",
        "no_weights",
        "invalid_weights",
        "engine_missing",
        "download_failed",
        "workers_lost",
        "store_unreachable",
        "access_lost",
    }
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A part on its way through the loop."""

    payload: TaskPayload
    tries: int = 0
    lost: int = 0
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
        Called with a payload and the error after ``TRIES_MAX`` tries or ``LOST_MAX`` lost workers.
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
    _to_come: Iterator[TaskPayload] = field(default_factory=lambda: iter(()))

    def run(self, payloads: Iterable[TaskPayload]) -> None:
        """Run all parts, or as many as there were when a stop was asked for; a payload is asked for when its turn comes near.

        Raises
        ------
        SonothequeError
            One of ``ENDS_THE_RUN``.
        """
        self._to_come = iter(payloads)
        self._top_up(1)
        while self._flying or (self._waiting and not self.stop_asked()):
            if not self.stop_asked():
                self._fill()
            ended = self.backend.next_ended(_WAIT_S)
            if ended is not None:
                self._take(ended)
            elif not self._flying:
                time.sleep(_WAIT_S / 5)  # only delayed retries are left
            self.on_tick()

    def _top_up(self, wanted: int) -> None:
        """Have so many parcels at hand that may go now: parts that wait for another try hold up no others."""
        now = time.monotonic()
        ready = sum(parcel.not_before <= now for parcel in self._waiting)
        self._waiting.extend(map(Parcel, islice(self._to_come, max(0, wanted - ready))))

    def _fill(self) -> None:
        """Keep twice the slots and four in flight: enough that no worker waits, little enough to cost nothing."""
        window = 2 * self.backend.slots + 4
        self._top_up(window + 1)  # one more than can fly, so that nothing waiting means nothing to come
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
        blameless = parcel.guarded and isinstance(error, WorkerLost)
        tries, lost = parcel.tries + (not blameless), parcel.lost + blameless
        # Whatever is not a passing fault of the disk is looked at file by file.
        guarded = parcel.guarded or isinstance(error, WorkerDied) or not isinstance(error, OSError | SonothequeError)
        if tries >= TRIES_MAX or lost >= LOST_MAX:
            self.on_given_up(parcel.payload, error)
        else:
            failed = tries + lost - 1
            wait_s = 0.0 if guarded and not blameless else min(RETRY_AFTER_S * 2**failed, _RETRY_AFTER_S_MAX)
            self._waiting.appendleft(Parcel(parcel.payload, tries, lost, guarded, time.monotonic() + wait_s))
