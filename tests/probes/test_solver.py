"""The solver against scikit-learn, against its own gradient, and against odd input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression

from probes.products import NumpyProducts
from probes.solver import Solution, solve


def data(n: int, d: int, c: int, seed: int, apart: float = 1.0):
    rng = np.random.default_rng(seed)
    of = np.concatenate([np.arange(c), rng.integers(c, size=n - c)])
    x = rng.normal(size=(c, d))[of] * apart + rng.normal(size=(n, d))
    return x, np.eye(c)[of], rng.uniform(0.1, 2.0, size=n)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(12, 60),
    d=st.integers(1, 30),
    c=st.integers(2, 4),
    seed=st.integers(0, 99),
    l2=st.sampled_from([1.0, 1e-1, 1e-2, 1e-3]),
)
def test_multilabel_is_one_scikit_learn_regression_a_class(n, d, c, seed, l2):
    x, t, s = data(n, d, c, seed)
    found = solve(NumpyProducts(x), t, np.repeat(s[:, None], c, axis=1), l2)
    assert found.converged
    for k in range(c):
        twin = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=20_000).fit(x, t[:, k], sample_weight=s / s.sum())
        np.testing.assert_allclose(found.weights[:, k], twin.coef_[0], atol=2e-4 * max(1, np.abs(twin.coef_).max()))
        np.testing.assert_allclose(found.bias[k], twin.intercept_[0], atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(12, 60),
    d=st.integers(1, 30),
    c=st.integers(3, 5),
    seed=st.integers(0, 99),
    l2=st.sampled_from([1.0, 1e-1, 1e-2, 1e-3]),
)
def test_multiclass_is_scikit_learns_softmax(n, d, c, seed, l2):
    x, t, s = data(n, d, c, seed)
    found = solve(NumpyProducts(x), t, np.repeat(s[:, None], c, axis=1), l2, kind="multiclass")
    assert found.converged
    twin = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=20_000).fit(x, t.argmax(axis=1), sample_weight=s / s.sum())
    mine = log_softmax(x @ found.weights + found.bias, axis=1)
    np.testing.assert_allclose(np.exp(mine), twin.predict_proba(x), atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    kind=st.sampled_from(["multilabel", "multiclass"]),
    apart=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_it_ends_where_the_loss_is_least(seed, kind, apart):
    x, t, s = data(30, 6, 3, seed, apart)
    s = np.repeat(s[:, None], 3, axis=1)
    found = solve(NumpyProducts(x), t, s, 1e-3, kind=kind)
    assert found.converged
    rng = np.random.default_rng(seed)

    def loss(w, b):
        z = x @ w + b
        share = s / s.sum(axis=0)
        if kind == "multilabel":
            data_loss = (share * (np.logaddexp(0, z) - t * z)).sum()
        else:
            data_loss = -(share[:, 0] * (log_softmax(z, axis=1) * t).sum(axis=1)).sum()
        return data_loss + 1e-3 / 2 * (w**2).sum()

    least = loss(found.weights, found.bias)
    for size in (1e-3, 1e-1):
        dw, db = rng.normal(size=found.weights.shape) * size, rng.normal(size=3) * size
        assert loss(found.weights + dw, found.bias + db) >= least - 1e-12


def test_where_it_begins_does_not_matter():
    x, t, s = data(80, 10, 3, 1)
    s = np.repeat(s[:, None], 3, axis=1)
    cold = solve(NumpyProducts(x), t, s, 1e-2)
    rng = np.random.default_rng(0)
    warm = solve(
        NumpyProducts(x), t, s, 1e-2, start=Solution(rng.normal(size=(10, 3)) * 5, rng.normal(size=3), 0, 0.0, False)
    )
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-5)


def test_the_same_input_gives_the_same_bits():
    x, t, s = data(200, 40, 3, 2)
    s = np.repeat(s[:, None], 3, axis=1)
    one, two = (solve(NumpyProducts(x), t, s, 1e-3) for _ in range(2))
    assert one.weights.tobytes() == two.weights.tobytes() and one.bias.tobytes() == two.bias.tobytes()


def test_a_class_is_solved_as_if_it_were_alone():
    x, t, s = data(60, 8, 4, 3)
    s = np.random.default_rng(1).uniform(0, 1, size=t.shape)
    together = solve(NumpyProducts(x), t, s, 1e-2)
    for k in range(4):
        alone = solve(NumpyProducts(x), t[:, [k]], s[:, [k]], 1e-2)
        np.testing.assert_allclose(together.weights[:, k], alone.weights[:, 0], atol=1e-5)


def test_separable_data_converge_because_of_the_penalty():
    x = np.array([[-1.0], [1.0]])
    found = solve(NumpyProducts(x), np.array([[0.0], [1.0]]), np.ones((2, 1)), 1e-4)
    assert found.converged and found.weights[0, 0] > 3
    assert expit(x @ found.weights + found.bias)[1, 0] > 0.99


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_rows_of_no_weight_change_nothing(kind):
    x, t, s = data(40, 5, 3, 4)
    s = np.repeat(s[:, None], 3, axis=1)
    more_x, more_t = np.vstack([x, x[:7] * 9]), np.vstack([t, 1 - t[:7]])
    more_s = np.vstack([s, np.zeros((7, 3))])
    one, two = (
        solve(NumpyProducts(x), t, s, 1e-2, kind=kind),
        solve(NumpyProducts(more_x), more_t, more_s, 1e-2, kind=kind),
    )
    np.testing.assert_allclose(one.weights, two.weights, atol=1e-6)


def test_a_class_without_any_weight_stays_at_nought():
    x, t, _ = data(40, 5, 3, 5)
    s = np.ones_like(t)
    s[:, 1] = 0.0
    found = solve(NumpyProducts(x), t, s, 1e-2)
    assert found.converged and not found.weights[:, 1].any() and found.bias[1] == 0.0


def test_all_of_one_kind_ends_and_is_sure():
    found = solve(NumpyProducts(np.ones((9, 2))), np.ones((9, 1)), np.ones((9, 1)), 1e-3)
    assert np.isfinite(found.weights).all() and found.bias[0] > 5


def test_float32_comes_close_to_float64(monkeypatch):
    x, t, s = data(300, 30, 3, 6)
    s = np.repeat(s[:, None], 3, axis=1)
    exact = solve(NumpyProducts(x), t, s, 1e-2)
    monkeypatch.setattr("probes.products._DOUBLE_MAX", 0)
    rough = solve(NumpyProducts(x), t, s, 1e-2)
    assert rough.converged
    np.testing.assert_allclose(rough.weights, exact.weights, atol=5e-3)
