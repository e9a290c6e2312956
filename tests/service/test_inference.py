"""One model for everybody: the same to the bit as alone, in turns, and no answer is lost, mixed up or waited for in vain."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.models import Embedded, Runtime, load_model, weights_status
from search_api.uploads.batching import Batcher
from sonotheque.core.errors import Conflict, Invalid, Unavailable

SPEC = load_model("placeholder").spec
WIDTH = SPEC.window_samples


def frames(*values: float) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], WIDTH, axis=1)


@dataclass
class Fake:
    """Says of a window what its first sample is; tells what it was asked, and can be held."""

    batch_size: int = 4
    gate: threading.Event = field(default_factory=threading.Event)
    calls: list[list[float]] = field(default_factory=list)
    poison: float | None = None
    failure: type[BaseException] = RuntimeError
    runtime: Runtime = field(default_factory=lambda: Runtime("fake", "GPU:0", 0))
    spec = SPEC
    classes = ("a", "b", "c")
    note = ""

    def embed(self, given: np.ndarray, *, logits: bool = True) -> Embedded:
        assert self.gate.wait(20)
        seen = given[:, 0].tolist()
        self.calls.append(seen)
        if self.poison in seen:
            raise self.failure("poison")
        found = np.repeat(given[:, :1], SPEC.dim, axis=1).copy()
        return Embedded(found, found[:, :3].copy() if logits else None)

    def scores(self, values: np.ndarray) -> np.ndarray:
        return values


class Held:
    """A batcher whose models wait until they are let go."""

    def __init__(self, threads: int = 1, queue: int = 100, batch: int | None = None, **more) -> None:
        self.models: list[Fake] = []
        self.gate = threading.Event()

        def load() -> Fake:
            self.models.append(Fake(gate=self.gate, **more))
            return self.models[-1]

        self.batcher = Batcher(load, threads=threads, queue=queue, batch=batch)

    def __enter__(self):
        self.batcher.start()
        assert self.batcher.wait(20)
        until = time.monotonic() + 20
        while len(self.models) < len(self.batcher._threads) or self.batcher._idle < len(self.models):
            assert time.monotonic() < until
            time.sleep(0.001)
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.batcher.close()

    def busy(self) -> bool:
        """Whether every thread has taken something, and nothing is left."""
        return self.batcher._idle == 0 and self.batcher.waiting == 0

    @property
    def calls(self) -> list[list[float]]:
        return [call for model in self.models for call in model.calls]


async def until(true) -> None:
    for _ in range(20_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came")


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    threads=st.integers(1, 3),
    batch=st.integers(1, 5),
    logits=st.lists(st.booleans(), min_size=8, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_whoever_else_asks_the_answer_is_the_same_to_the_bit(sizes, threads, batch, logits):
    rng = np.random.default_rng(sum(sizes))
    asked = [rng.normal(0, 0.1, (size, WIDTH)).astype(np.float32) for size in sizes]
    twin = load_model("placeholder")
    batcher = Batcher(lambda: load_model("placeholder"), threads=threads, batch=batch)
    batcher.start()
    assert batcher.wait(20)

    async def all_at_once():
        return await asyncio.gather(
            *(batcher.embed(one, logits=wanted) for one, wanted in zip(asked, logits, strict=False))
        )

    try:
        for one, wanted, found in zip(asked, logits, asyncio.run(all_at_once()), strict=False):
            alone = twin.embed(one, logits=wanted)
            assert found.embeddings.tobytes() == alone.embeddings.tobytes()
            assert (found.logits is None) == (not wanted)
            if wanted:
                assert found.logits.tobytes() == alone.logits.tobytes()
        assert batcher.waiting == 0
    finally:
        batcher.close()


@pytest.mark.skipif(not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not installed")
def test_birdnet_in_shared_batches_is_birdnet_alone():
    twin = load_model("birdnet_v2.4")
    rng = np.random.default_rng(1)
    asked = [rng.normal(0, 0.1, (size, twin.spec.window_samples)).astype(np.float32) for size in (1, 3, 2)]
    batcher = Batcher(lambda: load_model("birdnet_v2.4"), threads=2)
    batcher.start()
    assert batcher.wait(60)

    async def all_at_once():
        return await asyncio.gather(*(batcher.embed(one) for one in asked))

    try:
        for one, found in zip(asked, asyncio.run(all_at_once()), strict=True):
            for row, frame in enumerate(one):
                alone = twin.embed(frame[None])
                assert found.embeddings[row].tobytes() == alone.embeddings[0].tobytes()
                assert found.logits[row].tobytes() == alone.logits[0].tobytes()
    finally:
        batcher.close()


def test_a_minute_of_sound_does_not_hold_up_five_seconds_of_it():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))  # takes the thread
        await until(held.busy)
        long = asyncio.ensure_future(held.batcher.embed(frames(*range(100, 120))))
        await until(lambda: held.batcher.waiting == 20)
        short = asyncio.ensure_future(held.batcher.embed(frames(1, 2)))
        await until(lambda: held.batcher.waiting == 22)
        held.gate.set()
        await asyncio.gather(first, long, short)

    with Held() as held:
        asyncio.run(go(held))
        calls = held.calls
    assert calls[:3] == [[0.0], [100.0, 101.0, 102.0, 103.0], [1.0, 2.0, 104.0, 105.0]]
    assert [value for call in calls[3:] for value in call] == [float(v) for v in range(106, 120)]


def test_one_clip_is_spread_over_the_threads_that_are_free():
    async def go(held):
        asking = asyncio.ensure_future(held.batcher.embed(frames(1, 2, 3)))
        await until(held.busy)
        held.gate.set()
        return await asking

    with Held(threads=3) as held:
        found = asyncio.run(go(held))
        assert sorted(held.calls) == [[1.0], [2.0], [3.0]]
    assert found.embeddings[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_requests_share_batches_when_there_is_much_to_do():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        others = [asyncio.ensure_future(held.batcher.embed(frames(n))) for n in range(1, 9)]
        await until(lambda: held.batcher.waiting == 8)
        held.gate.set()
        await asyncio.gather(first, *others)

    with Held() as held:
        asyncio.run(go(held))
        assert held.calls == [[0.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]


def test_on_one_core_batches_are_small():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        long = asyncio.ensure_future(held.batcher.embed(frames(1, 2, 3, 4, 5)))
        await until(lambda: held.batcher.waiting == 5)
        held.gate.set()
        await asyncio.gather(first, long)

    with Held(runtime=Runtime("fake", "CPU", 1)) as held:
        asyncio.run(go(held))
        assert held.calls == [[0.0], [1.0, 2.0], [3.0, 4.0], [5.0]]


def test_who_goes_away_leaves_nothing_in_the_queue():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        gone = asyncio.ensure_future(held.batcher.embed(frames(*range(50, 60))))
        stays = asyncio.ensure_future(held.batcher.embed(frames(7)))
        await until(lambda: held.batcher.waiting == 11)
        gone.cancel()
        await until(lambda: held.batcher.waiting == 1)
        held.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await asyncio.gather(first, stays)

    with Held() as held:
        _, found = asyncio.run(go(held))
        assert held.calls == [[0.0], [7.0]]
    assert found.embeddings[0, 0] == 7.0


def test_who_goes_away_in_the_middle_of_a_batch_disturbs_nobody():
    async def go(held):
        gone = asyncio.ensure_future(held.batcher.embed(frames(1, 2)))
        await until(held.busy)
        gone.cancel()
        await asyncio.sleep(0.01)
        held.gate.set()
        return await held.batcher.embed(frames(3))

    with Held() as held:
        assert asyncio.run(go(held)).embeddings[0, 0] == 3.0


def test_too_much_is_refused_and_what_waits_is_answered():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        large = asyncio.ensure_future(held.batcher.embed(frames(*range(1, 13))))  # alone it may be more than the queue
        await until(lambda: held.batcher.waiting == 12)
        with pytest.raises(Unavailable) as caught:
            await held.batcher.embed(frames(99))
        assert caught.value.kind == "overloaded" and "12 windows" in caught.value.message
        held.gate.set()
        await asyncio.gather(first, large)
        return await held.batcher.embed(frames(5))

    with Held(queue=10) as held:
        assert asyncio.run(go(held)).embeddings[0, 0] == 5.0


def test_a_window_that_the_model_fails_on_is_its_callers_alone():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        asked = [held.batcher.embed(frames(n)) for n in (1, 13, 3)]
        asking = [asyncio.ensure_future(one) for one in asked]
        await until(lambda: held.batcher.waiting == 3)
        held.gate.set()
        return await asyncio.gather(first, *asking, return_exceptions=True)

    with Held(poison=13.0) as held:
        _, one, bad, three = asyncio.run(go(held))
    assert one.embeddings[0, 0] == 1.0 and three.embeddings[0, 0] == 3.0
    assert isinstance(bad, Unavailable) and "poison" in bad.message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_that_nobody_foresaw_ends_its_thread_and_leaves_nobody_waiting():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(13)))
        await until(held.busy)
        second = asyncio.ensure_future(held.batcher.embed(frames(1)))
        await until(lambda: held.batcher.waiting == 1)
        held.gate.set()
        found = await asyncio.gather(first, second, return_exceptions=True)
        with pytest.raises(Unavailable, match="poison"):
            await held.batcher.embed(frames(2))
        return found

    with Held(poison=13.0, failure=AttributeError) as held:
        first, second = asyncio.run(go(held))
        assert not held.batcher.ready and "poison" in held.batcher.trouble
    assert isinstance(first, Unavailable) and isinstance(second, Unavailable)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, WIDTH - 1), np.float32),
        np.zeros((1, WIDTH)),
        np.full((2, WIDTH), np.nan, np.float32),
        np.zeros(WIDTH),
    ],
)
def test_frames_that_do_not_fit_never_reach_a_batch(wrong):
    with Held() as held:
        held.gate.set()
        with pytest.raises(Invalid):
            asyncio.run(held.batcher.embed(wrong))
        assert held.calls == []


def test_no_windows_are_no_vectors():
    with Held() as held:
        held.gate.set()
        assert asyncio.run(held.batcher.embed(np.zeros((0, WIDTH), np.float32))).embeddings.shape == (0, SPEC.dim)


def test_a_model_that_does_not_load_is_told_to_everybody():
    def load():
        raise Conflict("other weights", kind="model_conflict")

    batcher = Batcher(load, threads=2)
    assert not batcher.ready and batcher.trouble is None
    with pytest.raises(Unavailable, match="being loaded"):
        asyncio.run(batcher.embed(frames(1)))
    batcher.start()
    assert not batcher.wait(20)
    assert batcher.trouble == "other weights"
    with pytest.raises(Unavailable, match="other weights"):
        asyncio.run(batcher.embed(frames(1)))
    batcher.close()


def test_one_thread_whose_copy_does_not_load_leaves_the_others():
    loads = []

    def load():
        loads.append(1)
        if len(loads) > 1:
            raise MemoryError
        return load_model("placeholder")

    batcher = Batcher(load, threads=2)
    batcher.start()
    assert batcher.wait(20)
    assert asyncio.run(batcher.embed(frames(0.5, 0.25, 0.125))).embeddings.shape == (3, SPEC.dim)
    batcher.close()


def test_at_the_end_what_waits_is_refused_and_the_threads_go():
    async def go(held):
        first = asyncio.ensure_future(held.batcher.embed(frames(0)))
        await until(held.busy)
        waits = asyncio.ensure_future(held.batcher.embed(frames(1)))
        await until(lambda: held.batcher.waiting == 1)
        closing = threading.Thread(target=held.batcher.close)
        closing.start()
        with pytest.raises(Unavailable, match="ending"):
            await waits
        held.gate.set()
        assert (await first).embeddings[0, 0] == 0.0
        await asyncio.to_thread(closing.join, 20)
        with pytest.raises(Unavailable):
            await held.batcher.embed(frames(2))

    with Held() as held:
        asyncio.run(go(held))
        assert not any(thread.is_alive() for thread in held.batcher._threads)


def test_large_frames_are_looked_at_off_the_event_loop(monkeypatch):
    from search_api.uploads import batching

    where, real = [], batching.check_frames

    def seen(*given):
        where.append(threading.current_thread() is threading.main_thread())
        return real(*given)

    monkeypatch.setattr(batching, "check_frames", seen)
    monkeypatch.setattr(batching, "_AT_ONCE_BYTES", frames(1.0, 2.0).nbytes)
    with Held() as held:
        held.gate.set()
        for values in ((1.0, 2.0), (1.0, 2.0, 3.0)):
            found = asyncio.run(held.batcher.embed(frames(*values)))
            assert found.embeddings[:, 0].tolist() == list(values)
        wrong = frames(1.0, 2.0, np.nan)
        with pytest.raises(Invalid, match="window 2 of 3"):
            asyncio.run(held.batcher.embed(wrong))
    assert where == [True, False, False]


def test_a_batcher_that_ends_while_frames_are_looked_at_leaves_nobody_waiting(monkeypatch):
    from search_api.uploads import batching

    held = Held()

    def ends(given, spec):
        held.batcher.close()
        return given

    monkeypatch.setattr(batching, "check_frames", ends)
    monkeypatch.setattr(batching, "_AT_ONCE_BYTES", 0)
    with held, pytest.raises(Unavailable):
        asyncio.run(asyncio.wait_for(held.batcher.embed(frames(1.0)), 20))
