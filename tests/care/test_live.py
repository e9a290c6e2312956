"""Which rows are live when parts are compacted and removed: tables, and any history against the dumb twin."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.ids import recording_id
from store import LedgerFile, Part
from store.live import ancestors, choose, held_by, resolve_live
from tests.care.world import GRACE, World
from tests.store.test_ledger import file, part


def copy(path: str, version: int, origin: str, moved_from=(), replaces=()) -> LedgerFile:
    return LedgerFile(
        path, 1000 + version, version, recording_id(path), tuple(replaces), "ok", 2, 1.0,
        origin=origin, moved_from=tuple(moved_from),
    )  # fmt: skip


def live(*parts: Part) -> dict[str, tuple[str, int]]:
    found, _ = resolve_live(parts)
    return {entry.path: (name, entry.mtime_ns) for name, entry in found.values()}


P = part("p", file("a"))
LIVE = {
    "the_copy_takes_over": ([P, part("z", copy("a", 1, "p"))], {"a": ("z", 1)}),
    "also_with_a_smaller_id": ([P, part("c", copy("a", 1, "p"))], {"a": ("c", 1)}),
    "also_when_its_source_is_gone": ([part("z", copy("a", 1, "p"))], {"a": ("z", 1)}),
    "a_copy_of_a_copy": (
        [P, part("y", copy("a", 1, "p")), part("x", copy("a", 1, "p", ["y"]))],
        {"a": ("x", 1)},
    ),
    "a_copy_of_a_copy_whose_source_came_back": (
        [P, part("x", copy("a", 1, "p", ["y"]))],
        {"a": ("x", 1)},
    ),
    "a_newer_version_planned_from_the_source_wins": (
        [P, part("z", copy("a", 1, "p")), part("n", file("a", 2, ["p"]))],
        {"a": ("n", 2)},
    ),
    "also_when_the_source_is_gone": (
        [part("z", copy("a", 1, "p")), part("n", file("a", 2, ["p"]))],
        {"a": ("n", 2)},
    ),
    "a_newer_version_planned_from_the_copy_wins": (
        [P, part("z", copy("a", 1, "p")), part("n", file("a", 2, ["z"]))],
        {"a": ("n", 2)},
    ),
    "also_when_that_copy_is_gone_and_another_is_there": (
        [part("y", copy("a", 1, "p", ["z"])), part("n", file("a", 2, ["z"]))],
        {"a": ("n", 2)},
    ),
    "also_when_both_have_a_longer_history_that_is_gone": (
        [part("c", copy("a", 2, "b", ["z"], ["a"])), part("n", file("a", 3, ["z"]))],
        {"a": ("n", 3)},
    ),
    "the_copy_of_the_newer_version_wins": (
        [P, part("z", copy("a", 1, "p")), part("c", copy("a", 2, "n", (), ["p"]))],
        {"a": ("c", 2)},
    ),
    "two_compactions_at_once": (
        [P, part("y", copy("a", 1, "p")), part("x", copy("a", 1, "p"))],
        {"a": ("x", 1)},
    ),
    "a_longer_chain_wins_over_a_copy_of_a_shorter": (
        [part("c", copy("a", 2, "q", (), ["p"])), part("z", file("a", 4, ["r"])), part("r", file("a", 3, ["p"]))],
        {"a": ("z", 4)},
    ),
    "equal_chains_are_decided_by_the_first_part_not_by_the_copy": (
        [part("q", file("a", 2, ["p"])), part("b", copy("a", 3, "r", (), ["p"]))],
        {"a": ("q", 2)},
    ),
    "a_copy_does_not_lengthen_the_chain": (
        [
            part("y", copy("a", 1, "p")),
            part("x", copy("a", 1, "p", ["y"])),
            part("q", file("a", 2, ["p"])),
            part("n", file("a", 3, ["x"])),
        ],
        {"a": ("n", 3)},
    ),
    "a_failed_file_moves_too": (
        [part("p", file("a", windows=0)), part("z", copy("a", 1, "p"))],
        {"a": ("z", 1)},
    ),
    "others_of_the_source_stay": (
        [part("p", file("a"), file("b")), part("z", copy("a", 1, "p"))],
        {"a": ("z", 1), "b": ("p", 1)},
    ),
}


@pytest.mark.parametrize("parts, expected", LIVE.values(), ids=LIVE)
def test_live(parts, expected):
    for seed in range(6):
        mixed = list(parts)
        random.Random(seed).shuffle(mixed)
        assert live(*mixed) == expected


def test_copies_that_name_each_other_by_hand_still_have_one_winner():
    parts = [part("y", copy("a", 1, "p", ["x"])), part("x", copy("a", 1, "p", ["y"]))]
    assert live(*parts) == {"a": ("x", 1)}


def test_ancestors_go_through_copies():
    parts = [
        part("p", file("a")),
        part("c", copy("a", 1, "p")),
        part("q", file("a", 2, ["c"])),
        part("r", file("a", 3, ["q"])),
        part("other", file("a", 9)),
    ]
    holders = held_by(parts)[recording_id("a")]
    assert ancestors(holders, holders[3]) == {"p", "q"}
    assert ancestors(holders, holders[2]) == {"p"}
    assert ancestors(holders, holders[4]) == set()


def test_ancestors_of_a_circle_end():
    holders = [("p", file("a", 1, ["q"])), ("q", file("a", 2, ["p"]))]
    assert ancestors(holders, holders[0]) == {"p", "q"}
    assert choose(holders) is None


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(1, 4)),
        st.tuples(st.just("update"), st.sampled_from("aaab"), st.integers(1, 9)),
        st.tuples(st.just("update"), st.sampled_from("aaab"), st.integers(1, 9)),
        st.tuples(st.just("plan"), st.integers(1, 3), st.none()),
        st.tuples(st.just("commit"), st.integers(0, 20), st.none()),
        st.tuples(st.just("compact"), st.integers(0, 10**6), st.booleans()),
        st.tuples(st.just("snapshot"), st.none(), st.none()),
        st.tuples(st.just("gc"), st.integers(1, 5), st.integers(0, 10**6)),
        st.tuples(st.just("wait"), st.integers(1, GRACE), st.none()),
    ),
    max_size=60,
)


def play(operations) -> World:
    world = World()
    for kind, first, second in operations:
        world.now += 1
        if kind == "put":
            world.disk[first] = second
        elif kind == "plan":
            world.plan(first)
        elif kind == "update":
            world.update(first, second)
        elif kind == "commit" and world.planned:
            world.commit(first)
        elif kind == "compact":
            world.plan_compaction(random.Random(first))
            if second and world.planned:
                world.commit(-1)
        elif kind == "snapshot":
            world.snapshot()
        elif kind == "gc":
            world.gc(first, random.Random(second))
        elif kind == "wait":
            world.now += first
        world.check()
    return world


@settings(max_examples=1000, deadline=None)
@given(OPERATIONS)
def test_any_history_with_compaction_and_gc_is_that_of_the_twin(operations):
    """After every step, in any crash of any wave: the newest version is live, wherever its rows lie, and nothing is doubled."""
    world = play(operations)
    # Whatever happened before, one undisturbed run makes the store equal to the archive.
    world.planned.clear()
    world.plan(2)
    while world.planned:
        world.commit(0)
    world.check()
    assert {path: content for path, (_, content) in world.twin.live().items()} == world.disk
    # And when everything is merged and old, what is left is what is live.
    if world.disk:
        world.compact_all()
    world.check()
    for _ in range(2):
        world.now += 2 * GRACE
        world.gc(1, random.Random(0))
    assert all(not world.ledger().is_dead(p) for p in world.parts.values())


STEPS = ("put", "plan", "update", "update", "update", "commit", "compact", "snapshot", "gc", "wait")


def drawn(seed: int, n: int = 60) -> list[tuple]:
    """A history from a seed."""
    rng = random.Random(seed)
    make = {
        "put": lambda: (rng.choice("abc"), rng.randint(1, 4)),
        "update": lambda: (rng.choice("aaab"), rng.randint(1, 9)),
        "plan": lambda: (rng.randint(1, 3), None),
        "commit": lambda: (rng.randint(0, 20), None),
        "compact": lambda: (rng.randint(0, 10**6), rng.random() < 0.5),
        "snapshot": lambda: (None, None),
        "gc": lambda: (rng.randint(1, 5), rng.randint(0, 10**6)),
        "wait": lambda: (rng.randint(1, GRACE), None),
    }
    return [(kind, *make[kind]()) for kind in (rng.choice(STEPS) for _ in range(n))]


def test_long_histories_from_seeds_meet_what_they_are_for():
    """Enough compactions, removals, parts held back as witnesses, and versions that lose; each step is checked against the twin."""
    compacted = removed = held_back = versions = 0
    for seed in range(400):
        world = play(drawn(seed))
        compacted, removed = compacted + world.compacted, removed + world.removed
        held_back += world.held_back
        versions += sum(map(len, world.twin.versions.values()))
    assert compacted > 500 and removed > 500 and versions > 4000, (compacted, removed, versions)
    assert held_back > 3, held_back
