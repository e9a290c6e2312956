"""The search on a GPU, through its twin on the CPU: FAISS's exact search of the same float16 numbers.

Not tested here, for want of a GPU: ``store.index.cuda`` past its first line.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid, Unavailable
from store.index import codes, cuda, device, training
from store.index.device import K_MAX, HostDevice
from store.index.gpu import ROUNDING, DeviceSet
from store.index.on_gpu import OnGpu
from store.index.ranges import RANGES_MAX, are_eligible, eligible_runs
from store.scoring import cosines, unit

DIM = 16


@pytest.fixture(autouse=True)
def device_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_turned_off", [])
    monkeypatch.delenv(device.OFF, raising=False)


def vectors(rows: int, seed: int = 0, dim: int = DIM) -> NDArray[np.float16]:
    """Draw vectors of any length."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, dim)) * rng.uniform(0.1, 30, (rows, 1))).astype(np.float16)


def asked(count: int, seed: int = 99, dim: int = DIM) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(mask, bitorder="little")


def blocks_of(whole: NDArray[np.float16], cuts: list[int]) -> list[NDArray[np.float16]]:
    return np.split(whole, sorted(c % (len(whole) + 1) for c in cuts))


def hosts(rows: int, shards: int, dim: int = DIM) -> list[HostDevice]:
    """Return devices that hold so many rows only together."""
    return [HostDevice(2 * dim * (rows // shards + 1)) for _ in range(shards)]


def check(
    found: DeviceSet, whole: NDArray[np.float16], k: int, mask: NDArray[np.bool_] | None, queries: NDArray[np.float32]
) -> bool:
    """Compare with every score worked out in float64. Returns whether there was an answer."""
    answer = found.candidates(queries, k, eligible=None if mask is None else packed(mask))
    if answer is None:
        return False
    scores, rows = answer
    kept = np.arange(len(whole)) if mask is None else np.flatnonzero(mask)
    assert scores.shape == rows.shape == (len(queries), k)
    for query, near, at in zip(queries, scores, rows, strict=True):
        true = cosines(whole[kept], query)
        own = at[at >= 0]
        assert len(own) == len(np.unique(own)) == min(k, len(kept))
        assert np.isin(own, kept).all()
        assert (np.diff(near[: len(own)]) <= 0).all()
        assert np.abs(near[: len(own)] - cosines(whole[own], query)).max(initial=0) <= ROUNDING
        assert np.abs(near[: len(own)] - np.sort(true)[::-1][: len(own)]).max(initial=0) <= ROUNDING
        assert (near[len(own) :] == -np.inf).all()
        assert (at[len(own) :] == -1).all()
    return True


masks = st.one_of(
    st.none(),
    st.tuples(st.just("range"), st.integers(0, 10**6), st.integers(0, 10**6)),
    st.tuples(st.just("scattered"), st.integers(0, 10**6), st.integers(0, 100)),
)


def mask_of(drawn: tuple[str, int, int] | None, rows: int) -> NDArray[np.bool_] | None:
    if drawn is None:
        return None
    kind, a, b = drawn
    mask = np.zeros(rows, np.bool_)
    if kind == "range":
        low, high = sorted((a % (rows + 1), b % (rows + 1)))
        mask[low:high] = True
    else:
        mask[:] = np.random.default_rng(a).random(rows) < b / 100
    return mask


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 700),
    cuts=st.lists(st.integers(0, 10**6), max_size=3),
    shards=st.integers(1, 3),
    k=st.integers(1, 900),
    drawn=masks,
    seed=st.integers(0, 10**6),
)
def test_answers_are_those_of_the_dumb_twin(
    rows: int, cuts: list[int], shards: int, k: int, drawn: tuple[str, int, int] | None, seed: int
) -> None:
    whole = vectors(rows, seed)
    whole[np.random.default_rng(seed).random(rows) < 0.05] = 0
    found = DeviceSet.load(blocks_of(whole, cuts), hosts(rows, shards), margin_bytes=0)
    assert (found.rows, found.dim, found.note) == (rows, DIM, None)
    # Fewer rows than one call returns: whatever the filter, there is an answer.
    assert check(found, whole, k, mask_of(drawn, rows), asked(2, seed))
    found.close()


def test_a_scattered_filter_is_answered_exactly_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With runs of 2,500 rows and more, the nearest 2,048 of each hold enough eligible ones, or the caller is told."""
    monkeypatch.setattr("store.index.ranges.RANGES_MAX", 4)
    whole = vectors(12_000)
    found = DeviceSet.load([whole], hosts(12_000, 2), margin_bytes=0)
    rng, queries = np.random.default_rng(5), asked(3)
    answered = {share: check(found, whole, 50, rng.random(12_000) < share, queries) for share in (0.5, 0.2, 0.001)}
    assert answered == {0.5: True, 0.2: True, 0.001: False}
    found.close()


def test_far_rows_never_stand_in_for_near_ones_that_were_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run is near the query and has few eligible rows among its nearest; the second is far, and has many."""
    monkeypatch.setattr("store.index.ranges.RANGES_MAX", 2)
    query, whole = asked(1), vectors(12_000)
    whole[:6_000] = unit(whole[:6_000]) + 3 * query
    mask = np.random.default_rng(5).random(12_000) < 0.1
    mask[5_000:7_000] = False
    found = DeviceSet.load([whole], [HostDevice()])
    assert check(found, whole, 100, mask, query)
    assert not check(found, whole, 400, mask, query)
    some = found.candidates(query, 400, eligible=packed(mask), least=100)
    assert some is not None
    got = some[1][0][some[1][0] >= 0]
    assert 100 <= len(got) < 400 and (got < 6_000).all()
    found.close()


def test_fewer_than_k_will_do_if_the_caller_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.index.ranges.RANGES_MAX", 1)
    whole = vectors(9_000)
    found = DeviceSet.load([whole], [HostDevice()])
    far = cosines(whole, asked(1)[0]).argsort()[:-1_500]
    mask = np.ones(9_000, np.bool_)
    mask[far[::2]] = False
    bits = packed(mask)
    assert found.candidates(asked(1), K_MAX, eligible=bits) is None
    some = found.candidates(asked(1), K_MAX, eligible=bits, least=1_000)
    assert some is not None
    got = some[1][0][some[1][0] >= 0]
    assert len(got) >= 1_000
    nearest = np.flatnonzero(mask)[np.argsort(-cosines(whole[mask], asked(1)[0]), kind="stable")]
    assert len(set(got[:1_000]) & set(nearest[:1_000])) >= 995  # the rest differs by rounding at the edge
    found.close()


def test_a_site_that_lies_together_is_one_run_without_holes() -> None:
    mask = np.zeros(1_003, np.bool_)
    mask[100:400] = mask[900:] = True
    runs, count = eligible_runs(packed(mask), 1_003)
    assert [(r.first, r.end, r.has_holes) for r in runs] == [(100, 400, False), (900, 1_003, False)]
    assert count == 403


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(1, 3_000), share=st.integers(0, 100), seed=st.integers(0, 10**6))
def test_runs_hold_all_eligible_rows_and_say_where_there_are_holes(rows: int, share: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random(rows) < share / 100
    runs, count = eligible_runs(packed(mask), rows)
    assert count == mask.sum()
    assert len(runs) <= RANGES_MAX
    held = np.zeros(rows, np.bool_)
    for run in runs:
        assert not held[run.first : run.end].any()
        held[run.first : run.end] = True
        assert run.has_holes == (not mask[run.first : run.end].all())
    assert not (mask & ~held).any()
    assert (are_eligible(packed(mask), np.arange(rows)) == mask).all()


def test_a_bitmap_of_another_set_is_refused() -> None:
    found = DeviceSet.load([vectors(100)], [HostDevice()])
    with pytest.raises(Invalid, match="12 bytes; 100 rows need 13"):
        found.candidates(asked(1), 5, eligible=np.zeros(12, np.uint8))
    found.close()


def test_more_than_a_gpu_can_return_is_left_to_the_caller() -> None:
    found = DeviceSet.load([vectors(3_000)], [HostDevice()])
    assert found.candidates(asked(1), K_MAX) is not None
    assert found.candidates(asked(1), K_MAX + 1) is None
    assert found.candidates(asked(1), 0) is None
    assert found.note is None
    found.close()


def test_an_empty_set_answers_nothing() -> None:
    for blocks in ([], [vectors(0)]):
        found = DeviceSet.load(blocks, [HostDevice()])
        assert (found.rows, found.note) == (0, None)
        assert found.candidates(asked(1), 5) is None
        found.close()


def test_a_filter_that_leaves_nothing_is_answered_with_nothing() -> None:
    found = DeviceSet.load([vectors(50)], [HostDevice()])
    answer = found.candidates(asked(2), 5, eligible=np.zeros(7, np.uint8))
    assert answer is not None
    assert (answer[1] == -1).all()
    found.close()


def test_zero_and_broken_rows_have_score_0() -> None:
    whole = vectors(20)
    whole[3], whole[7, 2] = 0, np.inf
    found = DeviceSet.load([whole], [HostDevice()])
    answer = found.candidates(asked(1), 20)
    assert answer is not None
    scores = dict(zip(answer[1][0], answer[0][0], strict=True))
    assert scores[3] == scores[7] == 0.0
    assert np.isfinite(list(scores.values())).all()
    found.close()


def test_rows_that_may_be_among_the_nearest_are_never_left_out() -> None:
    whole = np.repeat(vectors(300, dim=64), 10, axis=0)
    whole += (np.random.default_rng(1).standard_normal(whole.shape) * 1e-3).astype(
        np.float16
    )  # near-duplicates: rounding decides
    found = DeviceSet.load([whole], [HostDevice()])
    mask = np.ones(3_000, np.bool_)
    mask[500:700] = False
    for seed in range(20):
        query = asked(1, seed, 64)
        for own in (None, mask):
            true = cosines(whole, query[0])
            if own is not None:
                true[~own] = -2
            rows = found.certain(query, 7, None if own is None else packed(own), 3_000 if own is None else 2_800)
            assert rows is not None
            assert set(np.flatnonzero(true >= np.sort(true)[-7])) <= set(rows)
    found.close()


def test_too_many_equal_rows_are_left_to_the_caller() -> None:
    whole = np.tile(vectors(1), (K_MAX + 10, 1))
    found = DeviceSet.load([whole], [HostDevice()])
    assert found.certain(unit(whole[:1]), 5, None, len(whole)) is None
    assert found.note is None
    found.close()


class Gate(HostDevice):
    """Waits in its first call until it is opened, and counts calls and queries."""

    def __init__(self) -> None:
        super().__init__()
        self.opened, self.entered = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def nearest(
        self, first: int, end: int, queries: NDArray[np.float16], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self.sizes.append(len(queries))
        self.entered.set()
        assert self.opened.wait(30)
        return super().nearest(first, end, queries, k)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def test_threads_that_ask_while_a_call_runs_are_answered_by_one(gate: Gate) -> None:
    whole, queries = vectors(2_000), asked(20)
    found = DeviceSet.load([whole], [gate])
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(found.candidates, queries[:1], 10)
        assert gate.entered.wait(30)
        others = [pool.submit(found.candidates, queries[i : i + 1], 5 + i) for i in range(1, 20)]
        while found.worker.waiting < 19:
            threading.Event().wait(0.001)
        gate.opened.set()
        answers = [f.result(30) for f in (first, *others)]
    assert gate.sizes == [1, 19]
    assert found.worker.calls == 2
    for i, answer in enumerate(answers):
        alone = found.candidates(queries[i : i + 1], 10 if i == 0 else 5 + i)
        assert answer is not None and alone is not None
        assert answer[1].shape == alone[1].shape
        np.testing.assert_allclose(answer[0], alone[0], atol=1e-6)
        assert (answer[1] == alone[1]).all()
    found.close()


def test_different_filters_at_once_are_kept_apart() -> None:
    whole, queries = vectors(1_500), asked(24)
    found = DeviceSet.load([whole], hosts(1_500, 3), margin_bytes=0)
    ranges = [np.arange(1_500) // 500 == i % 3 for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: check(found, whole, 9, ranges[i], queries[i : i + 1]), range(24)))
    assert all(done)
    found.close()


class Failing(HostDevice):
    """Fails as FAISS does when a GPU has no memory left."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def nearest(
        self, first: int, end: int, queries: NDArray[np.float16], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if not self.left:
            raise RuntimeError(
                "Error in virtual void* allocMemory at StandardGpuResources.cpp:452\nStandardGpuResources: alloc fail: out of memory"
            )
        self.left -= 1
        return super().nearest(first, end, queries, k)


def test_after_an_error_of_the_device_the_process_searches_on_the_cpu() -> None:
    found, other = DeviceSet.load([vectors(100)], [Failing(1)]), DeviceSet.load([vectors(100)], [HostDevice()])
    assert found.candidates(asked(1), 5) is not None
    assert found.candidates(asked(1), 5) is None
    assert (
        found.note == "the GPU failed (StandardGpuResources: alloc fail: out of memory): the CPU searches from here on"
    )
    assert device.gpu_reason() == found.note
    assert found.candidates(asked(1), 5) is None
    assert other.candidates(asked(1), 5) is None
    assert other.note == found.note
    found.close()
    other.close()


def test_one_of_several_devices_may_fail() -> None:
    found = DeviceSet.load([vectors(100)], [HostDevice(2 * DIM * 60), Failing(0)], margin_bytes=0)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: found.candidates(asked(1), 5), range(8))) == [None] * 8
    assert found.note is not None
    found.close()


def test_what_does_not_fit_is_not_loaded_in_part() -> None:
    found = DeviceSet.load([vectors(1_000)], [HostDevice(2 * DIM * 400), HostDevice(2 * DIM * 500)], margin_bytes=0)
    assert found.rows == 0
    assert found.note is not None and found.note.startswith("1,000 windows need ")
    assert found.candidates(asked(1), 5) is None
    assert device.turned_off() is None
    found.close()


def test_a_margin_is_left_free() -> None:
    one = HostDevice(2 * DIM * 1_000)
    assert DeviceSet.load([vectors(1_000)], [one], margin_bytes=2 * DIM).rows == 0
    found = DeviceSet.load([vectors(1_000)], [one], margin_bytes=0)
    assert (found.rows, one.free_bytes) == (1_000, 0)
    found.close()
    assert one.free_bytes == 2 * DIM * 1_000


def test_a_device_that_fails_while_it_is_filled_is_given_up() -> None:
    class Lost(HostDevice):
        def put(self, first: int, block: NDArray[np.float16]) -> None:
            raise Unavailable("GPU 0: cudaMemcpy: unspecified launch failure")

    found = DeviceSet.load([vectors(100)], [Lost()])
    assert found.rows == 0
    assert found.note is not None and "cudaMemcpy: unspecified launch failure" in found.note
    assert device.turned_off() == found.note


def test_a_closed_set_answers_nothing_and_says_why() -> None:
    found = DeviceSet.load([vectors(100)], [HostDevice()])
    assert found.candidates(asked(1), 5) is not None
    found.close()
    assert found.candidates(asked(1), 5) is None
    assert found.note == "the vectors were removed from the GPU: the CPU searches"
    found.close()


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(device.load(), "StandardGpuResources", raising=False)
    assert (device.gpu_reason() or "").startswith("faiss-cpu is installed")
    assert cuda.gpu_devices() == []
    monkeypatch.setattr(device.load(), "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(device.load(), "get_num_gpus", lambda: 0, raising=False)
    assert device.gpu_reason() == "no GPU is visible to this process"
    monkeypatch.setattr(device.load(), "get_num_gpus", lambda: 1, raising=False)
    assert device.gpu_reason() is None
    monkeypatch.setenv(device.OFF, "off")
    assert device.gpu_reason() == "SONOTHEQUE_GPU=off"


def test_a_gpu_whose_runtime_is_missing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.load(), "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(device.load(), "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(cuda, "_RUNTIMES", ("libno-such-runtime.so",))
    on = OnGpu([vectors(10)], "now")
    assert on.get() is None
    assert "libno-such-runtime.so" in (device.gpu_reason() or "")


def test_an_index_is_loaded_from_the_second_search_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.index.on_gpu.gpu_reason", lambda: None)
    monkeypatch.setattr("store.index.on_gpu.gpu_devices", lambda: [(0, "host", 1, 1)])
    monkeypatch.setattr("store.index.on_gpu.CudaDevice", lambda number: HostDevice())
    on = OnGpu([vectors(10)])
    assert on.get() is None
    assert on.asked == 1 and on.loading is None
    on.get()
    assert on.loading is not None
    on.loading.join(30)
    found = on.get()
    assert found is not None and found.rows == 10
    on.close()
    assert found.note is not None
    at_once = OnGpu([vectors(10)], "now")
    assert at_once.get() is not None
    at_once.close()
    never = OnGpu([vectors(10)], "off")
    assert [never.get() for _ in range(3)] == [None] * 3


def test_training_without_a_gpu_is_that_of_the_cpu() -> None:
    sample = unit(vectors(600).astype(np.float32))
    centres = training.train_centres(sample, 12, 7)
    assert (centres == codes.train(sample, 12, 7)).all()
    chosen = training.assign(sample, centres)
    assert chosen.dtype == np.int64
    products = sample.astype(np.float64) @ centres.astype(np.float64).T
    np.testing.assert_allclose(products[np.arange(600), chosen], products.max(axis=1), atol=1e-6)


def test_training_that_fails_on_a_gpu_is_done_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:

    def full() -> None:
        raise RuntimeError("out of memory")

    sample = unit(vectors(300).astype(np.float32))
    expected = codes.train(sample, 5, 7)
    monkeypatch.setattr(training, "gpu_reason", device.turned_off)
    monkeypatch.setattr("faiss.extra_wrappers.get_num_gpus", lambda: 1)
    monkeypatch.setattr("faiss.gpu_wrappers.StandardGpuResources", full, raising=False)
    monkeypatch.setattr(training.load(), "StandardGpuResources", full, raising=False)
    assert (training.train_centres(sample, 5, 7) == expected).all()
    assert (device.turned_off() or "").startswith("training on the GPU failed")
    monkeypatch.setattr(device, "_turned_off", [])
    chosen = training.assign(sample, expected)
    assert (device.turned_off() or "").startswith("assignment on the GPU failed")
    assert (chosen == training.assign(sample, expected)).all()


def test_a_query_of_another_length_is_the_callers_mistake_and_turns_nothing_off() -> None:
    held = DeviceSet.load([np.eye(16, dtype=np.float16)], [HostDevice()])
    with pytest.raises(Invalid, match="8 numbers, the vectors on the GPU 16"):
        held.candidates(np.ones((1, 8), np.float32), 2)
    assert held.note is None and held.candidates(np.eye(16, dtype=np.float32)[:1], 1) is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_worker_that_met_something_unexpected() -> None:
    class Odd(HostDevice):
        def nearest(self, first, end, queries, k):  # type: ignore[no-untyped-def]
            raise KeyError("a bug")

    held = DeviceSet.load([np.eye(16, dtype=np.float16)], [Odd()])
    assert held.candidates(np.eye(16, dtype=np.float32)[:1], 2) is None
    assert "failed" in str(held.note)
