from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.recorders.names import compile_user_pattern, parse_name
from sonotheque.core.clock import load_zone, make_datetime, parse_iso, parse_offset
from sonotheque.core.errors import Invalid

ID = "242A2604603691DD"
NOON = datetime(2020, 5, 3, 12, 34, 56)

# name, pattern, start, offset in minutes, prefix
KNOWN = [
    ("20200503_123456.WAV", "audiomoth", NOON, None, ""),
    ("20200503/20200503_123456.WAV", "audiomoth", NOON, None, ""),
    (f"{ID}_20200503_123456.WAV", "audiomoth", NOON, None, ID),
    (f"20200503/{ID}_20200503_123456T.WAV", "audiomoth", NOON, None, ID),
    ("20200503_123456T.WAV", "audiomoth", NOON, None, ""),
    ("20200503_123456_250.WAV", "audiomoth", NOON.replace(microsecond=250_000), None, ""),
    ("20200503_123456_SYNC.WAV", "audiomoth", NOON, None, ""),
    ("5B07C752.WAV", "audiomoth_hex", datetime(2018, 5, 25, 8, 20, 34), 0, ""),
    ("site/5b07c752.wav", "audiomoth_hex", datetime(2018, 5, 25, 8, 20, 34), 0, ""),
    ("S4A03895_20200503_123456.wav", "song_meter", NOON, None, "S4A03895"),
    ("UHH_001_S01_20200503_123456.flac", "song_meter", NOON, None, "UHH_001_S01"),
    ("POND_0_20200503_123456.wav", "song_meter", NOON, None, "POND"),
    ("POND_1_20200503_123456.wav", "song_meter", NOON, None, "POND"),
    ("POND_0+1_20200503_123456.wav", "song_meter", NOON, None, "POND"),
    ("CHE_02_20200503_123456.wav", "song_meter", NOON, None, "CHE_02"),
    ("POND_20200503$123456.wav", "song_meter", NOON, None, "POND"),
    ("POND_20200503_$123456.wav", "song_meter", NOON, None, "POND"),
    ("POND_20200503_123456_007.wav", "song_meter", NOON.replace(microsecond=7000), None, "POND"),
    ("2MM00001_20200503_123456.wav", "song_meter", NOON, None, "2MM00001"),
    ("ABC_20200503_123456_000123.wav", "smart", NOON.replace(microsecond=123), None, "ABC"),
    ("SwiftOne_20200503_123456_-0400.wav", "swiftone", NOON, -240, "SwiftOne"),
    ("SwiftOne_20200503_123456_+0530.wav", "swiftone", NOON, 330, "SwiftOne"),
    ("20200503T123456+1000_REC.flac", "frontier_labs", NOON, 600, ""),
    ("20200503T123456Z_REC.flac", "frontier_labs", NOON, 0, ""),
    ("20200503T123456Z.flac", "frontier_labs", NOON, 0, ""),
    ("20200503T123456_REC.flac", "frontier_labs", NOON, None, ""),
    ("20200503T123456.wav", "frontier_labs", NOON, None, ""),
    ("20200503_123456+1000.wav", "frontier_labs", NOON, 600, ""),
    ("20200503T123456-0330_Jackrabbit Creek.flac", "frontier_labs", NOON, -210, ""),
    ("OWL_12_2020-05-03_T12-34-56.WAV", "owlsense", NOON, None, "OWL_12"),
    ("2020-05-03_12-34-56.wav", "iso", NOON, None, ""),
    ("2020-05-03_12-34-56 (1).wav", "iso", NOON, None, ""),
    ("2020-05-03T12_34_56.789Z.mp3", "iso", NOON.replace(microsecond=789_000), 0, ""),
    ("2020-05-03T12:34:56Z.wav", "iso", NOON, 0, ""),
    ("2020-05-03T12:34:56+02:00.wav", "iso", NOON, 120, ""),
    ("garden_2020-05-03 12.34.56.m4a", "iso", NOON, None, "garden"),
    ("200503_1234.mp3", "sony_tascam", datetime(2020, 5, 3, 12, 34), None, ""),
    ("2020-05-03-birdnet-12:34:56.wav", "birdnet_pi", NOON, None, ""),
    ("2020-05-03-birdnet-RTSP_1-12:34:56.wav", "birdnet_pi", NOON, None, "RTSP_1"),
    ("S20200503T123456+1000_E20200503T124000+1000.wav", "localisation", NOON, 600, ""),
]


@pytest.mark.parametrize(("name", "pattern", "start", "offset_min", "prefix"), KNOWN, ids=[row[0] for row in KNOWN])
def test_every_known_pattern(name, pattern, start, offset_min, prefix):
    found = parse_name(name)
    assert found is not None
    assert (found.pattern, found.prefix) == (pattern, prefix)
    assert (found.clock.start, found.clock.offset_min) == (start, offset_min)
    assert (found.latitude, found.longitude) == (None, None)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("20200503T123456+1000_REC [-27.3871 152.8761].flac", (-27.3871, 152.8761)),
        ("20200503T123456+1000_REC_-27.3871+152.8761.flac", (-27.3871, 152.8761)),
        ("20200503T123456Z_[+4.5 -74.1].flac", (4.5, -74.1)),
        ("20200503T123456_REC [-27.3871 152.8761].flac", (-27.3871, 152.8761)),
        ("S20200503T123456.969837+1000_E20200503T124000.5+1000_-12.34567+78.98102.wav", (-12.34567, 78.98102)),
        ("S20200503T123456Z_E20200503T124000Z_+12.3_-78.9.wav", (12.3, -78.9)),
        ("20200503T123456+1000_REC [-127.3871 152.8761].flac", (None, None)),
        ("20200503T123456+1000_REC [-27.3871 252.8761].flac", (None, None)),
    ],
)
def test_positions_in_names(name, place):
    found = parse_name(name)
    assert found.clock.start.replace(microsecond=0) == NOON
    assert (found.latitude, found.longitude) == place


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".wav",
        "recording.wav",
        "soundscape.flac",
        "21100_36_48.flac",
        "20200503.wav",  # a day is not a time, and not a hex number
        "20250503.WAV",
        "00000000.WAV",  # 1970
        "12345678.WAV",  # 1979
        "F5000000.WAV",  # 2100 and later
        "5B07C75.WAV",
        "5B07C7522.WAV",
        "5b07C752.WAV",  # mixed case: no recorder writes this
        "DEADBEEG.WAV",
        "20201303_123456.WAV",
        "20200532_123456.WAV",
        "20200230_123456.WAV",
        "20190229_123456.WAV",
        "20200503_253456.WAV",
        "20200503_126056.WAV",
        "20200503_123460.WAV",
        "20200503_1234567.WAV",
        "20200503_12345.WAV",
        "00000503_123456.WAV",
        "POND_20200503_123456_1.wav",
        "POND_20200503_123456_start35.wav",  # a clip: it starts later than its name says
        "SwiftOne_20200503_123456_-9900.wav",
        "SwiftOne_20200503_123456_+0099.wav",
        "20200503T123456+1500_REC.flac",
        "2020-05-03_12-34:56.wav",
        "2020-13-03_12-34-56.wav",
        "201303_1234.mp3",
        "200503_2534.mp3",
        "20200503.1234.wav",
        "٢٠٢٠٠٥٠٣_123456.wav",  # digits, but not ASCII
    ],
)
def test_no_guess_is_made(name):
    assert parse_name(name) is None


def test_the_folder_is_no_part_of_the_name():
    assert parse_name("20200503_123456/audio.wav") is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_name_raises(name):
    parse_name(name)


@settings(max_examples=300, deadline=None)
@given(base=st.sampled_from([row[0] for row in KNOWN]), at=st.integers(0, 60), new=st.text(max_size=3))
def test_no_mutated_name_raises_or_gives_an_impossible_offset(base, at, new):
    found = parse_name(base[:at] + new + base[at + 1 :])
    if found is not None and found.clock.offset_min is not None:
        assert -720 <= found.clock.offset_min <= 840


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(microsecond=0)))
def test_a_written_time_is_read_back(start):
    assert parse_name(f"SITE_{start:%Y%m%d_%H%M%S}.wav").clock.start == start
    assert parse_name(f"{start:%Y%m%dT%H%M%S}+1000_REC.flac").clock.start == start
    assert parse_name(f"x_{start:%Y-%m-%d_%H-%M-%S}.wav").clock.start == start


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC)))
def test_a_hex_name_is_read_back(start):
    name = f"{int(start.timestamp()):08X}"
    found = parse_name(name + ".WAV")
    if found is not None:  # a few are refused: those that read as a day
        assert found.clock.utc == start
    else:
        assert name.isdecimal()


# user patterns


@pytest.mark.parametrize(
    ("pattern", "name", "start", "offset_min", "site", "prefix"),
    [
        (r"(?P<site>[^/_]+)_(?P<date>\d{8})-(?P<time>\d{6})", "a/B7_20200503-123456.wav", NOON, None, "B7", ""),
        (
            r"^(?P<site>\w+)/.*(?P<date>\d{8})-(?P<time>\d{4})",
            "B7/x20200503-1234.wav",
            datetime(2020, 5, 3, 12, 34),
            None,
            "B7",
            "",
        ),
        (
            r"(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d\d) (?P<hour>\d\d)h(?P<minute>\d\d)",
            "030520 12h34.wav",
            datetime(2020, 5, 3, 12, 34),
            None,
            "",
            "",
        ),
        (r"(?P<date>[\d-]{10})T(?P<time>[\d:]{8})(?P<offset>[-+]\d+)", "2020-05-03T12:34:56+08.wav", NOON, 480, "", ""),
        (r"(?P<prefix>.)(?P<unix>\d+)", "x1588509296.wav", NOON, 0, "", "x"),
        (
            r"(?P<date>\d{6})(?P<time>\d{6})(?P<ms>\d{3})",
            "200503123456250",
            NOON.replace(microsecond=250_000),
            None,
            "",
            "",
        ),
        (r"(?P<date>\d{8})(?P<site>Q)?(?P<time>\d{6})", "20200503123456", NOON, None, "", ""),
    ],
    ids=["date-time", "folder", "parts", "offset", "unix", "ms", "optional site"],
)
def test_user_patterns(pattern, name, start, offset_min, site, prefix):
    found = parse_name(name, compile_user_pattern(pattern))
    assert found.pattern == "user"
    assert (found.clock.start, found.clock.offset_min) == (start, offset_min)
    assert (found.site, found.prefix) == (site, prefix)


def test_the_users_pattern_comes_before_the_built_in_ones():
    day_first = compile_user_pattern(r"(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})_(?P<time>\d{6})")
    assert parse_name("10122011_101112.wav", day_first).clock.start == datetime(2011, 12, 10, 10, 11, 12)


@pytest.mark.parametrize("name", ["20200503_123456.wav", "POND_20200503_123456.wav"])
def test_what_the_users_pattern_does_not_match_is_left_to_the_built_in_ones(name):
    assert parse_name(name, compile_user_pattern(r"Z(?P<date>\d{8})(?P<time>\d{6})")).clock.start == NOON


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"(?P<date>\d{8})x(?P<time>\d{6})", "20201303x123456"),
        (r"(?P<date>\d{8})x(?P<time>\d{6})", "20200503x253456"),
        (r"(?P<date>\w+)x(?P<time>\w+)", "monthxday"),
        (r"(?P<year>\w+)x(?P<month>\w+)x(?P<day>\w+)x(?P<hour>\w+)x(?P<minute>\w+)", "axbxcxdxe"),
        (r"(?P<date>\d{8})x(?P<time>\d{6})(?P<offset>.+)", "20200503x123456+99"),
        (r"(?P<unix>\w+)", "hello"),
        (r"(?P<unix>\d+)", "9" * 30),
        (r"(?P<unix>\d+)", "999999999999"),
    ],
)
def test_impossible_values_in_a_users_pattern_are_no_match(pattern, name):
    assert parse_name(name, compile_user_pattern(pattern)) is None


@pytest.mark.parametrize(
    ("pattern", "missing"),
    [
        (r"(?P<year>\d{4})(?P<month>\d\d)", "day, hour, minute"),
        (r"(?P<date>\d{8})", "hour, minute"),
        (r"(?P<time>\d{6})(?P<site>.*)", "year, month, day"),
        (r"\d{8}_\d{6}", "year, month, day, hour, minute"),
    ],
)
def test_a_users_pattern_without_groups_is_refused_with_their_names(pattern, missing):
    with pytest.raises(Invalid, match=f"lacks the named groups {missing}") as caught:
        compile_user_pattern(pattern)
    assert pattern in caught.value.message.replace("\\\\", "\\")
    assert "example: (?P<site>" in caught.value.message


def test_the_example_of_the_message_is_itself_a_good_pattern():
    with pytest.raises(Invalid) as caught:
        compile_user_pattern("x")
    example = caught.value.message.rsplit("example: ", 1)[1]
    assert parse_name("B7_20200503-123456.wav", compile_user_pattern(example)).site == "B7"


@pytest.mark.parametrize("pattern", ["(", "(?P<date", "[a-", "(?P<1>x)", "*"])
def test_a_users_pattern_that_does_not_compile_is_refused(pattern):
    with pytest.raises(Invalid, match="is not a regular expression"):
        compile_user_pattern(pattern)


# the clock


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("Z", 0), ("+0000", 0), ("+1000", 600), ("-04:00", -240), ("+8", 480), ("+5:45", 345), ("-0330", -210),
        ("+14:00", 840), ("-12", -720), ("+1401", None), ("-13", None), ("+0060", None), ("", None), ("10", None),
        ("UTC", None), ("+", None), ("+1:2", None),
    ],
)  # fmt: skip
def test_offsets(text, minutes):
    assert parse_offset(text) == minutes


@pytest.mark.parametrize(
    ("text", "start", "offset_min"),
    [
        ("2020-05-03T12:34:56Z", NOON, 0),
        (" 2020-05-03 12:34:56 ", NOON, None),
        ("2020-05-03T12:34:56.250-04:00", NOON.replace(microsecond=250_000), -240),
        ("2020-05-03T12:34:56,1234567+0530", NOON.replace(microsecond=123_456), 330),
        ("2020-05-03T12:34", datetime(2020, 5, 3, 12, 34), None),
        ("2020-05-03T12:34+10", datetime(2020, 5, 3, 12, 34), 600),
        ("2020-05-03", datetime(2020, 5, 3), None),
    ],
)
def test_iso_times(text, start, offset_min):
    reading = parse_iso(text)
    assert (reading.start, reading.offset_min) == (start, offset_min)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "03/05/2020 12:34",
        "2020-5-3",
        "2020-05-03T",
        "2020-05-03T25:00",
        "2020-05-03T12:34:56+99:00",
        "2020-02-30",
        "20200503T123456",
        "2020-05-03Z",
        "2020-05-03T12:34:56 Europe/Paris",
    ],
)
def test_other_texts_are_not_iso(text):
    assert parse_iso(text) is None


def test_an_instant_outside_the_calendar_is_unknown():
    assert parse_iso("0001-01-01T00:00:00+02:00").utc is None
    assert parse_iso("0001-01-01T00:00:00").utc is None


def test_make_datetime_refuses_what_does_not_exist():
    assert make_datetime("2020", "02", "29") == datetime(2020, 2, 29)
    assert make_datetime("2021", "02", "29") is None
    assert make_datetime("0000", "01", "01") is None


def test_zones_are_loaded_by_name():
    assert load_zone("Europe/Amsterdam").key == "Europe/Amsterdam"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Amsterdm", "did you mean Europe/Amsterdam"),
        ("europe/amsterdam", "did you mean Europe/Amsterdam"),
        ("Amsterdam", "did you mean Europe/Amsterdam"),
        ("New York", "did you mean America/New_York"),
        ("+02:00", "expected a name such as Europe/Amsterdam"),
        ("", "expected a name such as"),
        ("Europe", "is not an IANA time zone"),
        ("../etc/passwd", "is not an IANA time zone"),
        ("/etc/localtime", "is not an IANA time zone"),
        ("a\0b", "is not an IANA time zone"),
        ("\udcff", "is not an IANA time zone"),
    ],
)
def test_unknown_zones_are_refused_with_a_hint(name, hint):
    with pytest.raises(Invalid, match=re.escape(hint)):
        load_zone(name)
