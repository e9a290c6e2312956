"""How close two models are, against a slow twin that counts one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.choosing import FP32_COSINE, REDUCED_COSINE, compare
from embedder.choosing.fidelity import Fidelity, compare_results, cosine_asked
from embedder.choosing.windows import check_windows
from embedder.models import Embedded, load_model
from sonotheque.core.errors import Invalid

Rows = NDArray[np.float32]


def rows(n: int = 20, dim: int = 12, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def logits(n: int = 20) -> Rows:
    return rows(n, 5, seed=2)


def neighbours_by_hand(mine: Rows, theirs: Rows, k: int) -> float:
    def nearest(vectors: Rows, row: int) -> set[int]:
        wide = vectors.astype(float)
        length = [float(np.sqrt(v @ v)) for v in wide]
        others = [(float(wide[row] @ wide[i]) / length[row] / length[i], i) for i in range(len(wide)) if i != row]
        return {i for _, i in sorted(others, reverse=True)[:k]}

    return float(np.mean([len(nearest(mine, i) & nearest(theirs, i)) / k for i in range(len(mine))]))


def test_a_model_agrees_with_itself() -> None:
    model = load_model("placeholder")
    frames = check_windows(model.spec.sample_rate_hz, model.spec.window_samples, n=12)
    assert compare(model, model, frames) == Fidelity(12, 1.0, 1.0, 1.0, 1.0, 0.0)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
def test_against_the_twin(k: int, noise: float) -> None:
    mine = rows()
    theirs = mine + noise * rows(seed=3)
    wide_mine, wide_theirs = mine.astype(float), theirs.astype(float)
    cosines = [float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in zip(wide_mine, wide_theirs, strict=True)]
    shifted = logits() + np.float32(0.5) * rows(20, 5, seed=4)
    found = compare_results(Embedded(mine, logits()), Embedded(theirs, shifted), k)
    assert found.cosine_min == pytest.approx(min(cosines), abs=1e-9)
    assert found.cosine_median == pytest.approx(float(np.median(cosines)), abs=1e-9)
    assert found.neighbours_at_10 == pytest.approx(neighbours_by_hand(mine, theirs, k))
    assert found.logit_difference_max == pytest.approx(
        max(abs((logits() - shifted).ravel().tolist()[i]) for i in range(100))
    )
    same = [int(np.argmax(a)) == int(np.argmax(b)) for a, b in zip(logits(), shifted, strict=True)]
    assert found.top1_agreement == pytest.approx(sum(same) / 20)


def test_scale_does_not_count() -> None:
    found = compare_results(Embedded(rows(), None), Embedded(rows() * np.float32(7.0), None))
    assert found.cosine_min == pytest.approx(1.0)
    assert found.neighbours_at_10 == 1.0
    assert found.top1_agreement is None
    assert found.logit_difference_max is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_one_spoilt_vector_counts_as_a_cosine_of_nought(value: float) -> None:
    spoilt = rows()
    spoilt[4] = value
    found = compare_results(Embedded(rows(), None), Embedded(spoilt, None))
    assert found.cosine_min == 0.0
    assert found.cosine_median == pytest.approx(1.0)
    assert not found.passes("fp32")
    assert "one window's cosine" in found.shortfall("fp32")


def test_one_spoilt_logit_counts_too() -> None:
    spoilt = logits()
    spoilt[4, 2] = np.nan
    found = compare_results(Embedded(rows(), logits()), Embedded(rows(), spoilt))
    assert found.cosine_min == 0.0
    assert found.logit_difference_max == np.finfo(np.float32).max


def test_two_zero_vectors_agree() -> None:
    zeros = np.zeros((3, 4), np.float32)
    assert compare_results(Embedded(zeros, None), Embedded(zeros.copy(), None)).cosine_min == 1.0


@pytest.mark.parametrize(("n", "expected"), [(1, 1.0), (2, 1.0), (4, 1.0)])
def test_fewer_windows_than_neighbours(n: int, expected: float) -> None:
    assert compare_results(Embedded(rows(n), None), Embedded(rows(n), None)).neighbours_at_10 == expected


def test_a_model_without_classes_has_no_top_one() -> None:
    none = np.zeros((20, 0), np.float32)
    assert compare_results(Embedded(rows(), none), Embedded(rows(), none)).top1_agreement is None


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (Embedded(rows(20, 12), None), Embedded(rows(20, 11), None)),
        (Embedded(rows(20), None), Embedded(rows(19), None)),
        (Embedded(rows(0), None), Embedded(rows(0), None)),
        (Embedded(rows(), logits()), Embedded(rows(), rows(20, 6))),
    ],
)
def test_what_is_not_one_model_is_refused(mine: Embedded, theirs: Embedded) -> None:
    with pytest.raises(Invalid, match="cannot be compared"):
        compare_results(mine, theirs)


def test_the_rules() -> None:
    assert (FP32_COSINE, REDUCED_COSINE) == (0.9999, 0.999)
    assert cosine_asked("fp32") == FP32_COSINE
    assert {cosine_asked(p) for p in ("bf16", "fp16", "int8")} == {REDUCED_COSINE}
