"""The demo does what it says, and what it says is held against the truth it made."""

from __future__ import annotations

import csv
import re
import subprocess

import pytest

from embedder.audio.synthesis import CALLS, write_archive
from search_api import demo as use
from sonotheque.core.errors import Conflict
from tests.demo.conftest import SONOTHEQUE


def truth_of(root):
    with (root / "recordings" / "truth.csv").open(encoding="utf-8") as handle:
        return [
            use.Placed(r["path"], r["call"], float(r["start_s"]), float(r["end_s"])) for r in csv.DictReader(handle)
        ]


def test_ends_well_and_shows_each_step(demo_run):
    assert demo_run.code == 0, demo_run.stderr
    for step in ("1. Recordings", "2. Embed", "3. By site and hour", "4. Where else", "5. Next"):
        assert step in demo_run.stdout
    assert "done     36" in demo_run.stdout
    assert "failed   0" in demo_run.stdout
    assert "CC BY-NC-SA 4.0" in demo_run.stderr


def test_nearest_windows_hold_the_same_call(demo_run):
    right, of = map(int, re.search(r"(\d+) of (\d+) hold the same call", demo_run.stdout).groups())
    assert of == 10
    assert right >= 9


@pytest.mark.parametrize("call", sorted(CALLS))
def test_every_call_finds_its_own_kind(demo_run, call):
    answers = use.ask(use.DemoFolders(demo_run.root), truth_of(demo_run.root), call=call, k=10)
    assert sum(call in calls for _, calls in answers.hits) >= 9
    assert all(hit.path != answers.query["path"] for hit, _ in answers.hits)


def test_counts_by_site_and_hour_follow_the_truth(demo_run):
    answers = use.ask(use.DemoFolders(demo_run.root), truth_of(demo_run.root))
    named = {name for name, _ in CALLS.values()}
    rows = [r for r in answers.counts if r["label"].partition("_")[2] in named]
    heard, true = sum(r["windows"] for r in rows), sum(r["true"] for r in rows)
    assert true > 150
    assert abs(heard - true) <= 0.1 * true
    # Where a bird was heard often, it was really put in; nobody hears owls in the meadow.
    assert all(r["true"] > 0 for r in rows if r["windows"] >= 3)


def test_the_picture_is_drawn(demo_run):
    picture = demo_run.root / "nearest.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 50_000


def test_truth_is_the_same_every_time_and_inside_the_recordings(tmp_path):
    first = write_archive(tmp_path / "a", duration_s=8.0)
    again = write_archive(tmp_path / "b", duration_s=8.0)
    assert first == again
    assert {p.call for p in first} == set(CALLS)
    assert all(0 <= p.start_s < p.end_s <= 8.0 for p in first)
    name = first[0].path
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match="no earlier demo"):
        use.make_recordings(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [(0.0, 3.0, ["boom"]), (3.0, 6.0, []), (1.6, 4.0, []), (1.4, 4.0, ["boom"])],
    ids=["inside", "after", "overlaps less than half a second", "overlaps half a second"],
)
def test_truth_in_a_window(start_s, end_s, expected):
    assert use.truth_in([use.Placed("a.flac", "boom", 1.0, 2.0)], "a.flac", start_s, end_s) == expected


def test_demo_runs_again_in_its_own_folder(tmp_path):
    command = [
        SONOTHEQUE,
        "demo",
        "--dir",
        str(tmp_path / "d"),
        "--model",
        "placeholder",
        "--workers",
        "0",
        "--no-picture",
    ]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert "done     36" in done.stdout
