"""Queries and their parameters as a terminal gives them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.questions.parameters import check_parameters, parameter_value, query_parameters, read_query
from sonotheque.core.errors import Invalid, NotFound


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("0.5", 0.5), (".5", 0.5), ("1e-3", 0.001), ("-2.50", -2.5),
        ("007", "007"), ("00", "00"), ("", ""), (".", "."), ("-", "-"), ("e5", "e5"), ("1.2.3", "1.2.3"), ("0x10", "0x10"),
        ("1_000", "1_000"), ("nan", "nan"), ("inf", "inf"), ("true", True), ("false", False), ("null", None), ("TRUE", "TRUE"),
        ("2019-05-22", "2019-05-22"), ("04:00", "04:00"), ("'12'", "12"), ("''", ""), ("'it''s'", "it's"), ("'", "'"),
        ("Strix aluco_Tawny Owl", "Strix aluco_Tawny Owl"), ("٣", "٣"), ("1 2", "1 2"),
    ],
)  # fmt: skip
def test_what_a_text_stands_for(text, value):
    found = parameter_value(text)
    assert found == value
    assert type(found) is type(value)


@given(st.integers(-(2**62), 2**62))
def test_whole_numbers_are_numbers(number):
    assert parameter_value(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_numbers(number):
    assert parameter_value(repr(number)) == number


@given(st.text())
def test_quoted_text_is_text(text):
    assert parameter_value("'" + text.replace("'", "''") + "'") == text


def test_names_and_places():
    assert query_parameters(["site=a=b", "$least=0.5", " n =1"], []) == {"site": "a=b", "least": 0.5, "n": 1}
    assert query_parameters([], ["a", "1"]) == ["a", 1]
    assert query_parameters([], []) is None


@pytest.mark.parametrize(
    ("named", "positional", "told"),
    [
        (["site"], [], r"--param site: expected NAME=VALUE"),
        (["=x"], [], r"expected NAME=VALUE"),
        (["a b=1"], [], r"expected NAME=VALUE"),
        (["x=1", "x=2"], [], r"--param x is given twice: 1 and '2'"),
        (["x=1"], ["2"], "not both"),
    ],
)
def test_wrong_parameters(named, positional, told):
    with pytest.raises(Invalid, match=told):
        query_parameters(named, positional)


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT 1", None),
        ("SELECT $a, $B", {"A": 1, "b": 2}),
        ("SELECT ?, ?", [1, 2]),
        ("SELECT $2, $1", [1, 2]),
        ("this is no SQL $x", None),  # the query itself says what is wrong
        ("SELECT '$x', 'a ? b' -- $y", None),
    ],
)
def test_parameters_that_fit(query, parameters):
    check_parameters(query, parameters)


@pytest.mark.parametrize(
    ("query", "parameters", "told"),
    [
        ("", None, "the query is empty"),
        ("-- nothing", None, "the query is empty"),
        ("SELECT $site", None, r"\$site has no value; give --param site=VALUE"),
        ("SELECT $site", {"sites": 1}, r"\$site has no value"),
        ("SELECT $site", {"site": 1, "sit": 2}, r"no parameter \$sit; did you mean site\?"),
        ("SELECT 1", {"site": 1}, r"no parameter \$site; it has none"),
        ("SELECT ?", None, r"give --value V for each of 1 places"),
        ("SELECT ?, ?", [1], r"the query has 2 parameters \(\?\), and 1 values are given"),
        ("SELECT ?", [1, 2], r"has 1 parameters"),
        ("SELECT 1", [1], r"has 0 parameters"),
        ("SELECT $x", ["a"], r"\$x has no value"),
    ],
)
def test_parameters_that_do_not_fit(query, parameters, told):
    with pytest.raises(Invalid, match=told):
        check_parameters(query, parameters)


def test_a_query_from_a_file(tmp_path, monkeypatch):
    path = tmp_path / "q.sql"
    path.write_text("\ufeffSELECT 'Č'", encoding="utf-8")
    assert read_query(None, str(path)) == "SELECT 'Č'"
    assert read_query("SELECT 1", None) == "SELECT 1"
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 2"))
    assert read_query(None, "-") == "SELECT 2"


def test_a_query_that_cannot_be_read(tmp_path):
    for text, file in ((None, None), ("SELECT 1", "x.sql")):
        with pytest.raises(Invalid, match="give one query"):
            read_query(text, file)
    with pytest.raises(NotFound, match="there is no such file"):
        read_query(None, str(tmp_path / "none.sql"))
    with pytest.raises(NotFound):
        read_query(None, str(tmp_path))
    (tmp_path / "latin.sql").write_bytes(b"SELECT '\xe9'")
    with pytest.raises(Invalid, match="not UTF-8 text at byte 8"):
        read_query(None, str(tmp_path / "latin.sql"))
