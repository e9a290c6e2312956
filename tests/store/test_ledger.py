"""Which rows are live: what the footers say, against a dumb twin."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Damaged
from sonotheque.core.ids import recording_id
from sonotheque.core.outcome import MEANING, Outcome, Status
from store import Archive, LedgerFile, Part, load_ledger, part_id, write_snapshot
from store.ledger import read_part
from store.live import resolve_live
from tests.store import kit


def file(path: str, version: int = 1, replaces: Iterable[str] = (), windows: int = 2) -> LedgerFile:
    return LedgerFile(path, 1000 + version, version, recording_id(path), tuple(replaces), "ok", windows, 1.0)


def part(name: str, *files: LedgerFile) -> Part:
    return Part(name, "A", None, f"embeddings/{name}", None, 0, None, sum(f.windows for f in files), "", files)


def live(*parts: Part) -> dict[str, tuple[str, int]]:
    """Path → (part, version) of the live rows."""
    found, _ = resolve_live(parts)
    return {entry.path: (name, entry.mtime_ns) for name, entry in found.values()}


LIVE = {
    "nothing": ([], {}),
    "one": ([part("p", file("a"))], {"a": ("p", 1)}),
    "replaced": ([part("p", file("a")), part("q", file("a", 2, ["p"]))], {"a": ("q", 2)}),
    "replaced_by_a_smaller_id": ([part("q", file("a")), part("p", file("a", 2, ["q"]))], {"a": ("p", 2)}),
    "others_of_the_part_stay": (
        [part("p", file("a"), file("b")), part("q", file("a", 2, ["p"]))],
        {"a": ("q", 2), "b": ("p", 1)},
    ),
    "replaces_only_its_own_recording": (
        [part("p", file("a"), file("b")), part("q", file("b", 2, ["p"]), file("c"))],
        {"a": ("p", 1), "b": ("q", 2), "c": ("q", 1)},
    ),
    "chain": (
        [part("p", file("a")), part("q", file("a", 2, ["p"])), part("o", file("a", 3, ["q"]))],
        {"a": ("o", 3)},
    ),
    "chain_with_the_middle_missing": ([part("p", file("a")), part("o", file("a", 3, ["q"]))], {"a": ("o", 3)}),
    "changed_and_changed_back": (
        [part("r", file("a")), part("q", file("a", 2, ["r"])), part("s", file("a", 1, ["q"]))],
        {"a": ("s", 1)},
    ),
    "replaces_what_is_not_there_yet": ([part("q", file("a", 2, ["p"]))], {"a": ("q", 2)}),
    "two_plans_at_once": ([part("q", file("a")), part("p", file("a"))], {"a": ("p", 1)}),
    "two_plans_at_once_then_changed": (
        [part("p", file("a")), part("q", file("a")), part("z", file("a", 2, ["p"]))],
        {"a": ("z", 2)},
    ),
    "both_replace_the_same": (
        [part("p", file("a")), part("r", file("a", 2, ["p"])), part("q", file("a", 2, ["p"]))],
        {"a": ("q", 2)},
    ),
    "replaces_both": (
        [part("p", file("a")), part("q", file("a")), part("z", file("a", 2, ["p", "q"]))],
        {"a": ("z", 2)},
    ),
    "a_circle_by_hand": ([part("p", file("a", 1, ["q"])), part("q", file("a", 2, ["p"]))], {}),
    "a_file_that_failed_is_live_too": ([part("p", file("a", windows=0))], {"a": ("p", 1)}),
}


@pytest.mark.parametrize("parts, expected", LIVE.values(), ids=LIVE)
def test_live(parts, expected):
    for seed in range(6):
        shuffled = list(parts)
        random.Random(seed).shuffle(shuffled)
        assert live(*shuffled) == expected


def twin_live(parts: list[Part]) -> dict[str, str]:
    """FORMAT.md section 6 word by word, slow: path → part id."""

    def generation(name: str, path: str) -> int:
        older = [old for p in parts if p.part_id == name for f in p.files if f.path == path for old in f.replaces]
        return 1 + max((generation(old, path) for old in older), default=0)

    out = {}
    for path in {f.path for p in parts for f in p.files}:
        holding = [p.part_id for p in parts if path in [f.path for f in p.files]]
        replaced = {old for p in parts for f in p.files if f.path == path for old in f.replaces}
        candidates = [name for name in holding if name not in replaced]
        best = max(generation(name, path) for name in candidates)
        out[path] = min(name for name in candidates if generation(name, path) == best)
    return out


class World:
    """An archive that changes, programs that plan from what they last saw, and parts committed in any order."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.disk: dict[str, int] = {}
        self.planned: list[list] = []  # lists of recordings
        self.done: list[list] = []

    def seen(self) -> list[Part]:
        return [self._part(recordings) for recordings in self.done]

    def _part(self, recordings) -> Part:
        files = [
            LedgerFile(r.source.path, r.source.size_bytes, r.source.mtime_ns, r.recording_id, r.replaces, "ok", 2, 1.0)
            for r in recordings
        ]
        return part(part_id(self.digest, recordings), *files)

    def plan(self, group: int) -> None:
        """As a program does that looks at the ledger and at the archive: new files, and changed ones replacing what is live."""
        found, _ = resolve_live(self.seen())
        todo = []
        for path, version in sorted(self.disk.items()):
            held = found.get(recording_id(path))
            if held is None:
                todo.append(kit.recording(path, version=version))
            elif held[1].size_bytes != 1000 + version:
                todo.append(kit.recording(path, version=version, replaces=[held[0]]))
        self.planned += [todo[i : i + group] for i in range(0, len(todo), group)]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(1, 3)),
        st.tuples(st.just("plan"), st.integers(1, 3), st.none()),
        st.tuples(st.just("commit"), st.integers(0, 20), st.none()),
    ),
    max_size=25,
)


def play(world: World, operations, commit) -> None:
    def settle(index: int) -> None:
        recordings = world.planned.pop(index % len(world.planned))
        commit(recordings)
        known = {part_id(world.digest, done) for done in world.done}
        if part_id(world.digest, recordings) not in known:
            world.done.append(recordings)

    for kind, first, second in operations:
        if kind == "put":
            world.disk[first] = second
        elif kind == "plan":
            world.plan(first)
        elif world.planned:
            settle(first)
    while world.planned:
        settle(0)
    # Whatever happened before, one undisturbed run makes the store equal to the archive.
    world.plan(2)
    while world.planned:
        settle(0)


@settings(max_examples=400, deadline=None)
@given(OPERATIONS)
def test_live_equals_the_twin_in_any_history(operations):
    world = World("x")
    play(world, operations, lambda _: None)
    parts = world.seen()
    assert {path: name for path, (name, _) in live(*parts).items()} == twin_live(parts)
    versions = {path: version for path, (_, version) in live(*parts).items()}
    assert versions == {path: 1_700_000_000_000_000_000 + v for path, v in world.disk.items()}


@settings(max_examples=400, deadline=None)
@given(OPERATIONS, st.randoms(use_true_random=False))
def test_every_row_is_live_once_or_superseded(operations, rng):
    world = World("x")
    play(world, operations, lambda _: None)
    parts = world.seen()
    rng.shuffle(parts)
    found, superseded = resolve_live(parts)
    for p in parts:
        for f in p.files:
            is_live = found[f.recording_id][0] == p.part_id
            assert is_live is (f.recording_id not in superseded.get(p.part_id, ()))


@settings(max_examples=15, deadline=None)
@given(OPERATIONS)
def test_readers_see_the_live_rows_once(operations):
    """The same histories through real files: SQL and vectors against the twin of what is on the recorders' disk."""
    folder = Path(tempfile.mkdtemp())
    try:
        root, config = kit.new_store(folder)
        world = World(config.digest)
        play(world, operations, lambda recordings: kit.write_part(root, config, [(r, 2) for r in recordings]))
        snapshot = write_snapshot(root, config, load_ledger(root))
        twin = kit.Twin(config)
        for path, version in world.disk.items():
            twin.add(kit.recording(path, version=version), 2)
        assert snapshot.live_rows == len(twin.rows)
        with Archive(root) as archive:
            for view, rows in (("embeddings", twin.rows), ("predictions", twin.predictions)):
                own = " EXCLUDE (deployment, hour)" if view == "predictions" else ""
                found = archive.sql(f"SELECT *{own} FROM {view}").to_pylist()
                assert kit.by_identity(found) == kit.by_identity(ordered(found, rows))
            blocks = [(t.to_pylist(), v) for t, v in archive.vectors()]
        streamed = [{**row, "embedding": v.tolist()} for rows, vs in blocks for row, v in zip(rows, vs, strict=True)]
        assert kit.by_identity(streamed) == kit.by_identity(ordered(streamed, twin.rows))
    finally:
        shutil.rmtree(folder)


def ordered(found, rows):
    """The twin's rows with their keys in the order found (dicts compare without order; this only checks the key sets)."""
    assert len(found) == len(rows)
    assert not found or set(found[0]) == set(rows[0])
    return rows


# --- part ids ---

BASE = [kit.recording("a.wav"), kit.recording("b.wav")]
OTHER_IDS = {
    "another_store": ("y", BASE),
    "another_file": ("x", [kit.recording("a.wav"), kit.recording("c.wav")]),
    "fewer_files": ("x", BASE[:1]),
    "another_version": ("x", [kit.recording("a.wav", version=2), BASE[1]]),
    "replacing": ("x", [kit.recording("a.wav", replaces=["p"]), BASE[1]]),
}


@pytest.mark.parametrize("digest, recordings", OTHER_IDS.values(), ids=OTHER_IDS)
def test_another_part_has_another_id(digest, recordings):
    assert part_id(digest, recordings) != part_id("x", BASE)


def test_the_id_does_not_depend_on_order_site_or_time():
    other = [kit.recording("b.wav", site="B", time=kit.NO_TIME), kit.recording("a.wav")]
    assert part_id("x", other) == part_id("x", BASE)


def test_the_id_is_pinned():
    """An id that changed with a program version would embed a season again."""
    assert part_id("x", BASE) == "c1a9eed9c9b18d948849f70ab0647c18"


def test_ids_of_paths_that_are_not_utf8():
    one, other = kit.recording("caf\udce9.wav"), kit.recording("caf\udcea.wav")
    assert part_id("x", [one]) != part_id("x", [other])


# --- reading footers ---


@pytest.mark.parametrize("status", [*Status], ids=str)
def test_a_status_counts_as_the_table_says(status):
    entry = LedgerFile("a", 1, 1, 1, (), str(status), 0, 0.0)
    assert entry.outcome is MEANING[status].outcome


@pytest.mark.parametrize(("windows", "outcome"), [(3, Outcome.DONE), (0, Outcome.FAILED)])
def test_a_status_of_a_later_version_counts_by_its_windows(windows, outcome):
    assert LedgerFile("a", 1, 1, 1, (), "word_of_2031", windows, 0.0).outcome is outcome


def test_a_footer_is_read_back_whole(tmp_path):
    root, config = kit.new_store(tmp_path)
    items = [(kit.recording("a.wav"), 2), (kit.recording("b.wav", replaces=["ab" * 16]), 0)]
    kit.write_part(root, config, items, site="x/y", date=None)
    ledger = load_ledger(root)
    (found,) = ledger.parts.values()
    assert (found.site, found.date, found.rows, found.store_digest) == ("x/y", None, 2, config.digest)
    assert [f.detail for f in found.files] == [None, None]
    whole = read_part(root, found.embeddings)
    assert [f.detail for f in whole.files] == kit.entries(items)
    assert whole.files[1].replaces == ("ab" * 16,)
    assert ledger.live_rows(found) == 2


def test_an_empty_store_has_an_empty_ledger(tmp_path):
    root, _ = kit.new_store(tmp_path)
    ledger = load_ledger(root)
    assert (ledger.parts, ledger.live, ledger.superseded, ledger.damaged) == ({}, {}, {}, {})


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "part-x.parquet.tmp", "x.parquet", "site=A/notes.txt"])
def test_files_that_are_no_parts_are_left_alone(tmp_path, name):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("a.wav"), 2)])
    (Path(root) / "embeddings" / name).write_bytes(b"?")
    ledger = load_ledger(root)
    assert len(ledger.parts) == 1 and not ledger.damaged


@pytest.mark.parametrize("make", ["renamed", "copied"])
def test_a_part_counts_under_its_own_name_only(tmp_path, make):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("a.wav"), 2)])
    ((identity, found),) = load_ledger(root).parts.items()
    path = Path(root, found.embeddings)
    copy = path.with_name(f"part-{identity}.copy.parquet")
    if make == "renamed":
        path.rename(copy)
    else:
        shutil.copy(path, copy)
    ledger = load_ledger(root)
    assert list(ledger.damaged) == [copy.relative_to(root).as_posix()]
    assert len(ledger.parts) == (make == "copied")
    with pytest.raises(Damaged):
        read_part(root, next(iter(ledger.damaged)))
