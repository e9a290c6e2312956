"""Threads of the numeric libraries in a service: many requests at once, each computed by one thread.

BLAS and OpenMP start as many threads as there are cores for each product. Where several requests are computed at the same time these
wait for each other, and a search takes several times as long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_NAMES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_MARK: Final = "SONOTHEQUE_THREADS_SET"


def one_thread_each() -> None:
    """Let numeric libraries that are loaded from now on use one thread a call, unless the user has said otherwise."""
    own = [name for name in _NAMES if name not in os.environ]
    os.environ.update(dict.fromkeys(own, "1"))
    os.environ[_MARK] = ",".join(own)


def for_a_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what :func:`one_thread_each` set: a job has its process to itself."""
    own = environment.get(_MARK, "").split(",")
    return {name: value for name, value in environment.items() if name != _MARK and name not in own}
