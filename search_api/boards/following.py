"""Watching jobs as they go: one reader of a job's file, however many watch; whoever goes away is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from search_api.boards.sources import STATE, Event, Source
from sonotheque.core.errors import Unavailable

WATCHERS_MAX: Final = 200
_EVERY_S: Final = 0.25
_QUEUE: Final = 500


_Queue = asyncio.Queue[Event | None]


@dataclass(eq=False, slots=True)
class _Follower:
    source: Source
    at: int
    loop: asyncio.AbstractEventLoop
    queues: set[_Queue] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            over = None
            while over is None:
                over = await asyncio.to_thread(self.source.over)
                # Read after the look at the end: what was told before it is in the file.
                events, self.at = await asyncio.to_thread(self.source.news, self.at)
                self._hand_out(events)
                if over is None:
                    await asyncio.sleep(_EVERY_S)
            self._hand_out([Event(self.at, STATE, {"state": over})])
        finally:
            self.end()

    def _hand_out(self, events: list[Event]) -> None:
        for queue in list(self.queues):
            for event in events:
                if queue.qsize() >= _QUEUE:  # a watcher that does not listen: it may come back with its last id
                    queue.put_nowait(None)
                    self.queues.discard(queue)
                    break
                queue.put_nowait(event)

    def end(self) -> None:
        for queue in self.queues:
            queue.put_nowait(None)


class Followers:
    """All that are watched.

    Parameters
    ----------
    source_of : callable
        Given a job's id, the source of its events; raises NotFound.
    """

    def __init__(self, source_of: Callable[[str], Source]) -> None:
        self._source_of = source_of
        self._followers: dict[str, _Follower] = {}
        self._watchers = 0

    @property
    def following(self) -> int:
        """How many jobs are followed."""
        return len(self._followers)

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers

    async def watch(
        self, job_id: str, after: int = 0, *, beat_s: float = 15.0, over: Callable[[], bool] | None = None
    ) -> AsyncGenerator[Event | None]:
        """Yield a job's events until it ends; None now and then where nothing happens, so that a dead line is noticed.

        Parameters
        ----------
        job_id : str
        after : int
            Id of the last event that is known.
        beat_s : float
            Longest silence, seconds.
        over : callable, optional
            Asked each second whether to stop.

        Raises
        ------
        NotFound
            If there is no such job.
        Unavailable
            (``overloaded``) If too many watch.
        """
        if self._watchers >= WATCHERS_MAX:
            raise Unavailable(
                f"{WATCHERS_MAX} watch jobs already; ask for the job itself now and then", kind="overloaded"
            )
        self._watchers += 1
        queue: _Queue = asyncio.Queue()
        follower = None
        try:
            follower = await self._join(job_id, queue)
            state = None
            for known in await asyncio.to_thread(follower.source.backlog, after, follower.at):
                state = known.data.get("state", state)
                yield known
            async for event in _until(queue, beat_s, over):
                if event is not None and event.name == STATE:
                    if event.data.get("state") == state:
                        continue  # the end is told by the file and by the follower
                    state = event.data.get("state")
                yield event
        finally:
            self._watchers -= 1
            if follower is not None:
                self._leave(job_id, follower, queue)

    async def _join(self, job_id: str, queue: _Queue) -> _Follower:
        follower = self._followers.get(job_id)
        if follower is None:
            source = await asyncio.to_thread(self._source_of, job_id)
            at = await asyncio.to_thread(source.start)
            follower = self._followers.get(job_id)  # somebody else may have come meanwhile
            if follower is None:
                follower = _Follower(source, at, asyncio.get_running_loop())
                self._followers[job_id] = follower
        follower.queues.add(queue)
        if follower.task is None:
            follower.task = asyncio.create_task(follower.run())
            follower.task.add_done_callback(lambda _: self._forget(job_id, follower))
        return follower

    def _leave(self, job_id: str, follower: _Follower, queue: _Queue) -> None:
        follower.queues.discard(queue)
        if not follower.queues and follower.task is not None:
            self._forget(job_id, follower)  # at once: who comes now must not join one that is ending
            follower.task.cancel()

    def _forget(self, job_id: str, follower: _Follower) -> None:
        if self._followers.get(job_id) is follower:
            del self._followers[job_id]

    def close(self) -> None:
        """Let all that watch end; may be called from any thread."""
        for follower in list(self._followers.values()):
            with contextlib.suppress(RuntimeError):  # the loop is gone, and all that watched with it
                follower.loop.call_soon_threadsafe(follower.end)


async def _until(queue: _Queue, beat_s: float, over: Callable[[], bool] | None) -> AsyncIterator[Event | None]:
    """Yield what comes; None after a silence."""
    silent_s, step_s = 0.0, min(beat_s, 1.0)
    while not (over and over()):
        try:
            event = await asyncio.wait_for(queue.get(), step_s)
        except TimeoutError:
            silent_s += step_s
            if silent_s >= beat_s:
                silent_s = 0.0
                yield None
            continue
        if event is None:
            return
        silent_s = 0.0
        yield event
