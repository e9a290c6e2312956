"""The generator of the tests' and the benchmark's sources does what was measured of the script itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.perch_folder import rows_of, run, vector_of, write_embeddings, write_predictions


def test_a_killed_and_resumed_run_leaves_the_duplicates_that_were_observed(tmp_path: Path) -> None:
    """Six recordings of twelve windows, killed after two checkpoints of seven batches of four: 80 rows for 72 windows."""
    files = {f"in/20250510_0{i}0000.WAV": 60.0 for i in range(6)}
    first = run(tmp_path, files, interval=7, kill_after=2, dim=4)
    assert json.loads((tmp_path / ".checkpoint.json").read_text())["processed_files"] == sorted(files)[:4]
    second = run(tmp_path, files, interval=7, dim=4)
    assert (first, second) == (56, 24)
    frame = pd.concat(pd.read_parquet(p) for p in tmp_path.rglob("*.parquet"))
    assert len(frame) == 80
    assert len(frame.drop_duplicates(["file_path", "chunk_idx"])) == 72
    assert len(frame.drop_duplicates([c for c in frame if c != "checkpoint_id"])) == 72, (
        "the same sound, the same vector"
    )
    assert not (tmp_path / ".checkpoint.json").exists(), "taken away when all is done"


def test_a_run_without_resume_leaves_stale_rows_behind(tmp_path: Path) -> None:
    files = {f"in/20250510_0{i}0000.WAV": 60.0 for i in range(6)}
    run(tmp_path, files, interval=7, dim=4)
    run(tmp_path, dict(list(files.items())[:1]), interval=7, dim=4, resume=False)
    paths = set(pd.concat(pd.read_parquet(p) for p in tmp_path.rglob("*.parquet"))["file_path"])
    assert len(paths) > 1, "rows of recordings that the second run never saw"


def test_layout_columns_and_size_are_the_script_s(tmp_path: Path) -> None:
    rows = [row for i in range(67) for row in rows_of(f"in/A4/20250510_00{i:02d}00.WAV", 60.0)][:800]
    path = write_embeddings(tmp_path, 3, rows)
    assert path == tmp_path / "embeddings_partitioned" / "3" / "part-0.parquet"
    file = pq.ParquetFile(path)
    assert file.schema_arrow.names[:6] == ["file", "file_path", "chunk_idx", "start_time", "end_time", "emb_0"]
    assert len(file.schema_arrow.names) == 1541
    assert file.metadata.num_row_groups == 1
    assert file.metadata.row_group(0).column(5).compression == "SNAPPY"
    # 9,107 bytes a row were measured of the script's own files of 800 rows.
    assert abs(path.stat().st_size / 800 / 9107 - 1) < 0.02
    csv = write_predictions(tmp_path, 3, rows)
    assert csv.name == "checkpoint_0003.csv"
    header = csv.read_text().splitlines()[0].split(",")
    assert header == [
        *("file", "file_path", "chunk_idx", "start_time", "end_time", "checkpoint_id"),
        *(f"top{i}" for i in range(1, 11)),
        *(f"score{i}" for i in range(1, 11)),
    ]
    assert 380 < csv.stat().st_size / 800 < 520, "460 to 463 bytes a row were measured"


def test_float16_is_halffloat(tmp_path: Path) -> None:
    rows = rows_of("in/x.WAV", 60.0)
    path = write_embeddings(tmp_path, 0, rows, float16=True, dim=8)
    assert str(pq.read_schema(path).field("emb_0").type) == "halffloat"
    assert np.array_equal(
        pq.read_table(path)["emb_3"].to_numpy(), np.array([vector_of(r, 0, 8)[3] for r in rows], np.float16)
    )


def test_the_last_window_ends_with_the_sound() -> None:
    assert [(r.start_time, r.end_time) for r in rows_of("x", 12.1)] == [(0, 5), (5, 10), (10, 12.1)]
