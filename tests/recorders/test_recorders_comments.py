from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_files import AUDIOMOTH, REAL, needs_recordings

from embedder.recorders.chunks import read_riff
from embedder.recorders.comments import parse_comment, parse_guano

ID = "242A2604603691DD"
START = datetime(2025, 5, 3, 3, 13)
HEAD = "Recorded at 03:13:00 03/05/2025"

COMMENTS = [
    pytest.param(
        AUDIOMOTH,
        "",
        0,
        {"serial": ID, "gain": "medium", "battery_v": 3.8, "temperature_c": 13.1},
        id="new",
    ),
    pytest.param(
        f"{HEAD} (UTC+8) by AudioMoth {ID} at low-medium gain while battery was 3.6V and temperature was -2.6C.",
        "",
        480,
        {"serial": ID, "gain": "low-medium", "battery_v": 3.6, "temperature_c": -2.6},
        id="whole hours, below zero",
    ),
    pytest.param(
        f"{HEAD} (UTC-3:30) by AudioMoth {ID} at high gain while battery was less than 2.5V and temperature was 5.0C.",
        "",
        -210,
        {"serial": ID, "gain": "high", "battery_v": 2.5, "battery_is": "below", "temperature_c": 5.0},
        id="half hours, battery low",
    ),
    pytest.param(
        f"{HEAD} (UTC) by AudioMoth {ID} at low gain while battery was greater than 4.9V and temperature was 5.0C.",
        "",
        0,
        {"serial": ID, "gain": "low", "battery_v": 4.9, "battery_is": "above", "temperature_c": 5.0},
        id="battery full",
    ),
    pytest.param(
        f"{HEAD} (UTC) during deployment 0123456789ABCDEF using external microphone at medium-high gain while "
        "battery was 4.2V and temperature was 12.3C. Band-pass filter with frequencies of 1.0kHz and 8.0kHz applied. "
        "Recording stopped due to low voltage.",
        f"AudioMoth {ID}",
        0,
        {
            "serial": ID,
            "deployment_id": "0123456789ABCDEF",
            "microphone": "external",
            "gain": "medium-high",
            "battery_v": 4.2,
            "temperature_c": 12.3,
            "stopped_by": "low voltage",
        },
        id="deployment, external microphone, stopped",
    ),
    pytest.param(
        f"{HEAD} (UTC) by AudioMoth {ID} at gain setting 2 while battery state was 4.7V.",
        "",
        0,
        {"serial": ID, "gain": "2", "battery_v": 4.7},
        id="2019",
    ),
    pytest.param(
        f"{HEAD} by AudioMoth {ID.lower()} at gain setting 0 while battery state was < 3.6V",
        "",
        None,
        {"serial": ID, "gain": "0", "battery_v": 3.6, "battery_is": "below"},
        id="first firmware: no zone",
    ),
    pytest.param(
        "Recorded at 03:13:00.250 03/05/2025 (UTC+5:45) by AudioMoth",
        "",
        345,
        {},
        id="milliseconds, nothing else",
    ),
    pytest.param(
        f"{HEAD} (UTC) by AudioMoth {ID}. Recording stopped by magnetic switch.",
        "",
        0,
        {"serial": ID, "stopped_by": "magnetic switch"},
        id="magnetic switch",
    ),
]


@pytest.mark.parametrize(("comment", "artist", "offset_min", "device"), COMMENTS)
def test_comments_of_every_firmware(comment, artist, offset_min, device):
    note = parse_comment(comment, artist)
    assert note.clock.start.replace(microsecond=0) == START
    assert note.clock.offset_min == offset_min
    assert note.device == {"recorder": "AudioMoth", **device}


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "a nice blackbird",
        "Recorded at home by AudioMoth",
        f"Recorded at 03:13 03/05/2025 by AudioMoth {ID}",
        f"{HEAD} (UTC) by somebody else",
        'opso_metadata{"artist": "AudioMoth"}',
    ],
)
def test_other_comments_are_none(comment):
    assert parse_comment(comment) is None


def test_the_artist_alone_shows_that_it_is_an_audiomoth():
    assert parse_comment(HEAD, f"AudioMoth {ID}").device == {"recorder": "AudioMoth", "serial": ID}


@pytest.mark.parametrize("moment", ["25:13:00 03/05/2025", "03:13:00 03/13/2025", "03:13:00 30/02/2025"])
def test_an_impossible_time_leaves_the_facts(moment):
    note = parse_comment(f"Recorded at {moment} (UTC) by AudioMoth {ID} at low gain")
    assert note.clock is None
    assert note.device["gain"] == "low"


def test_an_impossible_offset_is_unknown():
    assert parse_comment(f"{HEAD} (UTC+99) by AudioMoth {ID}").clock.offset_min is None


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 150), n=st.integers(0, 20), new=st.text(max_size=6))
def test_no_mutated_comment_raises(at, n, new):
    parse_comment(AUDIOMOTH[:at] + new + AUDIOMOTH[at + n :], "AudioMoth")


# GUANO

FULL = {
    "GUANO|Version": "1.0",
    "Make": "Open Acoustic Devices",
    "Model": "AudioMoth",
    "Serial": ID,
    "Firmware Version": "AudioMoth-Firmware-Basic (1.11.0)",
    "Timestamp": "2025-05-03T03:13:00+02:00",
    "Loc Position": "52.146196 4.474776",
    "OAD|Loc Source": "Acoustic chime",
    "OAD|Battery Voltage": "3.8",
    "Temperature Int": "13.1",
    "Temperature Ext": "-4",
    "TE": "10",
}


def test_guano_of_audiomoth():
    note = parse_guano(FULL)
    assert (note.clock.start, note.clock.offset_min) == (START, 120)
    assert note.device == {
        "recorder": "AudioMoth",
        "make": "Open Acoustic Devices",
        "serial": ID,
        "firmware": "AudioMoth-Firmware-Basic (1.11.0)",
        "position_source": "Acoustic chime",
        "latitude": 52.146196,
        "longitude": 4.474776,
        "battery_v": 3.8,
        "temperature_c": 13.1,
        "temperature_ext_c": -4.0,
        "time_expansion": 10.0,
    }


@pytest.mark.parametrize(
    ("stamp", "offset_min"),
    [
        ("2025-05-03T03:13:00", None),
        ("2025-05-03 03:13:00", None),
        ("2025-05-03T03:13:00Z", 0),
        ("2025-05-03T03:13:00-03:30", -210),
    ],
)
def test_guano_timestamps(stamp, offset_min):
    clock = parse_guano({"Timestamp": stamp}).clock
    assert (clock.start, clock.offset_min) == (START, offset_min)


@pytest.mark.parametrize("stamp", ["", "03/05/2025", "2025-13-03T03:13:00", "soon"])
def test_guano_without_a_readable_timestamp_has_facts_alone(stamp):
    note = parse_guano({"Timestamp": stamp, "Make": "Titley"})
    assert note.clock is None
    assert note.device == {"recorder": "Titley"}


@pytest.mark.parametrize(
    "place", ["", "52.1", "52.1 4.4 7", "north west", "91 4", "52 181", "nan nan", "inf 4", "52.1 -"]
)
def test_guano_positions_that_cannot_be_are_left_out(place):
    assert parse_guano({"Loc Position": place}).device == {}


def test_guano_numbers_may_have_units_and_nonsense_is_left_out():
    assert parse_guano({"Temperature Int": "13.1 C", "OAD|Battery Voltage": "full"}).device == {"temperature_c": 13.1}
    assert parse_guano({"TE": "9" * 400}).device == {}


def test_no_guano_is_none():
    assert parse_guano({}) is None


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FULL)), st.text(max_size=30)))
def test_no_guano_raises(fields):
    parse_guano(fields)


@needs_recordings
def test_real_comments():
    new = read_riff(REAL / "audiomoth_urban/242A2604603691DD_20250503_031300.WAV")
    assert parse_comment(new.comment, new.artist).clock == parse_guano(new.guano).clock
    assert parse_guano(new.guano).device["latitude"] == 52.146196
    old = read_riff(REAL / "odd/audiomoth_old_comment.wav")
    note = parse_comment(old.comment, old.artist)
    assert (note.clock.start, note.clock.offset_min) == (datetime(2020, 4, 4, 10, 25), 0)
    assert note.device == {"recorder": "AudioMoth", "serial": "24526B065D325963", "gain": "2", "battery_v": 4.7}
    reef = read_riff(REAL / "odd/fish_croak.wav")
    assert parse_comment(reef.comment, reef.artist).clock.offset_min == 480
