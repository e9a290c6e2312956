"""A perch-hoplite database becomes a store: the golden one of the real package, and small ones with every known fault."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cluster.imports.hoplite_db import HopliteDb
from cluster.status import verify_store
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from store import open_archive, read_config
from store.annotations import AnnotationLog
from tests.imports.hoplite_maker import PERCH_V2, TINY, Maker, open_golden
from tests.imports.make_hoplite import vector
from tests.imports.support import data_tree, ledger_entries, parts, stored
from tests.imports.support import do as do_any

GOLDEN = Path(__file__).parent / "golden" / "hoplite"


def do(path: Path, store: Path, **more):
    return do_any(path, store, kind="hoplite", **more)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory):
    """The golden database, imported: (report, store)."""
    store = tmp_path_factory.mktemp("golden") / "store"
    return do(GOLDEN, store, timezone="Europe/London"), store


def told_by_sqlite() -> dict[tuple[str, float], tuple[int, float]]:
    """Path and start of every window that belongs to a recording -> (id, length); the last of several."""
    found = {}
    with open_golden() as db:
        for number, name, blob in db.execute(
            "SELECT w.id, r.filename, w.offsets FROM windows w JOIN recordings r ON r.id = w.recording_id ORDER BY w.id"
        ):
            start, end = np.frombuffer(blob, "<f8").tolist()
            found[name, start] = (number, end - start)
    return found


class TestGolden:
    def test_it_is_small_and_of_the_real_package(self) -> None:
        size = sum(p.stat().st_size for p in GOLDEN.iterdir())
        assert size <= 200_000
        with open_golden() as db:
            names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"deployments", "recordings", "windows", "annotations", "hoplite_metadata"} <= names

    def test_every_window_with_a_vector_is_there_once(self, golden) -> None:
        report, store = golden
        found, told = stored(store), told_by_sqlite()
        assert found.keys() == told.keys() - {("B1/20250510_030000.wav", 10.0)}, "one has no vector"
        for (path, start), row in found.items():
            variant = 1 if (path, start) == ("B1/20250510_030000.wav", 0.0) else 0  # written again, with another vector
            assert np.array_equal(row.vector, vector(path, start, variant).astype(np.float32))
            assert row.valid_s == told[path, start][1] == 5.0
        assert (report.windows, report.rows) == (11, 16)
        assert report.duplicates == {"identical": 3, "differing": 1}
        assert report.left_out["without_vector"] == 1
        assert report.left_out["orphan_windows"] == 2
        assert report.ok and report.check["cosine_min"] == 1.0

    def test_the_store_verifies_and_can_be_asked(self, golden) -> None:
        _, store = golden
        assert verify_store(str(store), deep=True).ok
        with open_archive(str(store)) as archive:
            rows = archive.sql("SELECT site, count(*) AS n FROM embeddings GROUP BY site ORDER BY site").to_pylist()
        assert rows == [{"site": "A4", "n": 7}, {"site": "B1", "n": 2}, {"site": "C2", "n": 2}]

    def test_the_model_is_read_from_its_metadata(self, golden) -> None:
        _, store = golden
        config = read_config(str(store))
        assert (config.model.name, config.model.dim, config.model.weights_digest) == ("perch_v2", 1536, "unknown")
        assert config.model.version == "imported from perch-hoplite (perch_v2_cpu 1)"
        assert config.windows.hop_samples == 160_000
        assert (config.top_k, config.decode["channels"]) == (0, "first")

    def test_places_and_times(self, golden) -> None:
        report, store = golden
        entries = ledger_entries(store)
        a4 = entries["A4/20250510_030000.wav"]
        assert (a4["device"]["latitude"], a4["device"]["longitude"]) == (51.7743, -1.3378)
        assert (a4["deployment"], a4["time"]["source"]) == ("A4", "table")
        assert a4["time"]["utc_start"] == "2025-05-10T02:00:00Z"
        assert entries["A4/20250510_040000.wav"]["time"]["source"] == "name"
        loose = entries["C2/20250511_030000.wav"]
        assert (loose["deployment"], "latitude" in loose["device"]) == (None, False)
        assert report.sites == {"A4": 2, "B1": 2, "C2": 1}

    def test_a_recording_without_windows_is_accounted_for(self, golden) -> None:
        entry = ledger_entries(golden[1])["B1/20250510_050000.wav"]
        assert (entry["status"], entry["windows"], entry["reason"]) == ("model_error", 0, "hoplite has no vector of it")

    def test_annotations_of_all_three_types(self, golden) -> None:
        report, store = golden
        rows = AnnotationLog(str(store)).current().to_pylist()
        told = [(r["path"], r["start_s"], r["end_s"], r["label"], r["judgement"], r["annotator"]) for r in rows]
        assert told == [
            ("A4/20250510_030000.wav", 0.0, 5.0, "turmer", "positive", "ana"),
            ("A4/20250510_030000.wav", 5.0, 10.0, "turmer", "negative", "ana"),
            ("A4/20250510_040000.wav", 2.5, 4.25, "eurrob1", "uncertain", "model:agile_v1"),
            ("B1/20250510_030000.wav", 0.0, 5.0, "Turdus merula", "positive", "perch-hoplite"),
        ]
        assert [r["provenance"] for r in rows] == ["ana", "ana", "model:agile_v1", "perch-hoplite"]
        assert {r["recording_id"] for r in rows} <= {e["recording_id"] for e in ledger_entries(store).values()}
        assert report.annotations == {"added": 4, "already_there": 0, "unmatched": 0}

    def test_the_same_again_changes_nothing(self, golden) -> None:
        first, store = golden
        before = data_tree(store)
        report = do(GOLDEN, store, timezone="Europe/London")
        assert data_tree(store) == before
        assert (report.new, report.settled, report.parts_written) == (0, 5, 0)
        assert report.annotations == {"added": 0, "already_there": 4, "unmatched": 0}
        assert AnnotationLog(str(store)).current().num_rows == 4
        assert (report.windows, report.duplicates, report.bytes_after) == (
            first.windows,
            first.duplicates,
            first.bytes_after,
        )

    def test_nothing_is_laid_beside_or_changed_in_the_database(self, tmp_path: Path) -> None:
        shutil.copytree(GOLDEN, tmp_path / "db")
        before = {p.name: p.read_bytes() for p in (tmp_path / "db").iterdir()}
        (tmp_path / "db").chmod(0o555)
        do(tmp_path / "db", tmp_path / "store")
        assert {p.name: p.read_bytes() for p in (tmp_path / "db").iterdir()} == before

    def test_the_file_itself_can_be_named_and_a_writer_s_log_is_read(self, tmp_path: Path) -> None:
        shutil.copytree(GOLDEN, tmp_path / "db")
        writer = sqlite3.connect(tmp_path / "db" / "hoplite.sqlite")
        writer.execute("UPDATE recordings SET datetime = '2025-05-10T04:04:04' WHERE id = 2")
        writer.commit()  # in the log, not in the file: somebody has the database open
        assert (tmp_path / "db" / "hoplite.sqlite-wal").stat().st_size
        do(tmp_path / "db" / "hoplite.sqlite", tmp_path / "store")
        writer.close()
        time = ledger_entries(tmp_path / "store")["A4/20250510_040000.wav"]["time"]
        assert time["local_start"] == "2025-05-10T04:04:04"

    def test_a_dry_run_writes_nothing(self, tmp_path: Path) -> None:
        report = do(GOLDEN, tmp_path / "store", dry_run=True)
        assert (report.windows, report.new, report.duplicates) == (11, 5, {"rows": 4})
        assert not (tmp_path / "store").exists()

    def test_annotations_can_be_left_out_or_given_a_name(self, tmp_path: Path) -> None:
        assert do(GOLDEN, tmp_path / "without", annotations=False).annotations == {}
        assert AnnotationLog(str(tmp_path / "without")).current().num_rows == 0
        do(GOLDEN, tmp_path / "named", annotator="Ana B.")
        rows = AnnotationLog(str(tmp_path / "named")).current().to_pylist()
        assert {r["annotator"] for r in rows} == {"Ana B."}
        assert {r["provenance"] for r in rows} == {"ana", "model:agile_v1", "perch-hoplite"}


class TestModels:
    def made(self, folder: Path, config, *, dim: int = 8, length_s: float = 2.0, **metadata) -> Path:
        maker = Maker(folder, dim=dim, config=config, **metadata)
        recording = maker.recording("A4/20250510_030000.wav")
        maker.window(recording, 0.0, length_s)
        return maker.done()

    @pytest.mark.parametrize(
        "config,dim,length_s,name",
        [
            (PERCH_V2, 1536, 5.0, "perch_v2"),
            ({"model_key": "perch_v2_onnx", "model_config": {"sample_rate": 32000}}, 1536, 5.0, "perch_v2"),
            (
                {
                    "model_key": "taxonomy_model_tf",
                    "model_config": {
                        "tfhub_path": "google/bird-vocalization-classifier/tensorFlow2/bird-vocalization-classifier",
                        "tfhub_version": 8,
                    },
                },
                1280,
                5.0,
                "perch_v1",
            ),
            ({"model_key": "perch_8", "model_config": {}}, 1280, 5.0, "perch_v1"),
            (
                {
                    "model_key": "birdnet",
                    "model_config": {"model_path": "gs://x/V2.4/BirdNET_GLOBAL_6K_V2.4_Model_FP16.tflite"},
                },
                1024,
                3.0,
                "birdnet_v2.4",
            ),
        ],
    )
    def test_known_ones(self, tmp_path: Path, config, dim, length_s, name) -> None:
        report = do(self.made(tmp_path / "db", config, dim=dim, length_s=length_s), tmp_path / "store")
        assert (report.model, report.windows) == (name, 1)

    def test_two_releases_are_two_models(self, tmp_path: Path) -> None:
        newer = {**PERCH_V2, "model_config": {**PERCH_V2["model_config"], "tfhub_version": 2}}
        do(self.made(tmp_path / "a", PERCH_V2, dim=1536, length_s=5.0), tmp_path / "store")
        with pytest.raises(Conflict, match=r"perch_v2_cpu 1.*perch_v2_cpu 2") as error:
            do(self.made(tmp_path / "b", newer, dim=1536, length_s=5.0), tmp_path / "store")
        assert error.value.kind == "model_conflict"

    def test_surfperch_is_not_taken_for_perch(self, tmp_path: Path) -> None:
        config = {
            "model_key": "taxonomy_model_tf",
            "model_config": {
                "tfhub_path": "google/surfperch/TensorFlow2/1",
                "sample_rate": 32000,
                "window_size_s": 5.0,
            },
        }
        report = do(self.made(tmp_path / "db", config, dim=1280, length_s=5.0), tmp_path / "store")
        assert report.model == "hoplite-surfperch"
        assert any("no model of this program" in note for note in report.notes)

    def test_one_that_this_program_does_not_have(self, tmp_path: Path) -> None:
        report = do(self.made(tmp_path / "db", None), tmp_path / "store")
        config = read_config(str(tmp_path / "store"))
        assert report.model == config.model.name == "hoplite-tiny_model"
        assert (config.model.sample_rate_hz, config.model.window_samples, config.model.n_classes) == (16_000, 32_000, 0)
        with open_archive(str(tmp_path / "store")) as archive:
            assert archive.sql("SELECT count(*) AS n FROM embeddings").to_pylist() == [{"n": 1}]

    def test_untold_ones_must_be_named(self, tmp_path: Path) -> None:
        db = self.made(tmp_path / "db", {})
        with pytest.raises(Invalid, match=r"does not say which model.*--model, one of perch_v2 \(1,536-d\)"):
            do(db, tmp_path / "store")
        with pytest.raises(Invalid, match=r"holds 8-d vectors; perch_v2 has 1,536"):
            do(db, tmp_path / "store", model="perch_v2")
        with pytest.raises(NotFound, match="perch_v2"):
            do(db, tmp_path / "store", model="perch2")
        named = self.made(tmp_path / "named", {}, dim=64)
        assert do(named, tmp_path / "store", model="placeholder").model == "placeholder"

    def test_lengths_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match=r"holds 8-d vectors; perch_v2 has 1,536"):
            do(self.made(tmp_path / "db", PERCH_V2), tmp_path / "store")

    def test_logits_are_no_embeddings(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match=r"holds logits \(label\)"):
            do(self.made(tmp_path / "db", {**TINY, "logits_key": "label"}), tmp_path / "store")


class TestBirdnetAnalyzer:
    def made(self, folder: Path, **settings) -> Path:
        told = {"BANDPASS_FMIN": 0, "BANDPASS_FMAX": 15000, "AUDIO_SPEED": 1.0, "AUDIO_ROOT": "/data", **settings}
        maker = Maker(folder, dim=1024, config={}, birdnet_analyzer_settings=told)
        deployment = maker.deployment("birdnet_default", "birdnet_analyzer_dataset")
        recording = maker.recording("2025\\A4\\20250510_030000.wav", deployment)
        for start, end in ((0.0, 3.0), (1.5, 4.5), (3.0, 5.5)):
            maker.window(recording, start, end)
        return maker.done()

    def test_its_databases_are_known_by_their_settings(self, tmp_path: Path) -> None:
        report = do(self.made(tmp_path / "db"), tmp_path / "store", site_from="folder")
        assert (report.model, report.windows) == ("birdnet_v2.4", 3)
        config = read_config(str(tmp_path / "store"))
        assert config.model.version == "imported from perch-hoplite (BirdNET-Analyzer)"
        assert config.windows.hop_samples == 72_000, "half a window: an overlap of 1.5 s"
        entry = ledger_entries(tmp_path / "store")["2025/A4/20250510_030000.wav"]
        assert (entry["deployment"], entry["duration_s"]) == (None, 5.5)
        assert {p.parent.parent.name for p in parts(tmp_path / "store")} == {"site=2025"}
        assert {v.valid_s for v in stored(tmp_path / "store").values()} == {3.0, 2.5}

    def test_a_band_is_another_model_and_another_speed_is_refused(self, tmp_path: Path) -> None:
        do(self.made(tmp_path / "band", BANDPASS_FMIN=500), tmp_path / "store")
        assert "500-15000 Hz" in read_config(str(tmp_path / "store")).model.version
        with pytest.raises(Conflict, match="500-15000 Hz"):
            do(self.made(tmp_path / "whole"), tmp_path / "store")
        with pytest.raises(Invalid, match=r"audio speed 0.1.*not guessed"):
            do(self.made(tmp_path / "slow", AUDIO_SPEED=0.1), tmp_path / "other")


class TestWindows:
    @pytest.fixture
    def maker(self, tmp_path: Path) -> Maker:
        return Maker(tmp_path / "db")

    def test_the_hop_follows_from_the_data(self, maker: Maker, tmp_path: Path) -> None:
        a, b = maker.recording("s/a.wav"), maker.recording("s/b.wav")
        maker.windows(a, [0.0, 0.5, 1.0, 1.5, 10.0])
        maker.windows(b, [0.0, 2.0])
        do(maker.done(), tmp_path / "store")
        assert read_config(str(tmp_path / "store")).windows.hop_samples == 8_000
        assert {start for _, start in stored(tmp_path / "store")} == {0.0, 0.5, 1.0, 1.5, 2.0, 10.0}

    def test_gaps_are_no_hop(self, maker: Maker, tmp_path: Path) -> None:
        maker.windows(maker.recording("s/a.wav"), [0.0, 60.0, 120.0])
        do(maker.done(), tmp_path / "store")
        assert read_config(str(tmp_path / "store")).windows.hop_samples == 32_000

    def test_starts_are_rounded_to_samples_and_jitter_makes_no_second_window(
        self, maker: Maker, tmp_path: Path
    ) -> None:
        recording = maker.recording("s/a.wav")
        first = float(np.float32(2.1))  # older databases kept float32
        maker.window(recording, first)
        last = maker.window(recording, 2.1)
        do(maker.done(), tmp_path / "store")
        found = stored(tmp_path / "store")
        assert [start for _, start in found] == [33_600 / 16_000]
        assert np.array_equal(next(iter(found.values())).vector, maker.vectors[last].astype(np.float32))

    def test_parts_of_a_window_keep_their_length(self, maker: Maker, tmp_path: Path) -> None:
        recording = maker.recording("s/a.wav")
        maker.window(recording, 0.0, 1.25)
        maker.window(recording, 2.0, 2.5)
        report = do(maker.done(), tmp_path / "store")
        assert [v.valid_s for v in stored(tmp_path / "store").values()] == [1.25]
        assert report.left_out["short"] == 1

    def test_windows_beyond_the_end_of_the_sound(self, maker: Maker, tmp_path: Path) -> None:
        """perch-hoplite pads a short tail and writes the model's full length; only the sound can tell."""
        from tests.cluster.support import write_wav

        for name in ("a", "b"):
            maker.windows(maker.recording(f"s/{name}.wav"), [0.0, 2.0, 4.0, 6.0, 8.0])
        (tmp_path / "sound" / "s").mkdir(parents=True)
        write_wav(tmp_path / "sound" / "s" / "a.wav", 5.5)
        report = do(maker.done(), tmp_path / "store", recordings=str(tmp_path / "sound"))
        found = stored(tmp_path / "store")
        assert {k[1]: v.valid_s for k, v in found.items() if k[0] == "s/a.wav"} == {0.0: 2.0, 2.0: 2.0, 4.0: 1.5}
        assert sum(k[0] == "s/b.wav" for k in found) == 5
        assert report.left_out["beyond_end"] == 2
        assert report.sound == {"found": 1, "missing": 1}
        assert ledger_entries(tmp_path / "store")["s/a.wav"]["duration_s"] == 5.5

    @pytest.mark.parametrize(
        "start,end,blob,why",
        [
            (0.0, 0.0, b"12345678", "not two float64"),
            (0.0, 0.0, b"", "not two float64"),
            (0.0, 0.0, "text", "not two float64"),
            (-1.0, 1.0, None, "span is -1 to 1 s"),
            (3.0, 3.0, None, "span is 3 to 3 s"),
            (5.0, 3.0, None, "span is 5 to 3 s"),
            (0.0, float("nan"), None, "0 to nan s"),
            (0.0, float("inf"), None, "0 to inf s"),
            (0.0, 2.5, None, "have 2 s at most"),
        ],
    )
    def test_spans_that_cannot_be(self, maker: Maker, tmp_path: Path, start, end, blob, why) -> None:
        recording = maker.recording("s/a.wav")
        maker.windows(recording, [0.0, 2.0])
        bad = maker.window(recording, start, end, blob=blob)
        db = maker.done()
        with pytest.raises(Damaged, match=rf"window {bad}: .*{why}") as error:
            do(db, tmp_path / "store")
        assert "--skip-damaged" in error.value.message
        assert not (tmp_path / "store").exists()
        report = do(db, tmp_path / "store", skip_damaged=True)
        assert (report.windows, report.left_out["unusable"]) == (2, 1)

    def test_vectors_that_are_not_finite_or_all_zeros(self, maker: Maker, tmp_path: Path) -> None:
        recording = maker.recording("s/a.wav")
        maker.window(recording, 0.0, vector=[np.nan] * 8)
        maker.window(recording, 2.0, vector=[0.0] * 8)
        maker.window(recording, 4.0, vector=[1.0] * 7 + [np.inf])
        maker.window(recording, 6.0)
        report = do(maker.done(), tmp_path / "store")
        assert (report.windows, report.left_out["nonfinite"], report.zero_vectors) == (2, 2, 1)
        assert report.ok

    def test_vectors_without_a_window_are_counted(self, maker: Maker, tmp_path: Path) -> None:
        maker.windows(maker.recording("s/a.wav"), [0.0])
        maker.index.add(99, np.ones(8, np.float16))
        assert do(maker.done(), tmp_path / "store").left_out["vectors_without_window"] == 1

    def test_a_database_without_recordings_is_nothing(self, maker: Maker, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="holds no recording"):
            do(maker.done(), tmp_path / "store")
        assert not (tmp_path / "store").exists()

    def test_many_pages(self, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cluster.imports import hoplite, hoplite_db, index, run

        for module in (hoplite, hoplite_db, index):
            monkeypatch.setattr(module, "_PAGE", 3)
        monkeypatch.setattr(run, "_ANNOTATIONS_A_TIME", 2)
        for i in range(10):
            recording = maker.recording(f"s/{i}.wav")
            maker.windows(recording, [0.0, 2.0, 4.0])
            maker.annotation(recording, 0.0, 1.0, "x")
        report = do(maker.done(), tmp_path / "store")
        assert (report.recordings, report.windows, report.annotations["added"]) == (10, 30, 10)
        found = stored(tmp_path / "store")
        for number, held in maker.vectors.items():
            key = f"s/{(number - 1) // 3}.wav", ((number - 1) % 3) * 2.0
            assert np.array_equal(found[key].vector, held.astype(np.float32))


class TestPlaces:
    def test_names_of_deployments_projects_and_folders(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        own, named = maker.deployment("p", "p"), maker.deployment("North hut", "p", 10.0, 20.0)
        for filename, deployment in (
            ("20250510_030000.wav", own),  # what the package itself writes for a file without a folder
            ("20250510_040000.wav", named),
            ("x/20250510_050000.wav", named),
            ("y/20250510_060000.wav", None),
        ):
            maker.windows(maker.recording(filename, deployment), [0.0])
        report = do(maker.done(), tmp_path / "store")
        assert sorted(ledger_entries(tmp_path / "store")) == [
            "20250510_030000.wav",
            "North hut/20250510_040000.wav",
            "x/20250510_050000.wav",
            "y/20250510_060000.wav",
        ]
        assert report.sites == {"North hut": 2, "p": 1, "y": 1}

    def test_what_the_user_says_comes_first(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        maker.windows(maker.recording("x/20250510_030000.wav", maker.deployment("d", "p", 1.0, 2.0)), [0.0])
        db = maker.done()
        assert do(db, tmp_path / "a", site="mine").sites == {"mine": 1}
        assert do(db, tmp_path / "b", site_from="folder").sites == {"x": 1}
        (tmp_path / "table.csv").write_text("deploymentID,site,latitude,longitude\nx,Wood,50.5,7.5\n")
        assert do(db, tmp_path / "c", deployments=str(tmp_path / "table.csv")).sites == {"Wood": 1}
        entry = ledger_entries(tmp_path / "c")["x/20250510_030000.wav"]
        assert (entry["deployment"], entry["device"]["latitude"]) == ("x", 50.5)
        (tmp_path / "times.csv").write_text("path,start\nx/20250510_030000.wav,2025-01-01T00:00:00Z\n")
        do(db, tmp_path / "d", times=str(tmp_path / "times.csv"))
        assert ledger_entries(tmp_path / "d")["x/20250510_030000.wav"]["time"]["utc_start"] == "2025-01-01T00:00:00Z"

    def test_two_deployments_with_one_path_are_refused_and_projects_can_be_told_apart(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        for project in ("spring", "autumn"):
            recording = maker.recording("x/20250510_030000.wav", maker.deployment("d", project))
            maker.windows(recording, [0.0, 2.0])
            maker.annotation(recording, 0.0, 2.0, project)
        db = maker.done()
        with pytest.raises(Conflict, match=r"would both be stored as x/20250510_030000.wav.*--prefix"):
            do(db, tmp_path / "store")
        for project in ("spring", "autumn"):
            report = do(db, tmp_path / "store", project=project, prefix=project)
            assert (report.recordings, report.windows, report.annotations["added"]) == (1, 2, 1)
        assert len(stored(tmp_path / "store")) == 4
        labels = AnnotationLog(str(tmp_path / "store")).current().to_pylist()
        assert {(r["path"].split("/")[0], r["label"]) for r in labels} == {("spring", "spring"), ("autumn", "autumn")}
        with pytest.raises(NotFound, match="--project summer: the database has autumn, spring"):
            do(db, tmp_path / "store", project="summer")

    def test_absolute_paths_lose_what_they_share(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        for name in ("/data/2025/A4/a.wav", "/data/2025/B1/a.wav"):
            maker.windows(maker.recording(name), [0.0])
        db = maker.done()
        do(db, tmp_path / "store")
        assert sorted(ledger_entries(tmp_path / "store")) == ["A4/a.wav", "B1/a.wav"]
        do(db, tmp_path / "other", root="/data")
        assert sorted(ledger_entries(tmp_path / "other")) == ["2025/A4/a.wav", "2025/B1/a.wav"]

    def test_a_datetime_that_is_none_is_said_and_the_name_speaks(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        maker.windows(maker.recording("x/20250510_030000.wav", None, "last spring"), [0.0])
        report = do(maker.done(), tmp_path / "store")
        assert any("no ISO 8601" in note for note in report.notes)
        assert ledger_entries(tmp_path / "store")["x/20250510_030000.wav"]["time"]["source"] == "name"


class TestAnnotations:
    @pytest.mark.parametrize(
        "given,why",
        [
            ({"kind": 3}, "label_type is 3"),
            ({"kind": "1"}, None),  # SQLite makes an integer of it
            ({"label": "  "}, "label is empty"),
            ({"start_s": 2.0, "end_s": 2.0}, "end after the start"),
            ({"start_s": -1.0}, "begins before"),
            ({"end_s": float("nan")}, "finite"),
            ({"blob": b"123"}, "not two float64"),
        ],
    )
    def test_ones_that_cannot_be(self, tmp_path: Path, given, why) -> None:
        maker = Maker(tmp_path / "db")
        recording = maker.recording("s/a.wav")
        maker.windows(recording, [0.0])
        maker.annotation(recording, 0.0, 1.0, "good", 2)
        maker.annotation(recording, **{"start_s": 0.0, "end_s": 1.0, "label": "other", **given})
        db = maker.done()
        if why is None:
            assert do(db, tmp_path / "store").annotations["added"] == 2
            return
        with pytest.raises(Damaged, match=f"annotation 2: .*{why}"):
            do(db, tmp_path / "store")
        report = do(db, tmp_path / "store", skip_damaged=True)
        assert report.annotations == {"added": 1, "already_there": 0, "unmatched": 0}
        assert report.left_out["unusable"] == 1

    def test_new_ones_are_added_later(self, tmp_path: Path) -> None:
        maker = Maker(tmp_path / "db")
        recording = maker.recording("s/a.wav")
        maker.windows(recording, [0.0])
        maker.annotation(recording, 0.0, 1.0, "a")
        db = maker.done()
        do(db, tmp_path / "store")
        with sqlite3.connect(db / "hoplite.sqlite") as later:
            later.execute(
                "INSERT INTO annotations (recording_id, offsets, label, label_type, provenance) "
                "SELECT recording_id, offsets, 'b', 0, 'cleo' FROM annotations"
            )
        assert do(db, tmp_path / "store").annotations == {"added": 1, "already_there": 1, "unmatched": 0}


class TestDamage:
    def spoilt(self, tmp_path: Path) -> Path:
        shutil.copytree(GOLDEN, tmp_path / "db")
        return tmp_path / "db"

    @pytest.mark.parametrize("size", [0, 3, 64, 5_000, 54_000])
    def test_a_usearch_index_that_is_cut_short(self, tmp_path: Path, size: int) -> None:
        db = self.spoilt(tmp_path)
        os.truncate(db / "usearch.index", size)
        with pytest.raises(Damaged, match=r"usearch.index"):
            do(db, tmp_path / "store")
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize("size", [0, 100, 5_000, 30_000])
    def test_a_sqlite_file_that_is_cut_short(self, tmp_path: Path, size: int) -> None:
        db = self.spoilt(tmp_path)
        os.truncate(db / "hoplite.sqlite", size)
        with pytest.raises((Damaged, Invalid), match=r"hoplite.sqlite"):
            do(db, tmp_path / "store")
        assert not (tmp_path / "store").exists()

    def test_files_that_are_something_else(self, tmp_path: Path) -> None:
        db = self.spoilt(tmp_path)
        (db / "hoplite.sqlite").write_bytes(b"no database at all" * 1000)
        with pytest.raises(Damaged, match="cannot be read"):
            do(db, tmp_path / "store")
        (db / "usearch.index").unlink()
        with pytest.raises(NotFound, match=r"has no usearch.index"):
            do(db, tmp_path / "store")
        with pytest.raises(NotFound, match=r"has no hoplite.sqlite"):
            do(tmp_path, tmp_path / "store")

    def test_databases_of_other_programs_and_older_versions(self, tmp_path: Path) -> None:
        db = self.spoilt(tmp_path)
        with sqlite3.connect(db / "hoplite.sqlite") as spoiler:
            spoiler.execute("ALTER TABLE windows RENAME COLUMN offsets TO elsewhere")
        with pytest.raises(Invalid, match="table windows has no column offsets"):
            do(db, tmp_path / "store")
        with sqlite3.connect(db / "hoplite.sqlite") as spoiler:
            spoiler.execute("DROP TABLE windows")
        with pytest.raises(Invalid, match="it has no table windows"):
            do(db, tmp_path / "store")
        with sqlite3.connect(db / "hoplite.sqlite") as spoiler:
            spoiler.execute("CREATE TABLE hoplite_embeddings (id INTEGER)")
        with pytest.raises(Invalid, match=r"before 1.0.*migration"):
            do(db, tmp_path / "store")

    def test_extra_columns_and_metadata_that_is_no_json_are_no_fault(self, tmp_path: Path) -> None:
        db = self.spoilt(tmp_path)
        with sqlite3.connect(db / "hoplite.sqlite") as more:
            more.execute("ALTER TABLE recordings ADD COLUMN habitat TEXT")
            more.execute("INSERT INTO hoplite_metadata VALUES ('note', 'free text')")
        assert HopliteDb(str(db)).metadata()["note"] == "free text"
        assert do(db, tmp_path / "store").windows == 11
