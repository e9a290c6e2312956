"""What is new, what the store has, and what stands in the way; each case is a run on a small archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import cluster.inventory
from cluster.inventory import take_inventory
from cluster.run import embed, prepare
from cluster.settle import describer_of
from embedder.audio import FoundFile, find_audio
from sonotheque.core.errors import Conflict, Invalid, NotFound, SonothequeError
from sonotheque.core.recording import printable_path
from store import Ledger
from tests.cluster.support import cli, make_archive, options, report_rows, run, windows, write_wav


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", sites=2, days=1, files=2)


def paths(store: Path) -> set[str]:
    return {row[0] for row in windows(store)}


def test_a_second_run_finds_everything_settled(archive: Path, store: Path) -> None:
    assert run(archive, store).done == 4
    again = prepare(options(archive, store)).inventory
    assert (len(again.new), len(again.settled), again.changed) == (0, 4, 0)
    assert again.audio_s == pytest.approx(16.0)


@pytest.mark.parametrize("inner", ["site1", "site1/20240501_040000.wav"])
def test_a_source_inside_a_known_root_keeps_its_paths(archive: Path, store: Path, inner: str) -> None:
    run(archive, store)
    found = prepare(options(archive / inner, store)).inventory
    assert found.root == str(archive)
    assert not found.new
    assert {s.entry.path.split("/")[0] for s in found.settled} == {"site1"}


def test_a_folder_around_a_known_root_is_refused(archive: Path, store: Path) -> None:
    run(archive / "site0", store)
    with pytest.raises(Conflict, match="site0") as caught:
        run(archive, store)
    assert caught.value.kind == "path_conflict"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"prefix": "first"}, {"prefix": "all"}),
        ({"prefix": "first"}, {}),
        ({}, {"prefix": "late"}),
    ],
    ids=["another prefix", "a forgotten prefix", "a late prefix"],
)
def test_one_file_is_not_stored_under_two_names(
    archive: Path, store: Path, first: dict[str, str], then: dict[str, str]
) -> None:
    run(archive / "site0", store, **first)
    before = paths(store)
    with pytest.raises(Conflict, match="second time") as caught:
        run(archive / "site0", store, **then)
    assert caught.value.kind == "path_conflict"
    assert paths(store) == before
    # What the store has not seen goes in under any name.
    run(archive / "site1", store, **then)
    assert len(paths(store)) == 4


def test_one_file_is_not_stored_under_two_names_by_a_root_above(archive: Path, store: Path) -> None:
    run(archive / "site0", store)
    with pytest.raises(Conflict, match="second time"):
        run(archive / "site0", store, root=str(archive))


def test_a_run_that_never_planned_binds_nothing(archive: Path, store: Path) -> None:
    with pytest.raises(SonothequeError):
        embed(options(archive / "site0", store, model="birdnet_v2.4", weights=str(archive)))
    run(archive, store)
    assert "site0/20240501_040000.wav" in paths(store)


def test_two_recorders_on_one_schedule_are_two(archive: Path, store: Path) -> None:
    """Same name, size and time, and another sound: nothing may be taken for stored."""
    one, other = archive / "site0" / "20240501_040000.wav", archive / "site1" / "20240501_040000.wav"
    for file in (one, other):
        os.utime(file, ns=(10**18, 10**18))
    assert one.stat().st_size == other.stat().st_size
    run(one, store)
    with pytest.raises(Conflict, match="--prefix"):
        run(other, store)
    assert run(other, store, prefix="site1").done == 1
    assert len(paths(store)) == 2


def test_several_sources_and_one_of_them_twice(archive: Path, store: Path) -> None:
    sources = (str(archive / "site0"), str(archive / "site1" / "20240501_040000.wav"), str(archive / "site0"))
    report = run(sources, store)
    assert report.files == 3
    assert paths(store) == {"site0/20240501_040000.wav", "site0/20240501_050000.wav", "site1/20240501_040000.wav"}


def test_a_single_file_of_any_name(tmp_path: Path, store: Path) -> None:
    file = write_wav(tmp_path / "call.sound", 3.0)
    assert run(file, store).done == 1
    assert paths(store) == {"call.sound"}


def test_root_and_prefix(archive: Path, store: Path) -> None:
    run(archive / "site1", store, root=str(archive), prefix="/2024/")
    assert paths(store) == {"2024/site1/20240501_040000.wav", "2024/site1/20240501_050000.wav"}


def test_a_source_outside_the_root_is_refused_and_leaves_nothing(archive: Path, store: Path) -> None:
    with pytest.raises(Invalid, match="--root"):
        run(archive / "site0", store, root=str(archive / "site1"))
    assert not store.exists()


# ---- moved, changed, deleted, other -----------------------------------------------------------------------------------


def test_a_moved_archive_is_settled(archive: Path, store: Path, tmp_path: Path) -> None:
    run(archive, store)
    archive.rename(tmp_path / "new place")
    report = run(tmp_path / "new place", store)
    assert (report.done, report.skipped) == (0, 4)


def test_a_copied_archive_with_its_times_is_settled_and_without_them_refused(
    archive: Path, store: Path, tmp_path: Path
) -> None:
    run(archive, store)
    shutil.copytree(archive, tmp_path / "with", copy_function=shutil.copy2)
    assert run(tmp_path / "with", store).done == 0
    shutil.copytree(archive, tmp_path / "without", copy_function=shutil.copyfile)
    with pytest.raises(Conflict, match="--prefix") as caught:
        run(tmp_path / "without", store)
    assert caught.value.kind == "path_conflict"


def test_another_recording_of_the_same_name_elsewhere_is_refused(archive: Path, store: Path, tmp_path: Path) -> None:
    run(archive, store)
    other = write_wav(tmp_path / "card2" / "site0" / "20240501_040000.wav", 6.0, seed=77)
    with pytest.raises(Conflict, match=r"site0/20240501_040000\.wav") as caught:
        run(other.parents[1], store)
    assert str(other.stat().st_size) in caught.value.message
    # With a name of its own it goes in; said to replace, it replaces.
    assert run(other.parents[1], store, prefix="card2").done == 1
    assert run(other.parents[1], store, replace=True).changed == 1
    assert len([p for p in windows(store) if p[0] == "site0/20240501_040000.wav"]) == 3


def test_a_changed_file_replaces_its_older_self(archive: Path, store: Path) -> None:
    run(archive, store)
    changed = write_wav(archive / "site0" / "20240501_040000.wav", 8.0, seed=50)
    found = prepare(options(archive, store)).inventory
    assert (len(found.new), found.changed) == (1, 1)
    assert len(found.new[0].replaces) == 1
    report = run(archive, store)
    assert (report.done, report.skipped, report.changed) == (1, 3, 1)
    assert len([p for p in windows(store) if p[0].endswith("site0/" + changed.name)]) == 4


def test_a_touched_file_is_a_changed_file(archive: Path, store: Path) -> None:
    run(archive, store)
    os.utime(archive / "site0" / "20240501_040000.wav", ns=(1, 1))
    before = windows(store)
    assert run(archive, store).changed == 1
    assert windows(store) == before


def test_a_file_that_changes_again_and_back(archive: Path, store: Path) -> None:
    file = archive / "site0" / "20240501_040000.wav"
    first = file.read_bytes()
    stat = file.stat()
    for seconds in (4.0, 8.0, 6.0):
        write_wav(file, seconds, seed=int(seconds))
        run(archive, store)
        assert len([p for p in windows(store) if p[0] == "site0/" + file.name]) == seconds / 2
    file.write_bytes(first)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(archive, store).changed == 1
    assert run(archive, store).done == 0


def test_a_deleted_file_keeps_its_rows(archive: Path, store: Path) -> None:
    run(archive, store)
    before = windows(store)
    (archive / "site0" / "20240501_040000.wav").unlink()
    report = run(archive, store)
    assert (report.files, report.skipped) == (3, 3)
    assert windows(store) == before


# ---- nothing there, not to be looked at --------------------------------------------------------------------------------


def test_an_empty_folder_leaves_no_store(tmp_path: Path, store: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(NotFound) as caught:
        run(tmp_path / "empty", store)
    assert caught.value.kind == "no_audio"
    assert not store.exists()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        pytest.param({"sources": ("recordngs",)}, NotFound, id="mistyped source"),
        pytest.param({"model": "perhc_v2"}, NotFound, id="mistyped model"),
        pytest.param({"hop_s": 3.0}, Invalid, id="hop longer than the window"),
        pytest.param({"rate_factor": 1000.0}, Invalid, id="rate factor out of range"),
        pytest.param({"timezone": "Europe/Pariss"}, Invalid, id="mistyped zone"),
        pytest.param({"clock_timezone": "UT"}, Invalid, id="mistyped zone of the clocks"),
        pytest.param({"site_from": "filename"}, Invalid, id="unknown site rule"),
        pytest.param({"time_pattern": "(?P<year>["}, Invalid, id="broken pattern"),
        pytest.param({"deployments": "missing.csv"}, SonothequeError, id="missing table"),
        pytest.param({"times": "missing.csv"}, SonothequeError, id="missing times"),
    ],
)
def test_a_mistake_leaves_no_store(
    archive: Path, store: Path, more: dict[str, object], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive)
    given = options(archive, store)
    with pytest.raises(error):
        embed(type(given).from_json({**given.to_json(), **more}))
    assert not store.exists()


@pytest.mark.parametrize(
    "more",
    [{"dtype": "float8"}, {"channels": "left"}, {"top_k": -1}, {"top_k": 1001}, {"workers": -1}, {"threads": 0}],
    ids=str,
)
def test_options_that_cannot_be(more: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--"):
        options(tmp_path, tmp_path / "s", **more)


def test_a_store_that_is_a_file(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Invalid, match="--store"):
        run(archive, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unreadable_folder_is_reported_and_is_no_clean_success(
    archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("site1"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = run(archive, store)
    assert report.done == 2
    assert [(p["path"], p["reason"]) for p in report.problems] == [(str(archive / "site1"), "Permission denied")]
    assert not report.clean


def test_exit_code_3_when_a_folder_cannot_be_looked_at(archive: Path, store: Path) -> None:
    (archive / "gone.wav").symlink_to(archive / "nowhere.wav")
    done = cli("embed", archive, "--store", store, "--model", "placeholder", "--workers", "0")
    assert done.returncode == 3, done.stderr
    assert "gone.wav" in done.stdout


# ---- names -----------------------------------------------------------------------------------------------------------


NAMES = [
    " leading and trailing .wav",
    "quote ' and \" and ; -- $(x).wav",
    "new\nline.wav",
    "=1+1.wav",
    "Zaunkönig 鳥.wav",
    "e\u0301.wav",
    "\u00e9.wav",
    "%41.wav",
    "a\\b.wav",
    "n" * 251 + ".wav",
    os.fsdecode(b"caf\xe9 \xff.wav"),
]


def test_any_name_a_file_system_takes(tmp_path: Path, store: Path) -> None:
    for number, name in enumerate(NAMES):
        write_wav(tmp_path / "archive" / f"{'d' * 200}{number}" / name, 2.0, seed=number)
    report = run(tmp_path / "archive", store)
    assert report.done == len(NAMES)
    stored = {path.split("/", 1)[1] for path in paths(store)}
    assert stored == {printable_path(name) for name in NAMES}
    assert {p.split("/", 1)[1] for p in report_rows(report)} == stored
    assert run(tmp_path / "archive", store).skipped == len(NAMES)


def test_site_folders_of_any_name(tmp_path: Path, store: Path) -> None:
    sites = ["a b", "a=b", "é", "50%", "x" * 80, os.fsdecode(b"\xff\xfe")]
    for number, site in enumerate(sites):
        write_wav(tmp_path / "archive" / site / "1.wav", 2.0, seed=number)
    assert run(tmp_path / "archive", store).done == len(sites)
    assert len({row[0] for row in windows(store, "site")}) == len(sites)
    assert run(tmp_path / "archive", store).skipped == len(sites)


def test_two_files_of_one_id_are_refused(archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.inventory, "recording_id", lambda path: 7)
    with pytest.raises(Conflict, match="share the id") as caught:
        run(archive, store)
    assert caught.value.kind == "path_conflict"
    assert "site0/20240501_040000.wav" in caught.value.message


def test_a_file_of_a_stored_files_id_is_refused(archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(archive / "site0", store, prefix="p")
    monkeypatch.setattr(cluster.inventory, "recording_id", real_id_of_one_stored(store))
    with pytest.raises(Conflict, match="share an id"):
        run(archive / "site1" / "20240501_040000.wav", store, prefix="q")


def real_id_of_one_stored(store: Path):  # type: ignore[no-untyped-def]
    held = windows(store, "recording_id")[0][0]
    return lambda path: held


def test_links(archive: Path, store: Path, tmp_path: Path) -> None:
    """A loop is walked once; a link to a folder elsewhere is followed; one into the archive gives no second copy."""
    (archive / "site0" / "up").symlink_to(archive)
    (archive / "again").symlink_to(archive / "site1")
    outside = write_wav(tmp_path / "other card" / "x.wav", 2.0, seed=9)
    (archive / "card").symlink_to(outside.parent)
    assert run(archive, store).files == 5
    assert {p.split("/")[0] for p in paths(store)} == {"site0", "site1", "card"}


def test_the_walk_is_told_of(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [FoundFile(f"{archive}/{i}.wav", 1, 1) for i in range(2500)]
    monkeypatch.setattr(cluster.inventory, "find_audio", lambda source, problems: iter(many))
    given = options(archive, "x")
    told: list[int] = []
    found = take_inventory(given, str(archive), describer_of(given), Ledger({}, {}, {}), progress=told.append)
    assert told == [1000, 2000]
    assert found.files == 2500
    assert find_audio is not cluster.inventory.find_audio
