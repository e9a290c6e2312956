"""The best classes of a window against a stable sort of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedder.topk import top_classes


def twin(logits: np.ndarray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    rows = [sorted(range(logits.shape[1]), key=lambda c, row=row: (-row[c], c))[:k] for row in logits]  # type: ignore[misc]
    return rows, [[float(row[c]) for c in best] for row, best in zip(logits, rows, strict=True)]


# Few different values: nearly every row has ties at its border.
few_values = st.sampled_from([np.float32(v) for v in (-3.0, -0.5, -0.0, 0.0, 0.25, 1.0, 7.5)])
shapes = st.tuples(st.integers(0, 6), st.integers(1, 40))


@given(hnp.arrays(np.float32, shapes, elements=few_values), st.integers(1, 45))
def test_with_many_ties(logits: np.ndarray, k: int) -> None:
    index, values = top_classes(logits, k)
    best, their_values = twin(logits, k)
    assert index.tolist() == best
    assert values.tolist() == their_values
    assert index.dtype == np.int32
    assert values.dtype == np.float32


@given(hnp.arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32)), st.integers(1, 45))
def test_with_any_values(logits: np.ndarray, k: int) -> None:
    assert top_classes(logits, k)[0].tolist() == twin(logits, k)[0]


@pytest.mark.parametrize("k", [1, 9, 10, 11, 14_794, 14_795, 14_796])
def test_at_perchs_width(k: int) -> None:
    logits = np.random.default_rng(1).integers(-40, 40, (3, 14_795)).astype(np.float32)
    assert top_classes(logits, k)[0].tolist() == twin(logits, k)[0]


def test_all_equal() -> None:
    assert top_classes(np.zeros((2, 9), np.float32), 4)[0].tolist() == [[0, 1, 2, 3]] * 2
