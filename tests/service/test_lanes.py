"""Lanes: work of one kind waits for its own kind alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from search_api.http.lanes import Lanes
from sonotheque.core.errors import Invalid, Unavailable


@pytest.fixture
def lanes():
    found = Lanes(3, {"slow": 1, "quick": 1})
    yield found
    found.close()


def test_a_result_and_an_error_come_back(lanes):
    async def go():
        assert await lanes.run("quick", divmod, 7, 2) == (3, 1)
        with pytest.raises(Invalid, match="no"):
            await lanes.run("quick", _refuse)

    asyncio.run(go())


def _refuse():
    raise Invalid("no")


def test_a_full_lane_refuses_and_the_other_goes_on(lanes):
    async def go():
        gate = threading.Event()
        waiting = [asyncio.create_task(lanes.run("slow", gate.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert lanes.depths() == {"slow": 3, "quick": 0}
        with pytest.raises(Unavailable) as refused:
            await lanes.run("slow", print)
        assert refused.value.kind == "overloaded"
        assert refused.value.status == 503
        assert await lanes.run("quick", int, "5") == 5
        gate.set()
        assert await asyncio.gather(*waiting) == [True] * 3
        await asyncio.sleep(0)
        assert lanes.depths() == {"slow": 0, "quick": 0}

    asyncio.run(go())


def test_who_goes_away_leaves_the_place_taken_until_the_work_ends(lanes):
    async def go():
        gate = threading.Event()
        task = asyncio.create_task(lanes.run("slow", gate.wait, 10))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lanes.depths()["slow"] == 1
        gate.set()
        await lanes.run("slow", int)  # behind it
        await asyncio.sleep(0)
        assert lanes.depths()["slow"] == 0

    asyncio.run(go())
