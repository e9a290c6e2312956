"""The bytes of a part follow from its rows alone: not from batching, and row groups are cut by row count."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import PartWriter
from store.schema import ROW_GROUP_ROWS
from tests.store import kit

CONFIG = kit.store_config(dim=2, top_k=1)
CUTS = [(kit.recording("a.wav"), 1500), (kit.recording("b.wav"), 1), (kit.recording("c.wav"), 1100)]
ROWS = {rec.source.path: kit.window_rows(rec, n, CONFIG) for rec, n in CUTS}


def piece(rows, first, last):
    from store import TopClasses, WindowRows

    top = TopClasses(rows.top.index[first:last], rows.top.logit[first:last], rows.top.score[first:last])
    return WindowRows(
        rows.recording, rows.start_samples[first:last], rows.valid_samples[first:last], rows.embeddings[first:last], top
    )


def write(root: str, config, batches) -> None:
    with PartWriter(root, config, part_id="cd" * 16, site="A", date="2024-05-01", classes=kit.CLASSES) as part:
        for rec, n in CUTS:
            first = 0
            for size in [*batches(n), n]:
                last = min(n, first + size)
                if last > first:
                    part.add(piece(ROWS[rec.source.path], first, last))
                first = last
        part.commit(kit.entries(CUTS))


def written(config, batches) -> dict[str, bytes]:
    folder = Path(tempfile.mkdtemp())
    try:
        root, _ = kit.new_store(folder, config)
        write(root, config, batches)
        return kit.tree(root)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return written(CONFIG, lambda n: [])


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 1600), max_size=12))
def test_batching_does_not_show_in_the_bytes(whole, sizes):
    assert written(CONFIG, lambda n: sizes) == whole


@pytest.mark.parametrize("size", [1023, 1024, 1025, 7], ids=str)
def test_batches_around_the_row_group(whole, size):
    assert written(CONFIG, lambda n: [size] * (n // size)) == whole


@pytest.mark.parametrize("size", [64, 999], ids=str)
def test_batching_does_not_show_in_float32_either(size):
    config = kit.store_config(dim=2, dtype="float32", top_k=1)
    assert written(config, lambda n: [size] * (n // size)) == written(config, lambda n: [])


def test_writing_twice_gives_the_same_bytes(whole):
    assert written(CONFIG, lambda n: []) == whole


def test_another_value_does_show(whole):
    """The comparison above can fail."""
    changed = ROWS["b.wav"].embeddings.copy()
    try:
        ROWS["b.wav"].embeddings[0, 0] += 1
        assert written(CONFIG, lambda n: []) != whole
    finally:
        ROWS["b.wav"].embeddings[:] = changed


def test_row_groups_are_cut_by_row_count_alone(tmp_path):
    root, _ = kit.new_store(tmp_path, CONFIG)
    write(root, CONFIG, lambda n: [700, 700])
    (name,) = (n for n in kit.tree(root) if n.startswith("embeddings"))
    metadata = pq.read_metadata(f"{root}/{name}")
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert ROW_GROUP_ROWS <= 1024
    assert groups == [1024, 1024, 2601 - 2048]


@pytest.mark.parametrize(
    ("dtype", "encodings"),
    [("float16", {"PLAIN", "RLE"}), ("float32", {"BYTE_STREAM_SPLIT", "RLE"})],
)
def test_encoding_of_the_vectors(tmp_path, dtype, encodings):
    root, config = kit.new_store(tmp_path, kit.store_config(dtype=dtype))
    kit.write_part(root, config, [(kit.recording("a.wav"), 3)])
    (name,) = (n for n in kit.tree(root) if n.startswith("embeddings"))
    group = pq.read_metadata(f"{root}/{name}").row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    vector = columns["embedding.list.element"]
    assert set(vector.encodings) == encodings
    assert not vector.has_dictionary_page and not vector.is_stats_set
    assert {c.compression for c in columns.values()} == {"ZSTD"}
