"""What stored paths are relative to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.roots import absolute_path, choose_root, relative_path
from sonotheque.core.errors import Conflict, Invalid, NotFound


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """/a/b/c with a file in each, /ab beside /a."""
    for folder in ("a/b/c", "ab"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("a/1.wav", "a/b/2.wav", "a/b/c/3.wav", "ab/4.wav"):
        (tmp_path / file).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "asked", "known", "root"),
    [
        pytest.param(["a"], None, [], "a", id="a folder is its own root"),
        pytest.param(["a/b/2.wav"], None, [], "a/b", id="a file's is its folder"),
        pytest.param(["a/b", "a/1.wav"], None, [], "a", id="several share the deepest common folder"),
        pytest.param(["a/b", "a/b/c"], None, [], "a/b", id="one inside the other"),
        pytest.param(["a", "ab"], None, [], "", id="a common prefix of letters is no common folder"),
        pytest.param(["a/b/c"], None, ["a"], "a", id="inside a known root"),
        pytest.param(["a/b/c/3.wav"], None, ["a"], "a", id="a file inside a known root"),
        pytest.param(["a"], None, ["a"], "a", id="the known root itself"),
        pytest.param(["ab"], None, ["a"], "ab", id="beside a known root of the same letters"),
        pytest.param(["a/b/c"], None, ["ab", "a/b"], "a/b", id="the known one that holds it"),
        pytest.param(["a/b"], "a", [], "a", id="--root"),
        pytest.param(["a/b"], "a/b", [], "a/b", id="--root is the source"),
        pytest.param(["a"], "", ["a"], "", id="--root above a known one is the user's own choice"),
    ],
)
def test_roots(tree: Path, sources: list[str], asked: str | None, known: list[str], root: str) -> None:
    given_root = None if asked is None else str(tree / asked)
    found = choose_root(tuple(str(tree / s) for s in sources), given_root, [str(tree / k) for k in known])
    assert found == str(tree / root)


@pytest.mark.parametrize(
    ("sources", "asked", "known", "error", "words"),
    [
        pytest.param(["a"], None, ["a/b"], Conflict, ["a/b", "--root", "--prefix"], id="contains a known root"),
        pytest.param(["a/b/c", "a/1.wav"], None, ["a/b"], Conflict, ["a/b"], id="common folder contains one"),
        pytest.param(["a"], "ab", [], Invalid, ["--root", "ab"], id="outside --root"),
        pytest.param(["a/b", "ab"], "a", [], Invalid, ["ab"], id="one of two outside --root"),
        pytest.param(["ab"], "a", [], Invalid, ["--root"], id="beside --root with the same letters"),
        pytest.param(["missing"], None, [], NotFound, ["missing"], id="mistyped"),
        pytest.param(["a/1.wav/x"], None, [], NotFound, ["1.wav"], id="below a file"),
        pytest.param(["a"], "missing", [], NotFound, ["missing"], id="mistyped --root"),
        pytest.param(["a", "n" * 300], None, [], NotFound, ["nnn"], id="a name longer than any"),
    ],
)
def test_refusals(
    tree: Path, sources: list[str], asked: str | None, known: list[str], error: type[Exception], words: list[str]
) -> None:
    given_root = None if asked is None else str(tree / asked)
    with pytest.raises(error) as caught:
        choose_root(tuple(str(tree / s) for s in sources), given_root, [str(tree / k) for k in known])
    assert all(word in str(caught.value) for word in words)


def test_a_link_that_leads_to_itself(tree: Path) -> None:
    (tree / "loop").symlink_to(tree / "loop")
    with pytest.raises(NotFound, match="loop"):
        choose_root((str(tree / "loop"),), None, [])


def test_links_and_dots_are_resolved(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "link").symlink_to(tree / "a")
    assert choose_root((str(tree / "link" / "b" / ".."),), None, []) == str(tree / "a")
    monkeypatch.chdir(tree / "a")
    assert choose_root((".",), None, []) == str(tree / "a")
    monkeypatch.setenv("HOME", str(tree))
    assert choose_root(("~/ab",), None, []) == str(tree / "ab")


names = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20).filter(lambda n: n not in (".", ".."))


@given(st.lists(names, min_size=1, max_size=4), st.sampled_from(["", "2024", "/2024/", "a/b"]))
def test_a_stored_path_leads_back(parts: list[str], prefix: str) -> None:
    path = os.path.join("/archive", *parts)
    stored = relative_path(path, "/archive", prefix)
    assert stored == "/".join([*filter(None, [prefix.strip("/")]), *parts])
    assert absolute_path(stored, "/archive", prefix) == path


def test_the_root_folder_of_the_machine() -> None:
    assert relative_path("/a.wav", "/", "") == "a.wav"
    assert absolute_path("a.wav", "/", "") == "/a.wav"
