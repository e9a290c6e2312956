"""The report's sums, and the pieces that make them: several imports in one store, what belongs to which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.imports import choosing, run
from cluster.imports.check import COSINE_MIN, _cosine
from cluster.imports.hoplite_model import model_of
from cluster.imports.options import HOPLITE, KINDS_OF_SOURCE, PERCH_CPU, ImportOptions
from sonotheque.cli.importing import report_lines
from sonotheque.core.errors import Conflict, Invalid
from store import read_snapshot
from tests.imports.support import FILES, assert_same, do, expected_of, make, parts, stored


def test_two_imports_in_one_store_add_up(output: Path, tmp_path: Path) -> None:
    first = do(output, tmp_path / "store")
    make(tmp_path / "more" / "B1", {"/data/2025/B1/20250510_030000.WAV": 20.0, "/data/2025/B1/x.WAV": 8.0})
    second = do(tmp_path / "more", tmp_path / "store")
    assert (first.windows, second.windows) == (60, 14)
    assert (second.recordings, second.new, second.sites) == (2, 2, {"B1": 2})
    assert (second.without_time, second.without_utc) == (1, 1)
    again = do(output, tmp_path / "store")
    assert (again.windows, again.bytes_after, again.parts) == (60, first.bytes_after, first.parts)
    size = sum(p.stat().st_size for name in ("embeddings", "predictions") for p in parts(tmp_path / "store", name))
    assert first.bytes_after + second.bytes_after == size == read_snapshot(str(tmp_path / "store")).bytes
    assert second.bytes_per_window == round(second.bytes_after / 14, 1)


def test_bytes_of_a_part_that_is_shared_are_shared(tmp_path: Path) -> None:
    """After compaction, rows of two imports lie in one part."""
    from store.care import compact

    names = list(FILES)
    make(tmp_path / "a" / "A4", {names[0]: 20.0, names[1]: 20.0})
    make(tmp_path / "b" / "A4", {names[2]: 20.0})
    do(tmp_path / "a", tmp_path / "store")
    do(tmp_path / "b", tmp_path / "store")
    assert compact(str(tmp_path / "store")).made == 1
    a, b = do(tmp_path / "a", tmp_path / "store"), do(tmp_path / "b", tmp_path / "store")
    whole = read_snapshot(str(tmp_path / "store")).bytes
    assert (a.parts, b.parts) == (1, 1)
    assert abs(a.bytes_after - whole * 2 / 3) <= 1
    assert abs(b.bytes_after - whole / 3) <= 1


def test_long_recordings_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One recording of many windows, some twice, some without guesses: the same rows however small the blocks are."""
    from benchmarks.perch_folder import rows_of, write_embeddings

    name = "/data/2025/A4/20250510_030000.WAV"
    make(tmp_path / "out" / "A4", {name: 90.0, name.replace("0300", "0400"): 7.0})
    write_embeddings(tmp_path / "out" / "A4", 50, rows_of(name, 90.0, 2.0)[10:25], seed=3, dim=64)
    wanted = expected_of(tmp_path / "out")
    trees = []
    for block in (1, 4, 10_000):
        monkeypatch.setattr(choosing, "BLOCK_ROWS", block)
        store = tmp_path / f"store{block}"
        report = do(tmp_path / "out", store)
        assert_same(stored(store), wanted)
        assert (report.duplicates["differing"], report.without_predictions) == (15, 15)
        trees.append({p.name: p.read_bytes() for p in parts(store)})
    assert trees[0] == trees[1] == trees[2]


def test_the_text_names_what_there_is_to_say(output: Path, tmp_path: Path) -> None:
    (output / "A4" / "predictions_partitioned" / "checkpoint_0002.csv").write_text("nonsense")
    report = do(output, tmp_path / "store", skip_damaged=True, recordings=str(tmp_path))
    text = "\n".join(report_lines(report))
    for words in (
        "6 new, 0 already in the store",
        "60 read, 0 duplicates left out",
        "predictions none for 4 windows",
        "6 with a local time and no zone (--timezone)",
        "0 files found, 6 not there",
        "checkpoint_0002.csv: its header lacks",
        "snapshot 1",
    ):
        assert words in text
    dry = "\n".join(report_lines(do(output, tmp_path / "store", skip_damaged=True, dry_run=True)))
    assert "would be imported" in dry
    assert "0 parts would be made" in dry


@given(
    a=st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
    b=st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
)
def test_cosine_against_its_definition(a, b) -> None:
    x, y = np.array([a], np.float32), np.array([b], np.float32)
    found = _cosine(x, y)[0]
    nx, ny = (sum(float(v) ** 2 for v in side) ** 0.5 for side in (a, b))
    if nx == 0 or ny == 0:
        assert np.isnan(found)
    else:
        dot = sum(float(p) * float(q) for p, q in zip(a, b, strict=True))
        assert found == pytest.approx(dot / nx / ny, abs=1e-6)


def test_float16_holds_vectors_closely_enough_down_to_small_values() -> None:
    """Why the bound on the cosine is no luck: it holds for any scale that a network's embeddings have."""
    rng = np.random.default_rng(3)
    for scale in (1e-3, 0.1, 10.0, 1e3):
        x = (scale * rng.standard_normal((200, 1536))).astype(np.float32)
        assert _cosine(x, x.astype(np.float16).astype(np.float32)).min() > COSINE_MIN


class TestOptions:
    def test_unknown_kinds_get_a_suggestion(self) -> None:
        with pytest.raises(Invalid, match="did you mean hoplite"):
            ImportOptions("hoplight", "x", "store")
        assert set(KINDS_OF_SOURCE) == {PERCH_CPU, HOPLITE}

    @pytest.mark.parametrize(
        "kind,option,value",
        [(HOPLITE, "classes", "c.json"), (PERCH_CPU, "project", "p"), (PERCH_CPU, "annotator", "me")],
    )
    def test_options_of_the_other_source_are_refused(self, kind: str, option: str, value: str) -> None:
        with pytest.raises(Invalid, match=f"--{option} is an option of"):
            ImportOptions(kind, "x", "store", **{option: value})

    def test_a_store_that_cannot_be_made(self, output: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Invalid, match="is not a folder"):
            do(output, tmp_path / "file")

    def test_a_store_with_a_damaged_part_is_left_alone(self, output: Path, tmp_path: Path) -> None:
        from sonotheque.core.errors import Damaged

        do(output, tmp_path / "store")
        part = parts(tmp_path / "store")[0]
        data = part.read_bytes()
        part.write_bytes(data[:-100])
        with pytest.raises(Damaged, match="sonotheque verify"):
            do(output, tmp_path / "store")
        part.write_bytes(data)
        assert do(output, tmp_path / "store").settled == 6

    def test_other_settings_of_the_store_are_named(self, output: Path, tmp_path: Path) -> None:
        do(output, tmp_path / "store")
        with pytest.raises(Conflict, match=r"valid_s_min: 1.0 there") as error:
            do(output, tmp_path / "store", keep_short=True)
        assert error.value.kind == "settings_conflict"

    def test_every_phase_is_told_without_anybody_listening(self, output: Path, tmp_path: Path) -> None:
        assert run.import_into_store(
            ImportOptions(PERCH_CPU, str(output), str(tmp_path / "store"), model="placeholder"), None
        ).ok


class TestModelOfMetadata:
    @given(
        metadata=st.dictionaries(
            st.sampled_from(["model_config", "audio_sources", "usearch_config"]),
            st.one_of(
                st.none(),
                st.just({}),
                st.just("free text"),
                st.fixed_dictionaries(
                    {},
                    optional={
                        "model_key": st.sampled_from(["", "perch_v2", "birdnet", "aves", "taxonomy_model_tf"]),
                        "model_config": st.one_of(
                            st.none(),
                            st.fixed_dictionaries(
                                {},
                                optional={
                                    "tfhub_path": st.sampled_from(["", "google/surfperch/TensorFlow2/1", "x/perch_v2"]),
                                    "tfhub_version": st.sampled_from([None, 1, 8]),
                                    "model_path": st.sampled_from(["", "V2.4/x.tflite", "V2.1/x.tflite"]),
                                    "sample_rate": st.sampled_from([None, 0, 16_000, 32_000]),
                                    "window_size_s": st.sampled_from([None, 0, 3.0, 5.0]),
                                },
                            ),
                        ),
                        "logits_key": st.sampled_from([None, "label"]),
                    },
                ),
            ),
        ),
        dim=st.sampled_from([8, 1024, 1280, 1536]),
    )
    def test_a_model_of_that_length_or_an_error_with_words(self, metadata, dim) -> None:
        try:
            found = model_of(metadata, dim, None)
        except Invalid as error:
            assert "database" in error.message
            return
        assert found.spec.dim == dim
        assert found.spec.window_samples > 0
        assert found.spec.version.startswith("imported from perch-hoplite")
        assert found.spec.weights_digest == "unknown"
        assert found.ours == (not found.spec.name.startswith("hoplite-"))
