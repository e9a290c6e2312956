"""What may go and since when: snapshots as a clock, and waves that no crash can turn into a resurrection."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import Ledger, Part
from store.care.retention import SeenSnapshot, Waves, dead_parts, due, kept_snapshots, unused_since
from store.live import resolve_live
from tests.care.test_live import copy
from tests.store.test_ledger import file, part

GRACE_S = 100.0


def seen(*items: tuple[int, float, str | None], broken: tuple[int, ...] = ()) -> list[SeenSnapshot]:
    """``(number, written, listed)``; None: cannot be read."""
    return [
        SeenSnapshot(n, at, None if listed is None else frozenset(listed), n not in broken) for n, at, listed in items
    ]


KEPT = {
    "none": ([], 3, 1000, set()),
    "fewer_than_asked_for": (seen((1, 0, ""), (2, 1, "")), 3, 1000, {1, 2}),
    "the_newest": (seen(*((n, n, "") for n in range(1, 7))), 3, 1000, {4, 5, 6}),
    "one": (seen(*((n, n, "") for n in range(1, 7))), 1, 1000, {6}),
    "those_that_were_the_newest_within_the_grace_period": (
        seen((1, 0, ""), (2, 10, ""), (3, 950, ""), (4, 960, "")),
        1,
        1000,
        {2, 3, 4},  # 2 was the newest until 950: a reader may have opened it at 949
    ),
    "to_the_second": (seen((1, 0, ""), (2, 900, ""), (3, 901, "")), 1, 1000, {2, 3}),
    "a_damaged_one_is_not_counted": (seen((1, 0, ""), (2, 1, ""), (3, 2, None), (4, 3, "")), 2, 1000, {2, 4}),
    "one_with_a_part_missing_is_not_counted": (
        seen((1, 0, ""), (2, 1, ""), (3, 2, ""), (4, 3, ""), broken=(3,)),
        2,
        1000,
        {2, 4},
    ),
    "the_largest_number_stays_though_damaged": (seen((1, 0, ""), (2, 1, ""), (3, 2, None)), 1, 1000, {2, 3}),
    "all_damaged": (seen((1, 0, None), (2, 1, None)), 3, 1000, {2}),
}


@pytest.mark.parametrize(("snapshots", "keep", "now_s", "kept"), KEPT.values(), ids=KEPT)
def test_kept_snapshots(snapshots, keep, now_s, kept):
    assert kept_snapshots(snapshots, keep, GRACE_S, now_s) == kept


SINCE = {
    "no_snapshot": ([], 0, None),
    "the_newest_lists_it": (seen((1, 10, ""), (2, 20, "p")), 0, None),
    "since_the_first_that_does_not": (seen((1, 10, "p"), (2, 20, "q"), (3, 30, "q")), 0, 20),
    "listed_again_in_between": (seen((1, 10, "p"), (2, 20, ""), (3, 30, "p"), (4, 40, "")), 0, 40),
    "never_listed": (seen((1, 10, ""), (2, 20, "")), 15, 20),
    "never_listed_and_younger_than_all": (seen((1, 10, ""), (2, 20, "")), 25, None),
    "a_damaged_one_may_list_it": (seen((1, 10, "p"), (2, 20, ""), (3, 30, None), (4, 40, "")), 0, 40),
    "the_newest_is_damaged": (seen((1, 10, ""), (2, 20, None)), 0, None),
}


@pytest.mark.parametrize(("snapshots", "committed_s", "since"), SINCE.values(), ids=SINCE)
def test_unused_since(snapshots, committed_s, since):
    assert unused_since("p", committed_s, snapshots) == since


@pytest.mark.parametrize(
    ("snapshots", "kept", "now_s", "place"),
    [
        (seen((1, 0, "p"), (2, 10, "")), {2}, 110, "may_go"),
        (seen((1, 0, "p"), (2, 10, "")), {2}, 109, "wait"),
        (seen((1, 0, "p"), (2, 10, "")), {1, 2}, 110, "listed"),
        (seen((1, 0, "p"), (2, 10, "")), {1, 2}, 109, "wait"),
        (seen((1, 0, None), (2, 10, "")), {1, 2}, 110, "listed"),  # a kept snapshot may list it
        (seen((1, 0, "")), {1}, 1000, "wait"),  # from before it was committed
        ([], set(), 1000, "wait"),
    ],
)
def test_due(snapshots, kept, now_s, place):
    dead = [part("p", file("a"))]
    committed_s = 5.0 if snapshots and snapshots[0].parts == frozenset() else 0.0
    found = dict(
        zip(("may_go", "listed", "wait"), due(dead, snapshots, kept, {"p": committed_s}, GRACE_S, now_s), strict=True)
    )
    assert found == {name: dead if name == place else [] for name in found}


def ledger_of(*parts: Part) -> Ledger:
    live, superseded = resolve_live(parts)
    return Ledger({p.part_id: p for p in parts}, live, superseded)


def waves(*parts: Part) -> tuple[list[set[str]], set[str]]:
    ledger = ledger_of(*parts)
    found = Waves(ledger, dead_parts(ledger))
    return [{p.part_id for p in wave} for wave in found], {p.part_id for p in found.held_back}


LARGE = file("keeps/the/part/alive")
WAVES = {
    "nothing_is_dead": ([part("p", file("a"))], [], set()),
    "replaced": ([part("p", file("a")), part("q", file("a", 2, ["p"]))], [{"p"}], set()),
    "sources_of_a_compacted_part_in_any_order": (
        [part("p", file("a")), part("q", file("b")), part("c", copy("a", 1, "p"), copy("b", 1, "q"))],
        [{"p", "q"}],
        set(),
    ),
    # r beats p by its longer chain; without q both chains are equally long and p has the smaller id.
    "the_witness_goes_after_what_it_stands_against": (
        [part("a", file("x", 2, ["0"])), part("q", file("x", 3, ["a"])), part("r", file("x", 4, ["q"]))],
        [{"a"}, {"q"}],
        set(),
    ),
    "a_witness_against_a_part_that_stays_is_held_back": (
        [part("a", file("x", 2, ["0"]), LARGE), part("q", file("x", 3, ["a"])), part("r", file("x", 4, ["q"]))],
        [],
        {"q"},
    ),
    # The same with r compacted: what it replaces now tells of the whole chain, and the witness is not needed.
    "compaction_sets_witnesses_free": (
        [
            part("a", file("x", 2, ["0"]), LARGE),
            part("q", file("x", 3, ["a"])),
            part("r", file("x", 4, ["q"])),
            part("c", copy("x", 4, "r", (), ["0", "a", "q"])),
        ],
        [{"q", "r"}],
        set(),
    ),
    "a_failed_file_keeps_its_part_while_it_is_live": (
        [part("p", file("a"), file("b", windows=0)), part("q", file("a", 2, ["p"]))],
        [],
        set(),
    ),
    "a_failed_file_that_is_replaced_does_not": (
        [part("p", file("a", windows=0)), part("q", file("a", 2, ["p"]))],
        [{"p"}],
        set(),
    ),
    "a_circle_by_hand_is_left_alone": (
        [part("p", file("a", 1, ["q"])), part("q", file("a", 2, ["p"]))],
        [],
        {"p", "q"},
    ),
}


@pytest.mark.parametrize(("parts", "expected", "held_back"), WAVES.values(), ids=WAVES)
def test_waves(parts, expected, held_back):
    assert waves(*parts) == (expected, held_back)


def test_a_recording_with_very_many_dead_parts():
    """All subsets of a wave are tried, so a wave takes few parts of one recording; the rest follow in the next ones."""
    names = [f"p{n:02}" for n in range(40)]
    parts = [part(names[0], file("a"))] + [
        part(new, file("a", n, [old])) for n, (old, new) in enumerate(pairwise(names), 2)
    ]
    found, held_back = waves(*parts)
    assert not held_back and set().union(*found) == set(names[:-1])
    assert max(map(len, found)) <= 5


@st.composite
def histories(draw: st.DrawFn) -> list[Part]:
    """Parts of up to three files, versions replacing any earlier parts, some copies."""
    parts: list[Part] = []
    for n in range(draw(st.integers(1, 8))):
        files = []
        for path in draw(st.sets(st.sampled_from("xyz"), min_size=1)):
            before = [p.part_id for p in parts if path in [f.path for f in p.files]]
            ordinary = [p for p in parts for f in p.files if f.path == path and f.origin is None]
            kind = draw(st.integers(0, 3))
            if kind == 0 and ordinary:
                source = draw(st.sampled_from(ordinary))
                entry = next(f for f in source.files if f.path == path)
                files.append(copy(path, entry.mtime_ns, source.part_id, (), entry.replaces))
            else:
                old = draw(st.lists(st.sampled_from([*before, "gone"]), max_size=2, unique=True)) if kind else []
                files.append(file(path, n + 1, old))
        name = draw(st.sampled_from("abcdefgh")) + str(n)
        parts.append(part(name, *files))
    return parts


def live(parts) -> dict[str, tuple[str, int]]:
    found, _ = resolve_live(parts)
    return {e.path: (e.origin or name, e.mtime_ns) for name, e in found.values()}


@settings(max_examples=500, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_no_subset_of_a_wave_changes_what_is_live(parts, rng):
    """Every state that a crash may leave: all waves before gone, and any subset of the current one."""
    expected = live(parts)
    ledger = ledger_of(*parts)
    there = dict(ledger.parts)
    dead = dead_parts(ledger)
    may_go = rng.sample(dead, rng.randint(0, len(dead)))
    found = Waves(ledger, may_go)
    removed = set()
    for wave in found:
        names = [p.part_id for p in wave]
        for size in range(len(names) + 1):
            for gone in combinations(names, size):
                left = [p for name, p in there.items() if name not in gone]
                assert live(left) == expected
        for name in names:
            del there[name]
            removed.add(name)
    assert removed | {p.part_id for p in found.held_back} == {p.part_id for p in may_go}
    for (
        kept
    ) in found.held_back:  # needed indeed: without any one of them something would change, or nothing else could go
        assert live([p for name, p in there.items() if name != kept.part_id]) != expected


def test_the_histories_do_hold_parts_back():
    count = 0
    for seed in range(60):
        rng = random.Random(seed)
        parts = [part("a0", file("x", 2, ["0"]), LARGE)]
        for n in range(1, rng.randint(3, 6)):
            parts.append(part(rng.choice("bcd") + str(n), file("x", 2 + n, [parts[-1].part_id])))
        count += bool(waves(*parts)[1])
    assert count > 20
