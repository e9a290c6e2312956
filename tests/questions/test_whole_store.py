"""Questions to a whole store while it changes: corrections, annotations, snapshots, damage; and readers that go away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from search_api.questions.activity import Source, activity
from search_api.questions.species import species
from search_api.questions.sql import run_query
from search_api.questions.summary import summarise
from sonotheque.cli import opening
from sonotheque.cli.main import main
from sonotheque.core.errors import Damaged, NotFound
from sonotheque.core.filters import HourSpan, SearchFilter
from store import load_ledger, open_archive, read_config, write_snapshot
from tests.questions.conftest import at
from tests.store.kit import recording, write_part

SONOTHEQUE = str(Path(sys.executable).parent / "sonotheque")


@pytest.fixture
def own(real, tmp_path):
    """A copy of the store that a test may change."""
    shutil.copytree(real, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def run(monkeypatch, capfd):
    def go(*words):
        monkeypatch.setattr(sys, "argv", ["sonotheque", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return go


def test_a_corrected_name_is_the_one_that_answers(own, run):
    assert run("metadata", "site", "marsh", "--rename", "Great Fen", "--store", own)[0] == 0
    with open_archive(own) as archive:
        assert [s.site for s in summarise(archive).sites] == ["Great Fen", "forest"]
        assert {r.site for r in species(archive, per_site=True).rows} == {"Great Fen", "forest"}
        assert activity(archive, ["rain"], SearchFilter(sites=("Great Fen",))).panels[0].grid.windows.sum() == 33
        with pytest.raises(NotFound, match="no site 'marsh'"):
            summarise(archive, SearchFilter(sites=("marsh",)))


def test_a_corrected_clock_moves_the_hours(own, run):
    with open_archive(own) as archive:
        before = activity(archive, ["rain"], SearchFilter(score_min=0.1, sites=("forest",))).panels[0].grid
    done = run("metadata", "clock", "--store", own, "--site", "forest", "--add-seconds", 7200)
    assert done[0] == 0, done[2]
    with open_archive(own) as archive:
        after = activity(archive, ["rain"], SearchFilter(score_min=0.1, sites=("forest",))).panels[0].grid
        first = summarise(archive, SearchFilter(sites=("forest",))).sites[0].first
    assert first == datetime(2024, 5, 1, 6)
    assert (after.found[:, 2:] == before.found[:, :-2]).all()
    assert (after.windows[:, 2:] == before.windows[:, :-2]).all()
    assert before.found.sum() > 0


def test_coordinates_bring_the_sun(own, run):
    with open_archive(own) as archive:
        assert activity(archive, ["rain"], sun=True).panels[0].without_sun["windows"] == 71
    assert run("metadata", "site", "forest", "--latitude", 52.5, "--longitude", 13.4, "--store", own)[0] == 0
    with open_archive(own) as archive:
        (panel,) = activity(archive, ["rain"], sun=True).panels
    assert panel.without_sun["windows"] == 35
    assert {b.event for b in panel.sun} == {"sunrise"}
    # Sunrise in Berlin on 1 May 2024 is at 05:36: four o'clock is an hour and a half before it.
    assert min(b.from_min for b in panel.sun) == -120


def test_annotations_of_now_are_counted(own, run):
    words = ("annotate", "add", "--store", own, "--recording", "forest/10.wav", "--label", "Strix aluco")
    assert run(*words, "--start-s", 1, "--end-s", 4)[0] == 0
    assert run(*words, "--start-s", 6, "--end-s", 8, "--judgement", "negative")[0] == 0
    with open_archive(own) as archive:
        panel = activity(archive, ["strix ALUCO"], source=Source.ANNOTATIONS).panels[0]
        assert {h: int(n) for h, n in enumerate(panel.grid.found[0]) if n} == {4: 2}
        assert run("annotate", "undo", "--last", "--store", own)[0] == 0
        assert run("annotate", "undo", "--last", "--store", own)[0] == 0
        with pytest.raises(NotFound, match="holds no annotations"):
            activity(archive, ["strix aluco"], source=Source.ANNOTATIONS)


def test_an_older_snapshot_answers_as_it_did(own, run):
    config = read_config(str(own))
    write_part(
        str(own),
        config,
        [(recording("new/1.wav", site="new", time=at(datetime(2024, 6, 1, 5))), 3)],
        site="new",
        date="2024-06-01",
    )
    write_snapshot(str(own), config, load_ledger(str(own)))
    assert json.loads(run("summary", "--json", "--store", own)[1])["totals"]["sites"] == 3
    old = json.loads(run("summary", "--json", "--store", own, "--snapshot", 1)[1])
    assert (old["snapshot"], old["totals"]["sites"]) == (1, 2)
    code, out, _ = run("sql", "SELECT count(*) AS n FROM recordings", "--csv", "--store", own, "--snapshot", 1)
    assert (code, out) == (0, "n\r\n25\r\n")


def test_damage_is_refused_and_left_out_on_request(own, run):
    part = next((own / "embeddings" / "site=marsh" / "date=2024-05-01").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    shutil.rmtree(own / "catalog", ignore_errors=True)
    for words in (["summary"], ["species"], ["activity", "--species", "rain"], ["sql", "SELECT 1"]):
        code, out, err = run(*words, "--store", own)
        assert (code, out) == (7, "")
        assert part.name in err
    code, out, err = run("summary", "--json", "--skip-damaged", "--store", own)
    assert code == 0
    assert f"left out, damaged: embeddings/site=marsh/date=2024-05-01/{part.name}" in err
    found = json.loads(out)
    assert list(found["damaged"]) == [f"embeddings/site=marsh/date=2024-05-01/{part.name}"]
    assert found["totals"]["recordings"] == 19
    with pytest.raises(Damaged):
        open_archive(own)


def test_building_the_catalog_tells_how_far_it_is(own, run, monkeypatch):
    shutil.rmtree(own / "catalog", ignore_errors=True)
    monkeypatch.setattr(opening, "_LINE_EVERY_S", 0.0)
    code, out, err = run("summary", "--store", own)
    assert code == 0
    assert re.search(r"\d+%  building the catalog, once for this snapshot: 1 of \d site months", err)
    assert "building" not in out
    assert "building" not in run("summary", "--store", own)[2]  # it is there now


def test_a_reader_that_goes_away_gets_its_picture_and_no_traceback(own, tmp_path):
    target = tmp_path / "x.png"
    verb = [SONOTHEQUE, "activity", "--species", "rain", "--store", str(own), "--plot", str(target)]
    running = subprocess.Popen(verb, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.readline()
    running.stdout.close()
    err = running.stderr.read()
    assert running.wait() in (0, 1), err  # 1 is what Click makes of a closed pipe
    assert "Traceback" not in err
    assert target.exists()


def test_csv_to_a_reader_that_goes_away(own):
    query = "SELECT a.*, b.path AS other FROM windows a, windows b, windows c"
    running = subprocess.Popen(
        [SONOTHEQUE, "sql", query, "--csv", "--store", str(own)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout.readline().startswith("recording_id,start_sample")
    began = time.monotonic()
    running.stdout.close()
    assert running.wait(timeout=60) in (0, 1)
    assert "Traceback" not in running.stderr.read()
    assert time.monotonic() - began < 30


def test_rows_are_not_held(real):
    """Ten million rows through a process that may hold a few: the blocks come as they are asked for."""
    import resource

    with open_archive(real) as archive:
        query = "SELECT a.path, a.start_s, b.range FROM windows a, range(150000) b WHERE b.range >= $low"
        rows = run_query(archive, query, {"low": 0})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        n = sum(block.num_rows for block in rows)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert n == 71 * 150_000
    assert grown_mb < 250  # 10.65 million rows are 400 MB and more


def test_dawn_is_dawn_in_every_zone(tmp_path):
    """One instant, two zones: the hour asked for is each site's own."""
    from tests.questions.kit import TIT, FakeArchive, Recording, tables_of

    files = []
    for zone, site in (("Europe/Lisbon", "west"), ("Asia/Kathmandu", "east")):
        for hour in range(24):
            found = [[(TIT, 0.9)]] if 4 <= hour < 6 else [[("rain", 0.9)]]
            files.append(
                Recording(
                    f"{site}{hour}.wav", site, datetime(2025, 5, 1) + timedelta(hours=hour), 3.0, zone, found=found
                )
            )
    with FakeArchive(tables_of(files)) as archive:
        dawn = SearchFilter(hours=HourSpan.parse("04:00-06:00"))
        answer = activity(archive, ["great tit"], dawn, per_site=True)
        assert [(p.site, p.found, int(p.grid.windows.sum())) for p in answer.panels] == [("east", 2, 2), ("west", 2, 2)]
        assert [(r.label, r.windows) for r in species(archive, dawn).rows] == [(TIT, 4)]
        utc = archive.sql("SELECT DISTINCT hour(utc_start) AS h FROM windows WHERE hour = 4 ORDER BY h")[
            "h"
        ].to_pylist()
    assert utc == [3, 22]


NASTY = ["{chosen}'; DROP VIEW windows; --", 'a"b', "100%_", "$site", "?", "{}", "Č 日本"]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_values_and_never_sql(name):
    from tests.questions.kit import FakeArchive, Recording, tables_of

    label = f"{name}_{name}"
    files = [Recording(f"{name}.wav", name, found=[[(label, 0.9)], [], []]), Recording("b.wav", "other")]
    with FakeArchive(tables_of(files)) as archive:
        wanted = SearchFilter(sites=(name,), recordings=(f"{name}.wav",))
        assert summarise(archive, wanted).totals["recordings"] == 1
        assert activity(archive, [label], wanted, sun=True).panels[0].found == 1
        (row,) = species(archive, wanted.merged(label=label), per_site=True).rows
        assert (row.label, row.site, row.windows) == (label, name, 1)
        query = "SELECT count(*) AS n FROM windows WHERE site = $site"
        assert [b.column(0)[0].as_py() for b in run_query(archive, query, {"site": name})] == [3]
        assert archive.sql("SELECT count(*) AS n FROM windows")["n"][0].as_py() == 6


def test_two_readers_at_once_agree(real):
    """Each from a process of its own, as terminals are."""
    env = {**os.environ, "COLUMNS": "200"}
    verb = [SONOTHEQUE, "species", "--json", "--best", "3", "--store", str(real)]
    running = [subprocess.Popen(verb, stdout=subprocess.PIPE, env=env) for _ in range(2)]
    first, second = (r.communicate()[0] for r in running)
    assert first == second
    assert json.loads(first)["rows"]
