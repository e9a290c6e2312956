"""perch-cpu-inference output becomes a store: every window, its guesses, its place and time; rows that are there twice once."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.perch_folder import CLASSES, rows_of, vector_of, write_embeddings, write_predictions
from cluster.status import verify_store
from embedder.models.arrays import sigmoid
from sonotheque.core.errors import Conflict, Invalid, NotFound
from store import open_archive, read_config, read_snapshot, require_same
from tests.imports.support import (
    DIM,
    FILES,
    WINDOW_S,
    assert_same,
    cosine,
    data_tree,
    do,
    expected_of,
    ledger_entries,
    make,
    parts,
    stored,
)


def rewrite(path: Path, change) -> None:
    """Change a Parquet file's table and write it back as it was."""
    table = change(pq.read_table(path, partitioning=None))
    pq.write_table(table, path, compression="snappy")


def setting(name: str, values):
    return lambda t: t.set_column(
        t.schema.get_field_index(name), t.schema.field(name), [pa.array(values(t), t.schema.field(name).type)]
    )


def test_every_window_is_there_once_with_its_vector_and_its_guesses(resumed: Path, tmp_path: Path) -> None:
    report = do(resumed, tmp_path / "store")
    wanted = expected_of(resumed)
    assert len(wanted) == 6 * 10 + 3 * 11
    assert_same(stored(tmp_path / "store"), wanted)
    assert report.rows == 28 + 40 + 33
    assert report.windows == len(wanted)
    assert report.duplicates == {"identical": 8, "differing": 0}, (
        "ten rows of the third recording, two of them finished"
    )
    assert report.ok
    assert (report.check["windows"], report.check["missing"]) == (93, 0)
    assert report.check["cosine_min"] >= 0.9999
    found = verify_store(str(tmp_path / "store"), deep=True)
    assert (found.ok, found.windows, found.duplicate_windows, found.snapshot) == (True, 93, 0, 1)


def test_float32_on_request_is_exact(resumed: Path, tmp_path: Path) -> None:
    do(resumed, tmp_path / "store", dtype="float32")
    assert_same(stored(tmp_path / "store"), expected_of(resumed), "float32")


def test_a_halffloat_source_loses_nothing(tmp_path: Path) -> None:
    make(tmp_path / "out" / "A4", float16=True)
    report = do(tmp_path / "out", tmp_path / "store")
    wanted = expected_of(tmp_path / "out")
    found = stored(tmp_path / "store")
    assert all(np.array_equal(found[k].vector, wanted[k].vector) for k in wanted)
    assert report.check["cosine_min"] == 1.0


def test_it_is_an_ordinary_store_that_can_be_asked(resumed: Path, tmp_path: Path) -> None:
    do(resumed, tmp_path / "store", timezone="Europe/London")
    with open_archive(str(tmp_path / "store")) as archive:
        rows = archive.sql(
            "SELECT site, count(*) AS n, min(utc_start) AS first FROM embeddings GROUP BY site ORDER BY site"
        ).to_pylist()
        assert [(r["site"], r["n"]) for r in rows] == [("A4", 60), ("B1", 33)]
        assert rows[0]["first"].isoformat() == "2025-05-10T02:00:00+00:00", "British summer time"
        best = archive.sql("SELECT logit, score FROM predictions WHERE rank = 1").to_pylist()
        assert len(best) == 93
    logits = np.array([b["logit"] for b in best], np.float32)
    assert np.allclose([b["score"] for b in best], sigmoid(logits))


def test_what_the_model_is_and_what_is_not_known_of_it(resumed: Path, tmp_path: Path) -> None:
    report = do(resumed, tmp_path / "store")
    config = read_config(str(tmp_path / "store"))
    assert config.model.name == "placeholder"
    assert config.model.version == "imported from perch-cpu-inference"
    assert (config.model.weights_digest, config.model.classes_digest) == ("unknown", "unknown")
    assert (config.top_k, config.dtype) == (3, "float16")
    assert config.windows.hop_samples == config.windows.window_samples
    assert any("weights" in note for note in report.notes)


def test_real_weights_are_refused_by_a_message_that_says_why(tmp_path: Path) -> None:
    from dataclasses import replace

    rows = rows_of("/data/2025/A4/20250510_030000.WAV", 20.0)
    write_embeddings(tmp_path / "out" / "A4", 0, rows)
    do(tmp_path / "out", tmp_path / "store", model=None)
    there = read_config(str(tmp_path / "store"))
    assert (there.model.name, there.model.dim, there.model.n_classes) == ("perch_v2", 1536, 14_795)
    assert there.model.score_rule.startswith("sigmoid(0.97*logit - 10)")
    loaded = replace(there, model=replace(there.model, version="2", weights_digest="ab" * 32))
    with pytest.raises(Conflict, match=r"perch_v2 imported from perch-cpu-inference .weights unknown") as error:
        require_same(str(tmp_path / "store"), there, loaded)
    assert error.value.kind == "model_conflict"


def test_the_ledger_names_every_recording_and_where_it_came_from(resumed: Path, tmp_path: Path) -> None:
    do(resumed, tmp_path / "store", timezone="Europe/London")
    entries = ledger_entries(tmp_path / "store")
    assert len(entries) == 9
    entry = entries["A4/20250510_030000.WAV"]
    assert (entry["status"], entry["reason"]) == ("ok", "imported from perch-cpu-inference")
    assert (entry["size_bytes"], entry["mtime_ns"], entry["container"], entry["codec"]) == (0, 0, "", "")
    assert (entry["windows"], entry["duration_s"], entry["audio_s"]) == (10, 20.0, 20.0)
    assert entry["time"]["source"] == "name"
    assert entry["time"]["utc_start"] == "2025-05-10T02:00:00Z"
    assert entry["imported"]["name"] == "/data/2025/A4/20250510_030000.WAV"
    assert sum(e["imported"]["identical"] for e in entries.values()) == 8
    assert entry["top"]["score"] == max(
        e.guesses and float(sigmoid(np.array([e.guesses[0][1]]))[0])
        for k, e in stored(tmp_path / "store").items()
        if k[0] == "A4/20250510_030000.WAV"
    )
    assert entries["B1/20250510_030000.WAV"]["duration_s"] == 21.5


def test_the_same_again_changes_nothing_and_reports_the_same(resumed: Path, tmp_path: Path) -> None:
    first = do(resumed, tmp_path / "store")
    before = data_tree(tmp_path / "store")
    second = do(resumed, tmp_path / "store")
    assert data_tree(tmp_path / "store") == before
    assert (second.new, second.settled, second.parts_written) == (0, 9, 0)
    same = (
        "rows",
        "recordings",
        "windows",
        "duplicates",
        "left_out",
        "sites",
        "parts",
        "bytes_after",
        "check",
        "snapshot",
    )
    assert {k: getattr(second, k) for k in same} == {k: getattr(first, k) for k in same}


def test_parts_are_the_same_from_another_folder_and_into_another_store(resumed: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(resumed, tmp_path / "elsewhere" / "x")  # other modification times too
    do(resumed, tmp_path / "one")
    do(tmp_path / "elsewhere" / "x", tmp_path / "two")
    assert data_tree(tmp_path / "one") == data_tree(tmp_path / "two")


def test_one_site_first_and_all_later_gives_the_same_names(resumed: Path, tmp_path: Path) -> None:
    alone = do(resumed / "A4", tmp_path / "store")
    assert alone.sites == {"A4": 6}
    both = do(resumed, tmp_path / "store")
    assert (both.new, both.settled, both.windows) == (3, 6, 93)
    assert_same(stored(tmp_path / "store"), expected_of(resumed))


def test_of_differing_duplicates_the_last_written_is_kept(output: Path, tmp_path: Path) -> None:
    """Checkpoint 10 was written after checkpoint 2, whatever a sort of their names says."""
    rows = rows_of("/data/2025/A4/20250510_030000.WAV", 20.0, WINDOW_S)[:4]
    write_embeddings(output / "A4", 2, rows, seed=5, dim=DIM)
    write_embeddings(output / "A4", 10, rows[:3], seed=6, dim=DIM)
    report = do(output, tmp_path / "store")
    assert report.duplicates == {"identical": 0, "differing": 7}
    found = stored(tmp_path / "store")
    for i, seed in enumerate((6, 6, 6, 5, 0)):
        row = rows_of("/data/2025/A4/20250510_030000.WAV", 20.0, WINDOW_S)[i]
        got = found["A4/20250510_030000.WAV", i * WINDOW_S].vector
        assert np.array_equal(got, vector_of(row, seed, DIM).astype(np.float16))
    assert_same(found, expected_of(output))
    assert report.without_predictions == 4, "the rows that were kept have no CSV beside them"


def test_guesses_belong_to_the_row_that_was_kept(output: Path, tmp_path: Path) -> None:
    rows = rows_of("/data/2025/A4/20250510_030000.WAV", 20.0, WINDOW_S)[:4]
    write_embeddings(output / "A4", 7, rows[::-1], seed=5, dim=DIM)
    write_predictions(output / "A4", 7, [rows[1], rows[0], rows[3]], seed=5, top=3)  # another order, and one missing
    do(output, tmp_path / "store")
    found = stored(tmp_path / "store")
    assert_same(found, expected_of(output))
    assert [len(found["A4/20250510_030000.WAV", i * WINDOW_S].guesses) for i in range(5)] == [3, 3, 0, 3, 3]


def test_vectors_that_are_not_finite_are_left_out_and_counted(output: Path, tmp_path: Path) -> None:
    path = output / "A4" / "embeddings_partitioned" / "0" / "part-0.parquet"
    rewrite(
        path, setting("emb_7", lambda t: [np.nan if i in (0, 3) else v for i, v in enumerate(t["emb_7"].to_pylist())])
    )
    rewrite(
        path, setting("emb_9", lambda t: [np.inf if 10 <= i < 20 else v for i, v in enumerate(t["emb_9"].to_pylist())])
    )
    report = do(output, tmp_path / "store")
    assert report.left_out["nonfinite"] == 12
    assert report.windows == 48
    assert report.recordings == 6, "the one that lost all is still accounted for"
    entry = ledger_entries(tmp_path / "store")["A4/20250510_030500.WAV"]
    assert (entry["status"], entry["windows"]) == ("model_error", 0)
    assert "NaN" in entry["reason"]
    assert report.check["ok"]
    assert verify_store(str(tmp_path / "store"), deep=True).ok
    assert do(output, tmp_path / "store").settled == 6, "they are not tried again and again"


def test_a_finite_row_is_taken_before_a_later_one_that_is_not(output: Path, tmp_path: Path) -> None:
    rows = rows_of("/data/2025/A4/20250510_030000.WAV", 20.0, WINDOW_S)[:2]
    path = write_embeddings(output / "A4", 4, rows, dim=DIM)
    rewrite(path, setting("emb_1", lambda t: [np.nan] * 2))
    report = do(output, tmp_path / "store")
    assert (report.windows, report.left_out["nonfinite"], report.duplicates["differing"]) == (60, 0, 2)


def test_vectors_of_zeros_are_kept_and_said(output: Path, tmp_path: Path) -> None:
    path = output / "A4" / "embeddings_partitioned" / "0" / "part-0.parquet"
    for i in range(DIM):
        rewrite(path, setting(f"emb_{i}", lambda t, i=i: [0.0, *t[f"emb_{i}"].to_pylist()[1:]]))
    report = do(output, tmp_path / "store")
    assert (report.zero_vectors, report.windows, report.check["ok"]) == (1, 60, True)


def test_values_that_float16_cannot_hold_are_refused_with_the_way_out(output: Path, tmp_path: Path) -> None:
    path = output / "A4" / "embeddings_partitioned" / "0" / "part-0.parquet"
    rewrite(path, setting("emb_1", lambda t: [7e4, *t["emb_1"].to_pylist()[1:]]))
    from sonotheque.core.errors import Damaged

    with pytest.raises(Damaged, match=r"--dtype float32"):
        do(output, tmp_path / "store")
    assert do(output, tmp_path / "other", dtype="float32").windows == 60


@pytest.mark.parametrize("keep", [False, True])
def test_windows_with_less_than_a_second_of_sound(tmp_path: Path, keep: bool) -> None:
    files = {"/data/2025/A4/20250510_030000.WAV": 20.3, "/data/2025/A4/20250510_040000.WAV": 0.4}
    make(tmp_path / "out" / "A4", files)
    report = do(tmp_path / "out", tmp_path / "store", keep_short=keep)
    assert (report.windows, report.left_out["short"]) == ((12, 0) if keep else (10, 2))
    entry = ledger_entries(tmp_path / "store")["A4/20250510_040000.WAV"]
    assert entry["status"] == ("ok" if keep else "too_short")
    again = do(tmp_path / "out", tmp_path / "store")
    assert (again.settled, again.windows) == (2, report.windows), "the store remembers which windows it keeps"
    assert verify_store(str(tmp_path / "store")).ok


def test_without_predictions(output: Path, tmp_path: Path) -> None:
    for csv in output.rglob("*.csv"):
        csv.unlink()
    report = do(output, tmp_path / "store")
    assert report.without_predictions is None
    assert read_config(str(tmp_path / "store")).top_k == 0
    assert not (tmp_path / "store" / "predictions").exists()
    make(tmp_path / "more" / "B1", {"/data/2025/B1/20250510_030000.WAV": 20.0})
    later = do(tmp_path / "more", tmp_path / "store")
    assert any("made without predictions" in note for note in later.notes)
    asked = do(tmp_path / "more", tmp_path / "third", predictions=False)
    assert read_config(str(tmp_path / "third")).top_k == 0
    assert asked.windows == 10


def test_a_checkpoint_without_its_csv_has_no_predictions_and_that_is_said(output: Path, tmp_path: Path) -> None:
    (output / "A4" / "predictions_partitioned" / "checkpoint_0001.csv").unlink()
    report = do(output, tmp_path / "store")
    assert report.without_predictions == 28
    assert_same(stored(tmp_path / "store"), expected_of(output))


def test_the_class_list_is_checked_and_makes_a_digest(tmp_path: Path) -> None:
    from sonotheque.core.errors import Damaged
    from sonotheque.core.model_spec import classes_digest

    rows = rows_of("/data/2025/A4/20250510_030000.WAV", 10.0)
    write_embeddings(tmp_path / "out" / "A4", 0, rows)
    write_predictions(tmp_path / "out" / "A4", 0, rows)
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    do(tmp_path / "out", tmp_path / "store", model=None, classes=str(tmp_path / "classes.json"))
    assert read_config(str(tmp_path / "store")).model.classes_digest == classes_digest(CLASSES)
    (tmp_path / "other.json").write_text(json.dumps([c.replace("Genus", "Other") for c in CLASSES]))
    with pytest.raises(Damaged, match=r"not in the class list: 'Genus species"):
        do(tmp_path / "out", tmp_path / "x", model=None, classes=str(tmp_path / "other.json"))
    for text, what in (("{}", "JSON list"), ("[1]", "JSON list"), ("nonsense", "not a JSON"), ('["a"]', "1 names")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(Invalid, match=what):
            do(tmp_path / "out", tmp_path / "x", model=None, classes=str(tmp_path / "bad.json"))
    with pytest.raises(NotFound, match=r"gone.json"):
        do(tmp_path / "out", tmp_path / "x", model=None, classes=str(tmp_path / "gone.json"))


class TestTimesAndPlaces:
    def test_no_zone_no_utc_and_unparsed_names_are_counted(self, tmp_path: Path) -> None:
        files = {"/data/2025/A4/20250510_030000.WAV": 4.0, "/data/2025/A4/morning.WAV": 4.0}
        make(tmp_path / "out" / "A4", files)
        report = do(tmp_path / "out", tmp_path / "store")
        assert (report.without_time, report.without_utc) == (1, 1)
        assert {p.parent.name for p in parts(tmp_path / "store")} == {
            "date=2025-05-10",
            "date=__HIVE_DEFAULT_PARTITION__",
        }

    def test_a_clock_in_utc_at_a_site_with_a_zone(self, output: Path, tmp_path: Path) -> None:
        do(output, tmp_path / "store", timezone="America/Lima", clock_timezone="UTC")
        time = ledger_entries(tmp_path / "store")["A4/20250510_030000.WAV"]["time"]
        assert (time["local_start"], time["utc_start"]) == ("2025-05-09T22:00:00", "2025-05-10T03:00:00Z")
        assert parts(tmp_path / "store")[0].parent.name == "date=2025-05-09"

    def test_a_fixed_site_a_pattern_and_a_table_of_times(self, tmp_path: Path) -> None:
        make(tmp_path / "out" / "A4", {"/data/2025/A4/rec-2025_05_10-0300.WAV": 4.0, "/data/2025/A4/other.WAV": 4.0})
        (tmp_path / "times.csv").write_text("path,start\nA4/other.WAV,2025-05-11T01:00:00+01:00\n")
        do(
            tmp_path / "out",
            tmp_path / "store",
            site="Marley",
            time_pattern=r"rec-(?P<year>\d{4})_(?P<month>\d\d)_(?P<day>\d\d)-(?P<hour>\d\d)(?P<minute>\d\d)",
            times=str(tmp_path / "times.csv"),
        )
        entries = ledger_entries(tmp_path / "store")
        assert entries["A4/rec-2025_05_10-0300.WAV"]["time"]["local_start"] == "2025-05-10T03:00:00"
        assert entries["A4/other.WAV"]["time"]["source"] == "table"
        assert {p.parent.parent.name for p in parts(tmp_path / "store")} == {"site=Marley"}

    def test_a_table_of_deployments(self, output: Path, tmp_path: Path) -> None:
        (tmp_path / "deployments.csv").write_text(
            "deploymentID,site,latitude,longitude,timezone,folder\nd1,Great Wood,51.77,-1.33,Europe/London,A4\n"
        )
        do(output, tmp_path / "store", deployments=str(tmp_path / "deployments.csv"))
        entry = ledger_entries(tmp_path / "store")["A4/20250510_030000.WAV"]
        assert entry["deployment"] == "d1"
        assert (entry["device"]["latitude"], entry["device"]["longitude"]) == (51.77, -1.33)
        assert entry["time"]["zone"] == "Europe/London"
        assert parts(tmp_path / "store")[0].parent.parent.name == "site=Great%20Wood"

    def test_wrong_options_are_told_before_anything_is_read(self, output: Path, tmp_path: Path) -> None:
        for wrong in ({"timezone": "Mars/Olympus"}, {"time_pattern": "("}, {"site_from": "moon"}, {"dtype": "float8"}):
            with pytest.raises(Invalid):
                do(output, tmp_path / "store", **wrong)
        for table in ("deployments", "times", "recordings"):
            with pytest.raises(NotFound):
                do(output, tmp_path / "store", **{table: str(tmp_path / "nowhere")})
        assert not (tmp_path / "store").exists()

    def test_what_this_machine_has_where_the_paths_point_makes_no_difference(self, tmp_path: Path) -> None:
        """Without --recordings a file that happens to lie there is not looked at."""
        from tests.cluster.support import write_wav

        sound = tmp_path / "rec" / "A4" / "20250510_030000.WAV"
        sound.parent.mkdir(parents=True)
        write_wav(sound, 3.0)
        make(tmp_path / "out" / "A4", {str(sound): 4.0})
        do(tmp_path / "out", tmp_path / "one")
        sound.unlink()
        do(tmp_path / "out", tmp_path / "two")
        assert data_tree(tmp_path / "one") == data_tree(tmp_path / "two")
        assert ledger_entries(tmp_path / "one")["A4/20250510_030000.WAV"]["audio_s"] == 4.0


class TestRecordingsAtHand:
    @pytest.fixture
    def sounds(self, tmp_path: Path) -> Path:
        from tests.cluster.support import write_wav

        for path in list(FILES)[:4]:
            target = tmp_path / "sounds" / path.removeprefix("/data/2025/")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_wav(target, 20.0)
        return tmp_path / "sounds"

    def test_their_size_time_and_length_are_used(self, output: Path, sounds: Path, tmp_path: Path) -> None:
        report = do(output, tmp_path / "store", recordings=str(sounds))
        assert report.sound == {"found": 4, "missing": 2}
        entries = ledger_entries(tmp_path / "store")
        stat = (sounds / "A4" / "20250510_030000.WAV").stat()
        entry = entries["A4/20250510_030000.WAV"]
        assert (entry["size_bytes"], entry["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        assert abs(entry["audio_s"] - 20.0) < 1e-6
        assert entries["A4/20250510_032500.WAV"]["size_bytes"] == 0

    def test_a_later_embed_sees_them_as_done(self, output: Path, sounds: Path, tmp_path: Path) -> None:
        from cluster.options import EmbedOptions
        from cluster.run import prepare

        do(output, tmp_path / "store", recordings=str(sounds))
        plan = prepare(EmbedOptions((str(sounds),), str(tmp_path / "store"), workers=0)).plan
        assert (plan.files, plan.new, plan.settled) == (4, 0, 4)

    def test_a_later_embed_of_more_is_refused_for_its_weights(self, output: Path, sounds: Path, tmp_path: Path) -> None:
        from cluster.options import EmbedOptions
        from cluster.run import embed
        from tests.cluster.support import write_wav

        do(output, tmp_path / "store", recordings=str(sounds))
        write_wav(sounds / "A4" / "20250510_090000.WAV", 4.0)
        before = data_tree(tmp_path / "store")
        with pytest.raises(Conflict, match=r"imported from perch-cpu-inference") as error:
            embed(EmbedOptions((str(sounds),), str(tmp_path / "store"), workers=0))
        assert error.value.kind == "model_conflict"
        assert data_tree(tmp_path / "store") == before

    def test_found_later_they_replace_only_when_asked(self, output: Path, sounds: Path, tmp_path: Path) -> None:
        do(output, tmp_path / "store")
        with pytest.raises(Conflict, match=r"sound file is at hand now.*--replace"):
            do(output, tmp_path / "store", recordings=str(sounds))
        report = do(output, tmp_path / "store", recordings=str(sounds), replace=True)
        assert (report.changed, report.settled, report.windows) == (4, 2, 60)
        assert verify_store(str(tmp_path / "store"), deep=True).ok
        with open_archive(str(tmp_path / "store")) as archive:
            assert archive.sql("SELECT count(*) AS n FROM embeddings").to_pylist() == [{"n": 60}]
        after = do(output, tmp_path / "store")
        assert after.settled == 6, "an import without the sound does not undo one that had it"


class TestChanges:
    def test_a_run_that_went_on_replaces_only_when_asked(self, tmp_path: Path) -> None:
        make(tmp_path / "out" / "A4", kill_after=1)
        early = do(tmp_path / "out", tmp_path / "store")
        assert (early.recordings, early.windows) == (3, 28)
        make(tmp_path / "out" / "A4")
        before = data_tree(tmp_path / "store")
        with pytest.raises(Conflict, match=r"rows have changed since.*--replace") as error:
            do(tmp_path / "out", tmp_path / "store")
        assert error.value.kind == "path_conflict"
        assert data_tree(tmp_path / "store") == before, "met before anything was written"
        late = do(tmp_path / "out", tmp_path / "store", replace=True)
        assert (late.new, late.changed, late.settled, late.windows) == (3, 1, 2, 60)
        assert late.duplicates == {"identical": 8, "differing": 0}
        found = verify_store(str(tmp_path / "store"), deep=True)
        assert (found.ok, found.windows, found.superseded_windows) == (True, 60, 8)
        assert read_snapshot(str(tmp_path / "store")).live_rows == 60

    def test_after_compaction_what_was_imported_is_still_known(self, tmp_path: Path) -> None:
        """Rows have moved to another part: they are not imported again, and a newer version still takes their place."""
        from store.care import collect_garbage, compact

        make(tmp_path / "out" / "A4", kill_after=1)
        for site in ("B1", "C2"):
            make(tmp_path / "out" / site, {f"/data/2025/{site}/20250510_03{m:02d}00.WAV": 20.0 for m in (0, 5)})
            do(tmp_path / "out", tmp_path / "store")
            make(
                tmp_path / "out" / site / "more", {f"/data/2025/{site}/20250510_0400{m:02d}.WAV": 20.0 for m in (0, 5)}
            )
        do(tmp_path / "out", tmp_path / "store")
        root = str(tmp_path / "store")
        assert compact(root).made
        collect_garbage(root, grace_h=0.0, keep_snapshots=1)
        again = do(tmp_path / "out", tmp_path / "store")
        assert (again.new, again.changed, again.settled, again.windows) == (0, 0, 11, 108)
        make(tmp_path / "out" / "A4")
        late = do(tmp_path / "out", tmp_path / "store", replace=True)
        assert (late.new, late.changed, late.windows) == (3, 1, 140)
        found = verify_store(root, deep=True)
        assert (found.ok, found.windows, found.duplicate_windows) == (True, 140, 0)
        with open_archive(root) as archive:
            assert archive.sql("SELECT count(*) AS n FROM embeddings").to_pylist() == [{"n": 140}]

    def test_two_outputs_with_one_recording_are_refused(self, output: Path, tmp_path: Path) -> None:
        make(output / "copy", dict(list(FILES.items())[:1]))
        with pytest.raises(Conflict, match=r"would both be stored as A4/20250510_030000.WAV") as error:
            do(output, tmp_path / "store")
        assert "--prefix" in error.value.message
        assert not (tmp_path / "store").exists()

    def test_another_recording_of_the_same_name_is_refused(self, tmp_path: Path) -> None:
        """Imported one by one, both lie in a folder `Data`: the second must not take the first one's place."""
        for site in ("A4", "B1"):
            make(tmp_path / site, {f"/data/{site}/Data/20250510_030000.WAV": 20.0})
        do(tmp_path / "A4", tmp_path / "store")
        with pytest.raises(
            Conflict, match=r"Data/20250510_030000.WAV is in .* already, imported from .*A4/Data"
        ) as error:
            do(tmp_path / "B1", tmp_path / "store", replace=True)
        assert "--prefix" in error.value.message
        assert do(tmp_path / "B1", tmp_path / "store", prefix="B1").recordings == 1
        assert sorted(ledger_entries(tmp_path / "store")) == ["B1/Data/20250510_030000.WAV", "Data/20250510_030000.WAV"]

    def test_a_store_of_another_model_or_dtype_is_refused(self, output: Path, tmp_path: Path) -> None:
        do(output, tmp_path / "store")
        rows = rows_of("/data/2025/A4/20250510_030000.WAV", 10.0)
        write_embeddings(tmp_path / "big" / "A4", 0, rows)
        with pytest.raises(Conflict, match=r"placeholder") as error:
            do(tmp_path / "big", tmp_path / "store", model=None)
        assert error.value.kind == "model_conflict"
        with pytest.raises(Conflict, match=r"dtype: float16 there, float32 asked for"):
            do(output, tmp_path / "store", dtype="float32")

    def test_a_store_at_work_is_left_alone(self, output: Path, tmp_path: Path) -> None:
        from cluster.job import store_lock

        do(output, tmp_path / "store")
        with store_lock(str(tmp_path / "store")), pytest.raises(Conflict) as error:
            do(output, tmp_path / "store")
        assert error.value.kind == "busy"


def test_a_dry_run_counts_and_writes_nothing(resumed: Path, tmp_path: Path) -> None:
    report = do(resumed, tmp_path / "store", dry_run=True)
    assert not (tmp_path / "store").exists()
    assert (report.dry_run, report.recordings, report.windows, report.new) == (True, 9, 93, 9)
    assert report.duplicates == {"rows": 8}
    assert report.bytes_after is None
    assert (report.sites, report.without_time, report.without_utc) == ({"A4": 6, "B1": 3}, 0, 9)
    assert do(resumed, tmp_path / "store", dry_run=True, timezone="Europe/London").without_utc == 0
    do(resumed, tmp_path / "store")
    before = data_tree(tmp_path / "store")
    assert do(resumed, tmp_path / "store", dry_run=True).settled == 9
    assert data_tree(tmp_path / "store") == before


def test_progress_is_told_by_phase(resumed: Path, tmp_path: Path) -> None:
    from cluster.imports.run import import_into_store
    from tests.imports.support import options

    told: list[tuple[str, float, float]] = []
    import_into_store(options(resumed, tmp_path / "store"), lambda *words: told.append(words))
    assert list(dict.fromkeys(phase for phase, _, _ in told)) == ["reading", "describing", "writing"]
    for phase in ("reading", "describing", "writing"):
        done = [d for p, d, _ in told if p == phase]
        assert done == sorted(done)
        assert done[-1] == next(of for p, _, of in told if p == phase)
    assert told[-1][1:] == (93, 93)


def test_it_shrinks_as_asked(tmp_path: Path) -> None:
    """Full width and a full checkpoint, as the program writes them by default."""
    rows = [row for i in range(67) for row in rows_of(f"/data/2025/A4/20250510_00{i % 60:02d}{i // 60:02d}.WAV", 60.0)][
        :800
    ]
    write_embeddings(tmp_path / "out" / "A4", 0, rows)
    write_predictions(tmp_path / "out" / "A4", 0, rows)
    report = do(tmp_path / "out", tmp_path / "store", model=None)
    files = [
        p
        for name in ("embeddings_partitioned", "predictions_partitioned")
        for p in (tmp_path / "out").rglob(f"{name}/**/*")
        if p.is_file()
    ]
    before = sum(p.stat().st_size for p in files)
    after = sum(p.stat().st_size for name in ("embeddings", "predictions") for p in parts(tmp_path / "store", name))
    assert (report.bytes_before["total"], report.bytes_after) == (before, after)
    assert report.ratio == round(after / before, 4) <= 0.36
    found = stored(tmp_path / "store")
    source = np.stack([vector_of(row) for row in rows])
    ours = np.stack([found[row.file_path.removeprefix("/data/2025/"), row.start_time].vector for row in rows])
    least = cosine(ours, source).min()
    assert least >= 0.9999
    assert report.check["cosine_min"] >= 0.9999
    frame = pd.read_parquet(tmp_path / "out" / "A4" / "embeddings_partitioned" / "0")
    assert len(frame) == len(found) == 800


def test_times_in_the_ledger_are_the_names(output: Path, tmp_path: Path) -> None:
    do(output, tmp_path / "store")
    for path, entry in ledger_entries(tmp_path / "store").items():
        stem = Path(path).stem
        assert datetime.strptime(stem, "%Y%m%d_%H%M%S") == datetime.fromisoformat(entry["time"]["local_start"])
