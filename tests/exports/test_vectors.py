"""Embeddings as files: what is read back is what went in, by row; in types that R and Python read; in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import BytesIO

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Damaged, Invalid
from store.formats.parquet import METADATA_KEY
from store.formats.vectors import (
    WINDOW_SCHEMA,
    Vectors,
    write_hdf5,
    write_npy,
    write_vectors_csv,
    write_vectors_parquet,
)
from tests.cluster.support import cli_env
from tests.exports import kit

ABOUT = {"model": "tiny", "version": "1", "window_s": 3.0}
DIM = 5
LOCAL = datetime(2024, 5, 1, 4, 30)


def windows_table(n: int, *, first: int = 0, known: bool = True) -> pa.Table:
    numbers = range(first, first + n)
    local = [LOCAL + timedelta(seconds=3 * i) if known else None for i in numbers]
    rows = {
        "recording_id": [2**62 + i // 4 for i in numbers],
        "start_sample": [2**40 + i for i in numbers],
        "path": [f"A/é{i // 4}.wav" for i in numbers],
        "site": ["A"] * n,
        "deployment": [None] * n,
        "start_s": [i * 3.0 for i in numbers],
        "end_s": [i * 3.0 + 3 for i in numbers],
        "valid_s": [3.0] * n,
        "local_start": local,
        "utc_start": [t and (t - timedelta(hours=2)).replace(tzinfo=UTC) for t in local],
        "recording_id2": [7] * n,  # more than is exported
    }
    return pa.table(
        {
            k: pa.array(v, WINDOW_SCHEMA.field(k).type if k in WINDOW_SCHEMA.names else pa.int64())
            for k, v in rows.items()
        }
    )


def values(n: int, first: int = 0) -> np.ndarray:
    return np.random.default_rng(first).standard_normal((n, DIM)).astype(np.float32)


def made_vectors(sizes: list[int], *, known: bool = True) -> tuple[Vectors, np.ndarray, pa.Table]:
    """Vectors in blocks of so many rows, and the same at once."""
    firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)[:-1].tolist()
    tables = [windows_table(n, first=f, known=known) for n, f in zip(sizes, firsts, strict=True)]
    blocks = [values(n, f) for n, f in zip(sizes, firsts, strict=True)]
    whole = np.concatenate(blocks) if blocks else np.empty((0, DIM), np.float32)
    return (
        Vectors(iter(list(zip(tables, blocks, strict=True))), DIM, ABOUT),
        whole,
        pa.concat_tables(tables) if tables else windows_table(0),
    )


sizes = st.lists(st.integers(0, 9), max_size=4)
several = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@several
@given(sizes)
def test_parquet_is_read_back_as_it_was(sizes):
    vectors, whole, windows = made_vectors(sizes)
    handle = BytesIO()
    assert write_vectors_parquet(vectors, handle).rows == len(whole)
    table = pq.read_table(pa.BufferReader(handle.getvalue()))
    assert table.column_names == [*WINDOW_SCHEMA.names, "embedding"]
    assert table.select(WINDOW_SCHEMA.names).equals(windows.select(WINDOW_SCHEMA.names).cast(WINDOW_SCHEMA))
    found = np.array(table["embedding"].to_pylist(), np.float32).reshape(-1, DIM)
    assert np.array_equal(found, whole)
    assert json.loads(table.schema.metadata[METADATA_KEY]) == ABOUT


@several
@given(sizes)
def test_npy_and_its_table_agree_row_by_row(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("npy")
    vectors, whole, windows = made_vectors(sizes)
    with (folder / "e.npy").open("wb") as array, (folder / "e.windows.csv").open("wb") as table:
        written = write_npy(vectors, array, table)
    found = np.load(folder / "e.npy", mmap_mode="r")
    assert (found.dtype, found.shape, written.files) == (np.float32, (len(whole), DIM), 2)
    assert np.array_equal(found, whole)
    rows = kit.read_csv(folder / "e.windows.csv")
    assert [int(r["row"]) for r in rows] == list(range(len(whole)))
    assert [(r["path"], float(r["start_s"])) for r in rows] == list(
        zip(windows["path"].to_pylist(), windows["start_s"].to_pylist(), strict=True)
    )
    assert [int(r["recording_id"]) for r in rows] == windows["recording_id"].to_pylist()


@several
@given(sizes)
def test_hdf5_is_read_back_as_it_was(tmp_path_factory, sizes):
    path = tmp_path_factory.mktemp("h5") / "e.h5"
    vectors, whole, windows = made_vectors(sizes)
    assert write_hdf5(vectors, path).rows == len(whole)
    with h5py.File(path) as file:
        assert np.array_equal(file["embeddings"][:], whole)
        assert {k: file.attrs[k] for k in ABOUT} == ABOUT
        assert (file.attrs["dim"], file.attrs["rows"]) == (DIM, len(whole))
        group = file["windows"]
        assert [p.decode() for p in group["path"][:]] == windows["path"].to_pylist()
        assert group["start_s"][:].tolist() == windows["start_s"].to_pylist()
        assert [int(i) for i in group["recording_id"][:]] == windows["recording_id"].to_pylist()
        assert [int(i) for i in group["start_sample"][:]] == windows["start_sample"].to_pylist()
        assert all(len(group[name]) == len(whole) for name in group)


def test_hdf5_has_only_types_that_r_has(tmp_path):
    """R's HDF5 packages have no 16-bit floats, and turn 64-bit integers that do not fit into 32 bits into NA."""
    write_hdf5(made_vectors([3])[0], tmp_path / "e.h5")
    seen = {}
    with h5py.File(tmp_path / "e.h5") as file:
        file.visititems(lambda name, item: seen.update({name: item.dtype} if isinstance(item, h5py.Dataset) else {}))
        for name, dtype in seen.items():
            text = h5py.check_string_dtype(dtype)
            assert (text is not None and text.encoding == "utf-8") or dtype in (np.dtype("<f4"), np.dtype("<f8")), name
        assert all(file[name].attrs["units"] for name in seen)
        assert file["windows/utc_start"][0] == (LOCAL - timedelta(hours=2)).replace(tzinfo=UTC).timestamp()
        assert file["windows/local_start"][1].decode() == "2024-05-01T04:30:03.000+02:00"
    assert {"embeddings", "windows/path", "windows/site", "windows/start_s"} <= set(seen)


def test_hdf5_says_what_is_not_known(tmp_path):
    write_hdf5(made_vectors([2], known=False)[0], tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5") as file:
        assert np.isnan(file["windows/utc_start"][:]).all()
        assert file["windows/local_start"][0] == b""
        assert file["windows/deployment"][0] == b""


def test_parquet_has_only_types_that_arrow_in_r_reads():
    handle = BytesIO()
    write_vectors_parquet(made_vectors([2])[0], handle)
    schema = pq.read_schema(pa.BufferReader(handle.getvalue()))
    kinds = {str(f.type) for f in schema if f.name != "embedding"}
    assert kinds == {"int64", "string", "double", "timestamp[us]", "timestamp[us, tz=UTC]"}
    assert schema.field("embedding").type.value_type == pa.float32()
    assert schema.field("embedding").type.list_size == DIM


def test_parquet_in_half_precision_on_request():
    vectors, whole, _ = made_vectors([4, 3])
    handle = BytesIO()
    write_vectors_parquet(vectors, handle, dtype="float16")
    column = pq.read_table(pa.BufferReader(handle.getvalue()))["embedding"]
    assert column.type.value_type == pa.float16()
    found = np.concatenate([c.flatten().to_numpy(zero_copy_only=False) for c in column.chunks]).reshape(-1, DIM)
    assert np.array_equal(found, whole.astype(np.float16))


def test_half_precision_does_not_turn_a_value_into_infinity():
    vectors = Vectors([(windows_table(1), np.full((1, DIM), 70_000, np.float32))], DIM)
    with pytest.raises(Invalid, match="float32"):
        write_vectors_parquet(vectors, BytesIO(), dtype="float16")


def test_an_unknown_dtype_is_refused():
    with pytest.raises(Invalid, match="float32 or float16"):
        write_vectors_parquet(made_vectors([1])[0], BytesIO(), dtype="int8")


def test_wide_csv():
    vectors, whole, _ = made_vectors([2, 3])
    handle = BytesIO()
    write_vectors_csv(vectors, handle)
    lines = handle.getvalue().decode().split("\n")
    assert lines[0] == "path,start_s,end_s,e1,e2,e3,e4,e5"
    assert lines[1].startswith("A/é0.wav,0,3,")
    found = np.array([line.split(",")[3:] for line in lines[1:-1]], np.float32)
    assert np.array_equal(found, whole)  # float32 as text and back, to the bit


@pytest.mark.parametrize("writer", [write_vectors_parquet, write_vectors_csv])
def test_vectors_that_are_not_those_of_their_windows_are_an_error(writer):
    with pytest.raises(Damaged, match="3 windows"):
        writer(Vectors([(windows_table(3), values(2))], DIM), BytesIO())


def test_memory_does_not_grow_with_the_number_of_windows(tmp_path):
    """65,536 windows of 512 values are 134 MB; written three times from blocks of 8,192 they cost far less."""
    script = """
import resource, numpy as np
from store.formats.vectors import *
from tests.exports.test_vectors import windows_table

block = windows_table(8192)
def vectors(n):
    return Vectors(((block, np.full((8192, 512), i, np.float32)) for i in range(n)), 512)

def write(n):
    with open("a.npy", "wb") as a, open("a.csv", "wb") as b:
        write_npy(vectors(n), a, b)
    with open("a.parquet", "wb") as a:
        write_vectors_parquet(vectors(n), a)
    Path("a.h5").unlink(missing_ok=True)
    write_hdf5(vectors(n), Path("a.h5"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

first = write(2)
print(write(8) - first)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=cli_env(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert float(done.stdout) < 60, f"{done.stdout} MB more for four times the rows"
