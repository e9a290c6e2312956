"""Exact search against a few lines of NumPy in float64."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from store import Archive, PartWriter, exact_search, load_ledger, part_id, write_snapshot
from tests.store import kit

TOLERANCE = 2e-6  # float32 sums of 8 products
NAMES = [f"r{i}.wav" for i in range(4)]


def build(root, config, vectors_by_part: list[dict[str, np.ndarray]]) -> None:
    """One part for each dict of path → vectors."""
    for vectors in vectors_by_part:
        items = [(kit.recording(path), len(v)) for path, v in sorted(vectors.items())]
        identity = part_id(config.digest, [rec for rec, _ in items])
        with PartWriter(root, config, part_id=identity, site="A", date=None, classes=()) as part:
            for rec, n in items:
                rows = kit.window_rows(rec, n, config)
                rows.embeddings[:] = vectors[rec.source.path]
                part.add(rows)
            part.commit(kit.entries(items))
    write_snapshot(root, config, load_ledger(root))


def twin(archive, vectors: dict[str, np.ndarray], query, without=None) -> list[tuple[float, int, int, str]]:
    """(score, recording id, start, path), best first, in float64."""
    rows = []
    for path, block in vectors.items():
        identity = kit.recording_id(path)
        if identity == without:
            continue
        stored = block.astype(archive.config.dtype).astype(np.float64)
        for i, vector in enumerate(stored):
            length = np.linalg.norm(vector)
            score = 0.0 if length == 0 else float(vector @ query / (length * np.linalg.norm(query)))
            rows.append((score, identity, i * archive.config.windows.hop_samples, path))
    return sorted(rows, key=lambda r: (-r[0], r[1], r[2]))


small = st.integers(-3, 3)
vector = st.lists(small, min_size=kit.DIM, max_size=kit.DIM)
blocks = st.lists(st.lists(vector, max_size=6), min_size=len(NAMES), max_size=len(NAMES))


@settings(max_examples=30, deadline=None)
@given(
    blocks=blocks,
    query=vector.filter(any),
    scale=st.sampled_from([1.0, 1e-3, 777.0]),
    left_out=st.sampled_from([None, *NAMES]),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_equals_the_twin(blocks, query, scale, left_out, dtype):
    """Small whole numbers: many ties and zero vectors. Equal vectors must keep the order of recording and start."""
    folder = Path(tempfile.mkdtemp())
    try:
        root, config = kit.new_store(folder, kit.store_config(top_k=0, dtype=dtype))
        vectors = {
            path: np.array(block, np.float32).reshape(-1, kit.DIM) for path, block in zip(NAMES, blocks, strict=True)
        }
        build(root, config, [{p: vectors[p] for p in NAMES[:2]}, {p: vectors[p] for p in NAMES[2:]}])
        without = None if left_out is None else kit.recording_id(left_out)
        wanted = np.array(query, np.float32) * np.float32(scale)
        with Archive(root) as archive:
            expected = twin(archive, vectors, wanted.astype(np.float64), without)
            n = len(expected)
            for k in {0, 1, max(n - 1, 0), n, n + 1}:
                found = exact_search(archive, wanted, k, without_recording=without)
                compare(found, expected[:k], expected, vectors)
    finally:
        shutil.rmtree(folder)


def compare(found, expected, everything, vectors) -> None:
    assert len(found) == len(expected)
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    by_place = {(path, start): score for score, _, start, path in everything}
    places = [(hit.path, round(hit.start_s * kit.RATE_HZ)) for hit in found]
    assert len(set(places)) == len(places)
    for hit, place, want in zip(found, places, expected, strict=True):
        assert abs(hit.score - want[0]) <= TOLERANCE
        assert abs(hit.score - by_place[place]) <= TOLERANCE
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    ids = [(kit.recording_id(path), start) for path, start in places]
    seen: dict[bytes, tuple] = {}
    for identity, (path, start) in zip(ids, places, strict=True):
        value = vectors[path][start // kit.WINDOW].tobytes()
        assert seen.get(value, (-1, -1)) < identity, "equal vectors out of order"
        seen[value] = identity


@pytest.mark.parametrize("dim", [8, 33, 1536])
@pytest.mark.parametrize("n", [3, 7, 17, 101])
def test_equal_vectors_have_equal_scores_wherever_they_lie(tmp_path, dim, n):
    """The score must not depend on a row's place in its block: silent windows are equal, and their order is by id."""
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0, dim=dim))
    rng = np.random.default_rng(1)
    same = rng.standard_normal(dim).astype(np.float32)
    build(root, config, [{"a.wav": np.tile(same, (n, 1))}, {"b.wav": np.tile(same, (1, 1))}])
    with Archive(root) as archive:
        found = exact_search(archive, rng.standard_normal(dim).astype(np.float32), n + 1)
    assert len({hit.score for hit in found}) == 1
    order = [(kit.recording_id(hit.path), hit.start_s) for hit in found]
    assert order == sorted(order)


@pytest.fixture
def store(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0))
    vectors = {"a.wav": np.eye(kit.DIM, dtype=np.float32)[:3], "b.wav": -np.eye(kit.DIM, dtype=np.float32)[:1]}
    build(root, config, [vectors])
    with Archive(root) as archive:
        yield archive


def test_a_hit_says_where_and_when(store):
    (hit,) = exact_search(store, np.eye(kit.DIM, dtype=np.float32)[1] * 5, 1)
    assert (hit.rank, hit.path, hit.site, hit.start_s, hit.end_s, hit.exact) == (1, "a.wav", "A", 3.0, 6.0, True)
    assert hit.score == pytest.approx(1.0)
    assert hit.utc_start == kit.moment(kit.UTC_START, 3.0)
    assert hit.local_start == kit.moment(kit.LOCAL, 3.0)


def test_opposite_is_minus_one_and_last(store):
    hits = exact_search(store, np.eye(kit.DIM, dtype=np.float32)[0], 10)
    assert len(hits) == 4
    assert (hits[-1].path, hits[-1].score) == ("b.wav", pytest.approx(-1.0))


def test_without_recording_is_left_out_inside_the_search(store):
    hits = exact_search(store, np.eye(kit.DIM, dtype=np.float32)[0], 1, without_recording=kit.recording_id("a.wav"))
    assert [h.path for h in hits] == ["b.wav"]


@pytest.mark.parametrize("shape", [(kit.DIM - 1,), (kit.DIM + 1,), (1536,), (1, kit.DIM), ()], ids=str)
def test_a_wrong_shape_names_both(store, shape):
    with pytest.raises(Invalid) as caught:
        exact_search(store, np.ones(shape, np.float32))
    assert str(shape) in caught.value.message and f"({kit.DIM},)" in caught.value.message


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf], ids=str)
def test_a_query_that_points_nowhere_is_refused(store, value):
    query = np.zeros(kit.DIM, np.float32)
    query[2] = value
    with pytest.raises(Invalid, match="zero or not finite"):
        exact_search(store, query)


def test_an_empty_store_has_no_hits(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0))
    build(root, config, [])
    with Archive(root) as archive:
        assert exact_search(archive, np.ones(kit.DIM, np.float32), 5) == []


def test_superseded_windows_are_not_found(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("a.wav"), 5)])
    (old,) = load_ledger(root).parts
    rec = kit.recording("a.wav", version=2, replaces=[old])
    kit.write_part(root, config, [(rec, 2)])
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        hits = exact_search(archive, kit.window_rows(rec, 1, config).embeddings[0], 10)
    assert len(hits) == 2
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
