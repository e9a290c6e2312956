"""Stored paths: what another program wrote, without what all its paths begin with."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.perch_folder import run
from cluster.imports.names import below, common_root, is_absolute, tidy
from sonotheque.core.errors import Invalid
from tests.imports.support import do, ledger_entries, make

part = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda s: s not in (".", "..") and s[1:2] != ":"
)
folders = st.lists(part, max_size=4).map(tuple)


@pytest.mark.parametrize(
    "given_,wanted",
    [
        ("a/b.wav", "a/b.wav"),
        ("./a//b.wav", "a/b.wav"),
        ("a\\b\\c.wav", "a/b/c.wav"),
        ("C:\\data\\x.wav", "C:/data/x.wav"),
        ("a/odd\\name.wav", "a/odd\\name.wav"),
        ("../audio/x.wav", "../audio/x.wav"),
        ("x.wav", "x.wav"),
        ("", ""),
    ],
)
def test_tidied_paths(given_: str, wanted: str) -> None:
    assert tidy(given_) == wanted


@given(top=folders, sites=st.lists(part, min_size=1, max_size=3, unique=True), name=part, absolute=st.booleans())
def test_a_site_has_the_same_names_alone_as_among_others(top, sites, name, absolute) -> None:
    """`<top>/<site>/<name>` becomes `<site>/<name>`, whichever sites are imported together."""
    base = ("/" if absolute else "") + "/".join(top)
    dirs = [posixpath.join(base, site) if base else site for site in sites]
    root = common_root(dirs, above=True)
    for folder, site in zip(dirs, sites, strict=True):
        path = f"{folder}/{name}"
        assert below(path, root, "") == f"{site}/{name}"
        assert below(path, common_root([folder], above=True), "") == f"{site}/{name}"
        assert below(path, root, "/x/y/") == f"x/y/{site}/{name}"


@given(dirs=st.lists(folders.map(lambda f: "/" + "/".join(f)), min_size=1, max_size=4), name=part)
def test_paths_are_never_mixed_up(dirs, name) -> None:
    root = common_root(dirs, above=True)
    stored = {below(f"{d.rstrip('/')}/{name}", root, "") for d in dirs}
    assert len(stored) == len({d.rstrip("/") for d in dirs})
    assert not any(is_absolute(s) for s in stored)


def test_absolute_and_relative_paths_together_need_a_root() -> None:
    with pytest.raises(Invalid, match=r"--root"):
        common_root(["/data/A4", "in/B1"], above=True)


def test_a_root_that_does_not_fit_is_refused() -> None:
    with pytest.raises(Invalid, match=r"/data/A4/x.wav does not begin with /other"):
        below("/data/A4/x.wav", "/other", "")
    assert below("A4/x.wav", "/other", "") == "A4/x.wav"
    assert below("/database/x.wav", "/data/..", "") == "database/x.wav"
    with pytest.raises(Invalid):
        below("/database/x.wav", "/data", "")


def test_relative_and_absolute_paths_of_one_recording_are_one_with_a_root(tmp_path) -> None:
    """A run that is resumed under another spelling does everything again: its checkpoint knows the files by their text."""
    first = {"/data/2025/A4/20250510_030000.WAV": 20.0}
    second = {"A4/20250510_030000.WAV": 20.0, "A4/20250510_040000.WAV": 20.0}
    settings = {"dim": 64, "window_s": 2.0, "top": 3, "interval": 9}
    run(tmp_path / "out" / "A4", first, kill_after=1, **settings)
    run(tmp_path / "out" / "A4", second, **settings)
    with pytest.raises(Invalid, match=r"--root"):
        do(tmp_path / "out", tmp_path / "store")
    report = do(tmp_path / "out", tmp_path / "store", root="/data/2025")
    assert (report.recordings, report.windows, sum(report.duplicates.values())) == (2, 20, 10)


def test_bare_names_are_below_their_output_folder(tmp_path) -> None:
    """`--audio-dir .` in each site's folder: the same text, another recording."""
    for site in ("A4", "B1"):
        make(tmp_path / "out" / site, {"20250510_030000.WAV": 20.0})
    report = do(tmp_path / "out", tmp_path / "store")
    assert report.sites == {"A4": 1, "B1": 1}
    assert sorted(ledger_entries(tmp_path / "store")) == ["A4/20250510_030000.WAV", "B1/20250510_030000.WAV"]


def test_root_and_prefix_are_the_user_s(output, tmp_path) -> None:
    do(output, tmp_path / "store", root="/data", prefix="wytham")
    assert "wytham/2025/A4/20250510_030000.WAV" in ledger_entries(tmp_path / "store")
    with pytest.raises(Invalid, match=r"does not begin with /elsewhere"):
        do(output, tmp_path / "other", root="/elsewhere")
    assert not (tmp_path / "other").exists()
