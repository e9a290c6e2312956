"""Exports of stores as they should not be, and are: hostile names, two recorders at a site, clocks that change at night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from search_api.export_rows import Reading
from search_api.exports import ExportOptions, check_export
from search_api.locating import Locator
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from sonotheque.core.recording import RecordingTime
from store import load_ledger, open_archive, write_snapshot
from store.formats import write_raven
from store.formats.raven import ENDING
from store.formats.whole import MARK
from tests.exports import kit
from tests.exports.kit import export
from tests.store import kit as stores

BERLIN = ZoneInfo("Europe/Berlin")


def time_of(local: datetime, *, fold: int = 0) -> RecordingTime:
    utc = local.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)
    offset = (local - utc.replace(tzinfo=None)) // timedelta(minutes=1)
    return RecordingTime(local, utc, offset, "Europe/Berlin", "table")


def store_of(tmp_path: Path, items: list[tuple], **options) -> str:
    """A store of (path, site, time, windows)."""
    root, config = stores.new_store(tmp_path)
    for site in dict.fromkeys(site for _, site, _, _ in items):
        own = [(stores.recording(p, site=s, time=t), n) for p, s, t, n in items if s == site]
        stores.write_part(root, config, own, site=site, **options)
    write_snapshot(root, config, load_ledger(root))
    return root


def combined(root: str, tmp_path: Path) -> tuple[list[dict[str, str]], list[str]]:
    export(root, "predictions", "raven-combined", tmp_path / "all.txt")
    files = (tmp_path / "all.files.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return kit.tabbed(tmp_path / "all.txt"), files


HOSTILE = (
    "../../x.wav",
    "=cmd|'/C calc'!A0.wav",
    "a\tb.wav",
    'q"uote,s.wav',
    "-minus.wav",
    "\\udcff.wav",
    "CON.wav",
    "a.wav",
    "A.WAV",
)


def test_hostile_names_stay_in_their_folder_and_in_their_lines(tmp_path):
    root = store_of(
        tmp_path, [(path, "=1+1", stores.TIME, 2) for path in HOSTILE], classes=("=2+5", "\t@x", "+1", "-1", "ok")
    )
    (tmp_path / "out").mkdir()
    summary = export(root, "predictions", "raven", tmp_path / "out" / "tables", ExportOptions(empty=True))
    tables = list((tmp_path / "out").rglob(f"*{ENDING}"))
    assert len(tables) == len(HOSTILE) == summary.files
    assert all(p.resolve().is_relative_to((tmp_path / "out" / "tables").resolve()) for p in tables)
    assert not [p for p in tmp_path.rglob("x*.txt") if "out" not in p.parts]
    assert sum(len(kit.tabbed(t)) for t in tables) == summary.rows == 4 * len(HOSTILE)
    for form in ("csv", "tidy", "kaleidoscope"):
        export(root, "predictions", form, tmp_path / "out" / form)
        rows = kit.read_csv(tmp_path / "out" / form)
        assert len(rows) == summary.rows
        for row in rows:
            for value in row.values():
                risky = value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
                assert not risky or value.lstrip("-").replace(".", "").isdigit(), value
    export(root, "predictions", "pamdp", tmp_path / "out" / "pamdp")
    assert len(kit.read_csv(tmp_path / "out" / "pamdp" / "observations.csv")) == summary.rows
    assert {p.name for p in (tmp_path / "out" / "pamdp").iterdir()} == {
        "deployments.csv",
        "media.csv",
        "observations.csv",
        MARK,
    }


def test_two_recorders_at_a_site_whose_recordings_overlap_in_time(tmp_path):
    """Windows of both alternate in time; a recording's selections stand together in the sequence all the same."""
    first = datetime(2024, 5, 1, 4)
    items = [
        (f"r{recorder}/{i}.wav", "A", time_of(first + timedelta(seconds=9 * i + 4 * recorder)), 3)
        for recorder in range(2)
        for i in range(4)
    ]
    table, files = combined(store_of(tmp_path, items), tmp_path)
    assert files == [f"r{recorder}/{i}.wav" for i in range(4) for recorder in range(2)]
    paths = [row["Begin Path"] for row in table]
    assert list(dict.fromkeys(paths)) == files
    assert paths == sorted(paths, key=files.index)
    for row in table:
        assert float(row["Begin Time (s)"]) == 9 * files.index(row["Begin Path"]) + float(row["File Offset (s)"])


def test_recordings_without_a_time_come_last_by_name(tmp_path):
    items = [("b.wav", "A", stores.NO_TIME, 1), ("z.wav", "A", stores.TIME, 1), ("a.wav", "A", stores.NO_TIME, 1)]
    _, files = combined(store_of(tmp_path, items, date=None), tmp_path)
    assert files == ["z.wav", "a.wav", "b.wav"]


def test_sites_are_in_the_order_of_their_names(tmp_path):
    items = [(f"{s}/x.wav", s, stores.TIME, 1) for s in ("B", "Ä", "a", "10", "9")]
    table, files = combined(store_of(tmp_path, items), tmp_path)
    assert files == ["10/x.wav", "9/x.wav", "B/x.wav", "a/x.wav", "Ä/x.wav"]
    assert [r["Begin Path"] for r in table] == [f for f in files for _ in range(2)]


def test_a_night_in_which_the_clocks_change(tmp_path):
    """A recording from 02:59:57 summer time: its second window is at 02:00:00 winter time, an hour less and three seconds on."""
    root = store_of(tmp_path, [("x.wav", "A", time_of(datetime(2024, 10, 27, 2, 59, 57)), 2)], date="2024-10-27")
    export(root, "predictions", "tidy", tmp_path / "t.csv", ExportOptions())
    rows = {r["start_s"]: r for r in kit.read_csv(tmp_path / "t.csv")}
    assert rows["0"]["local_time"] == "2024-10-27T02:59:57.000+02:00"
    assert rows["3"]["local_time"] == "2024-10-27T02:00:00.000+01:00"
    assert [rows[s]["utc"] for s in ("0", "3")] == ["2024-10-27T00:59:57.000Z", "2024-10-27T01:00:00.000Z"]


def test_both_passes_of_the_doubled_hour_are_in_the_order_they_were_recorded(tmp_path):
    twice = datetime(2024, 10, 27, 2, 30)
    items = [("winter.wav", "A", time_of(twice, fold=1), 1), ("summer.wav", "A", time_of(twice, fold=0), 1)]
    table, files = combined(store_of(tmp_path, items, date="2024-10-27"), tmp_path)
    assert files == ["summer.wav", "winter.wav"]
    assert [r["Begin Path"] for r in table] == ["summer.wav"] * 2 + ["winter.wav"] * 2


@pytest.mark.parametrize("form", ["raven", "csv", "pamdp", "parquet"])
def test_recordings_that_could_not_be_read_are_no_hindrance(tmp_path, form):
    items = [("bad.wav", "A", stores.TIME, 0), ("good.wav", "A", stores.TIME, 2), ("none.wav", "B", stores.NO_TIME, 0)]
    root = store_of(tmp_path, items)
    assert export(root, "predictions", form, tmp_path / "out").rows == 4
    if form == "pamdp":
        assert [m["filePath"] for m in kit.read_csv(tmp_path / "out" / "media.csv")] == ["good.wav"]


def test_windows_that_overlap_tell_by_how_much(tmp_path):
    config = stores.store_config(hop_samples=stores.WINDOW // 2)
    root, config = stores.new_store(tmp_path, config)
    stores.write_part(root, config, [(stores.recording("x.wav"), 3)])
    write_snapshot(root, config, load_ledger(root))
    export(root, "predictions", "kaleidoscope", tmp_path / "k.csv")
    rows = kit.read_csv(tmp_path / "k.csv")
    assert {r["overlap"] for r in rows} == {"1.5"}
    assert sorted({float(r["OFFSET"]) for r in rows}) == [0.0, 1.5, 3.0]
    assert {r["sensitivity"] for r in rows} == {""}, "the model has no such setting"


@pytest.mark.parametrize(
    ("rate_factor", "rate_hz", "high_hz"),
    [
        (1.0, 48_000, 24_000),
        (1.0, 22_050, 11_025),
        (10.0, 384_000, 192_000),
        (10.0, 1_000_000, 240_000),
        (0.1, 48_000, 2_400),
    ],
)
def test_selections_are_as_high_as_the_model_hears_and_the_file_holds(tmp_path, rate_factor, rate_hz, high_hz):
    """Half the model's rate times the time expansion, or half the file's."""
    root, config = stores.new_store(tmp_path, stores.store_config(rate_factor=rate_factor))
    with open_archive_of(root, config, rate_hz) as archive:
        facts = Reading(archive, SearchFilter()).detections(Locator(())).facts
    assert facts.high_hz == 24_000 * rate_factor
    found = kit.detections([kit.row("A/rec0.wav")], [kit.recording(0, sample_rate_hz=rate_hz)], facts=facts)
    write_raven(found, tmp_path)
    (row,) = kit.tabbed(tmp_path / f"A/rec0{ENDING}")
    assert float(row["High Freq (Hz)"]) == high_hz


def open_archive_of(root: str, config, rate_hz: int):
    stores.write_part(root, config, [(stores.recording(f"x{rate_hz}.wav"), 1)])
    write_snapshot(root, config, load_ledger(root))
    return open_archive(root)


def test_what_was_asked_for_is_looked_at_before_a_store_is_opened(tmp_path):
    """No store is there at all: what is wrong with the question is said first."""
    check_export(str(tmp_path / "gone"), "windows", "csv", tmp_path / "w.csv")
    for what, form, said in (("window", "csv", "windows"), ("windows", "raven", "csv, parquet")):
        with pytest.raises(Invalid, match=said):
            check_export(str(tmp_path / "gone"), what, form, tmp_path / "w.csv")
    with pytest.raises(NotFound, match="no folder"):
        check_export(str(tmp_path / "gone"), "windows", "csv", tmp_path / "no" / "w.csv")


def test_a_filter_counts_what_it_means(tmp_path):
    root = store_of(tmp_path, [("a.wav", "A", stores.TIME, 3), ("b.wav", "B", stores.TIME, 2)])
    with open_archive(root) as archive:
        assert Reading(archive, SearchFilter()).count("windows") == 5
        assert Reading(archive, SearchFilter()).count("predictions") == 10
        assert Reading(archive, SearchFilter(sites=("A",), rank_max=1)).count("predictions") == 3
        rows, matching = Reading(archive, SearchFilter(rank_max=2)).clip_rows(4)
    assert (rows.num_rows, matching) == (4, 5)
    scores = rows["score"].to_pylist()
    assert scores == sorted(scores, reverse=True)
    assert rows["size_bytes"].to_pylist() == [1001] * 4
