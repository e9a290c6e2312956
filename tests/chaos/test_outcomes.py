"""An outcome that does not arrive costs its part another turn, and nobody else's: found by the sweep, told here without a cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from distributed import KilledWorker
from distributed.client import FutureCancelledError

from cluster.backends import WorkerLost
from cluster.dask_backend import _read
from cluster.dask_tasks import OUTCOME_S
from sonotheque.core.errors import Unavailable


class Finished:
    """A future whose outcome is fetched in vain; what it says of itself afterwards."""

    def __init__(self, error: BaseException, then: str, exception: BaseException | None = None) -> None:
        self.error, self.then, self.found = error, then, exception
        self.status = "finished"
        self.waited: float | None = None

    def result(self, timeout: float | None = None) -> Any:
        self.waited, self.status = timeout, self.then
        raise self.error

    def cancelled(self) -> bool:
        return self.status == "cancelled"

    def exception(self) -> BaseException | None:
        return self.found


def test_a_frozen_worker_is_not_waited_for() -> None:
    future = Finished(TimeoutError(), "finished")
    ended = _read("p", future)  # type: ignore[arg-type]
    assert future.waited == OUTCOME_S
    assert isinstance(ended.error, TimeoutError)  # a passing fault: tried again, and no file is to blame
    assert "run again" in str(ended.error)


def test_a_scheduler_that_dies_while_an_outcome_is_fetched_ends_the_run() -> None:
    ended = _read("p", Finished(FutureCancelledError("p", "scheduler-connection-lost"), "cancelled"))  # type: ignore[arg-type]
    assert isinstance(ended.error, Unavailable)
    assert ended.error.kind == "workers_lost"


def test_a_part_whose_second_turn_killed_its_worker_as_well() -> None:
    killed = KilledWorker("p", SimpleNamespace(address="tcp://node1:1"), 2)
    ended = _read("p", Finished(killed, "error", killed))  # type: ignore[arg-type]
    assert isinstance(ended.error, WorkerLost)


@pytest.mark.parametrize("error", [OSError("gone"), FutureCancelledError("p", "lost"), RuntimeError("?")])
def test_an_outcome_that_is_lost_is_an_end_and_no_silence(error: Exception) -> None:
    ended = _read("p", Finished(error, "finished"))  # type: ignore[arg-type]
    assert isinstance(ended.error, OSError)
    assert ended.outcome is None
