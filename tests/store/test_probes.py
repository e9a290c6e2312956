"""Probes on disk: names, versions, which one is in use, what is left of trainings that died."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from store import layout
from store.fsops import LocalFileOps
from store.probes import ProbeStore, check_name, in_use, promotion_stack, sweep_unfinished
from tests.store import probes_racing
from tests.store.kit import temporary_files, tree

CONTEXT = multiprocessing.get_context("spawn")
FILES = {"weights.safetensors": b"numbers", "probe.json": b"{}", "report.json": b"[1]"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Nothing here is about power cuts, and there are hundreds of small files."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def probes(tmp_path) -> ProbeStore:
    return ProbeStore(str(tmp_path))


# --- names ---

GOOD = [
    "owl",
    "Strix aluco",
    "Ñandú",
    "猫头鹰",
    "owl.v2",
    "50 % noise",
    "a=b",
    "x" * 100,
    "día-1",
    "шум",
    "owl~1",
    "con",
]
BAD = [
    "",
    "   ",
    ".",
    "..",
    ".hidden",
    "../owl",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "owl\0",
    "owl\n",
    "owl\x1b[2J",
    " owl",
    "owl ",
    "x" * 101,
    "猫" * 90,
    "a\ud800b",
    "a\u202eb",
]


@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_kept_as_it_is(probes, name):
    assert probes.add(name, FILES) == 1
    assert probes.names() == [name] and probes.versions(name) == [1]
    (folder,) = Path(probes.root, "probes").iterdir()
    assert folder.name.isascii() and layout.probe_name_of(folder.name) == name


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_cannot_be_one_is_refused_before_anything_is_written(probes, name):
    for ask in (lambda: probes.add(name, FILES), lambda: probes.read(name, 1), lambda: probes.promote(name, 1, "")):
        with pytest.raises(Invalid):
            ask()
    assert tree(probes.root) == {} and temporary_files(probes.root) == []


def test_a_name_that_is_no_text_is_refused(probes):
    with pytest.raises(Invalid):
        check_name(None)  # type: ignore[arg-type]


def test_composed_and_decomposed_letters_are_one_name(probes):
    one, other = unicodedata.normalize("NFC", "Ñandú"), unicodedata.normalize("NFD", "Ñandú")
    assert one != other
    probes.add(one, FILES)
    assert probes.add(other, FILES) == 2 and probes.names() == [one]


@given(st.text(max_size=110))
@settings(max_examples=300, deadline=None)
def test_whatever_name_is_taken_stays_one_folder_below_probes(name):
    try:
        checked = check_name(name)
    except Invalid:
        return
    folder = layout.probe_folder(checked)
    top, _, last = folder.partition("/")
    assert top == "probes" and last not in ("", ".", "..") and "/" not in last and "\0" not in last
    assert len(last) <= 255 and layout.probe_name_of(last) == checked == check_name(checked)


@given(st.text(min_size=1, max_size=30))
def test_folders_that_the_layout_does_not_make_are_nobodys(folder):
    name = layout.probe_name_of(folder)
    assert name is None or layout.probe_folder(name) == f"probes/{folder}"


def test_what_else_lies_in_the_folder_is_left_alone(probes):
    probes.add("owl", FILES)
    probes.promote("owl", 1, "")
    base = Path(probes.root, "probes")
    for name in ("notes.txt", "%zz", "a%2fb", "%FF", os.fsdecode(b"\xff")):
        (base / name).write_text("mine")
    for name in ("owl/notes", "owl/01", "owl/-1", "owl/promoted/x.json", "owl/promoted/02.json", "empty/1"):
        (base / name).mkdir(parents=True)
    assert probes.names() == ["owl"] and probes.versions("owl") == [1] and in_use(probes.root) == {"owl": 1}
    assert probes.add("owl", FILES) == 2


# --- versions ---


def test_versions_are_numbered_and_read_back(probes):
    for n in range(1, 13):
        assert probes.add("owl", {**FILES, "report.json": b"%d" % n}) == n
    assert probes.versions("owl") == list(range(1, 13))
    assert probes.read("owl", 11) == {**FILES, "report.json": b"11"}
    assert probes.read("owl", 3, ("report.json", "experiment.yaml")) == {"report.json": b"3"}
    assert temporary_files(probes.root) == []


def test_a_version_needs_its_files_and_no_others(probes):
    for files in (
        {},
        {"probe.json": b""},
        {"weights.safetensors": b""},
        {**FILES, "../evil": b""},
        {**FILES, "x": b""},
    ):
        with pytest.raises(Invalid):
            probes.add("owl", files)
    assert tree(probes.root) == {}


def test_a_version_exists_when_its_probe_json_does(probes):
    probes.add("owl", FILES)
    Path(probes.root, "probes/owl/2").mkdir()
    Path(probes.root, "probes/owl/2/weights.safetensors").write_bytes(b"half")
    assert probes.versions("owl") == [1]
    with pytest.raises(NotFound, match="version 2; it has 1"):
        probes.read("owl", 2)
    assert probes.add("owl", FILES) == 3, "whoever has the weights' name has the number"
    assert probes.read("owl", 3) == FILES


def test_what_is_not_there_is_told_with_what_is(probes):
    for name in ("tawny owl", "barn owl", "nightjar"):
        probes.add(name, FILES)
    with pytest.raises(NotFound, match=r"no probe tawny owll: did you mean tawny owl"):
        probes.read("tawny owll", 1)
    with pytest.raises(NotFound, match="has no version 9; it has 1"):
        probes.promote("nightjar", 9, "")
    with pytest.raises(NotFound, match="there is none"):
        ProbeStore(f"{probes.root}/other").read("owl", 1)
    for _ in range(11):
        probes.add("nightjar", FILES)
    with pytest.raises(NotFound, match="it has 12, from 1 to 12"):
        probes.read("nightjar", 99)


def test_a_file_that_cannot_be_read_is_named(probes):
    probes.add("owl", FILES)
    path = Path(probes.root, "probes/owl/1/report.json")
    path.unlink()
    path.mkdir()
    with pytest.raises(Damaged, match=r"probes/owl/1/report\.json"):
        probes.read("owl", 1)


# --- which one is in use ---


def test_the_highest_record_tells_which_version_is_in_use(probes):
    assert in_use(probes.root) == {}
    for _ in range(3):
        probes.add("owl", FILES)
    probes.add("fox", FILES)
    assert in_use(probes.root) == {} and probes.in_use("owl") is None and probes.promotions("owl") == []
    for number, version in enumerate([2, 1, 3, 1, 2, 3, 1, 2, 3, 2], 1):
        assert probes.promote("owl", version, "why\nso", number == 2, by="Ana").number == number
        assert in_use(probes.root) == {"owl": version} and probes.in_use("owl") == version
    second = probes.promotions("owl")[1]
    assert (second.version, second.forced, second.why, second.by) == (1, True, "why so", "Ana")
    assert [p.number for p in probes.promotions("owl")] == list(range(1, 11))


def test_a_version_in_use_is_not_taken_into_use_twice(probes):
    probes.add("owl", FILES)
    first = probes.promote("owl", 1, "first")
    assert probes.promote("owl", 1, "again", True) == first and len(probes.promotions("owl")) == 1
    assert "@" in first.by and first.at_utc.endswith("Z")


def test_a_decision_that_was_overtaken_is_not_carried_out(probes):
    for _ in range(3):
        probes.add("owl", FILES)
    probes.promote("owl", 1, "first", after=0)
    probes.promote("owl", 2, "better", after=1)
    with pytest.raises(Conflict) as caught:
        probes.promote("owl", 3, "better than 1", after=1)
    assert caught.value.kind == "busy" and in_use(probes.root) == {"owl": 2}


def test_a_record_written_by_another_at_the_same_moment_overtakes(probes):
    class Late(LocalFileOps):
        def create(self, path: str) -> Any:
            if "probe" in Path(path).name and not self.exists(f"{probes.root}/probes/owl/promoted/2.json"):
                probes.promote("owl", 2, "the other")
            return super().create(path)

    for _ in range(3):
        probes.add("owl", FILES)
    probes.promote("owl", 1, "first")
    with pytest.raises(Conflict):
        ProbeStore(probes.root, Late()).promote("owl", 3, "", after=1)
    assert in_use(probes.root) == {"owl": 2}
    assert ProbeStore(probes.root).promote("owl", 3, "").number == 3


def test_every_flipped_bit_of_a_record_is_noticed(probes):
    probes.add("owl", FILES)
    probes.promote("owl", 1, "first")
    path = Path(probes.root, "probes/owl/promoted/1.json")
    data = path.read_bytes()
    value = json.loads(data)
    for at in range(len(data)):
        for bit in (1, 4, 32):
            flipped = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            path.write_bytes(flipped)
            try:
                same = json.loads(flipped) == value  # a space instead of a line's end
            except ValueError:
                same = False
            if same:
                assert in_use(probes.root) == {"owl": 1}
                continue
            with pytest.raises(Damaged, match=r"probes/owl/promoted/1\.json"):
                in_use(probes.root)


def test_records_that_are_missing_renamed_or_newer_are_told(probes):
    for _ in range(2):
        probes.add("owl", FILES)
    for version in (1, 2, 1):
        probes.promote("owl", version, "")
    folder = Path(probes.root, "probes/owl/promoted")
    second = (folder / "2.json").read_bytes()
    (folder / "2.json").unlink()
    assert in_use(probes.root) == {"owl": 1}
    with pytest.raises(Damaged, match=r"2\.json is missing"):
        probes.promotions("owl")
    (folder / "4.json").write_bytes(second)
    with pytest.raises(Damaged, match=r"4\.json says it is record 2"):
        in_use(probes.root)
    (folder / "4.json").write_bytes(json.dumps({**json.loads(second), "format_version": 99}).encode())
    with pytest.raises(Damaged, match="newer"):
        in_use(probes.root)


class Stack:
    """The dumb twin: what was in use, as a pile."""

    def __init__(self) -> None:
        self.pile: list[int] = []

    def take(self, version: int) -> None:
        if not self.pile or self.pile[-1] != version:
            self.pile.append(version)

    def back(self) -> None:
        self.pile.pop()


@given(st.lists(st.one_of(st.integers(1, 3), st.none()), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_going_back_is_a_pile(tmp_path_factory, steps):
    probes, twin = ProbeStore(str(tmp_path_factory.mktemp("pile"))), Stack()
    for _ in range(3):
        probes.add("owl", FILES)
    for step in steps:
        held = promotion_stack(probes.promotions("owl"))
        if step is not None:
            probes.promote("owl", step, "")
            twin.take(step)
        elif len(held) > 1:
            probes.promote("owl", held[-2].version, "back", undoes=held[-1].number)
            twin.back()
        assert [p.version for p in promotion_stack(probes.promotions("owl"))] == twin.pile
        assert probes.in_use("owl") == (twin.pile[-1] if twin.pile else None)


# --- several at once ---


def test_trainers_at_once_get_numbers_of_their_own(tmp_path):
    barrier, results = CONTEXT.Barrier(3), CONTEXT.Queue()
    children = [
        CONTEXT.Process(target=probes_racing.add, args=(str(tmp_path), f"trainer {i}", barrier, results))
        for i in range(3)
    ]
    for child in children:
        child.start()
    told = dict(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    numbers = [n for mine in told.values() for n in mine]
    assert sorted(numbers) == list(range(1, 3 * probes_racing.VERSIONS + 1))
    probes = ProbeStore(str(tmp_path))
    assert probes.versions("owl") == sorted(numbers)
    for who, mine in told.items():
        for number in mine:
            assert set(probes.read("owl", number).values()) == {who.encode()}, "files of two trainings were mixed"
    records = probes.promotions("owl")
    assert [r.number for r in records] == list(range(1, len(records) + 1))


# --- what is left of trainings that died ---


def test_a_sweep_removes_only_what_never_became_a_version(probes):
    probes.add("owl", FILES)
    half = Path(probes.root, "probes/owl/2")
    half.mkdir()
    for name in ("weights.safetensors", "report.json"):
        (half / name).write_bytes(b"12345")
    ops, later = LocalFileOps(), lambda: time.time() + 7200
    assert sweep_unfinished(probes.root, ops) == (0, 0), "it may be written right now"
    assert sweep_unfinished(probes.root, ops, grace_s=0) == (0, 0), "whatever is asked for"
    assert sweep_unfinished(probes.root, ops, now=later, dry_run=True) == (2, 10) and len(list(half.iterdir())) == 2
    assert sweep_unfinished(probes.root, ops, now=later) == (2, 10) and not list(half.iterdir())
    assert probes.read("owl", 1) == FILES and probes.add("owl", FILES) == 2


def test_a_sweep_lets_go_of_the_number_last(probes):
    class Watching(LocalFileOps):
        def __init__(self) -> None:
            self.gone: list[str] = []

        def unlink(self, path: str) -> None:
            self.gone.append(Path(path).name)
            super().unlink(path)

    half = Path(probes.root, "probes/owl/1")
    half.mkdir(parents=True)
    for name in ("weights.safetensors", "report.json", "zzz"):
        (half / name).write_bytes(b"")
    ops = Watching()
    sweep_unfinished(probes.root, ops, now=lambda: time.time() + 7200)
    assert ops.gone[-1] == "weights.safetensors" and len(ops.gone) == 3
