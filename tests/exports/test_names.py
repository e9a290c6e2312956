"""Names of exported files: below their folder whatever a store says, no two the same, taken by any file system."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.formats.text import names_for, safe_name

ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.text(".\\/: aA_~\x00", max_size=12)


def test_stems_in_the_folders_of_the_recordings():
    assert names_for(["a.wav", "A/b.WAV", "A/B/c.d.flac", "none"], ".x") == ["a.x", "A/b.x", "A/B/c.d.x", "none.x"]


def test_two_recordings_of_one_stem_keep_their_endings():
    assert names_for(["a.wav", "a.flac", "b/a.wav"], ".x") == ["a.wav.x", "a.flac.x", "b/a.x"]


def test_names_that_only_case_tells_apart():
    made = names_for(["Call.wav", "call.wav", "CALL.WAV"], ".x")
    assert len({n.casefold() for n in made}) == 3


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd.wav",
        "/etc/x.wav",
        "a/../../b.wav",
        "./a.wav",
        "a//b.wav",
        "..",
        ".",
        "",
        "C:\\x.wav",
        "~/x.wav",
    ],
)
def test_no_name_leaves_its_folder(path, tmp_path):
    (name,) = names_for([path], ".x")
    assert not PurePosixPath(name).is_absolute()
    assert not set(PurePosixPath(name).parts) & {"..", "."}
    assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a:b?c", "a_b_c"),
        ("CON", "_CON"),
        ("nul.wav", "_nul.wav"),
        ("tab\there\n", "tab_here_"),
        ("dots...", "dots"),
        ("..", "__"),
        ("", "_"),
        ("bad\\udc80byte", "bad_udc80byte"),
        ("Ñandú", "Ñandú"),
    ],
)
def test_safe_names(text, name):
    assert safe_name(text) == name


def test_long_names_are_cut_and_still_told_apart():
    paths = ["é" * 200 + "1.wav", "é" * 200 + "2.wav"]
    made = names_for(paths, ".sonotheque.selection.table.txt")
    assert len(set(made)) == 2
    assert all(len(os.fsencode(name)) <= 255 for name in made)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, unique=True, max_size=8), st.sampled_from([".txt", ".sonotheque.selection.table.txt"]))
def test_names_of_any_paths(paths, ending):
    made = names_for(paths, ending)
    folded = [unicodedata.normalize("NFC", name).casefold() for name in made]
    assert len(set(folded)) == len(paths)
    for name in made:
        parts = name.split("/")
        assert name.endswith(ending)
        assert all(part and part not in (".", "..") and "\\" not in part and "\x00" not in part for part in parts)
        assert all(len(part.encode()) <= 255 for part in parts)


@given(st.lists(st.sampled_from(["a.wav", "a.flac", "b.wav", "A.wav"]), unique=True))
def test_names_follow_from_the_paths_alone(paths):
    assert names_for(paths, ".x") == names_for(paths, ".x")
