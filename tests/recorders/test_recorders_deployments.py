from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.clock import ClockReading
from sonotheque.core.deployments import DeploymentTable, Match, load_deployments, load_times
from sonotheque.core.errors import Invalid
from sonotheque.core.recording import RecordingTime

CAMTRAP = """deploymentID,locationID,locationName,latitude,longitude,deploymentStart,deploymentEnd,cameraID,cameraModel
D1,L1,Wood,52.1,4.4,2020-05-01T00:00:00+02:00,2020-05-10T00:00:00+02:00,SM4-1,Song Meter 4
D2,L2,,52.2,4.5,2020-05-01T00:00:00+02:00,2020-05-10T00:00:00+02:00,SM4-2,Song Meter 4
"""


def table(tmp_path, text: str | bytes) -> DeploymentTable:
    path = tmp_path / "deployments.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_deployments(path)


def when(local: str = "", utc: str = "") -> RecordingTime:
    return RecordingTime(
        datetime.fromisoformat(local) if local else None,
        datetime.fromisoformat(utc).replace(tzinfo=UTC) if utc else None,
    )


def test_camtrap_dp_spelling(tmp_path):
    first, second = table(tmp_path, CAMTRAP).deployments
    assert (first.id, first.site, first.latitude, first.longitude) == ("D1", "Wood", 52.1, 4.4)
    assert first.start == ClockReading(datetime(2020, 5, 1), 120)
    assert (first.recorder, first.model, first.line) == ("SM4-1", "Song Meter 4", 2)
    assert (second.site, second.line) == ("L2", 3)  # no name: the location's id


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("deploymentID,locationName,latitude,timezone\nD1,Wood,52.1,Europe/Paris\n", id="camel case"),
        pytest.param("deployment_id,site,lat,tz\nD1,Wood,52.1,Europe/Paris\n", id="snake case"),
        pytest.param("Deployment,Site ID,Latitude,Zone\r\nD1,Wood,52.1,Europe/Paris\r\n", id="title case, CRLF"),
        pytest.param(
            "\ufeffdeployment;site;latitude;zone\nD1;Wood;52,1;Europe/Paris\n", id="mark, semicolon, decimal comma"
        ),
        pytest.param("deployment\tsite\tlatitude\tzone\nD1\tWood\t52.1\tEurope/Paris\n", id="tab"),
        pytest.param(
            '\n\n"deployment","site","latitude","zone"\n\n"D1"," Wood ","52.1","Europe/Paris"\n,,,\n', id="quotes, gaps"
        ),
        pytest.param("comment,deployment,site,latitude,zone\nx,D1,Wood,52.1,Europe/Paris\n", id="unknown column"),
    ],
)
def test_spellings_and_separators(tmp_path, text):
    (row,) = table(tmp_path, text).deployments
    assert (row.id, row.site, row.latitude, row.zone.key) == ("D1", "Wood", 52.1, "Europe/Paris")


def test_a_short_row_has_empty_cells(tmp_path):
    (row,) = table(tmp_path, "deployment,site,latitude\nD1\n").deployments
    assert (row.site, row.latitude, row.zone, row.start) == ("", None, None, None)


def test_a_location_name_comes_before_a_location_id(tmp_path):
    (row,) = table(tmp_path, "site,locationID,deploymentID,locationName\ns,l,D1,n\n").deployments
    assert row.site == "n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("deployment,lat\nD1,95\n", ["line 2", "'lat'", "'95'", "between -90 and 90"], id="latitude"),
        pytest.param("deployment,lat\nD1,north\n", ["line 2", "'lat'", "'north'", "decimal degrees"], id="no number"),
        pytest.param("deployment,lat\nD1,nan\n", ["line 2", "'nan'"], id="nan"),
        pytest.param(
            "deployment,longitude\nD1,-181\n", ["line 2", "'longitude'", "between -180 and 180"], id="longitude"
        ),
        pytest.param("deployment,start\nD1,03/05/2020\n", ["line 2", "'start'", "'03/05/2020'", "ISO 8601"], id="time"),
        pytest.param(
            "deployment,deploymentEnd\nD1,2020-02-30\n", ["'deploymentEnd'", "'2020-02-30'"], id="no such day"
        ),
        pytest.param(
            "deployment,start,end\nD1,2020-05-03,2020-05-02\n",
            ["line 2", "'end'", "after the start, 2020-05-03"],
            id="reversed",
        ),
        pytest.param(
            "deployment,start,end\nD1,2020-05-03T12:00+00:00,2020-05-03T13:00+02:00\n",
            ["after the start"],
            id="reversed in UTC",
        ),
        pytest.param("deployment,tz\nD1,Europe/Pariss\n", ["line 2", "'tz'", "did you mean Europe/Paris"], id="zone"),
        pytest.param("deployment,clock_timezone\nD1,+02:00\n", ["'clock_timezone'", "IANA"], id="offset for a zone"),
        pytest.param("deployment,site\nD1,a\n\nD1,b\n", ["line 4", "'D1'", "on line 2 too"], id="id twice"),
        pytest.param("deployment,site\n,a\n", ["line 2", "'deployment'", "deploymentID"], id="no id"),
        pytest.param("site,lat\na,1\n", ["line 2", "needs a column deploymentID"], id="no id column"),
        pytest.param("deployment,site\nD1,a,b\n", ["line 2", "3 cells, expected 2"], id="long row"),
        pytest.param("deployment,Deployment_\nD1,a\n", ["line 1", "'Deployment_'", "twice"], id="column twice"),
        pytest.param('deployment,site\nD1,"a\n', ["line 2", "not CSV"], id="open quote"),
        pytest.param("", ["is empty"], id="empty"),
        pytest.param("\n\n", ["is empty"], id="blank"),
        pytest.param(b"deployment,site\nD1,caf\xe9\n", ["line 2", "0xe9", "UTF-8"], id="latin-1"),
        pytest.param("deployment\nD1\n".encode("utf-16"), ["line 1", "UTF-8"], id="utf-16"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, text, parts):
    with pytest.raises(Invalid) as caught:
        table(tmp_path, text)
    assert caught.value.kind == "invalid_table"
    for part in ["deployments.csv", *parts]:
        assert part in caught.value.message


def test_a_missing_table_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_deployments(tmp_path / "none.csv")


@settings(max_examples=200, deadline=None)
@given(
    base=st.sampled_from([CAMTRAP.encode(), b"deployment;tz\nD1;UTC\n"]),
    changes=st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=5),
)
def test_no_mutated_table_raises_anything_but_invalid(tmp_path_factory, base, changes):
    data = bytearray(base)
    for at, new in changes:
        data[at : at + len(new)] = new
    try:
        table(tmp_path_factory.getbasetemp(), bytes(data))
    except Invalid as error:
        assert error.kind == "invalid_table"


# matching

PLACES = """deployment,folder,prefix
D1,,
D2,east/plot 2,
D3,,SMU01
"""


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("D1/x.wav", "", "D1"),
        ("2020/D1/20200503/x.wav", "", "D1"),
        ("D1_20200503_120000.wav", "D1", "D1"),
        ("D1_20200503_12.wav", "", "D1"),  # pamDP: the hour alone, so the name gives no time and no prefix
        ("east/plot 2/x.wav", "", "D2"),
        ("east/plot 2/deep/x.wav", "", "D2"),
        ("SMU01_20200503_120000.wav", "SMU01", "D3"),
        ("any/SMU01_20200503_120000.wav", "SMU01", "D3"),
        ("west/east/plot 2/x.wav", "", None),  # a path leads from the root
        ("plot 2/x.wav", "", None),
        ("D11/x.wav", "", None),
        ("D1.wav", "", None),
        ("x.wav", "", None),
    ],
)
def test_places(tmp_path, path, prefix, expected):
    found = table(tmp_path, PLACES).match(path, None, prefix)
    assert (found.deployment.id if found.deployment else None) == expected
    assert found.issue == ("" if expected else "no_deployment")


@pytest.mark.parametrize("folder", ["east/a", "east/a/", "./east/a", "east\\a", "/east/a"])
def test_folders_are_tidied(tmp_path, folder):
    assert table(tmp_path, f"deployment,folder\nD1,{folder}\n").match("east/a/x.wav").deployment.id == "D1"


@pytest.mark.parametrize(
    ("start", "end", "time", "inside"),
    [
        pytest.param("2020-05-01", "2020-05-03", when("2020-05-01T00:00"), True, id="first moment"),
        pytest.param("2020-05-01", "2020-05-03", when("2020-04-30T23:59:59"), False, id="before"),
        pytest.param("2020-05-01", "2020-05-03", when("2020-05-03T23:59:59"), True, id="a date is its whole day"),
        pytest.param("2020-05-01", "2020-05-03", when("2020-05-04T00:00"), False, id="the next day"),
        pytest.param("2020-05-01", "2020-05-03T12:00", when("2020-05-03T12:00"), True, id="last moment"),
        pytest.param("2020-05-01", "2020-05-03T12:00", when("2020-05-03T12:01"), False, id="after"),
        pytest.param("2020-05-01", "", when("2030-01-01T00:00"), True, id="open end"),
        pytest.param("", "2020-05-03", when("1999-01-01T00:00"), True, id="open start"),
        pytest.param("2020-05-01T12:00+02:00", "", when("2020-05-01T12:00", "2020-05-01T10:00"), True, id="in UTC"),
        pytest.param(
            "2020-05-01T12:00+02:00", "", when("2020-05-01T13:00", "2020-05-01T09:00"), False, id="UTC is before"
        ),
        pytest.param("2020-05-01T12:00+02:00", "", when("2020-04-01T13:00"), True, id="instant unknown"),
        pytest.param("2020-05-01", "2020-05-03", when(), True, id="time unknown"),
    ],
)
def test_a_period(tmp_path, start, end, time, inside):
    found = table(tmp_path, f"deployment,start,end\nD1,{start},{end}\n").match("D1/x.wav", time)
    assert (found.deployment is not None) == inside
    assert found.issue == ("" if inside else "outside_deployments")


SEASONS = """deployment,folder,start,end
spring,wood,2020-04-01,2020-05-31
summer,wood,2020-06-01,2020-08-31
"""


@pytest.mark.parametrize(
    ("time", "expected", "issue"),
    [
        (when("2020-05-31T23:00"), "spring", ""),
        (when("2020-06-01T00:00"), "summer", ""),
        (when("2020-12-01T00:00"), None, "outside_deployments"),
        (when(), None, "several_deployments"),
        (None, None, "several_deployments"),
    ],
)
def test_the_time_chooses_between_deployments_at_one_place(tmp_path, time, expected, issue):
    found = table(tmp_path, SEASONS).match("wood/x.wav", time)
    assert (found.deployment.id if found.deployment else None, found.issue) == (expected, issue)


def test_overlapping_deployments_are_not_chosen_between(tmp_path):
    overlap = SEASONS.replace("2020-06-01", "2020-05-01")
    assert table(tmp_path, overlap).match("wood/x.wav", when("2020-05-15T12:00")) == Match(None, "several_deployments")


def test_the_more_exact_place_wins(tmp_path):
    both = table(tmp_path, "deployment,folder\nwide,wood\nexact,wood/plot2\n")
    assert both.match("wood/plot2/x.wav", when("2020-05-15T12:00")).deployment.id == "exact"
    assert both.match("wood/plot1/x.wav", when("2020-05-15T12:00")).deployment.id == "wide"


def test_a_callable_gets_each_deployment(tmp_path):
    rows = table(
        tmp_path,
        "deployment,folder,tz,start,end\nA,w,UTC,2020-05-01,2020-05-01\nB,w,Asia/Tokyo,2020-05-02,2020-05-02\n",
    )
    asked = []

    def time_at(deployment):
        asked.append(deployment.id)
        return when("2020-05-01T20:00") if deployment.zone.key == "UTC" else when("2020-05-03T05:00")

    assert rows.match("w/x.wav", time_at).deployment.id == "A"
    assert sorted(asked) == ["A", "B"]


def test_unused_are_told(tmp_path):
    rows = table(tmp_path, CAMTRAP)
    assert [row.id for row in rows.unused()] == ["D1", "D2"]
    rows.match("D2/x.wav", when(utc="2020-05-02T00:00"))
    rows.match("D1/x.wav", when(utc="2021-05-02T00:00"))  # outside: not used
    assert [row.id for row in rows.unused()] == ["D1"]


# a table of files' times


def times(tmp_path, text: str) -> dict[str, ClockReading]:
    path = tmp_path / "times.csv"
    path.write_text(text, encoding="utf-8")
    return load_times(path)


NOON = ClockReading(datetime(2020, 5, 3, 12, 0))
LATER = ClockReading(datetime(2020, 5, 3, 13, 0), 120)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("path,start\na/x.wav,2020-05-03T12:00\n", {"a/x.wav": NOON}, id="path"),
        pytest.param(
            "filePath;timestamp\n.\\a\\x.wav;2020-05-03 12:00:00\n", {"a/x.wav": NOON}, id="pamDP, back slashes"
        ),
        pytest.param("fileName,start\nx.wav,2020-05-03T12:00\n", {"x.wav": NOON}, id="name"),
        pytest.param(
            "filePath,fileName,timestamp\na/x.wav,x.wav,2020-05-03T12:00\nb/y.wav,y.wav,2020-05-03T13:00+02:00\n",
            {"a/x.wav": NOON, "x.wav": NOON, "b/y.wav": LATER, "y.wav": LATER},
            id="both",
        ),
        pytest.param(
            "filePath,fileName,timestamp\na/x.wav,x.wav,2020-05-03T12:00\nb/x.wav,x.wav,2020-05-03T13:00+02:00\n",
            {"a/x.wav": NOON, "b/x.wav": LATER},
            id="a name that two files have",
        ),
        pytest.param("path,start\nx.wav,2020-05-03T12:00\nx.wav,2020-05-03T12:00\n", {"x.wav": NOON}, id="said twice"),
        pytest.param("path,start\n", {}, id="no rows"),
    ],
)
def test_times_tables(tmp_path, text, expected):
    assert times(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,start\nx.wav,noon\n", "line 2, column 'start': 'noon'; expected an ISO 8601 time"),
        ("path,start\nx.wav,\n", "line 2, column 'start': ''; expected the file's start time"),
        ("path\nx.wav\n", "line 2, column 'start'"),
        ("start\n2020-05-03\n", "line 2, column 'path': ''; expected a path or a file name"),
        (
            "path,start\nx.wav,2020-05-03\nx.wav,2020-05-04\n",
            "line 3, column 'path': 'x.wav'; expected a path that is there once; line 2",
        ),
        (
            "file,start\nx.wav,2020-05-03\nx.wav,2020-05-04\n",
            "line 3, column 'file': 'x.wav'; expected a name that only one row has",
        ),
    ],
)
def test_a_wrong_times_table_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(Invalid, match=re.escape(message)) as caught:
        times(tmp_path, text)
    assert caught.value.kind == "invalid_table"


SITES = """deployment,site,folder,prefix,start,end
x1,Wood,,,2020-05-01,2020-05-10
x2,Wood,,,2020-05-11,
x3,Fen,far/away,,,
x4,Hill,,H,,
"""


@pytest.mark.parametrize(
    ("path", "site", "time", "expected"),
    [
        ("Wood/x.wav", "", "2020-05-05T12:00", "x1"),
        ("Wood/x.wav", "", "2020-05-15T12:00", "x2"),
        ("2020/Wood/deep/x.wav", "", "2020-05-05T12:00", "x1"),
        ("Wood_20200505_120000.wav", "", "2020-05-05T12:00", "x1"),
        ("Wood/x2/x.wav", "", "2020-05-05T12:00", "outside_deployments"),  # its own folder is nearer
        ("Fen/x.wav", "Fen", "2020-05-05T12:00", "no_deployment"),  # the table says where they are
        ("Hill/x.wav", "Hill", "2020-05-05T12:00", "no_deployment"),
        ("x.wav", "Wood", "2020-05-05T12:00", "x1"),  # the site is known otherwise
        ("x.wav", "x2", "2020-05-15T12:00", "x2"),
        ("Fen/x.wav", "Wood", "2020-05-15T12:00", "x2"),
        ("x.wav", "", "2020-05-05T12:00", "no_deployment"),
    ],
)
def test_a_site_s_name_is_a_place_where_the_table_names_none(tmp_path, path, site, time, expected):
    found = table(tmp_path, SITES).match(path, when(time), site=site)
    assert (found.deployment.id if found.deployment else found.issue) == expected
