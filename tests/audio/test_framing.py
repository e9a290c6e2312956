"""The window rule on a stream, against a twin that has the whole sound at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.audio.framing import Framer
from sonotheque.core.errors import Invalid
from sonotheque.core.windows import WindowRule


def twin(samples: np.ndarray, rule: WindowRule) -> list[tuple[int, int, np.ndarray]]:
    """The rule as words have it: 0, hop, 2 hop ... up to the first window that reaches the end."""
    windows = []
    start = 0
    while True:
        piece = samples[start : start + rule.window_samples]
        if len(piece) >= rule.valid_samples_min:
            frame = np.zeros(rule.window_samples, np.float32)
            frame[: len(piece)] = piece
            windows.append((start, len(piece), frame))
        if start + rule.window_samples >= len(samples):
            return windows
        start += rule.hop_samples


def framed(samples: np.ndarray, rule: WindowRule, sizes: list[int], *, keep: bool = True):
    """Push in pieces of the given sizes, in turn."""
    framer = Framer(rule)
    windows, at, turn = [], 0, 0
    while at < len(samples):
        at_end = min(len(samples), at + sizes[turn % len(sizes)])
        so_far = np.flatnonzero(samples[:at_end])
        windows += framer.push(samples[at:at_end], int(so_far[-1]) + 1 if len(so_far) else 0)
        at, turn = at_end, turn + 1
    windows += framer.finish(keep_zero_tail=keep)
    return windows, framer


@st.composite
def rules(draw, *, overlap_only: bool = False) -> WindowRule:
    window = draw(st.integers(1, 60))
    hop = draw(st.integers(1, window if overlap_only else 90))
    return WindowRule(100, window, hop, draw(st.integers(1, window)))


def same(ours, theirs) -> None:
    assert [(start, valid) for start, valid, _ in ours] == [(start, valid) for start, valid, _ in theirs]
    for (_, _, a), (_, _, b) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=400, deadline=None)
@given(rule=rules(), n=st.integers(0, 400), sizes=st.lists(st.integers(1, 150), min_size=1, max_size=4))
def test_equals_the_twin(rule, n, sizes):
    samples = np.arange(1, n + 1, dtype=np.float32)
    windows, framer = framed(samples, rule, sizes)
    same(windows, twin(samples, rule))
    assert len(windows) == rule.count(n)
    assert framer.n_samples == n
    assert framer.n_dropped == 0


@settings(max_examples=400, deadline=None)
@given(
    rule=rules(overlap_only=True),
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 150)), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=4),
)
def test_zeros_in_between_are_kept_and_a_tail_is_dropped(rule, runs, sizes):
    samples = np.concatenate([np.full(length, loud, np.float32) for loud, length in runs])
    everything = twin(samples, rule)
    kept, _ = framed(samples, rule, sizes)
    same(kept, everything)
    shortened, framer = framed(samples, rule, sizes, keep=False)
    nonzero = np.flatnonzero(samples)
    sound_end = int(nonzero[-1]) + 1 if len(nonzero) else 0
    same(shortened, [window for window in everything if window[0] < sound_end])
    assert framer.n_dropped == len(everything) - len(shortened)


@pytest.mark.parametrize(
    ("n", "count"), [(0, 0), (9, 0), (10, 1), (29, 1), (30, 1), (31, 1), (39, 1), (40, 2), (60, 2), (69, 2), (70, 3)]
)
def test_edges_without_overlap(n, count):
    rule = WindowRule(10, 30, 30, 10)
    windows, _ = framed(np.ones(n, np.float32), rule, [7])
    assert len(windows) == count == rule.count(n)


def test_frames_belong_to_the_caller():
    framer = Framer(WindowRule(10, 4, 2, 1))
    source = np.ones(8, np.float32)
    windows = list(framer.push(source, 8))
    windows[0][2][:] = 9.0
    source[:] = 7.0
    assert windows[1][2].tolist() == [1.0] * 4


def test_memory_does_not_grow_with_length():
    rule = WindowRule(1_000, 3_000, 1_500, 1_000)
    framer = Framer(rule)
    block = np.ones(1_000, np.float32)
    sizes = set()
    for number in range(2_000):
        for _ in framer.push(block, (number + 1) * 1_000):
            pass
        sizes.add(framer._buffer.size)
    assert max(sizes) <= 2 * rule.window_samples + 2 * block.size


@pytest.mark.parametrize("rule", [WindowRule(10, 4, 0, 1), WindowRule(10, 4, 4, 5), WindowRule(10, 4, 4, 0)])
def test_rules_that_cannot_be(rule):
    with pytest.raises(Invalid, match="window rule"):
        Framer(rule)
