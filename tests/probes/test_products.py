"""The two products, in NumPy and through TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from probes.products import NumpyProducts, TensorFlowProducts, products_of
from probes.solver import solve
from sonotheque.core.errors import Unavailable


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(50, 7))


def test_numpy(x):
    p = NumpyProducts(x)
    right, left = np.ones((7, 2)), np.ones((50, 3))
    np.testing.assert_array_equal(p.times(right), x @ right)
    np.testing.assert_array_equal(p.transposed_times(left), x.T @ left)
    assert p.exact and p.width == 7


def test_many_numbers_are_kept_in_float32(x, monkeypatch):
    monkeypatch.setattr("probes.products._DOUBLE_MAX", 10)
    p = NumpyProducts(x)
    assert not p.exact
    assert p.times(np.ones((7, 2))).dtype == np.float64
    np.testing.assert_allclose(p.times(np.ones((7, 2))), x @ np.ones((7, 2)), atol=1e-5)


def test_tensorflow_solves_to_the_same(x):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    rng = np.random.default_rng(1)
    t, s = (rng.random((50, 2)) < 0.5).astype(float), np.ones((50, 2))
    twin = solve(NumpyProducts(x), t, s, 1e-2)
    found = solve(TensorFlowProducts(x, "/CPU:0"), t, s, 1e-2)
    assert found.converged
    np.testing.assert_allclose(found.weights, twin.weights, atol=2e-3)


def test_a_gpu_that_is_not_there_is_an_error_only_where_it_was_asked_for(x, monkeypatch):
    monkeypatch.setattr("probes.products._gpu", lambda: None)
    assert isinstance(products_of(x), NumpyProducts) and isinstance(products_of(x, "cpu"), NumpyProducts)
    with pytest.raises(Unavailable, match="--device cpu") as caught:
        products_of(x, "gpu")
    assert caught.value.kind == "engine_missing"


def test_a_gpu_takes_what_is_large(x, monkeypatch):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    monkeypatch.setattr("probes.products._gpu", lambda: "/CPU:0")
    assert isinstance(products_of(x), NumpyProducts)
    monkeypatch.setattr("probes.products._ON_GPU_MIN", 10)
    assert isinstance(products_of(x), TensorFlowProducts)
    assert isinstance(products_of(x, "cpu"), NumpyProducts)
