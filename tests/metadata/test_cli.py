"""``sonotheque metadata``: what it prints, its documents' keys, its exit codes; and that nothing but the log is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import Archive
from store.metadata import latest_metadata
from tests.store import kit

TABLE = """deploymentID,locationID,locationName,latitude,longitude,deploymentStart,deploymentEnd,recorderID,timezone
moth,L1,City park,52.16,4.49,2025-05-01T00:00:00+02:00,2025-05-31T00:00:00+02:00,AM1,Europe/Amsterdam
SM,L2,Beech wood,47.3,5.1,2019-05-22,2019-05-22,S4,America/New_York
gone,L3,Fen,1.5,2.5,2019-01-01,2019-02-01,S5,
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "deployments.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def times(store):
    with Archive(store) as archive:
        rows = archive.sql(
            "SELECT path, site, deployment, zone, local_start::VARCHAR AS l, utc_start::VARCHAR AS u FROM recordings"
        )
    return {r["path"].rpartition("/")[2]: tuple(r.values())[1:] for r in rows.to_pylist()}


def test_a_table_is_shown_then_taken_then_taken_back(store, metadata, table):
    before, parts = times(store), {k: v for k, v in kit.tree(store).items() if k.startswith("embeddings")}
    shown = metadata("import", table, "--dry-run")
    assert shown.code == 0, shown.err
    for words in (
        "dry run: 3 deployments from deployments.csv",
        "about 3 of 6 recordings",
        "deployment moth: 2 recordings",
        "deployment SM: 1 recording\n",
        "deployments without recordings: gone",
        "2 recordings in none, no folder or prefix fits: plain/P_20250601_120000.wav, plain/notes.wav\n",
        "1 recording in none, outside the dates: meter/SM_20190523_043000.wav\n",
        "2 recordings of 'moth': now of 'City park'",
        "1 recording of 'Beech wood': zone Europe/Paris -> America/New_York",
        "column `folder` or `prefix`",
        "nothing is embedded again; nothing was written",
    ):
        assert words in shown.out, shown.out
    assert latest_metadata(store) == 0 and times(store) == before

    done = metadata("import", table, "--reason", "field sheets", "--by", "Ana", "--json")
    assert done.document == {**metadata("import", table, "--dry-run", "--json").document, **done.document}
    told = done.document
    assert (told["number"], told["concerned"], told["changed"]) == (1, 3, 3)
    assert told["match"]["matched"] == {"moth": 2, "SM": 1} and told["match"]["unused"] == ["gone"]
    assert told["match"]["outside_paths"] == [
        ["meter/SM_20190523_043000.wav", "outside_deployments"],
        ["plain/P_20250601_120000.wav", "no_deployment"],
        ["plain/notes.wav", "no_deployment"],
    ]
    assert times(store) == {
        **before,
        "20250503_031300.WAV": ("City park", "moth", "Europe/Amsterdam", "2025-05-03 05:13:00", "2025-05-03 03:13:00+00"),
        "20250503_031400.WAV": ("City park", "moth", "Europe/Amsterdam", "2025-05-03 05:14:00", "2025-05-03 03:14:00+00"),
        "SM_20190522_043000.wav": ("Beech wood", "SM", "America/New_York", "2019-05-22 04:30:00", "2019-05-22 08:30:00+00"),
    }  # fmt: skip
    assert metadata("undo", 1, "--json").document["concerned"] == 3
    assert times(store) == before
    assert metadata("undo", 2).code == 0 and times(store) != before
    assert {k: v for k, v in kit.tree(store).items() if k.startswith("embeddings")} == parts
    texts = [(c["change"], c["text"], c["undone"], c["by"] == "Ana") for c in metadata("history", "--json").document]
    assert texts == [
        (1, "3 deployments from deployments.csv", False, True),
        (2, "change 1 taken back", True, False),
        (3, "change 2 taken back", False, False),
    ]


def test_a_site_put_right(store, metadata):
    done = metadata(
        "site", "meter", "--zone", "Europe/Berlin", "--rename", "Oak", "--latitude", 51.5, "--longitude", -8
    )
    assert done.code == 0, done.err
    assert "change 1: site 'meter' is called 'Oak', has the zone Europe/Berlin, lies at 51.5, -8\n" in done.out
    assert "about 2 of 6 recordings; 2 change (site 2, zone 2, latitude 2, longitude 2)" in done.out
    assert metadata("site", "meter", "--zone", "UTC").code == 4
    shown = metadata("show").out
    assert "Oak" in shown and "stored as meter" in shown and "51.5000 -8.0000" in shown and "UTC of 2 unknown" in shown


def test_sites_that_become_one(metadata):
    done = metadata("site", "meter", "--rename", "moth")
    assert "site 'moth' was there already: with 2 more it has 4 recordings" in done.out
    (moth, plain) = metadata("show", "--json").document
    assert (moth["site"], moth["was"], moth["recordings"], plain["site"]) == ("moth", ["meter"], 4, "plain")


def test_a_clock_put_right(store, metadata):
    done = metadata("clock", "--site", "plain", "--add-seconds", 3600)
    assert "about 2 of 6 recordings; 1 change (local_start 1)" in done.out
    done = metadata("clock", "--recording", "plain/*", "--clock-zone", "UTC", "--dry-run", "--json").document
    assert (done["number"], done["concerned"], done["by_column"]) == (0, 2, {"utc_start": 1})
    done = metadata("clock", "--site", "moth", "--from", "2025-05-03", "--to", "2025-05-03", "--add-seconds=-0.5")
    assert done.code == 0 and times(store)["20250503_031300.WAV"][4] == "2025-05-03 03:12:59.5+00"
    assert metadata("show", "--json").document[1]["clock_corrected"] == 2


def test_changes_that_clash_are_told(metadata, table):
    metadata("site", "moth", "--zone", "Europe/London", "--rename", "Kew")
    done = metadata("import", table)
    assert "change 1 is about no recording any more: site 'moth' is called 'Kew'" in done.out
    metadata("site", "City park", "--zone", "Europe/London")
    done = metadata("import", table, "--dry-run")
    assert "change 3 goes on holding over the table: site 'City park' has the zone Europe/London" in done.out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("site", "moht", "--zone", "UTC"), 4, ["no site 'moht'", "did you mean moth?"]),
        (("site", "moth"), 2, ["nothing is said of site 'moth'"]),
        (("site", "moth", "--zone", "Europe/Amsterdm"), 2, ["did you mean Europe/Amsterdam"]),
        (("site", "moth", "--latitude", "52"), 2, ["given together"]),
        (("site", "moth", "--rename", "a\nb"), 2, ["cannot be a site's name"]),
        (("clock", "--site", "moth"), 2, ["nothing is said of the clock"]),
        (("clock", "--deployment", "D", "--add-seconds", "1"), 4, ["no deployment 'D'", "there is none"]),
        (("clock", "--recording", "q*", "--add-seconds", "1"), 4, ["no recording", "'q*'"]),
        (("clock", "--recording", "*notes*", "--add-seconds", "1"), 4, ["none of the 1 recordings", "known time"]),
        (("clock", "--site", "moth", "--clock-zone", "Asia/Tokyo"), 2, ["2 recordings are meant", "--ignore-offsets"]),
        (("clock", "--from", "yesterday", "--add-seconds", "1"), 2, ["'yesterday'", "2025-05-03"]),
        (("clock", "--add-seconds", "nan"), 2, ["cannot be a clock's error"]),
        (("undo", "1"), 4, ["no change 1", "metadata history"]),
        (("import", "nowhere.csv"), 4, ["nowhere.csv", "No such file"]),
        (("import", "."), 4, ["directory"]),
    ],
)  # fmt: skip
def test_what_is_refused(store, metadata, args, code, words):
    for flags in ((), () if args[0] in ("history", "show") else ("--dry-run",)):
        done = metadata(*args, *flags)
        assert done.code == code, done.err
        for word in words:
            assert word in done.err
    assert latest_metadata(store) == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("deploymentID,latitude\nD1,95\n", ["line 2", "'latitude'", "'95'", "between -90 and 90"]),
        ("deploymentID,latitude,longitude\nD1,5,\n", ["line 2", "'longitude'", "expected decimal degrees"]),
        ("deploymentID,timezone\nD1,Europe/Pariss\n", ["line 2", "'timezone'", "did you mean Europe/Paris"]),
        ("deploymentID,start,end\nD1,2025-05-02,2025-05-01\n", ["line 2", "'end'", "after the start"]),
        ("deploymentID,site\nmoth,a\nmoth,b\n", ["line 3", "'moth'", "on line 2 too"]),
        ("deploymentID,site\n", ["no rows"]),
        ("", ["is empty"]),
    ],
)
def test_a_wrong_table_is_refused_whole(store, metadata, tmp_path, text, parts):
    """A good row before the wrong one is not taken either."""
    path = tmp_path / "table.csv"
    path.write_text(text)
    done = metadata("import", path)
    assert done.code == 2 and latest_metadata(store) == 0
    for part in ["table.csv", *parts]:
        assert part in done.err


def test_plain_spellings_with_semicolons_and_commas(metadata, tmp_path):
    path = tmp_path / "orte.csv"
    path.write_text(
        "\ufeffdeployment;site;lat;lon;tz;folder\nm;Parc;52,16;4,49;Europe/Amsterdam;moth\n", encoding="utf-8"
    )
    done = metadata("import", path)
    assert "deployment m: 2 recordings" in done.out
    assert next(s for s in metadata("show", "--json").document if s["site"] == "Parc")["latitude"] == 52.16


def test_an_added_table(metadata, tmp_path, table):
    metadata("import", table)
    path = tmp_path / "more.csv"
    path.write_text("deploymentID,locationName,folder\nplain,Meadow,plain\n")
    told = metadata("import", path, "--add", "--json").document
    assert told["match"]["matched"] == {"moth": 2, "SM": 1, "plain": 2}
    assert told["sites"] == [{"site": "Meadow", "was": "plain", "recordings": 2}]


def test_no_store_and_no_snapshot(metadata, tmp_path, capsys, monkeypatch):
    from sonotheque.cli.main import main

    root, _ = kit.new_store(tmp_path / "empty")
    for store, words in ((tmp_path / "nothing", "is not a store"), (root, "nothing was embedded yet")):
        monkeypatch.setattr("sys.argv", ["sonotheque", "metadata", "show", "--store", str(store)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 4 and words in capsys.readouterr().err
    assert not Path(root, "metadata").exists()


def test_an_empty_history_says_so(metadata):
    assert "everything is as it was stored" in metadata("history").out
    assert metadata("history", "--json").document == []


def test_a_damaged_change_is_named(store, metadata):
    metadata("site", "moth", "--zone", "UTC")
    Path(store, "metadata", "1.json").write_text("{")
    for args in (("history",), ("show",), ("site", "moth", "--zone", "UTC"), ("undo", 1)):
        done = metadata(*args)
        assert done.code == 7 and "metadata/1.json" in done.err
