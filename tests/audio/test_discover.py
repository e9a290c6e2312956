"""The walk over folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from embedder.audio import AUDIO_EXTENSIONS, FoundFile, Problem, find_audio
from embedder.audio.discover import is_audio_name
from sonotheque.core.errors import Invalid, NotFound


def touch(path: Path | str | bytes, size: int = 3) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"x" * size)


def names(root: Path, problems: list[Problem] | None = None) -> list[str]:
    return [os.path.relpath(found.path, root) for found in find_audio(str(root), problems)]


@pytest.mark.parametrize("extension", sorted(AUDIO_EXTENSIONS))
def test_endings_in_any_case(extension, tmp_path):
    for number, ending in enumerate((extension, extension.upper(), extension.title())):
        touch(tmp_path / f"a{number}{ending}")
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize(
    ("name", "is_audio"),
    [
        ("a.wav", True),
        ("a.b.WAV", True),
        ("a.wav.part", False),
        ("wav", False),
        (".wav", False),
        ("._a.wav", False),
        (".hidden.flac", False),
        ("a.txt", False),
        ("a.w4v", False),
        ("a.", False),
    ],
)
def test_names(name, is_audio, tmp_path):
    touch(tmp_path / name)
    assert is_audio_name(name) is is_audio
    assert names(tmp_path) == ([name] if is_audio else [])


def test_facts_and_absolute_paths(tmp_path, monkeypatch):
    touch(tmp_path / "site" / "a.wav", 17)
    os.utime(tmp_path / "site" / "a.wav", ns=(5, 1_700_000_000_123_456_789))
    monkeypatch.chdir(tmp_path)
    found = list(find_audio("site"))
    assert found == [FoundFile(str(tmp_path / "site" / "a.wav"), 17, 1_700_000_000_123_456_789)]


def test_order_is_of_bytes_and_depth_first(tmp_path):
    made = ["b/z.wav", "a.wav", "B.wav", "b/a/x.wav", "é.wav", "z.wav", "b.wav", "a/1.wav", "a/10.wav", "a/2.wav"]
    for name in made:
        touch(tmp_path / name)
    expected = ["B.wav", "a/1.wav", "a/10.wav", "a/2.wav", "a.wav", "b/a/x.wav", "b/z.wav", "b.wav", "z.wav", "é.wav"]
    assert names(tmp_path) == expected
    assert names(tmp_path) == names(tmp_path)


def test_names_that_are_not_utf8(tmp_path):
    raw = os.path.join(os.fsencode(tmp_path), b"\xff caf\xe9")
    touch(os.path.join(raw, b"\xfe.wav"), 9)
    (found,) = find_audio(str(tmp_path))
    assert os.fsencode(found.path) == os.path.join(raw, b"\xfe.wav")
    assert found.size_bytes == 9


def test_a_file_is_taken_whatever_its_ending(tmp_path):
    touch(tmp_path / "call.bin", 4)
    (found,) = find_audio(str(tmp_path / "call.bin"))
    assert (found.path, found.size_bytes) == (str(tmp_path / "call.bin"), 4)


def test_empty_folder_and_missing_one(tmp_path):
    assert names(tmp_path) == []
    with pytest.raises(NotFound, match=r"nowhere.*name a folder"):
        list(find_audio(str(tmp_path / "nowhere")))


def test_hidden_folders_are_left_out(tmp_path):
    touch(tmp_path / ".Trash-0" / "a.wav")
    touch(tmp_path / "card" / ".Spotlight" / "b.wav")
    touch(tmp_path / "card" / "c.wav")
    assert names(tmp_path) == ["card/c.wav"]


def test_a_hidden_folder_named_by_the_caller_is_walked(tmp_path):
    touch(tmp_path / ".data" / "a.wav")
    assert names(tmp_path / ".data") == ["a.wav"]


def test_link_loops_end(tmp_path):
    touch(tmp_path / "a" / "x.wav")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    os.symlink(".", tmp_path / "a" / "self")
    assert names(tmp_path) == ["a/x.wav"]


def test_loops_outside_the_root_end(tmp_path):
    touch(tmp_path / "out" / "x.wav")
    os.symlink(tmp_path / "out", tmp_path / "out" / "again")
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "out", tmp_path / "root" / "link")
    assert names(tmp_path / "root") == ["link/x.wav"]


def test_a_link_inside_the_root_gives_no_second_name(tmp_path):
    touch(tmp_path / "2024" / "x.wav")
    os.symlink(tmp_path / "2024", tmp_path / "1_latest")
    assert names(tmp_path) == ["2024/x.wav"]


def test_a_link_out_of_the_root_is_followed_once(tmp_path):
    touch(tmp_path / "disk" / "x.wav")
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "root" / "a")
    os.symlink(tmp_path / "disk", tmp_path / "root" / "b")
    assert names(tmp_path / "root") == ["a/x.wav"]


def test_a_link_to_a_hidden_folder_inside_is_followed(tmp_path):
    touch(tmp_path / ".annex" / "x.wav")
    os.symlink(tmp_path / ".annex", tmp_path / "data")
    assert names(tmp_path) == ["data/x.wav"]


def test_links_to_files_are_files(tmp_path):
    touch(tmp_path / "store" / "blob", 12)
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "store" / "blob", tmp_path / "root" / "a.wav")
    (found,) = find_audio(str(tmp_path / "root"))
    assert found.size_bytes == 12


def test_broken_links_are_reported(tmp_path):
    os.symlink(tmp_path / "gone", tmp_path / "a.wav")
    problems: list[Problem] = []
    assert names(tmp_path, problems) == []
    assert [problem.path for problem in problems] == [str(tmp_path / "a.wav")]
    assert "No such file" in problems[0].reason


def test_pipes_and_sockets_are_reported_and_not_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock.wav")
        problems: list[Problem] = []
        assert names(tmp_path, problems) == []
    assert [os.path.basename(problem.path) for problem in problems] == ["pipe.wav", "sock.wav"]
    with pytest.raises(Invalid, match="neither a folder nor a regular file"):
        list(find_audio(str(tmp_path / "pipe.wav")))


def test_a_folder_named_like_audio_is_walked(tmp_path):
    touch(tmp_path / "day.wav" / "x.wav")
    assert names(tmp_path) == ["day.wav/x.wav"]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "x.wav")
    touch(tmp_path / "b" / "y.wav")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "a":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    problems: list[Problem] = []
    assert names(tmp_path, problems) == ["b/y.wav"]
    assert problems == [Problem(str(tmp_path / "a"), "Permission denied")]
    assert names(tmp_path) == ["b/y.wav"]


def test_depth_is_not_bounded_by_recursion(tmp_path):
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    touch(deep / "x.wav")
    assert len(names(tmp_path)) == 1


def test_it_is_lazy(tmp_path):
    touch(tmp_path / "a.wav")
    walk = find_audio(str(tmp_path))
    touch(tmp_path / "b.wav")
    assert os.path.basename(next(walk).path) == "a.wav"
