"""Dask's defaults, changed where a measurement says so (design note 0003); as Dask's own keys, and as its environment."""

from __future__ import annotations

from typing import Any, Final

_SPAWN: Final = "distributed.nanny.pre-spawn-environ."
SETTINGS: Final[dict[str, Any]] = {
    "distributed.scheduler.allowed-failures": 1,  # a poison file costs two workers, then our own rule takes over
    "distributed.scheduler.worker-ttl": "10 minutes",  # long calls into C hold the interpreter lock
    "distributed.scheduler.no-workers-timeout": "30 minutes",
    "distributed.comm.retry.count": 3,
    "distributed.deploy.lost-worker-timeout": "30s",  # after which a worker of our own that did not come back is started anew
    "distributed.worker.memory.terminate": 0.95,
    # Nobody looks at these here, and they take their samples from cores that the model could use.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
    # Ticks of the event loops (50 a second) and memory checks (10 a second) cost 3 % of two cores while nothing was done.
    "distributed.admin.tick.interval": "1s",
    "distributed.worker.memory.monitor-interval": "1s",
    # Dask has the allocator give memory back at once; windows are megabytes, and fetching them anew each time is page faults.
    f"{_SPAWN}MALLOC_TRIM_THRESHOLD_": 256 << 20,
    f"{_SPAWN}MALLOC_MMAP_THRESHOLD_": 64 << 20,
}
REQUIRE_ENCRYPTION: Final = "distributed.comm.require-encryption"
ONE_THREAD: Final = (
    "Start workers with one thread each, and as many as there are cores: dask worker ADDRESS --nworkers N --nthreads 1"
)


def as_environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return settings as variables that schedulers and workers read when they are started by a command.

    Parameters
    ----------
    settings : dict
        Dask's keys -> values.
    """
    return {
        key.removeprefix(_SPAWN) if key.startswith(_SPAWN) else _variable(key): str(value)
        for key, value in settings.items()
    }


def node_environment(*, encrypted: bool) -> dict[str, str]:
    """Return the variables of every scheduler and worker that a command starts.

    Parameters
    ----------
    encrypted : bool
        Whether they refuse connections without TLS.
    """
    return as_environment({**SETTINGS, **({REQUIRE_ENCRYPTION: True} if encrypted else {})})


def _variable(key: str) -> str:
    return f"DASK_{key.upper().replace('.', '__').replace('-', '_')}"
