from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.recorders.names import compile_user_pattern, parse_name
from embedder.recorders.sites import SiteRule, site_of
from sonotheque.core.errors import Invalid
from sonotheque.core.site import clean_site

SM = "S4A03895_20200503_123456.wav"
MOTH = "242A2604603691DD_20200503_123456.WAV"


def site(rule: str, path: str, root: str = "/data/season") -> str:
    return site_of(SiteRule.parse(rule), root, path, parse_name(path))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"wood/{SM}", "wood"),
        (f"wood/deep/{SM}", "wood"),
        (f"wood/20200503/{MOTH}", "wood"),
        (f"Data/{SM}", "S4A03895"),
        (f"wood/Data/{SM}", "wood"),
        (f"Data/wood/{SM}", "wood"),
        (f"DATA/20200503/{MOTH}", "season"),
        (f"20200503/{MOTH}", "season"),
        (f"2020-05-03/{SM}", "S4A03895"),
        (f"2020-05/{SM}", "S4A03895"),
        (f"audio/recordings/{SM}", "S4A03895"),
        (f" wood /{SM}", "wood"),
        (f"2020/{SM}", "2020"),  # a bare number may be a plot
        (SM, "S4A03895"),
        (MOTH, "season"),
        ("OWL_12_2020-05-03_T12-34-56.WAV", "OWL_12"),
        ("SwiftOne_20200503_123456_-0400.wav", "season"),
        ("pond_20200503_123456_-0400.wav", "pond"),
        ("whatever.mp3", "season"),
        ("20200503_123456.WAV", "season"),
    ],
)
def test_auto(path, expected):
    assert site("auto", path) == expected


@pytest.mark.parametrize(
    ("rule", "path", "expected"),
    [
        ("folder", f"Data/wood/{SM}", "Data"),
        ("folder", f"20200503/{SM}", "20200503"),
        ("folder", SM, "season"),
        ("prefix", f"wood/{SM}", "S4A03895"),
        ("prefix", f"wood/{MOTH}", "242A2604603691DD"),
        ("prefix", "wood/x.wav", "wood"),
        ("prefix", "x.wav", "season"),
        ("fixed:Blue Lagoon", f"wood/{SM}", "Blue Lagoon"),
        ("fixed: a:b ", f"wood/{SM}", "a:b"),
    ],
)
def test_the_other_rules(rule, path, expected):
    assert site(rule, path) == expected


def test_a_users_pattern_may_name_the_site():
    pattern = compile_user_pattern(r"(?P<site>[^/_]+)_(?P<date>\d{8})-(?P<time>\d{6})")
    path = "wood/B7_20200503-123456.wav"
    for mode, expected in (("auto", "B7"), ("prefix", "B7"), ("folder", "wood")):
        assert site_of(SiteRule(mode), "/r", path, parse_name(path, pattern)) == expected


@pytest.mark.parametrize("text", ["", "site", "Auto", "fixed", "fixed:", "fixed:  ", "folder:wood", "fix:x"])
def test_a_rule_that_cannot_be_is_refused(text):
    with pytest.raises(Invalid, match="fixed"):
        SiteRule.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  wood\t", "wood"),
        ("a\0b\nc\x7fd\x85e", "a_b_c_d_e"),
        ("caf\udce9", "caf_"),
        ("Étang d'été", "Étang d'été"),
        ("", "unknown"),
        (" \t ", "unknown"),
    ],
)
def test_clean_site(text, expected):
    assert clean_site(text) == expected


def test_the_roots_own_name(tmp_path, monkeypatch):
    folder = tmp_path / "field"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rule = SiteRule()
    assert site_of(rule, str(folder) + os.sep, "x.wav") == "field"
    assert site_of(rule, str(folder / ".." / "field" / "."), "x.wav") == "field"
    assert site_of(rule, "/", "x.wav") == "unknown"
    assert site_of(rule, "..\0", "x.wav") == ".._"


@settings(max_examples=200, deadline=None)
@given(mode=st.sampled_from(["auto", "folder", "prefix"]), root=st.text(max_size=10), path=st.text(max_size=40))
def test_a_site_is_never_empty_and_always_storable(mode, root, path):
    found = site_of(SiteRule(mode), root, path, parse_name(path))
    assert found.strip()
    found.encode()
    assert "\0" not in found


@pytest.mark.parametrize(
    "name", ["Заповедник " * 8, "湿" * 60, "x" * 400, "a b/" * 100], ids=["cyrillic", "chinese", "latin", "escaped"]
)
def test_a_long_site_name_still_fits_a_folder(name: str) -> None:
    short = clean_site(name)
    assert len(f"site={quote(short, safe='')}".encode()) <= 255
    assert short[:5] == name[:5]
    assert clean_site(name + "2") != short
    assert clean_site(short) == short


def test_a_site_name_of_usual_length_is_left_alone() -> None:
    assert clean_site("Заповедник Чёрный лес") == "Заповедник Чёрный лес"
