"""``sonotheque import``: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.imports.report import ImportReport
from sonotheque.cli.importing import _progress, report_lines
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from tests.cluster.support import cli
from tests.imports.support import data_tree, do, make

GOLDEN = Path(__file__).parent / "golden" / "hoplite"
KEYS = {
    *("kind", "path", "store", "model", "dry_run", "rows", "recordings", "windows", "new", "changed", "settled"),
    *("duplicates", "left_out", "zero_vectors", "without_predictions", "without_time", "without_utc", "sites"),
    *("parts", "parts_written", "bytes_before", "bytes_after", "ratio", "bytes_per_window", "annotations", "damaged"),
    *("check", "sound", "snapshot", "notes", "wall_s"),
}


def test_a_folder_in_text_and_again_in_json(resumed: Path, tmp_path: Path) -> None:
    words = ("import", "perch-cpu-inference", resumed, "--store", tmp_path / "store", "--model", "placeholder")
    done = cli(*words, "--timezone", "Europe/London")
    assert done.returncode == 0, done.stderr
    assert "9 recordings with 93 windows of placeholder imported" in done.stdout
    assert "101 read, 8 duplicates left out (8 identical, 0 differing)" in done.stdout
    assert "cosine to the source at least" in done.stdout
    again = cli(*words, "--timezone", "Europe/London", "--json")
    found = json.loads(again.stdout)
    assert found.keys() == KEYS
    assert (found["settled"], found["parts_written"], found["duplicates"]["identical"]) == (9, 0, 8)
    assert found["bytes_before"]["total"] == found["bytes_before"]["embeddings"] + found["bytes_before"]["predictions"]
    for verb in (("verify", "--deep"), ("info",)):
        asked = cli(*verb, "--store", tmp_path / "store", "--json")
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["windows"] == 93


def test_a_database_and_a_dry_run(tmp_path: Path) -> None:
    done = cli("import", "hoplite", GOLDEN, "--store", tmp_path / "store", "--dry-run", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["windows"], done.stderr) == (11, "")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "words,error,told",
    [
        (("perch-cpu", "x"), Invalid, "did you mean perch-cpu-inference?"),
        (("hoplite", "nowhere"), NotFound, "has no hoplite.sqlite"),
        (("perch-cpu-inference", "nowhere"), NotFound, "is not a folder"),
        (("hoplite", str(GOLDEN), "--classes", "c.json"), Invalid, "--classes is an option of"),
        (("perch-cpu-inference", "x", "--project", "p"), Invalid, "--project is an option of"),
        (("hoplite", str(GOLDEN), "--dtype", "int8"), Invalid, "float16, float32"),
        (("hoplite", str(GOLDEN), "--timezone", "Mars"), Invalid, "Mars"),
    ],
)
def test_errors_have_their_exit_code_and_leave_nothing(tmp_path: Path, words, error, told) -> None:
    done = cli("import", *words, "--store", tmp_path / "store", "--json")
    assert done.returncode == error.exit_code
    assert told in json.loads(done.stdout)["error"]["message"]
    assert told in done.stderr
    assert not (tmp_path / "store").exists()


def test_damage_and_conflict_by_exit_code(output: Path, tmp_path: Path) -> None:
    words = ("import", "perch-cpu-inference", output, "--store", tmp_path / "store", "--model", "placeholder", "-q")
    assert cli(*words).returncode == 0
    before = data_tree(tmp_path / "store")
    make(output / "A4", {"/data/2025/A4/20250510_030000.WAV": 20.0}, resume=False)  # over checkpoint 0
    assert cli(*words).returncode == Conflict.exit_code
    (output / "A4" / "embeddings_partitioned" / "0" / "part-0.parquet").write_bytes(b"PAR1")
    assert cli(*words).returncode == Damaged.exit_code
    assert data_tree(tmp_path / "store") == before


def test_the_help_shows_examples_and_answers_at_once() -> None:
    done = cli("import", "--help")
    assert done.returncode == 0
    assert "sonotheque import perch-cpu-inference output/2025 --store archive" in done.stdout
    assert "sonotheque import hoplite my_db --store archive" in done.stdout


def test_a_check_that_fails_is_loud() -> None:
    report = ImportReport("hoplite", "db", "store", "perch_v2", bytes_before={"total": 10}, bytes_after=5)
    report.duplicates = {"identical": 0, "differing": 0}
    assert report.ok, "not asked for"
    good = {"recordings": 1, "windows": 2, "missing": 0, "cosine_min": 0.99995, "cosine_median": 1.0, "ok": True}
    report.check = good
    assert report.ok
    assert "NOT OK" not in "\n".join(report_lines(report))
    report.check = {**good, "missing": 3, "ok": False}
    assert not report.ok
    assert "NOT OK" in "\n".join(report_lines(report))
    assert "3 missing" in "\n".join(report_lines(report))


def test_the_check_finds_what_is_not_as_it_should_be(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that come out otherwise the second time: as if the store had kept something else."""
    from cluster.imports.perch_rows import WideRows

    do(output, tmp_path / "store")
    honest = WideRows.vectors
    monkeypatch.setattr(WideRows, "vectors", lambda self, places, dim: honest(self, places, dim)[:, ::-1].copy())
    report = do(output, tmp_path / "store")
    assert not report.ok
    assert report.check["cosine_min"] < 0.9
    assert do(output, tmp_path / "store", check=False).check is None


def test_progress_tells_now_and_then_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    told = _progress()
    for second in range(41):
        now[0] = 100.0 + second
        told("reading", second, 100)
    told("writing", 0, 10)
    now[0] += 20
    told("writing", 5, 10)
    told("writing", 10, 10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "reading  10%  10/100  1 min 30 s left"
    assert lines[3] == "reading  40%  40/100  1 min 0 s left"
    assert lines[4] == "writing  50%  5/10  20 s left"
