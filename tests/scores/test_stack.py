"""Many probes in one product are each probe by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.score_stack import ProbeStack
from probes import Probe
from tests.scores import kit
from tests.store.kit import DIM


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Probe], np.ndarray, float]:
    probes = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["multilabel", "multiclass"]))
        classes = kit.CLASSES[: draw(st.integers(1, 4))]
        changes: dict[str, Any] = {}
        if kind == "multilabel" and draw(st.booleans()):
            n = len(classes)
            changes["slopes"] = np.array(
                draw(st.lists(st.sampled_from([1e-3, 0.5, 1.0, 30.0, 0.0, -1.0]), min_size=n, max_size=n))
            )
            changes["offsets"] = np.array(draw(st.lists(st.floats(-8, 8), min_size=n, max_size=n)))
        probes.append(kit.probe(f"p{number}", kind=kind, classes=classes, seed=draw(st.integers(0, 99)), **changes))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    vectors = rng.standard_normal((draw(st.integers(0, 12)), DIM)).astype(np.float32)
    vectors *= draw(st.sampled_from([1.0, 1e-6, 3e4]))
    if len(vectors) and draw(st.booleans()):
        vectors[draw(st.integers(0, len(vectors) - 1))] = 0.0
    return probes, vectors, draw(st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.999]))


def one_at_a_time(probes: list[Probe], vectors: np.ndarray, floor: float) -> dict[tuple[int, int], tuple[float, float]]:
    found, first = {}, 0
    for probe in probes:
        for row in range(len(vectors)):
            logits = probe.logits(vectors[row : row + 1])
            scores = probe.probabilities(logits)
            for c in range(len(probe.classes)):
                if scores[0, c] >= floor:
                    found[first + c, row] = float(logits[0, c]), float(scores[0, c])
        first += len(probe.classes)
    return found


@settings(max_examples=40)
@given(stacks())
def test_a_stack_is_its_probes_one_at_a_time(made):
    probes, vectors, floor = made
    got, wrong = ProbeStack(probes, floor).scores(vectors)
    assert not len(wrong)
    order = list(zip(got.columns.tolist(), got.rows.tolist(), strict=True))
    assert order == sorted(set(order)), "class by class, windows in their order, each once"
    found = dict(zip(order, zip(got.logits.tolist(), got.scores.tolist(), strict=True), strict=True))
    expected = one_at_a_time(probes, vectors, floor)
    for key in found.keys() ^ expected.keys():
        assert abs((found.get(key) or expected[key])[1] - floor) < 1e-4, (
            "only what is at the floor may be judged otherwise"
        )
    for key in found.keys() & expected.keys():
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4)
    assert all(score >= np.float32(floor) for score in got.scores)


@settings(max_examples=40)
@given(stacks())
def test_a_floor_only_leaves_out(made):
    probes, vectors, floor = made
    every, _ = ProbeStack(probes, 0.0).scores(vectors)
    assert len(every.rows) == len(vectors) * sum(len(p.classes) for p in probes)
    some, _ = ProbeStack(probes, floor).scores(vectors)
    keep = every.scores >= floor
    for name in ("columns", "rows", "logits", "scores"):
        assert np.array_equal(getattr(every, name)[keep], getattr(some, name))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_window_that_is_not_finite_has_no_score_and_is_named(value):
    vectors = np.random.default_rng(0).standard_normal((9, DIM)).astype(np.float32)
    before, _ = ProbeStack(kit.some_probes(), 0.0).scores(vectors)
    vectors[[2, 7], [0, 3]] = value
    got, wrong = ProbeStack(kit.some_probes(), 0.0).scores(vectors)
    assert wrong.tolist() == [2, 7]
    assert not {2, 7} & set(got.rows.tolist()) and np.isfinite(got.scores).all()
    other = ~np.isin(before.rows, wrong)
    assert np.array_equal(before.scores[other], got.scores), "the others are as they were"


def test_the_vectors_given_are_left_as_they_are():
    vectors = np.full((3, DIM), np.nan, np.float32)
    ProbeStack([kit.probe()], 0.01).scores(vectors)
    assert np.isnan(vectors).all()


def test_a_vector_of_zeros_has_the_bias_as_its_logit():
    probe = kit.probe()
    got, _ = ProbeStack([probe], 0.0).scores(np.zeros((1, DIM), np.float32))
    assert np.array_equal(got.logits, probe.bias)


def test_the_length_of_a_vector_does_not_matter():
    vectors = np.random.default_rng(1).standard_normal((20, DIM)).astype(np.float32)
    stack = ProbeStack(kit.some_probes(), 0.0)
    np.testing.assert_allclose(
        stack.scores(vectors)[0].scores, stack.scores(vectors * 1000)[0].scores, rtol=1e-4, atol=1e-6
    )
