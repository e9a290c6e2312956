"""Keeps a cluster's places filled until the work is done: what ends is started again, what does not begin is told.

A place is a host, or a job of a batch system. Pure of Dask: everything that is started lies behind :class:`Place`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import Final, Protocol

from sonotheque.core.errors import Unavailable

TRIES: Final = 3  # starts of each place, on average, since a part was last done
_BACK_OFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0, 120.0, 300.0)
_SETTLED_S: Final = 20.0  # a place that ran so long is no bad one; jobs of the shortest walltime run 30 s
_OFTEN: Final = 10  # a line that repeats is told the 1st, 10th, 100th ... time


class Phase(Enum):
    """How far a place is."""

    WAITING = "waits"
    RUNNING = "runs"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a place.

    Attributes
    ----------
    phase : Phase
    detail : str
        The batch system's own word and reason, or what a host printed last.
    """

    phase: Phase
    detail: str = ""


class Place(Protocol):
    """One host's workers, or one job."""

    @property
    def title(self) -> str:
        """What it is, for people: ``job 17``, ``workers on node1``."""

    async def open(self) -> None:
        """Start it; raises OSError, RuntimeError or ValueError if that is refused."""

    async def shut(self) -> None:
        """End it; does nothing if it has ended, and raises nothing."""


Watch = Callable[[Sequence[Place]], Awaitable[Sequence[State]]]


@dataclass(slots=True)
class _Slot:
    make: Callable[[], Place]
    place: Place | None = None
    not_before: float = 0.0
    failures: int = 0  # starts in a row that gave nothing
    running_since: float | None = None
    said: Counter[str] = field(default_factory=Counter)  # without titles: jobs have new numbers each time


@dataclass(slots=True)
class Keeper:
    """Starts places, looks at them, and starts them again.

    Attributes
    ----------
    makers : sequence of callable
        One for each place that is wanted.
    watch : callable
        Places -> their states, in the same order.
    workers : callable
        How many worker processes have reached the scheduler.
    workers_each : int
        Worker processes that a place brings.
    start_within_s : float
        After so long without any worker people are told, and again after twice as long.
    notes : SimpleQueue of str
        Lines for people and for the job's events.
    trouble : Unavailable or None
        Why the run cannot go on.
    in_flight : int or None
        Tasks that are out: no more places are started again than these can use. None: the run has not come to its tasks.
    """

    makers: Sequence[Callable[[], Place]]
    watch: Watch
    workers: Callable[[], int]
    workers_each: int
    start_within_s: float
    clock: Callable[[], float] = time.monotonic
    notes: SimpleQueue[str] = field(default_factory=SimpleQueue)
    trouble: Unavailable | None = None
    in_flight: int | None = None
    _slots: list[_Slot] = field(init=False)
    _starts: int = 0
    _last: str = ""
    _said: Counter[str] = field(default_factory=Counter)
    _alone_since: float | None = None
    _told_after_s: float = 0.0

    def __post_init__(self) -> None:
        self._slots = [_Slot(make) for make in self.makers]
        self._told_after_s = self.start_within_s

    def progressed(self) -> None:
        """Take down that a part was done: the run goes on. A place that refuses is not tried more often because others work."""
        self._starts = 0

    async def begin(self) -> None:
        """Start all places."""
        await self._fill(len(self._slots))

    async def look(self) -> None:
        """Look at all places once, and start again what has ended and is still needed."""
        held = [slot for slot in self._slots if slot.place]
        states = list(await self.watch([slot.place for slot in held if slot.place]))
        for slot, state in zip(held, states, strict=True):
            if state.phase is Phase.ENDED:
                self._ended(slot, state)
            elif state.phase is Phase.RUNNING and slot.running_since is None:
                slot.running_since = self.clock()
        await self._fill(self._wanted())
        self._tell_waiting([s for s in states if s.phase is not Phase.ENDED])
        if self._starts >= TRIES * len(self._slots) and not any(slot.place for slot in self._slots):
            self.trouble = Unavailable(
                f"the cluster's workers were started {self._starts} times and ended, or did not start, without a part done; the last: "
                f"{self._last}. Mend that, then `sonotheque resume` goes on with what is missing",
                kind="workers_lost",
            )

    async def end(self) -> None:
        """End all places."""
        places = [slot.place for slot in self._slots if slot.place]
        for slot in self._slots:
            slot.place = None
        await asyncio.gather(*(place.shut() for place in places))

    def _wanted(self) -> int:
        """Return how many places have anything to do."""
        if self.in_flight is None:
            return len(self._slots)
        return min(len(self._slots), -(-self.in_flight // self.workers_each))

    async def _fill(self, wanted: int) -> None:
        now = self.clock()
        free = [slot for slot in self._slots if slot.place is None and slot.not_before <= now]
        room = wanted - sum(slot.place is not None for slot in self._slots)
        left = TRIES * len(self._slots) - self._starts
        await asyncio.gather(*(self._open(slot) for slot in free[: max(0, min(room, left))]))

    async def _open(self, slot: _Slot) -> None:
        place = slot.make()
        self._starts += 1
        try:
            await place.open()
        except (OSError, RuntimeError, ValueError) as error:
            await place.shut()
            why = " ".join(str(error).split())[:300] or type(error).__name__
            self._again(slot, place.title, f"not started: {why}")
            return
        slot.place, slot.running_since = place, None
        self._say(slot, place.title, "started", once=slot.failures > 1)

    def _ended(self, slot: _Slot, state: State) -> None:
        title = slot.place.title if slot.place else ""
        slot.place = None
        settled = slot.running_since is not None and self.clock() - slot.running_since >= _SETTLED_S
        self._again(slot, title, f"ended{f', {state.detail}' if state.detail else ''}", settled=settled)

    def _again(self, slot: _Slot, title: str, what: str, *, settled: bool = False) -> None:
        slot.failures = 0 if settled else slot.failures + 1
        slot.not_before = self.clock() + _BACK_OFF_S[min(max(slot.failures, 1), len(_BACK_OFF_S)) - 1]
        self._last = f"{title}: {what}"
        self._say(slot, title, what, once=not settled)

    def _say(self, slot: _Slot, title: str, what: str, *, once: bool) -> None:
        """Put down a line; one that repeats only now and then, with how often it was."""
        line = f"{title}: {what}"
        slot.said[what] += 1
        self._said[line] += 1
        times = max(slot.said[what], self._said[line])
        if not once or times == 1:
            self.notes.put(line)
        elif times == _OFTEN ** (len(str(times)) - 1):
            self.notes.put(f"{line} ({times} times by now)")

    def _tell_waiting(self, states: Sequence[State]) -> None:
        """Say what the queue says when no worker has come for a long time."""
        if self.workers():
            self._alone_since, self._told_after_s = None, self.start_within_s
            return
        now = self.clock()
        if self._alone_since is None:
            self._alone_since = now
        if now - self._alone_since < self._told_after_s:
            return
        self._told_after_s *= 2
        said = (
            "; ".join(sorted({f"{state.phase.value} {state.detail}".strip() for state in states})) or "nothing is there"
        )
        running = any(state.phase is Phase.RUNNING for state in states)
        hint = (
            "What runs does not reach the scheduler: look at what it printed, and whether the nodes reach the file's scheduler address"
            if running
            else "The run goes on waiting; `sonotheque stop` ends it"
        )
        self.notes.put(f"no worker for {now - self._alone_since:.0f} s ({said}). {hint}")
