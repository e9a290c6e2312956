"""Which parts are merged: whole groups of one site and date, no larger than the target, and nothing left to do afterwards."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.ids import recording_id
from sonotheque.core.windows import WindowRule
from store import Ledger, LedgerFile, Part
from store.care.selection import Group, select, shrink, target_rows
from store.live import resolve_live
from tests.store import kit

TARGET, FILES_MAX = 20, 12


def file(path: str, windows: int, replaces: tuple[str, ...] = ()) -> LedgerFile:
    return LedgerFile(path, 1, 1, recording_id(path), replaces, "ok", windows, 1.0)


def part(name: str, *files: LedgerFile, site: str = "A", date: str | None = "2024-05-01") -> Part:
    return Part(name, site, date, f"embeddings/{site}/{name}", None, 0, None, sum(f.windows for f in files), "x", files)


def ledger_of(*parts: Part) -> Ledger:
    live, superseded = resolve_live(parts)
    return Ledger({p.part_id: p for p in parts}, live, superseded)


def chosen(*parts: Part, min_parts: int = 2) -> list[list[str]]:
    groups = select(ledger_of(*parts), TARGET, min_parts=min_parts, files_max=FILES_MAX)
    return [[p.part_id for p in g.parts] for g in groups]


SMALL = [part(f"p{i}", file(f"f{i}", 4)) for i in range(12)]
CASES = {
    "nothing": ([], 2, []),
    "one": (SMALL[:1], 2, []),
    "two": (SMALL[:2], 2, [["p0", "p1"]]),
    "a_part_is_full_at_the_target": (SMALL[:7], 2, [["p0", "p1", "p2", "p3", "p4"], ["p5", "p6"]]),
    "the_last_one_stays": (SMALL[:6], 2, [["p0", "p1", "p2", "p3", "p4"]]),
    "fewer_than_asked_for": (SMALL[:3], 4, []),
    "as_many_as_asked_for": (SMALL[:4], 4, [["p0", "p1", "p2", "p3"]]),
    "in_order_of_their_files_not_of_their_names": (
        [part("z", file("1", 9)), part("b", file("2", 9)), part("a", file("3", 9)), part("c", file("4", 9))],
        2,
        [["z", "b"], ["a", "c"]],
    ),
    "half_full_is_large_enough": ([part("p", file("a", 10)), part("q", file("b", 10))], 2, []),
    "never_across_sites": ([part("p", file("a", 1)), part("q", file("b", 1), site="B")], 2, []),
    "never_across_dates": ([part("p", file("a", 1)), part("q", file("b", 1), date="2024-05-02")], 2, []),
    "unknown_dates_are_one": (
        [part("p", file("a", 1), date=None), part("q", file("b", 1), date=None)],
        2,
        [["p", "q"]],
    ),
    "parts_without_windows_too": ([part("p", file("a", 0)), part("q", file("b", 0))], 2, [["p", "q"]]),
    "many_files_close_a_part": (
        [part(f"p{i}", *(file(f"{i}{j}", 0) for j in range(5))) for i in range(4)],
        2,
        [["p0", "p1"], ["p2", "p3"]],
    ),
    "superseded_rows_are_reason_enough": (
        [part("p", file("a", 15), file("b", 4)), part("q", file("b", 12, ("p",)))],
        2,
        [["p"]],
    ),
    "also_for_a_small_one_alone": (
        [part("p", file("a", 4), file("b", 4)), part("q", file("b", 12, ("p",)))],
        9,
        [["p"]],
    ),
    "a_superseded_failure_is_not": (
        [part("p", file("a", 15), file("b", 0)), part("q", file("b", 12, ("p",)))],
        2,
        [],
    ),
    "a_wholly_superseded_part_is_left_to_gc": (
        [part("p", file("b", 4)), part("q", file("b", 4, ("p",))), part("r", file("c", 4))],
        2,
        [["q", "r"]],
    ),
}


@pytest.mark.parametrize(("parts", "min_parts", "expected"), CASES.values(), ids=CASES)
def test_what_is_chosen(parts, min_parts, expected):
    for seed in range(5):
        mixed = list(parts)
        random.Random(seed).shuffle(mixed)
        assert chosen(*mixed, min_parts=min_parts) == expected


def test_what_a_group_says():
    parts = [part("p", file("a", 4), file("b", 3)), part("q", file("b", 2, ("p",)), file("c", 0))]
    (group,) = select(ledger_of(*parts), TARGET)
    assert (group.site, group.date, group.rows, group.dropped_rows, group.files) == ("A", "2024-05-01", 6, 3, 3)


@pytest.mark.parametrize(
    ("rule", "windows"),
    [
        (WindowRule(48_000, 144_000, 144_000, 48_000), 2400),
        (WindowRule(32_000, 160_000, 160_000, 32_000), 1440),
        (WindowRule(32_000, 160_000, 32_000, 32_000), 7200),
        (WindowRule(48_000, 144_000, 144_000, 48_000, 10.0), 24_000),
        (WindowRule(48_000, 144_000, 144_000, 48_000, 0.01), 24),
    ],
)
def test_the_target_is_two_hours_of_audio(rule, windows):
    assert target_rows(rule) == windows


def test_the_target_is_never_nothing():
    assert target_rows(WindowRule(1, 10**9, 10**9, 1)) == 1


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Parts of one to four files each; some files are replaced by those of a later part."""
    parts: list[Part] = []
    holder: dict[str, str] = {}
    for n in range(draw(st.integers(0, 14))):
        files = []
        for path in draw(
            st.lists(st.sampled_from([f"f{i:02}" for i in range(20)]), min_size=1, max_size=4, unique=True)
        ):
            replaces = (holder[path],) if path in holder else ()
            files.append(file(path, draw(st.integers(0, 12)), replaces))
            holder[path] = f"p{n:02}"
        site, date = draw(st.sampled_from("AB")), draw(st.sampled_from(["2024-05-01", None]))
        parts.append(part(f"p{n:02}", *sorted(files, key=lambda f: f.path), site=site, date=date))
    return ledger_of(*parts)


def merged(ledger: Ledger, group: Group, name: str) -> Part:
    """What compaction makes of a group, as a ledger sees it."""
    files = [
        LedgerFile(f.path, 1, 1, f.recording_id, f.replaces, "ok", f.windows, 1.0, origin=f.origin or p.part_id,
                   moved_from=(*f.moved_from, p.part_id))
        for p in group.parts
        for f in ledger.live_files(p)
    ]  # fmt: skip
    return part(name, *sorted(files, key=lambda f: f.path), site=group.site, date=group.date)


@settings(max_examples=300, deadline=None)
@given(ledgers(), st.integers(2, 4))
def test_groups_are_sound_and_a_second_pass_finds_nothing(ledger, min_parts):
    groups = list(select(ledger, TARGET, min_parts=min_parts, files_max=FILES_MAX))
    taken = [p.part_id for g in groups for p in g.parts]
    assert len(taken) == len(set(taken)), "a part in two groups"
    for group in groups:
        assert {(p.site, p.date) for p in group.parts} == {(group.site, group.date)}
        assert not any(ledger.is_dead(p) for p in group.parts)
        assert group.rows == sum(ledger.live_rows(p) for p in group.parts)
        assert group.dropped_rows == sum(p.rows for p in group.parts) - group.rows
        assert len(group.parts) == 1 or (group.rows <= TARGET and group.files <= FILES_MAX)
        assert len(group.parts) >= min_parts or group.dropped_rows
    after = ledger_of(*ledger.parts.values(), *(merged(ledger, g, f"c{i}") for i, g in enumerate(groups)))
    assert {r: e.path for r, (_, e) in after.live.items()} == {r: e.path for r, (_, e) in ledger.live.items()}
    assert list(select(after, TARGET, min_parts=min_parts, files_max=FILES_MAX)) == []
    if min_parts == 2:
        small: dict[tuple[str, str | None], int] = {}
        for p in after.parts.values():
            if not after.is_dead(p) and 2 * after.live_rows(p) < TARGET and 2 * len(after.live_files(p)) < FILES_MAX:
                small[(p.site, p.date)] = small.get((p.site, p.date), 0) + 1
        assert all(n == 1 for n in small.values()), "two small parts of one site and date are left"


def test_a_group_without_its_damaged_part():
    ledger = ledger_of(*SMALL[:3])
    (group,) = select(ledger, TARGET)
    smaller = shrink(ledger, group, "embeddings/A/p1")
    assert smaller is not None and [p.part_id for p in smaller.parts] == ["p0", "p2"] and smaller.rows == 8
    assert shrink(ledger, smaller, "embeddings/A/p0") is None
    assert shrink(ledger, group, "embeddings/A/p1", min_parts=3) is None


def test_the_kit_s_rule_gives_the_target_that_the_suites_replace():
    assert target_rows(kit.store_config().windows) == 2400
