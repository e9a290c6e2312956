"""A worker's last minutes: it takes no more parts, ends the one it has, and leaves before the batch system ends it.

``dask worker --preload`` imports this in every worker process. Dask's own ``--lifetime`` leaves at once: the part that is
being embedded then would be lost and begun again elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping
from typing import Final

import psutil
from distributed import Worker
from distributed.core import Status

from cluster.specs.script import BEGAN, WALLTIME

_DRAIN_S: Final = 600.0  # parts take a few minutes; half of a walltime that is shorter than twice this
_LAST_S: Final = 30.0
_STAGGER: Final = 0.2  # of the time for draining: not all workers of an archive leave at the same moment
_POLL_S: Final = 0.1


def limits(walltime_s: float) -> tuple[float, float]:
    """Return after how many seconds of a walltime a worker takes no more parts, and when it leaves in any case."""
    drain = min(_DRAIN_S, walltime_s / 2)
    return walltime_s - drain, walltime_s - min(_LAST_S, drain / 3)


def began_at(environment: Mapping[str, str]) -> float:
    """Return when this worker's job began: what its script wrote down, or when the process that started this one did."""
    try:
        return float(environment[BEGAN])
    except (KeyError, ValueError):  # not in a script
        return float(psutil.Process(os.getppid()).create_time())


def dask_setup(worker: Worker) -> None:
    """Set the alarm; Dask calls this when the worker starts."""
    walltime = os.environ.get(WALLTIME)
    if walltime is None:
        return
    takes_s, leaves_s = limits(float(walltime))
    age = time.time() - began_at(os.environ)
    takes_s -= random.uniform(0, _STAGGER) * (float(walltime) - takes_s)
    now = time.monotonic()
    worker.loop.call_later(max(0.0, takes_s - age), drain, worker, now + leaves_s - age)


async def drain(worker: Worker, leaves_at: float) -> None:
    """Take no more parts, wait for the one that runs and for its outcome to be fetched, and leave.

    Parameters
    ----------
    worker : Worker
    leaves_at : float
        On the monotonic clock; a part that is not through by then is embedded elsewhere.
    """
    if worker.status is not Status.running and worker.status is not Status.paused:
        return
    worker.status = Status.closing_gracefully  # the scheduler hears of it; unlike a pause, nothing takes it back
    while (worker.state.executing or worker.data) and time.monotonic() < leaves_at:
        await asyncio.sleep(_POLL_S)
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=True, stimulus_id=f"walltime-{time.time()}"
    )
    await worker.close(timeout=2, reason="walltime")
