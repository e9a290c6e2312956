"""A folder of sites: what is one, where the output may lie, and the sums by site."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from cluster.job import JobFolder
from cluster.sites import SiteSum, find_sites, require_apart, site_sums, write_sites
from cluster.stopping import stop_now
from sonotheque.cli.batch import site_lines, sums_lines
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from tests.batch.kit import make_sites
from tests.cluster.support import run, write_wav


def test_each_subfolder_is_a_site(tmp_path: Path) -> None:
    make_sites(tmp_path)
    (tmp_path / ".trash").mkdir()
    (tmp_path / "nothing in it").mkdir()
    (tmp_path / "notes.txt").write_text("no recording")
    found = find_sites(str(tmp_path))
    assert found.sites == ("marsh", "nothing in it", "wood")
    assert (found.loose, found.merged) == (0, {})
    assert site_lines(found) == [f"3 sites in {tmp_path}: marsh, nothing in it, wood"]


def test_recordings_beside_the_sites_are_told(tmp_path: Path) -> None:
    folder = make_sites(tmp_path / "season")
    (folder / "call.WAV").touch()
    found = find_sites(str(folder))
    assert (found.loose, found.own_site) == (1, "season")
    assert "1. They are put under the site 'season'" in site_lines(found)[1]
    assert "Move them into a subfolder" in site_lines(found)[1]
    (folder / "season").mkdir()
    assert "as those of its subfolder 'season' are" in site_lines(find_sites(str(folder)))[1]


def test_folders_that_a_store_cannot_tell_apart_are_one_site(tmp_path: Path) -> None:
    for name in ("wood", "wood "):
        (tmp_path / name).mkdir()
    found = find_sites(str(tmp_path))
    assert (found.sites, found.merged) == (("wood",), {"wood": ["wood", "wood "]})
    assert "one site, 'wood'" in site_lines(found)[1]


def test_a_link_to_a_folder_is_a_site(tmp_path: Path) -> None:
    disk = make_sites(tmp_path / "disk", sites=("a",))
    season = tmp_path / "season"
    season.mkdir()
    (season / "linked").symlink_to(disk / "a")
    (season / "broken").symlink_to(tmp_path / "gone")
    assert find_sites(str(season)).sites == ("linked",)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        pytest.param(lambda p: None, NotFound, "is not there", id="not there"),
        pytest.param(lambda p: p.touch(), Invalid, "is a file", id="a file"),
        pytest.param(lambda p: p.mkdir(), NotFound, "each subfolder is a site", id="empty"),
        pytest.param(lambda p: p.symlink_to(p), Unavailable, "cannot be read", id="a loop"),
    ],
)
def test_what_is_no_folder_of_sites(tmp_path: Path, make, error, says: str) -> None:
    make(tmp_path / "season")
    with pytest.raises(error, match=says):
        find_sites(str(tmp_path / "season"))


@pytest.mark.parametrize("out", ["season", "season/out", "season/../season/deep/out", "link"])
def test_the_output_lies_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    folder = make_sites(tmp_path / "season")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Conflict, match="where every subfolder is a site"):
        require_apart(str(folder), out)


@pytest.mark.parametrize("out", ["season-out", "out", "."])
def test_beside_or_above_is_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    folder = make_sites(tmp_path / "season")
    monkeypatch.chdir(tmp_path)
    require_apart(str(folder), out)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs: wood and marsh, with a failed file; then one recording more."""
    base = tmp_path_factory.mktemp("sums")
    folder = make_sites(base / "season")
    (folder / "wood" / "20240509_040000.wav").write_bytes(b"RIFF")
    run(folder, base / "store", site_from="folder")
    write_wav(folder / "marsh" / "20240510_040000.wav", 6.0, seed=77)
    run(folder, base / "store", site_from="folder")
    return base / "store"


def test_sums_of_sites_add_up_to_the_inventory(store: Path) -> None:
    first, second = (site_sums(JobFolder(str(store), n), ["empty", "marsh", "wood"]) for n in (1, 2))
    assert [(s.site, s.files, s.done, s.in_store, s.failed, s.windows) for s in first] == [
        ("empty", 0, 0, 0, 0, 0),
        ("marsh", 2, 2, 0, 0, 4),
        ("wood", 3, 2, 0, 1, 4),
    ]
    # Of a later run, all that is in the store now: not only what was new to it.
    assert [(s.site, s.files, s.done, s.in_store, s.failed, s.windows) for s in second] == [
        ("empty", 0, 0, 0, 0, 0),
        ("marsh", 3, 1, 2, 0, 7),
        ("wood", 3, 0, 2, 1, 4),
    ]
    assert second[1].hours == pytest.approx(14 / 3600)
    for one in (*first, *second):
        assert one.files == one.done + one.in_store + one.skipped + one.failed + one.pending


def test_what_a_run_did_not_come_to_is_pending(store: Path, tmp_path: Path) -> None:
    """A job that was cut off: half a report, and no closing sum."""
    import shutil

    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    job = JobFolder(str(copy), 1)
    job.file("summary.json").unlink()
    job.write_json("heartbeat.json", {"state": "stopped"})
    lines = job.file("report.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    job.file("report.jsonl").write_text("".join(lines[:2]) + lines[2][:20], encoding="utf-8")
    sums = site_sums(job, [])
    assert sum(s.files for s in sums) == 5
    assert sum(s.pending for s in sums) == 3
    assert "pending" in sums_lines(sums)[0]


def test_the_table_of_sites_is_inert_and_whole(tmp_path: Path) -> None:
    sums = [SiteSum("=1+1", 2, failed=1, failed_by_kind={"empty": 1}), SiteSum("wood", 1, hours=0.123456), SiteSum("")]
    write_sites(sums, tmp_path / "sites.csv")
    rows = list(csv.DictReader((tmp_path / "sites.csv").open(encoding="utf-8")))
    assert [r["site"] for r in rows] == ["'=1+1", "wood", ""]
    assert (rows[0]["failed_by_kind"], rows[1]["hours"]) == ("empty 1", "0.1235")
    assert os.listdir(tmp_path) == ["sites.csv"]
    assert "no recordings in: , x" in sums_lines([*sums, SiteSum("x")])
    assert json.dumps([s.to_json() for s in sums])


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r=", "\n", "\n="])
def test_no_spreadsheet_runs_a_site(tmp_path: Path, first: str) -> None:
    write_sites([SiteSum(f"{first}1")], tmp_path / "sites.csv")
    with (tmp_path / "sites.csv").open(encoding="utf-8", newline="") as file:
        assert [row["site"] for row in csv.DictReader(file)] == [f"'{first}1"]


def test_nothing_was_ever_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        stop_now(str(tmp_path))
