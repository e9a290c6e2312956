"""An export is there whole or not at all, and replaces nothing that it may not replace."""

from __future__ import annotations

import errno
import os

import pytest

from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from store.formats.whole import MARK, require_free, whole_files, whole_folder


class StopError(Exception):
    """The writer fails half-way."""


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_files_appear_when_they_are_done(tmp_path):
    with whole_files(tmp_path / "a.csv", tmp_path / "b.csv") as (a, b):
        a.write_text("1")
        b.write_text("2")
        assert not (tmp_path / "a.csv").exists()
    assert names(tmp_path) == ["a.csv", "b.csv"]
    assert (tmp_path / "a.csv").read_text() == "1"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(StopError), whole_files(tmp_path / "a.csv") as (a,):
        a.write_text("half")
        raise StopError
    with pytest.raises(StopError), whole_folder(tmp_path / "f", {}) as folder:
        (folder / "x.txt").write_text("half")
        raise StopError
    assert names(tmp_path) == []


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with whole_folder(tmp_path / "f", {}) as folder:
        (folder / "x.txt").write_text("old")
    with pytest.raises(StopError), whole_files(tmp_path / "a.csv", overwrite=True) as (a,):
        a.write_text("half")
        raise StopError
    with pytest.raises(StopError), whole_folder(tmp_path / "f", {}, overwrite=True):
        raise StopError
    assert (tmp_path / "a.csv").read_text() == "old"
    assert (tmp_path / "f" / "x.txt").read_text() == "old"
    assert names(tmp_path) == ["a.csv", "f"]


def test_overwriting_replaces_all(tmp_path):
    for text in ("old", "new"):
        with whole_files(tmp_path / "a.csv", overwrite=True) as (a,):
            a.write_text(text)
        with whole_folder(tmp_path / "f", {"what": text}, overwrite=True) as folder:
            (folder / f"{text}.txt").write_text(text)
    assert (tmp_path / "a.csv").read_text() == "new"
    assert names(tmp_path / "f") == ["new.txt", MARK]
    assert names(tmp_path) == ["a.csv", "f"]


def test_a_target_that_came_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(Conflict, match="meanwhile"), whole_files(tmp_path / "a.csv") as (a,):
        a.write_text("ours")
        (tmp_path / "a.csv").write_text("theirs")
    with pytest.raises(Conflict, match="meanwhile"), whole_folder(tmp_path / "f", {}):
        (tmp_path / "f").mkdir()
    assert (tmp_path / "a.csv").read_text() == "theirs"
    assert names(tmp_path) == ["a.csv", "f"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("at", ["fsync", "rename", "link"])
def test_an_error_of_the_disk_at_any_step_leaves_nothing(tmp_path, monkeypatch, code, at):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, at, fail)
    expected = OSError if code == errno.EIO else Unavailable
    if at in ("fsync", "link") and not (at == "link" and code == errno.EROFS):
        with pytest.raises(expected), whole_files(tmp_path / "a.csv") as (a,):
            a.write_text("x")
    if at in ("fsync", "rename"):
        with pytest.raises(expected), whole_folder(tmp_path / "f", {}) as folder:
            (folder / "x").write_text("x")
    monkeypatch.undo()
    assert [n for n in names(tmp_path) if n.startswith(".")] == []
    assert "a.csv" not in names(tmp_path)


def test_a_failed_replacement_puts_the_old_folder_back(tmp_path, monkeypatch):
    with whole_folder(tmp_path / "f", {}) as folder:
        (folder / "old").write_text("old")
    calls = []
    rename = os.rename

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        rename(*args)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(Unavailable, match="full"), whole_folder(tmp_path / "f", {}, overwrite=True):
        pass
    assert "old" in names(tmp_path / "f")
    assert names(tmp_path) == ["f"]


def test_what_is_in_the_way_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("")
    (tmp_path / "empty").mkdir()
    with whole_folder(tmp_path / "ours", {}):
        pass
    require_free(tmp_path / "new", overwrite=False, folder=True)
    require_free(tmp_path / "empty", overwrite=True, folder=True)
    require_free(tmp_path / "ours", overwrite=True, folder=True)
    require_free(tmp_path / "file", overwrite=True, folder=False)
    for name, options, said in (
        ("file", {"overwrite": False, "folder": False}, "--overwrite"),
        ("ours", {"overwrite": False, "folder": True}, "--overwrite"),
        ("mine", {"overwrite": True, "folder": True}, "not made by an export"),
        ("file", {"overwrite": True, "folder": True}, "is a file"),
        ("ours", {"overwrite": True, "folder": False}, "is a folder"),
    ):
        with pytest.raises(Conflict, match=said):
            require_free(tmp_path / name, **options)
    with pytest.raises(NotFound, match="no folder"):
        require_free(tmp_path / "gone" / "x.csv", overwrite=False, folder=False)


def test_nothing_is_exported_into_a_store(tmp_path):
    (tmp_path / "store" / "catalog").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for place in ("store/x.csv", "store/catalog/x.csv", "link/x.csv"):
        with pytest.raises(Invalid, match="lies in the store"):
            require_free(tmp_path / place, overwrite=True, folder=False, store=str(tmp_path / "store"))
    require_free(tmp_path / "store2.csv", overwrite=False, folder=False, store=str(tmp_path / "store"))
