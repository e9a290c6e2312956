"""Any history of runs -- killed, resumed, begun anew over old files, prediction files lost -- against pandas and a dict."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.status import verify_store
from tests.imports.support import WINDOW_S, assert_same, do, expected_of, make, stored

recordings = st.dictionaries(st.integers(0, 5), st.sampled_from([2.0, 3.5, 4.0, 7.0, 9.5]), min_size=1, max_size=4).map(
    lambda d: {f"/data/2025/A4/202505{10 + i // 3}_0{i}0000.WAV": s for i, s in d.items()}
)
a_run = st.tuples(
    recordings,
    st.integers(1, 3),  # batches a checkpoint
    st.sampled_from([None, 1, 2]),  # killed after so many
    st.booleans(),  # --resume
    st.integers(0, 1),  # other vectors
)


def rows_there(folder: Path) -> pd.DataFrame:
    frames = []
    for path in folder.rglob("*.parquet"):
        frame = pd.read_parquet(path)
        frames.append(frame[["file_path", "chunk_idx", "start_time", "end_time"]].assign(at=int(path.parent.name)))
    return pd.concat(frames)


@settings(max_examples=8, deadline=None)
@given(runs=st.lists(a_run, min_size=1, max_size=3), lost=st.sets(st.integers(0, 4), max_size=2))
def test_the_store_is_what_the_twin_says(runs, lost) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sonotheque-test-"))
    try:
        output = folder / "out" / "A4"
        for files, interval, kill_after, resume, seed in runs:
            make(output, files, interval=interval, kill_after=kill_after, resume=resume, seed=seed)
        for checkpoint in lost:
            (output / "predictions_partitioned" / f"checkpoint_{checkpoint:04d}.csv").unlink(missing_ok=True)
        report = do(folder / "out", folder / "store")
        wanted = expected_of(folder / "out")
        long_enough = {k: v for k, v in wanted.items() if v.valid_s >= 1.0 - 1e-9}
        assert_same(stored(folder / "store"), long_enough)
        rows = rows_there(output)
        kept = rows[rows.end_time - rows.start_time >= 1.0 - 1e-9]
        assert report.rows == len(rows)
        assert report.windows == len(long_enough)
        assert report.left_out["short"] == len(rows) - len(kept)
        assert sum(report.duplicates.values()) == len(kept) - len(kept.drop_duplicates(["file_path", "chunk_idx"]))
        if all(seed == runs[0][4] for *_, seed in runs) and all(f == runs[0][0] for f, *_ in runs):
            assert report.duplicates["differing"] == 0
        if report.without_predictions is not None:
            assert report.without_predictions == sum(not v.guesses for v in long_enough.values())
        assert report.check["ok"]
        found = verify_store(str(folder / "store"), deep=True)
        assert (found.ok, found.windows, found.duplicate_windows) == (True, len(long_enough), 0)
        again = do(folder / "out", folder / "store")
        assert (again.new, again.changed, again.parts_written) == (0, 0, 0)
        assert again.duplicates == report.duplicates
        assert {k[1] % WINDOW_S for k in long_enough} <= {0.0}
    finally:
        shutil.rmtree(folder)
