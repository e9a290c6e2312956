"""The pieces that read perch-cpu-inference's files, each against a dumb twin."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.imports.perch_files import EMBEDDINGS, Faulty, find_outputs, open_wide, read_small, wide_files
from cluster.imports.perch_guesses import CheckpointGuesses, read_guesses, score_rule, scores, top_k
from cluster.imports.perch_rows import WideRows, place_of
from embedder.models.perch import V2_INTERCEPT, V2_SLOPE
from sonotheque.core.errors import NotFound

K = 3
# Names with what a CSV must quote, and none of what ends a line.
species = st.sampled_from(["Turdus merula", "Alarm", 'a "b", c', "Ñandú", "Parus major"])
guess = st.tuples(st.one_of(st.none(), species), st.one_of(st.none(), st.floats(-20, 20, width=32)))
line = st.tuples(
    st.sampled_from(["/d/a.WAV", "/d/ü, b.WAV"]), st.integers(0, 3), st.lists(guess, min_size=K, max_size=K)
)


def written(folder: Path, lines, name: str = "checkpoint_0000.csv") -> Path:
    """A prediction file of some lines, written by Python's own csv."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ["file", "file_path", "chunk_idx", "start_time", "end_time", "checkpoint_id"]
        + [f"top{i}" for i in range(1, K + 1)]
        + [f"score{i}" for i in range(1, K + 1)]
    )
    for path, chunk, guesses in lines:
        names = ["" if name is None else name for name, _ in guesses]
        values = ["" if value is None else repr(float(value)) for _, value in guesses]
        table.writerow([f"{Path(path).stem}_{chunk}", path, chunk, chunk * 5.0, chunk * 5.0 + 5, 0, *names, *values])
    (folder / name).write_text(out.getvalue(), encoding="utf-8")
    return folder / name


def twin(guesses) -> list[tuple[str, float]]:
    """The guesses of one line up to the first that is not whole."""
    found = []
    for name, value in guesses:
        if name is None or value is None:
            break
        found.append((name, np.float32(value)))
    return found


class TestGuesses:
    @settings(max_examples=30, deadline=None)
    @given(lines=st.lists(line, min_size=1, max_size=12))
    def test_a_prediction_file_is_read_as_it_was_written(self, lines, tmp_path_factory) -> None:
        path = written(tmp_path_factory.mktemp("csv"), lines)
        assert top_k(str(path)) == K
        found = CheckpointGuesses(read_guesses(str(path), K), K)
        assert found.paths.to_pylist() == [p for p, _, _ in lines]
        assert found.chunks.tolist() == [c for _, c, _ in lines]
        for i, (_, _, guesses) in enumerate(lines):
            got = [(found.names[n], v) for n, v in zip(found.index[i], found.logit[i], strict=True) if n >= 0]
            assert got == twin(guesses)
            there = found.index[i] >= 0
            assert list(there) == sorted(there, reverse=True), "none after one that is missing"

    @settings(max_examples=30, deadline=None)
    @given(lines=st.lists(line, min_size=1, max_size=12), wanted=st.lists(line, max_size=12), same=st.booleans())
    def test_lines_are_found_by_path_and_number(self, lines, wanted, same, tmp_path_factory) -> None:
        path = written(tmp_path_factory.mktemp("csv"), lines)
        found = CheckpointGuesses(read_guesses(str(path), K), K)
        asked = [(p, c) for p, c, _ in (lines if same else wanted)]
        got = found.lines_of(
            pa.array([p for p, _ in asked], pa.string()), np.array([c for _, c in asked], np.int64)
        ).tolist()
        if asked == [(p, c) for p, c, _ in lines]:
            assert got == list(range(len(lines))), "the usual file: line for row"
            return
        last = {(p, c): i for i, (p, c, _) in enumerate(lines)}
        assert got == [last.get(key, -1) for key in asked]

    def test_scores_follow_the_model_s_rule(self) -> None:
        logits = np.array([[-30.0, 0.0, 10.309278, 40.0]], np.float32)
        two = [1 / (1 + math.exp(-(V2_SLOPE * float(v) + V2_INTERCEPT))) for v in logits[0]]
        one = [1 / (1 + math.exp(-float(v))) for v in logits[0]]
        assert np.allclose(scores("perch_v2", logits), [two], atol=1e-6)
        assert np.allclose(scores("perch_v1", logits), [one], atol=1e-6)
        assert scores("perch_v2", logits).dtype == np.float32
        assert "0.97" in score_rule("perch_v2")
        assert score_rule("perch_v1") == score_rule("placeholder") == "sigmoid(logit)"

    @pytest.mark.parametrize(
        "header,k",
        [
            ("file_path,chunk_idx,top1,score1", 1),
            ('"file_path","chunk_idx","top1","top2","score1","score2"', 2),
            ("file_path,chunk_idx,top1,top2,top4,score1,score2,score4", 2),
            ("file_path,chunk_idx,top1,top2,score1", 1),
        ],
    )
    def test_how_many_classes_a_row_has(self, tmp_path: Path, header: str, k: int) -> None:
        (tmp_path / "x.csv").write_text(f"{header}\r\n")
        assert top_k(str(tmp_path / "x.csv")) == k

    @pytest.mark.parametrize("text", ["", "\n", "file_path,top1,score1\n", "file_path,chunk_idx,top2,score2\n"])
    def test_headers_without_what_is_needed(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(Faulty):
            top_k(str(tmp_path / "x.csv"))

    def test_a_file_that_went_away(self, tmp_path: Path) -> None:
        with pytest.raises(Faulty):
            top_k(str(tmp_path / "x.csv"))
        with pytest.raises(Faulty):
            read_guesses(str(tmp_path / "x.csv"), 1)


class TestFiles:
    def touch(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def test_outputs_at_any_depth_and_none_inside_another(self, tmp_path: Path) -> None:
        for name in ("b/A4", "a", "c/d/e"):
            (tmp_path / name / EMBEDDINGS / "0").mkdir(parents=True)
        (tmp_path / "a" / EMBEDDINGS / "0" / EMBEDDINGS).mkdir()
        (tmp_path / "a" / "site" / EMBEDDINGS).mkdir(parents=True)  # a site below a folder that is an output itself
        found = [str(Path(p).relative_to(tmp_path)) for p in find_outputs(str(tmp_path))]
        assert found == ["a", "a/site", "b/A4", "c/d/e"]
        assert find_outputs(str(tmp_path / "a" / "site")) == [str(tmp_path / "a" / "site")]
        with pytest.raises(NotFound):
            find_outputs(str(tmp_path / "c" / "d" / "e" / EMBEDDINGS / "0"))

    def test_files_come_in_the_order_of_their_checkpoints(self, tmp_path: Path) -> None:
        for name in ("10", "9", "100", "checkpoint_id=11", "odd"):
            self.touch(tmp_path / EMBEDDINGS / name / "part-0.parquet")
        self.touch(tmp_path / EMBEDDINGS / "9" / "part-1.parquet")
        self.touch(tmp_path / EMBEDDINGS / "loose.parquet")
        self.touch(tmp_path / EMBEDDINGS / "9" / "notes.txt")
        found = wide_files(str(tmp_path), 4)
        order = [str(Path(f.path).relative_to(tmp_path / EMBEDDINGS)) for f in found]
        assert order == [
            "loose.parquet",
            "odd/part-0.parquet",
            "9/part-0.parquet",
            "9/part-1.parquet",
            "10/part-0.parquet",
            "checkpoint_id=11/part-0.parquet",
            "100/part-0.parquet",
        ]
        assert [f.checkpoint for f in found] == [-1, -1, 9, 9, 10, 11, 100]
        assert {f.output for f in found} == {4}
        assert Path(found[2].predictions).name == "checkpoint_0009.csv"

    @settings(max_examples=40, deadline=None)
    @given(
        rows=st.lists(
            st.tuples(st.sampled_from(["/d/a.WAV", "b", "ü"]), st.integers(0, 5000), st.integers(0, 160_000)),
            min_size=1,
            max_size=20,
        ),
        large=st.booleans(),
        groups=st.integers(1, 7),
    )
    def test_small_columns_are_what_pandas_reads(self, rows, large, groups, tmp_path_factory) -> None:
        path = tmp_path_factory.mktemp("small") / "x.parquet"
        text = pa.large_string() if large else pa.string()
        table = pa.table(
            {
                "file_path": pa.array([p for p, _, _ in rows], text),
                "chunk_idx": pa.array([c for _, c, _ in rows], pa.int32() if large else pa.int64()),
                "start_time": [c * 5.0 for _, c, _ in rows],
                "end_time": [c * 5.0 + v / 32_000 for _, c, v in rows],
                "emb_0": pa.array([0.0] * len(rows), pa.float32()),
            }
        )
        pq.write_table(table, path, row_group_size=groups)
        file, columns = open_wide(str(path))
        assert columns == ["emb_0"]
        read = [read_small(file, g, 32_000, 160_000) for g in range(file.num_row_groups)]
        assert [s.names[c] for s in read for c in s.code] == [p for p, _, _ in rows]
        assert [v for s in read for v in s.chunk.tolist()] == [c for _, c, _ in rows]
        assert [v for s in read for v in s.start.tolist()] == [c * 160_000 for _, c, _ in rows]
        assert [v for s in read for v in s.valid.tolist()] == [v for _, _, v in rows]

    def test_doubles_are_vectors_too(self, tmp_path: Path) -> None:
        folder = tmp_path / EMBEDDINGS / "0"
        folder.mkdir(parents=True)
        frame = pd.DataFrame(
            {
                "file_path": ["a"],
                "chunk_idx": [0],
                "start_time": [0.0],
                "end_time": [5.0],
                "emb_0": [0.25],
                "emb_1": [2.0],
            }
        )
        frame.to_parquet(folder / "part-0.parquet")
        rows = WideRows(wide_files(str(tmp_path), 0), "perch_v2", 0, set())
        assert rows.vectors(place_of(0, np.array([0, 0])), 2).tolist() == [[0.25, 2.0]] * 2


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    groups=st.integers(1, 5),
    held=st.sampled_from([0, 50, 400, 1 << 20]),
    data=st.data(),
)
def test_vectors_are_found_by_place(sizes, groups, held, data, tmp_path_factory) -> None:
    """Files of any size, row groups of any size, any amount of memory: the vector at each place."""
    from cluster.imports import perch_rows

    folder = tmp_path_factory.mktemp("rows")
    matrices = []
    for number, n in enumerate(sizes):
        matrix = (np.arange(n * 3, dtype=np.float32) + 100 * number).reshape(n, 3)
        matrices.append(matrix)
        columns = {"file_path": ["x"] * n, "chunk_idx": range(n), "start_time": [0.0] * n, "end_time": [0.0] * n}
        table = pa.table({k: list(v) for k, v in columns.items()} | {f"emb_{i}": matrix[:, i] for i in range(3)})
        path = folder / EMBEDDINGS / str(number) / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path, row_group_size=groups)
    files = wide_files(str(folder), 0)
    rows = WideRows(files, "perch_v2", 0, set())
    pairs = [(f, r) for f, n in enumerate(sizes) for r in range(n)]
    before = perch_rows._HELD_BYTES, perch_rows._BATCH_ROWS
    perch_rows._HELD_BYTES, perch_rows._BATCH_ROWS = held, 2
    try:
        for _ in range(3):
            asked = data.draw(st.lists(st.sampled_from(pairs), max_size=12))
            places = np.array([int(place_of(f, np.array([r]))[0]) for f, r in asked], np.int64)
            got = rows.vectors(places, 3)
            assert got.tolist() == [matrices[f][r].tolist() for f, r in asked]
    finally:
        perch_rows._HELD_BYTES, perch_rows._BATCH_ROWS = before
