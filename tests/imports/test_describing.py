"""Where an imported recording belongs: its path, its site and its time, from a name, a note, a table or the sound itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.imports.describing import Placing, note_text
from cluster.imports.index import Named
from cluster.imports.options import ImportOptions
from cluster.imports.source import Note
from sonotheque.core.ids import recording_id
from sonotheque.core.recording import Recording
from sonotheque.core.windows import WindowRule
from tests.store.kit import model_spec

RULE = WindowRule.for_model(model_spec(sample_rate_hz=10, window_samples=50))


def placing(root: str = "/data", *, ends_known: bool = True, **options) -> Placing:
    return Placing(ImportOptions("hoplite", "db", "store", **options), root, RULE, ends_known=ends_known)


def named(name: str, note: Note | str = "", *, stop: int = 100) -> Named:
    return Named(1, name, 0, note if isinstance(note, str) else note_text(note), 2, stop)


def recording_of(text: str) -> Recording:
    return Recording.from_json(json.loads(text))


part = st.text(
    st.characters(whitelist_categories=["L", "N"], whitelist_characters=" _-.'"), min_size=1, max_size=8
).filter(lambda s: s.strip(". ") != "")


@settings(max_examples=60, deadline=None)
@given(folders=st.lists(part, max_size=3), name=part, prefix=st.lists(part, max_size=2))
def test_path_id_and_length(folders, name, prefix) -> None:
    path = "/".join([*folders, name])
    found = placing(prefix="/".join(prefix)).place(named(f"/data/{path}"))
    assert found.path == "/".join([*prefix, path])
    assert found.recording == recording_id(found.path)
    recording = recording_of(found.text)
    assert recording.source.path == found.path
    assert (recording.source.size_bytes, recording.source.mtime_ns) == (0, 0)
    assert (recording.site, recording.audio_s, found.audio_s, found.stop) == (found.site, 10.0, 10.0, None)
    assert found.site, "never empty"


def test_the_root_s_last_folder_names_the_site_of_files_in_a_folder_that_says_nothing() -> None:
    assert placing("/x/A4").place(named("/x/A4/Data/20250510_030000.WAV")).site == "A4"
    assert placing("").place(named("Data/20250510_030000.WAV")).site == "unknown"
    assert placing("").place(named("20250510_030000.WAV")).site == "unknown"


def test_a_note_that_is_no_object_is_left_alone() -> None:
    found = placing().place(named("/data/A4/x.WAV", "/out/A4: "))
    assert (found.site, found.date) == ("A4", "")


def test_a_note_speaks_where_the_user_does_not(tmp_path: Path) -> None:
    note = Note("Hut", "Hut", "2025-05-10T03:00:00+01:00", 51.5, -1.25)
    found = placing(timezone="Europe/London").place(named("/data/A4/20240101_000000.WAV", note))
    recording = recording_of(found.text)
    assert (found.site, found.date) == ("Hut", "2025-05-10")
    assert (recording.deployment, recording.time.source) == ("Hut", "table")
    assert recording.time.utc_start is not None and recording.time.utc_start.hour == 2
    assert recording.device == {"latitude": 51.5, "longitude": -1.25}
    assert placing(site="Fixed").place(named("/data/A4/x.WAV", note)).site == "Fixed"
    assert placing(site_from="folder").place(named("/data/A4/x.WAV", note)).site == "A4"
    (tmp_path / "times.csv").write_text("path,start\nA4/x.WAV,2020-01-01T00:00:00Z\n")
    mine = placing(times=str(tmp_path / "times.csv")).place(named("/data/A4/x.WAV", note))
    assert mine.date == "2020-01-01"


def test_one_recording_s_time_is_not_the_next_one_s() -> None:
    at = placing()
    first = at.place(named("/data/A4/x.WAV", Note(start="2025-05-10T03:00:00")))
    second = at.place(named("/data/A4/y.WAV", Note()))
    third = at.place(named("/data/B1/x.WAV", Note()))
    assert (first.date, second.date, third.date) == ("2025-05-10", "", "")


def test_half_a_position_is_none() -> None:
    found = placing().place(named("/data/A4/x.WAV", Note("s", None, None, 51.5, None)))
    assert recording_of(found.text).device == {}


def test_times_that_cannot_be_read_are_counted() -> None:
    at = placing()
    for start in ("yesterday", "2025-13-01T00:00:00", "2025-05-10T03:00:00"):
        at.place(named("/data/A4/x.WAV", Note(start=start)))
    assert at.counts["unreadable_times"] == 2


class TestSoundAtHand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        from tests.cluster.support import write_wav

        (tmp_path / "A4").mkdir()
        write_wav(tmp_path / "A4" / "20250510_030000.WAV", 7.25)
        return tmp_path

    def test_it_gives_identity_and_length(self, folder: Path) -> None:
        at = placing(recordings=str(folder), prefix="p")
        found = at.place(named("/data/A4/20250510_030000.WAV"))
        recording = recording_of(found.text)
        stat = (folder / "A4" / "20250510_030000.WAV").stat()
        assert (recording.source.size_bytes, recording.source.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        assert found.path == "p/A4/20250510_030000.WAV", "the prefix is not a folder of the sound"
        assert abs(found.audio_s - 7.25) < 1e-6
        assert found.stop is None, "the rows know where the sound ends"
        assert dict(at.counts) == {"sound_found": 1}

    def test_it_tells_where_the_sound_ends_if_the_rows_do_not(self, folder: Path) -> None:
        at = placing(recordings=str(folder), ends_known=False)
        assert at.place(named("/data/A4/20250510_030000.WAV")).stop == round(7.25 * 10)
        assert at.place(named("/data/A4/missing.WAV")).stop is None
        assert dict(at.counts) == {"sound_found": 1, "sound_missing": 1}

    def test_a_file_that_cannot_be_read_is_still_that_file(self, folder: Path) -> None:
        (folder / "A4" / "broken.WAV").write_bytes(b"no sound")
        found = placing(recordings=str(folder), ends_known=False).place(named("/data/A4/broken.WAV", stop=80))
        assert (found.audio_s, found.stop) == (8.0, None)
        assert recording_of(found.text).source.size_bytes == 8


@settings(max_examples=40, deadline=None)
@given(
    site=st.text(max_size=5),
    deployment=st.none() | st.text(max_size=5),
    start=st.none() | st.text(max_size=5),
    place=st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
)
@example(site="Entebbe", deployment=None, start=None, place=(0.0, 32.46))
@example(site="Greenwich", deployment=None, start=None, place=(51.48, 0.0))
def test_a_note_comes_back_from_its_text(site, deployment, start, place) -> None:
    note = Note(site, deployment, start, *(place or (None, None)))
    text = note_text(note)
    assert text.startswith("{")
    back = Note(**json.loads(text))
    assert (back.site, back.deployment or None, back.start or None) == (site, deployment or None, start or None)
    if place:
        assert (back.latitude, back.longitude) == place
