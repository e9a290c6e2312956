from __future__ import annotations

import ast
import errno
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder_files import AUDIOMOTH, REAL, REPOSITORY, aiff, chunk, fmt, guano, info, loud, needs_recordings, riff, wav

import embedder.recorders as recorders
import embedder.recorders.describe as describing
from embedder.recorders import ClockReading, Describer, SiteRule, load_deployments, load_times
from sonotheque.core.errors import Invalid, Unavailable
from sonotheque.core.recording import Recording, SourceFile

ID = "242A2604603691DD"


def source(root: Path, path: str) -> SourceFile:
    stat = (root / path).stat()
    return SourceFile(path, stat.st_size, stat.st_mtime_ns)


def put(root: Path, path: str, data: bytes) -> SourceFile:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return source(root, path)


def describe(root: Path, path: str, data: bytes, **options: object) -> Recording:
    return Describer(**options).describe(str(root), put(root, path, data))


def test_a_song_meter_file(tmp_path):
    found = describe(tmp_path, "wood/S4A03895_20200503_123456.wav", wav(2.0), zone="Europe/Paris")
    assert (found.site, found.audio_s, found.deployment, found.replaces, found.device) == ("wood", 2.0, None, (), {})
    assert found.time.utc_start == datetime(2020, 5, 3, 10, 34, 56, tzinfo=UTC)
    assert found.time.source == "name"
    assert Recording.from_json(found.to_json()) == found


def test_without_a_zone_there_is_no_instant(tmp_path):
    found = describe(tmp_path, "S4A03895_20200503_123456.wav", wav())
    assert (found.time.utc_start, found.time.local_start) == (None, datetime(2020, 5, 3, 12, 34, 56))
    assert found.site == "S4A03895"


def test_an_audiomoth_file_has_time_and_facts_in_its_header(tmp_path):
    data = wav(
        1.0,
        1000,
        info(ICMT=AUDIOMOTH, IART=f"AudioMoth {ID}"),
        guano(Timestamp="2025-05-03T03:13:00Z", Loc_Position="52 4"),
    )
    found = describe(tmp_path, f"{ID}_20250503_031300.WAV", data, zone="Europe/Amsterdam")
    assert (found.time.source, found.time.local_start) == ("guano", datetime(2025, 5, 3, 5, 13))
    assert found.device == {
        "recorder": "AudioMoth", "serial": ID, "gain": "medium", "battery_v": 3.8, "temperature_c": 13.1,
        "latitude": 52.0, "longitude": 4.0,
    }  # fmt: skip
    assert found.time.issues == ()


def test_a_renamed_file_keeps_the_time_of_its_header(tmp_path):
    found = describe(tmp_path, "nice blackbird.wav", wav(1.0, 1000, info(ICMT=AUDIOMOTH)))
    assert (found.time.source, found.time.utc_start) == ("header", datetime(2025, 5, 3, 3, 13, tzinfo=UTC))


def test_header_and_name_may_differ(tmp_path):
    found = describe(tmp_path, "20250503_032000.WAV", wav(1.0, 1000, info(ICMT=AUDIOMOTH)))
    assert found.time.issues == ("header_and_name_differ",)


def test_a_position_in_the_name(tmp_path):
    found = describe(tmp_path, "20200503T123456+1000_REC [-27.3871 152.8761].flac", b"")
    assert found.device == {"latitude": -27.3871, "longitude": 152.8761}
    assert found.time.source == "name_offset"


def test_the_users_pattern_and_site_rule(tmp_path):
    found = describe(
        tmp_path,
        "x/B7_20200503-1200.wav",
        wav(),
        pattern=r"(?P<site>[^/_]+)_(?P<date>\d{8})-(?P<time>\d{4})",
        clock_zone="UTC",
        zone="America/Bogota",
    )
    assert (found.site, found.time.local_start) == ("B7", datetime(2020, 5, 3, 7, 0))
    assert describe(tmp_path, "x/a.wav", wav(), site_rule=SiteRule("fixed", "Pond")).site == "Pond"


@pytest.mark.parametrize(
    "options", [{"zone": "Paris"}, {"clock_zone": "Europe/Nowhere"}, {"zone": ""}, {"pattern": "("}, {"pattern": ""}]
)
def test_wrong_options_are_refused_at_once(options):
    with pytest.raises(Invalid):
        Describer(**options)


def test_the_message_says_which_zone():
    with pytest.raises(Invalid, match=r"clock time zone 'Paris'.*did you mean Europe/Paris"):
        Describer(clock_zone="Paris")


# deployments and times

TABLE = """deploymentID,locationName,latitude,longitude,start,end,timezone,clock_timezone,recorderID,recorderModel
D1,Páramo,4.6,-74.1,2020-05-01,2020-05-03,America/Bogota,UTC,SMU-7,Song Meter Micro
D2,Wood,,,2020-05-01,2020-05-31,,,,
"""


@pytest.fixture
def deployments(tmp_path):
    path = tmp_path / "deployments.csv"
    path.write_text(TABLE, encoding="utf-8")
    return load_deployments(path)


def test_a_deployment_gives_site_place_and_zone(tmp_path, deployments):
    found = describe(tmp_path, "D1/20200504_003000.WAV", wav(), deployments=deployments, zone="Europe/Paris")
    # 00:30 UTC is 19:30 of the day before in Bogota: inside the deployment, which ends with that day.
    assert (found.deployment, found.site, found.time.zone) == ("D1", "Páramo", "America/Bogota")
    assert found.time.local_start == datetime(2020, 5, 3, 19, 30)
    assert found.device == {"recorder_id": "SMU-7", "recorder": "Song Meter Micro", "latitude": 4.6, "longitude": -74.1}
    assert [row.id for row in deployments.unused()] == ["D2"]


def test_a_deployment_without_zone_has_the_runs(tmp_path, deployments):
    found = describe(tmp_path, "D2_20200504_003000.WAV", wav(), deployments=deployments, zone="Europe/Paris")
    assert (found.deployment, found.site, found.time.zone) == ("D2", "Wood", "Europe/Paris")


@pytest.mark.parametrize(
    ("path", "issue"),
    [("D1/20200504_120000.WAV", "outside_deployments"), ("D9/20200504_120000.WAV", "no_deployment")],
)
def test_a_file_of_no_deployment_says_so_and_keeps_its_folders_site(tmp_path, deployments, path, issue):
    found = describe(tmp_path, path, wav(), deployments=deployments)
    assert (found.deployment, found.site, found.time.issues) == (None, path[:2], (issue,))


def test_the_recorders_own_word_for_what_it_is_stays(tmp_path, deployments):
    found = describe(tmp_path, "D1/x.WAV", wav(1.0, 1000, info(ICMT=AUDIOMOTH)), deployments=deployments)
    assert found.time.issues == ("outside_deployments",)
    early = AUDIOMOTH.replace("03/05/2025", "02/05/2020")
    found = describe(tmp_path, "D1/x.WAV", wav(1.0, 1000, info(ICMT=early)), deployments=deployments)
    assert (found.device["recorder"], found.device["recorder_id"]) == ("AudioMoth", "SMU-7")


def test_a_times_table_is_the_last_word(tmp_path):
    table = tmp_path / "times.csv"
    table.write_text(
        "path,fileName,start\na/x.wav,x.wav,2020-05-03T12:00:00+02:00\n,y.wav,2020-05-03\n", encoding="utf-8"
    )
    times = load_times(table)
    data = wav(1.0, 1000, info(ICMT=AUDIOMOTH))
    for path in ("a/x.wav", "b/x.wav"):
        found = describe(tmp_path, path, data, times=times)
        assert (found.time.source, found.time.utc_start) == ("table", datetime(2020, 5, 3, 10, tzinfo=UTC))
    assert describe(tmp_path, "y.wav", data, times=times).time.local_start == datetime(2020, 5, 3)
    assert describe(tmp_path, "z.wav", data, times=times).time.source == "header"


def test_times_may_be_any_mapping(tmp_path):
    found = describe(tmp_path, "x.wav", wav(), times={"x.wav": ClockReading(datetime(2020, 5, 3), 0)})
    assert found.time.source == "table"


# length


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        pytest.param(wav(2.5), 2.5, id="WAV"),
        pytest.param(riff(fmt(), chunk(b"data", loud(2000), size=0)), 1.0, id="never finalised"),
        pytest.param(riff(fmt(), chunk(b"data", loud(2000), size=999_999)), 1.0, id="truncated"),
        pytest.param(riff(fmt(), chunk(b"data", loud(2000), size=44)), 1.0, id="too small"),
        pytest.param(aiff(2000, 1000), 1.0, id="AIFF"),
        pytest.param(riff(fmt(rate=0), chunk(b"data", loud(2000))), 0.0, id="no rate"),
        pytest.param(riff(fmt()), 0.0, id="no data"),
        pytest.param(b"", 0.0, id="empty"),
        pytest.param(b"hello", 0.0, id="text"),
        pytest.param(b"fLaC" + bytes(100), 0.0, id="broken FLAC"),
        pytest.param(b"OggS" + bytes(100), 0.0, id="broken Ogg"),
        pytest.param(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(100), 0.0, id="broken ID3"),
        pytest.param(b"\x00\x00\x00\x20ftypM4A " + bytes(100), 0.0, id="broken MP4"),
    ],
)
def test_length_is_what_the_file_holds(tmp_path, data, seconds):
    assert describe(tmp_path, "20200503_123456.wav", data).audio_s == seconds


def test_a_file_that_is_gone_is_described_by_its_name(tmp_path):
    for path in ("wood/20200503_123456.wav", "wood/20200503_123456\0.wav"):
        found = Describer(zone="UTC").describe(str(tmp_path), SourceFile(path, 0, 0))
        assert (found.site, found.audio_s) == ("wood", 0.0)
    assert Describer().describe(str(tmp_path), SourceFile("20200503_123456.wav", 0, 0)).time.source == "name"


def test_a_folder_called_like_a_file(tmp_path):
    (tmp_path / "20200503_123456.wav").mkdir()
    assert Describer().describe(str(tmp_path), SourceFile("20200503_123456.wav", 0, 0)).audio_s == 0.0


def test_a_name_that_is_not_utf8(tmp_path):
    found = describe(tmp_path, "caf\udce9/20200503_123456.wav", wav())
    assert (found.site, found.audio_s) == ("caf_", 2.0)


SEEDS = [
    wav(0.1, 1000, info(ICMT=AUDIOMOTH, IART=f"AudioMoth {ID}"), guano(Timestamp="2025-05-03T03:13:00Z")),
    aiff(64),
    b"fLaC\x80\x00\x00\x22" + bytes(34),
    b"OggS" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(23),
    b"OggS" + bytes(22) + b"\x01\x13OpusHead\x01\x01" + bytes(9),
    b"\xff\xfb\x90\x64" + bytes(413),
    b"ID3\x03\x00\x00\x00\x00\x00\x0aTIT2" + bytes(40),
    b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A isom\x00\x00\x00\x20moov\x00\x00\x00\x18mvhd" + bytes(40),
]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=6)), max_size=5),
    cut=st.integers(0, 200),
)
def test_no_damaged_file_raises(tmp_path, seed, changes, cut):
    data = bytearray(seed[: max(0, len(seed) - cut)])
    for at, new in changes:
        at = min(at, len(data))
        data[at : at + len(new)] = new
    found = describe(tmp_path, "20200503_123456.wav", bytes(data), zone="UTC")
    assert found.site
    assert found.audio_s >= 0.0
    assert Recording.from_json(found.to_json()) == found


# the package


def test_all_is_what_the_package_has():
    assert sorted(recorders.__all__) == sorted(set(recorders.__all__))
    for name in recorders.__all__:
        assert getattr(recorders, name) is not None


def test_the_modules_stay_small_and_import_nothing_of_weight():
    allowed = {"embedder", "sonotheque", "tinytag"}
    for path in sorted((REPOSITORY / "embedder" / "recorders").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 70, f"{path.name}: {node.name}"
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in __import__("sys").stdlib_module_names, f"{path.name} imports {name}"
                assert top != "embedder" or name.startswith("embedder.recorders"), f"{path.name} imports {name}"


def test_the_readmes_example_runs():
    text = (REPOSITORY / "embedder" / "recorders" / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace(', deployments=load_deployments("deployments.csv")', "")
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)
    found = scope["recording"]
    assert (found.site, found.time.source) == ("wood", "name")
    assert found.time.local_start == datetime(2019, 5, 22, 6, 0)
    assert found.time.utc_start == datetime(2019, 5, 22, 4, 0, tzinfo=UTC)


# real recordings


@needs_recordings
def test_a_song_meters_day():
    describer = Describer(zone="Europe/Paris")
    files = sorted((REAL / "sm4_24h").glob("*.wav"))
    found = [describer.describe(str(REAL), source(REAL, f"sm4_24h/{path.name}")) for path in files]
    assert len(found) == 96
    midnight = datetime(2019, 5, 22)
    assert [r.time.local_start for r in found] == [midnight + n * timedelta(minutes=15) for n in range(96)]
    assert all(r.time.utc_start.replace(tzinfo=None) == r.time.local_start - timedelta(hours=2) for r in found)
    assert Counter((r.site, r.audio_s, r.time.issues) for r in found) == {("sm4_24h", 10.0, ()): 96}
    bare = Describer(site_rule=SiteRule("prefix")).describe(
        str(REAL), source(REAL, "sm4_24h/S4A03895_20190522_000000.wav")
    )
    assert (bare.site, bare.time.utc_start, bare.time.source) == ("S4A03895", None, "name")


@needs_recordings
@pytest.mark.parametrize("ending", ["flac", "mp3", "ogg", "opus", "wav"])
def test_lengths_of_five_codecs_by_content(tmp_path, ending):
    shutil.copyfile(REAL / f"codecs/21100_36_48.{ending}", tmp_path / "clip.wav")
    found = Describer().describe(str(tmp_path), source(tmp_path, "clip.wav"))
    assert found.audio_s == pytest.approx(10.0, abs=0.1)


@needs_recordings
def test_audiomoth_files_know_where_and_when():
    found = Describer(zone="Europe/Amsterdam").describe(
        str(REAL), source(REAL, f"audiomoth_urban/{ID}_20250503_031400.WAV")
    )
    assert (found.time.source, found.time.issues, found.audio_s) == ("guano", (), 30.0)
    assert found.time.local_start == datetime(2025, 5, 3, 5, 14)
    assert (found.device["latitude"], found.device["serial"]) == (52.146196, ID)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "seconds"), [("veryshort.wav", 0.142), ("empty_2c.wav", 0.0), ("birds_10s.wav", 10.133)]
)
def test_odd_files_have_no_time_and_the_right_length(name, seconds):
    found = Describer(zone="UTC").describe(str(REAL), source(REAL, f"odd/{name}"))
    assert (found.time.source, found.site) == ("none", "odd")
    assert found.audio_s == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    ("code", "failures", "opened"), [(errno.EIO, 1, 2), (errno.ESTALE, 3, 4), (errno.EIO, 9, 4), (errno.EACCES, 9, 1)]
)
def test_a_disk_that_fails_for_a_moment_costs_no_header(tmp_path, monkeypatch, code, failures, opened):
    monkeypatch.setattr(describing, "_WAITS_S", (0.0, 0.0, 0.0))
    found, tries = put(tmp_path, "S4A03895_20200503_123456.wav", wav(2.0)), []

    def fails(root, source):
        tries.append(source.path)
        if len(tries) <= failures:
            raise OSError(code, "it fails")
        return describing._on_disk(root, source)

    describer = Describer(opened=fails)
    if code == errno.EACCES or failures < 4:
        assert describer.describe(str(tmp_path), found).audio_s == (0.0 if code == errno.EACCES else 2.0)
    else:
        alone = describer.describe(str(tmp_path), found)
        assert (alone.audio_s, alone.time.issues) == (0.0, ("header_not_read",)), (
            "one bad sector is one file's misfortune"
        )
    assert len(tries) == opened


def test_a_disk_that_is_gone_ends_the_plan(tmp_path, monkeypatch):
    """Three files may have lost their headers for good; of a whole disk nothing is planned."""
    monkeypatch.setattr(describing, "_WAITS_S", (0.0,))

    def fails(root, source):
        raise OSError(errno.EIO, "it fails")

    describer = Describer(opened=fails)
    for number in range(3):
        assert "header_not_read" in describer.describe(str(tmp_path), SourceFile(f"{number}.wav", 9, 1)).time.issues
    with pytest.raises(
        Unavailable, match=r"3\.wav: its header could not be read in 2 tries \(it fails\), and it is the 4th such file"
    ):
        describer.describe(str(tmp_path), SourceFile("3.wav", 9, 1))
