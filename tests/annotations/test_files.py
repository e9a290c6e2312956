"""Tables as files: which of a folder are tables, where an export goes, and that it is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from store.annotations.database import _worded
from store.annotations.files import laid_out, tables_in, write_files
from store.annotations.formats import FORMATS
from store.annotations.formats.raven import HEADER
from tests.annotations.support import recordings, table_of, write
from tests.annotations.test_format_contract import row

RAVEN = "Begin Time (s)\tEnd Time (s)\tSpecies\n"
HOPLITE = "recording,start_s,end_s,label\n"
OBSERVATIONS = "observationID,mediaID,scientificName\n"


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_files_are_taken_as_they_are_and_folders_looked_into(tmp_path: Path) -> None:
    one = write(tmp_path, "one.anything", HOPLITE)
    write(tmp_path, "in/b/2.csv", HOPLITE)
    write(tmp_path, "in/a/1.CSV", HOPLITE)
    write(tmp_path, "in/a/sound.wav", b"RIFF")
    write(tmp_path, "in/a/about.txt", "words\n")
    write(tmp_path, "in/.hidden.csv", HOPLITE)
    files, left_out = tables_in([str(one), str(tmp_path / "in"), str(one)])
    assert names(files, tmp_path) == ["one.anything", "in/.hidden.csv", "in/a/1.CSV", "in/b/2.csv"]
    assert names(left_out, tmp_path) == ["in/a/about.txt"]


def test_the_tables_beside_observations_are_no_strangers(tmp_path: Path) -> None:
    for name, text in (
        ("observations.csv", OBSERVATIONS),
        ("media.csv", "mediaID\n"),
        ("deployments.csv", "deploymentID\n"),
    ):
        write(tmp_path, name, text)
    files, left_out = tables_in([str(tmp_path)])
    assert (names(files, tmp_path), left_out) == (["observations.csv"], [])


def test_of_a_folder_only_the_format_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", RAVEN)
    write(tmp_path, "b.csv", HOPLITE)
    with pytest.raises(Invalid, match="several formats"):
        tables_in([str(tmp_path)])
    for format_, name, other in (("raven", "a.txt", "b.csv"), ("hoplite", "b.csv", "a.txt")):
        files, left_out = tables_in([str(tmp_path)], format_)
        assert (names(files, tmp_path), names(left_out, tmp_path)) == ([name], [other])
    with pytest.raises(NotFound, match="no table of the format parquet; looked into 2 files"):
        tables_in([str(tmp_path)], "parquet")


def test_a_table_in_the_folder_that_cannot_be_decoded_is_no_silent_loss(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", HOPLITE)
    write(tmp_path, "b.csv", b"recording,start_s,end_s,label\na.wav,0,1,caf\xe9\n")
    with pytest.raises(Invalid, match=r"b\.csv, line 2: byte 0xe9"):
        tables_in([str(tmp_path)])


KNOWN = recordings(("b/two.wav", 30.0), ("a/one.wav", 60.0), ("a/none.wav", 10.0), ("c/unread.wav", None))
ROWS = [row(1, path="a/one.wav"), row(2, path="b/two.wav"), row(3, path="a/one.wav", high_hz=None)]


def lay(format_: str, out: Path, rows: list[dict[str, Any]] = ROWS) -> dict[str, bytes]:
    return {
        p.relative_to(out.parent).as_posix(): data
        for p, data in laid_out(FORMATS[format_], table_of(rows), KNOWN, out).items()
    }


@pytest.mark.parametrize(
    ("format_", "out", "files"),
    [
        ("raven", "out", ["out/a/one.Table.1.selections.txt", "out/b/two.Table.1.selections.txt"]),
        ("raven", "all.txt", ["all.txt"]),
        ("audacity", "out", ["out/a/one.txt", "out/b/two.txt"]),
        ("birdnet", "x.csv", ["x.csv"]),
        ("birdnet", "out", ["out/annotations.csv"]),
        ("hoplite", "out", ["out/annotations.csv"]),
        ("parquet", "x.parquet", ["x.parquet"]),
        ("parquet", "out", ["out/annotations.parquet"]),
        ("pamdp", "out", ["out/observations.csv", "out/media.csv"]),
    ],
)
def test_where_an_export_goes(tmp_path: Path, format_: str, out: str, files: list[str]) -> None:
    assert list(lay(format_, tmp_path / out)) == files


def test_a_folder_that_is_there_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "labels.v2").mkdir()
    assert list(lay("birdnet", tmp_path / "labels.v2")) == ["labels.v2/annotations.csv"]


def test_a_table_over_all_recordings_counts_those_without_annotations_and_of_no_length(tmp_path: Path) -> None:
    lines = [line.split("\t") for line in lay("raven", tmp_path / "all.txt")["all.txt"].decode().splitlines()[1:]]
    begins = {(line[HEADER.index("Begin Path")], float(line[HEADER.index("Begin Time (s)")])) for line in lines}
    assert begins == {("a/one.wav", 10 + 1.0), ("b/two.wav", 10 + 60 + 2.0), ("a/one.wav", 10 + 3.0)}
    one = [
        line.split("\t") for line in lay("raven", tmp_path / "one.txt", ROWS[:1])["one.txt"].decode().splitlines()[1:]
    ]
    assert float(one[0][HEADER.index("Begin Time (s)")]) == 1.0, "a table of one recording counts from its start"


def test_an_edge_that_was_not_drawn_is_half_the_sample_rate(tmp_path: Path) -> None:
    text = lay("raven", tmp_path / "one.txt", [row(1, path="a/one.wav", low_hz=None, high_hz=None)])["one.txt"].decode()
    assert text.splitlines()[1].split("\t")[5:7] == ["0", "24000"]


def test_paths_that_climb_out_stay_below_the_folder(tmp_path: Path) -> None:
    """A store's paths are relative and have no `..`; if one did, nothing must be written elsewhere."""
    for path in lay("raven", tmp_path / "out", [row(1, path="../../etc/one.wav")]):
        assert path.startswith("out/")
        assert ".." not in Path(path).parts


def test_files_are_written_whole_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    files = {tmp_path / "a" / "one.txt": b"1", tmp_path / "b" / "two.txt": b"2"}
    write_files(files)
    assert {p: p.read_bytes() for p in files} == files
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2
    with pytest.raises(Conflict, match=r"one\.txt is there already \(and 1 more\)"):
        write_files(files)
    write_files(dict.fromkeys(files, b"new"), overwrite=True)
    assert {p.read_bytes() for p in files} == {b"new"}


@pytest.mark.parametrize("fails_at", [1, 2])
def test_an_export_that_cannot_be_finished_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    files = {tmp_path / "one.txt": b"1", tmp_path / "two.txt": b"2"}
    for path in files:
        path.write_bytes(b"old")
    calls = 0
    whole = Path.write_bytes

    def fail(self: Path, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            whole(self, data[:0])
            raise OSError(28, os.strerror(28), str(self))
        return whole(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(Unavailable, match="no room") as caught:
        write_files(files, overwrite=True)
    assert caught.value.kind == "disk_full"
    assert {p.read_bytes() for p in files} == {b"old"}
    assert len(list(tmp_path.iterdir())) == 2


def test_sqlite_s_errors_are_worded_by_what_a_caller_can_do() -> None:
    import sqlite3

    kinds = {
        sqlite3.SQLITE_BUSY: "busy",
        sqlite3.SQLITE_LOCKED: "busy",
        sqlite3.SQLITE_FULL: "disk_full",
        sqlite3.SQLITE_READONLY: "read_only",
        sqlite3.SQLITE_READONLY_DIRECTORY: "read_only",
        sqlite3.SQLITE_CANTOPEN: "read_only",
        sqlite3.SQLITE_IOERR_WRITE: "unavailable",
        sqlite3.SQLITE_CORRUPT: "damaged",
        sqlite3.SQLITE_NOTADB: "damaged",
    }
    for code, kind in kinds.items():
        error = sqlite3.OperationalError("what SQLite says")
        error.sqlite_errorcode = code
        worded = _worded("store/annotations.sqlite", 30, error)
        assert worded.kind == kind
        assert "store/annotations.sqlite" in worded.message
    assert _worded("x", 30, sqlite3.DatabaseError("no code at all")).kind == "damaged"
