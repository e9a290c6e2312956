"""The verb: what it prints, its exit codes, its flags."""

from __future__ import annotations

import json
import shutil

import pytest

from search_api.export_options import FORMS
from tests.cluster.support import cli


def test_help_names_every_export():
    shown = cli("export", "--help").stdout
    words = " ".join(shown.split())
    for what, forms in FORMS.items():
        assert what in words
        assert all(form in words for form in forms)
    assert "--until DATE" in words
    assert words.count("--to FORMAT") == 1
    assert "--to DATE" not in words


def test_an_export_says_what_it_wrote(made, tmp_path):
    done = cli("export", "predictions", "--store", made.store, "--to", "tidy", "--out", tmp_path / "t.csv", "--top", 1)
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "t.csv").read_text().count("\n") - 1
    assert done.stdout == f"{rows:,} rows written to {tmp_path / 't.csv'} (predictions as tidy, snapshot 1)\n"
    assert done.stderr == ""


def test_json_has_stable_keys(made, tmp_path):
    done = cli(
        *("export", "predictions", "--store", made.store, "--to", "raven-combined", "--out", tmp_path / "a.txt"),
        *("--site", "north", "--min-score", "0.2", "--max-rank", "2", "--json"),
    )
    found = json.loads(done.stdout)
    assert list(found) == ["what", "format", "out", "rows", "files", "snapshot", "filter", "notes", "failures"]
    assert found["filter"] == {"sites": ["north"], "score_min": 0.2, "rank_max": 2}
    assert (found["files"], found["out"]) == (2, str(tmp_path / "a.txt"))


def test_clips_that_fail_give_exit_3_and_a_list(made, tmp_path):
    shutil.copytree(made.recordings, tmp_path / "moved")
    (tmp_path / "moved" / "north" / "20240501_040000.wav").write_bytes(b"")
    given = (
        "export",
        "clips",
        "--store",
        made.store,
        "--to",
        "wav",
        "--site",
        "north",
        "--recordings",
        tmp_path / "moved",
    )
    done = cli(*given, "--out", tmp_path / "c.zip")
    assert done.returncode == 3
    assert "failures.csv lists them all" in done.stderr
    assert "north/20240501_040000.wav at 0 s: empty" in done.stderr or "changed" in done.stderr
    found = json.loads(cli(*given, "--out", tmp_path / "d.zip", "--json").stdout)
    assert {f["path"] for f in found["failures"]} == {"north/20240501_040000.wav"}


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("windows", "--to", "xlsx"), 2, "there are: csv, parquet"),
        (("window", "--to", "csv"), 2, "did you mean windows"),
        (("predictions", "--to", "csv", "--site", "nord"), 4, "did you mean north"),
        (("predictions", "--to", "csv", "--top", "1", "--max-rank", "2"), 2, "leave one out"),
        (("clips", "--to", "wav", "--recordings", "/nowhere"), 4, "--recordings DIR"),
        (("predictions", "--to", "csv", "--columns", "lat,longitude"), 2, "no such column"),
    ],
)
def test_refusals(made, tmp_path, flags, code, said):
    done = cli("export", *flags, "--store", made.store, "--out", tmp_path / "o")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_a_conflict(made, tmp_path):
    (tmp_path / "w.csv").write_text("mine")
    given = ("export", "windows", "--store", made.store, "--to", "csv", "--out", tmp_path / "w.csv")
    done = cli(*given, "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["kind"] == "conflict"
    assert cli(*given, "--overwrite").returncode == 0


def test_damaged_parts_are_an_error_or_left_out(made, tmp_path):
    store = shutil.copytree(made.store, tmp_path / "store")
    part = sorted((store / "embeddings" / "site=north").rglob("*.parquet"))[0]
    part.write_bytes(b"\0" * 200 + part.read_bytes()[200:])
    shutil.rmtree(store / "catalog")
    given = ("export", "embeddings", "--store", store, "--to", "npy", "--json", "--out")
    refused = cli(*given, tmp_path / "a.npy")
    assert refused.returncode == 7
    assert not (tmp_path / "a.npy").exists()
    done = cli(*given, tmp_path / "b.npy", "--skip-damaged")
    assert done.returncode == 0, done.stderr
    assert "left out, damaged: embeddings/site=north" in done.stderr
    kept = made.rows(f"SELECT count(*) n FROM windows WHERE part_id <> '{part.stem.removeprefix('part-')}'")[0]["n"]
    assert json.loads(done.stdout)["rows"] == kept


def test_an_export_of_everything_says_so(made, tmp_path):
    done = cli("export", "predictions", "--store", made.store, "--to", "csv", "--out", tmp_path / "o.csv")
    assert "--top 1 or --min-score narrow them" in done.stderr
