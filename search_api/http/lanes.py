"""Lanes: each kind of work has its own threads and its own bounded queue, so that none can starve another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from sonotheque.core.errors import Unavailable

THREADS: Final = {"read": 3, "search": 2, "draw": 2, "write": 1, "decode": 4}
P = ParamSpec("P")
R = TypeVar("R")


class Lanes:
    """Named thread pools with bounded queues.

    Parameters
    ----------
    queue : int
        Calls that may be in a lane, running or waiting; one more is refused.
    threads : dict, optional
        Lane -> threads.
    """

    def __init__(self, queue: int, threads: dict[str, int] | None = None) -> None:
        self._queue = queue
        self._pools = {
            name: ThreadPoolExecutor(count, thread_name_prefix=f"sonotheque-{name}")
            for name, count in (threads or THREADS).items()
        }
        self._inside = dict.fromkeys(self._pools, 0)

    def depths(self) -> dict[str, int]:
        """Return how many calls are in each lane."""
        return dict(self._inside)

    async def run(self, lane: str, func: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Run a function in a lane and wait for its result. To be called from the event loop's thread.

        Raises
        ------
        Unavailable
            Kind ``overloaded``: the lane is full.
        """
        if self._inside[lane] >= self._queue:
            raise Unavailable("there is more to do than the service takes on; ask again in a moment", kind="overloaded")
        self._inside[lane] += 1
        # A caller that goes away does not stop its thread: the place is free only when the work has ended.
        future = asyncio.get_running_loop().run_in_executor(self._pools[lane], lambda: func(*args, **named))
        future.add_done_callback(lambda _: self._left(lane))
        return await asyncio.shield(future)

    def close(self) -> None:
        """Let running calls end and take no more."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def _left(self, lane: str) -> None:
        self._inside[lane] -= 1
