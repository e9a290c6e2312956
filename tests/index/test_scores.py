"""The one exact score and the quick one; turning vectors; choosing recipes and work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from store.index import IndexWishes, plan_index
from store.index.manifest import Measured
from store.index.projection import Projection
from store.index.recall import choose
from store.index.wishes import EXACT_ROWS, code_bytes
from store.scoring import QUICK_ERROR, cosines, quick_cosines, quick_cosines_at, unit

STYLES = ("normal", "positive", "sparse", "spiky", "equal", "largest", "smallest")


def block(style: str, dtype: str, n: int, dim: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    v = rng.standard_normal((n, dim))
    v = {
        "normal": v,
        "positive": np.abs(v),
        "sparse": v * (rng.random((n, dim)) < 0.05),
        "spiky": v * (1 + 1000 * (rng.random((n, dim)) < 0.01)),
        "equal": np.tile(v[:1], (n, 1)),
        "largest": np.clip(v, -1, 1) * float(info.max),
        "smallest": v * 50 * float(info.smallest_subnormal),
    }[style]
    return np.ascontiguousarray(v.astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("style", STYLES)
def test_the_quick_score_is_within_its_error(style, dtype):
    for dim in (1, 3, 17, 64, 1024, 1536):
        vectors = block(style, dtype, 150, dim)
        asked = np.concatenate(
            [block("normal", "float32", 2, dim, 2), vectors[:1].astype(np.float32), np.eye(dim, dtype=np.float32)[:1]]
        )
        asked = asked[np.linalg.norm(asked.astype(np.float64), axis=1) > 0]
        quick = quick_cosines(vectors, unit(asked))
        exact = np.stack([cosines(vectors, q) for q in asked])
        assert quick.dtype == np.float32 and quick.shape == exact.shape
        assert np.abs(quick - exact).max() <= QUICK_ERROR, (dim, np.abs(quick - exact).max())


def test_quick_scores_of_some_rows_are_those_of_all():
    vectors = block("normal", "float16", 3000, 24)
    vectors[5] = 0
    asked = unit(block("normal", "float32", 3, 24, 4))
    whole = quick_cosines(vectors, asked)
    for rows in (slice(0, 3000), slice(7, 2900), slice(5, 5), slice(2999, 3000)):
        assert np.abs(quick_cosines_at(vectors, rows, asked) - whole[:, rows]).max(initial=0) <= 1e-6
    for rows in (np.arange(0, 3000, 7), np.array([5]), np.array([], np.int64), np.array([2999, 0, 5, 5])):
        assert np.abs(quick_cosines_at(vectors, rows, asked) - whole[:, rows]).max(initial=0) <= 1e-6


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 2100),
    dim=st.sampled_from([1, 7, 16, 33, 1536]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_a_score_does_not_depend_on_neighbours(n, dim, seed, dtype):
    """Alone, in any slice, in any order, from either type that holds it: the same bits."""
    n = min(n, 300) if dim == 1536 else n
    vectors = block("normal", dtype, n, dim, seed)
    query = block("normal", "float32", 1, dim, seed + 1)[0]
    whole = cosines(vectors, query)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    assert (cosines(vectors[order], query) == whole[order]).all()
    for at in rng.integers(0, n, 5):
        assert cosines(vectors[at : at + 1], query)[0] == whole[at]
        assert cosines(vectors[at:], query)[0] == whole[at]
    assert (cosines(vectors.astype(np.float32), query) == whole).all()
    assert (np.abs(whole) <= 1).all()


def test_scores_against_float64_by_hand():
    vectors, query = block("normal", "float16", 50, 33), block("normal", "float32", 1, 33, 8)[0]
    wide, asked = vectors.astype(np.float64), query.astype(np.float64)
    by_hand = [v @ asked / (np.sqrt(v @ v) * np.sqrt(asked @ asked)) for v in wide]
    assert np.abs(cosines(vectors, query) - by_hand).max() < 1e-7
    assert cosines(np.zeros((2, 33), np.float16), query).tolist() == [0, 0]
    assert cosines(vectors[:0], query).shape == (0,)
    same = cosines(vectors[:1], vectors[0].astype(np.float32) * 3)[0]
    assert same == 1.0 and cosines(-vectors[:1], vectors[0])[0] == -1.0


@pytest.mark.parametrize("scale", [1e-44, 1e-40, 1e-30, 1e-19, 1e-6, 1.0, 1e6, 1e19, 1e30, 5e37])
def test_unit_vectors_have_length_one_whatever_it_was(scale):
    """Squares of float32 overflow from 2e19 and vanish below 1e-19."""
    vectors = (np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]) * scale).astype(np.float32)
    found = unit(vectors)
    assert found.dtype == np.float32
    if scale > 1e-40:  # below it few digits are left
        assert np.abs(np.linalg.norm(found.astype(np.float64), axis=1) - [1, 0, 1]).max() < 1e-6
    assert (found[1] == 0).all() and np.isfinite(found).all()
    assert (unit(vectors[0]) == found[0]).all()
    assert vectors[1].tolist() == [0, 0, 0] and vectors[0, 0] == np.float32(3 * scale), "the vectors given were changed"


# --- projection ---


@pytest.mark.parametrize("dim", [1, 2, 3, 17, 31, 64, 97, 127, 128, 130, 192, 254, 257, 1024, 1536])
def test_turning_keeps_lengths_and_products(dim):
    rng = np.random.default_rng(dim)
    vectors = rng.standard_normal((20, dim)).astype(np.float32)
    turned = Projection.make(dim, dim, vectors, seed=1)(vectors)
    assert turned.shape == (20, dim) and turned.flags.c_contiguous
    assert np.abs(turned @ turned.T - vectors @ vectors.T).max() < 1e-4 * max(1, dim / 10)
    if dim >= 17:  # a single dimension is spread over all
        spread = Projection.make(dim, dim, vectors, seed=1)(np.eye(dim, dtype=np.float32))
        assert np.abs(spread).max() < 0.95


def test_the_same_seed_turns_the_same_way_and_another_does_not():
    vectors = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    one, two = (Projection.make(40, 40, vectors, seed=s)(vectors) for s in (1, 2))
    assert (Projection.make(40, 40, vectors, seed=1)(vectors) == one).all()
    assert not np.allclose(one, two)
    assert (Projection.make(40, 40, vectors, seed=1)(vectors[2:3]) - one[2:3]).max() < 1e-5


@pytest.mark.parametrize(("dim", "code_dim"), [(64, 32), (64, 16), (34, 17), (3, 1)])
def test_fewer_dimensions_keep_what_varies_most(dim, code_dim):
    """Vectors that lie in few dimensions lose nothing; of others, no more than the dimensions left out held."""
    rng = np.random.default_rng(4)
    basis = np.linalg.qr(rng.standard_normal((dim, code_dim)))[0].T
    vectors = (rng.standard_normal((500, code_dim)) @ basis).astype(np.float32)
    projection = Projection.make(dim, code_dim, vectors, seed=1)
    assert projection.code_dim == code_dim
    turned = projection(vectors)
    assert turned.shape == (500, code_dim)
    assert np.abs(turned @ turned.T - vectors @ vectors.T).max() < 1e-3 * code_dim
    others = unit(rng.standard_normal((50, dim)))
    assert (np.linalg.norm(projection(others), axis=1) <= 1 + 1e-4).all()


def test_a_projection_is_its_arrays():
    vectors = np.random.default_rng(0).standard_normal((100, 32)).astype(np.float32)
    for code_dim in (32, 8):
        one = Projection.make(32, code_dim, vectors, seed=3)
        assert (Projection(**one.arrays())(vectors) == one(vectors)).all()


# --- wishes ---

sizes = st.tuples(st.integers(EXACT_ROWS + 1, 10**8), st.sampled_from([64, 256, 1024, 1536]))


@settings(max_examples=200, deadline=None)
@given(size=sizes, budgets=st.lists(st.integers(1 << 20, 1 << 36), min_size=2, max_size=2))
def test_more_memory_never_means_fewer_dimensions(size, budgets):
    """And no plan takes more than it may."""
    found = []
    for budget in sorted(budgets):
        try:
            recipe = plan_index(*size, IndexWishes(memory_bytes=budget))
        except Invalid as error:
            assert not found, "less memory was enough"
            assert f"{size[0]:,} windows" in error.message and "kind exact" in error.message
            continue
        assert recipe.ram_bytes <= budget
        found.append(recipe.code_dim)
    assert found == sorted(found)
    free = plan_index(*size, IndexWishes())
    assert free.code_dim == size[1] >= max(found, default=0)


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 10**8),
    dim=st.integers(1, 2000),
    kind=st.sampled_from([None, "exact", "coded"]),
    recall=st.sampled_from([0.9, 0.995, 1.0]),
)
def test_a_recipe_explains_itself(n, dim, kind, recall):
    recipe = plan_index(n, dim, IndexWishes(recall, kind=kind))
    assert (recipe.n, recipe.dim, recipe.recall) == (n, dim, recall)
    assert recipe.why and all(len(reason) > 20 for reason in recipe.why)
    assert recipe.kind == (kind or ("exact" if n <= EXACT_ROWS or recall == 1.0 else "coded"))
    if recipe.kind == "coded":
        assert 1 <= recipe.lists <= 2**14 and recipe.code_dim == dim and recipe.code_bytes == code_bytes(dim)
        assert 0 < recipe.train_rows <= n
        assert f"{n:,} windows" in recipe.why[0]
    else:
        assert (recipe.lists, recipe.code_dim, recipe.code_bytes) == (0, 0, 0)
    assert recipe.disk_bytes >= n * dim * 2 and recipe.build_s > 0
    assert replace(recipe, why=[]).to_json()["why"] == [] and recipe.to_json()["n"] == n


def test_float32_takes_twice_the_disk():
    two, four = (plan_index(10**6, 1024, IndexWishes(), itemsize=size).disk_bytes for size in (2, 4))
    assert four - two == 10**6 * 1024 * 2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"recall": 0.4}, "0.5 to 1"),
        ({"recall": 1.1}, "0.5 to 1"),
        ({"recall": float("nan")}, "0.5 to 1"),
        ({"kind": "hnsw"}, "exact or coded"),
        ({"memory_bytes": 0}, "memory"),
        ({"memory_bytes": -5}, "memory"),
    ],
)
def test_wishes_that_cannot_be(wrong, told):
    with pytest.raises(Invalid, match=told):
        IndexWishes(**wrong)


def test_an_impossible_memory_names_what_would_do():
    with pytest.raises(
        Invalid, match=r"1 MiB of memory cannot hold codes of 1,000,000 windows: the smallest take (\d+) MiB"
    ) as caught:
        plan_index(10**6, 1536, IndexWishes(memory_bytes=1 << 20))
    least = int(caught.value.message.split("the smallest take ")[1].split()[0])
    assert plan_index(10**6, 1536, IndexWishes(memory_bytes=(least + 1) << 20)).code_dim == 384


# --- how much a search looks through ---


def test_the_least_work_that_is_enough_is_chosen():
    measured = [
        Measured(4, 200, 0.90, 0.7),
        Measured(8, 200, 0.9955, 0.9),
        Measured(16, 200, 0.9965, 0.95),
        Measured(32, 500, 0.9999, 0.99),
    ]
    assert choose(measured, 0.995) is measured[2], "what is just enough has nothing in hand"
    assert choose(measured, 0.9) is measured[1]
    assert choose(measured, 0.5) is measured[0]
    assert choose(measured, 0.999) is measured[3]
    assert choose(measured[:2], 0.999) is measured[1], "not enough: what finds most"
    assert choose([Measured(4, 200, 0.9, 0.5), Measured(8, 200, 0.9, 0.6)], 0.99).lists == 8
    assert choose([Measured(4, 200, 1.0, 1.0)], 1.0).lists == 4
