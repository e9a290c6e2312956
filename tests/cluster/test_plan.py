"""Packing: every recording in one part, the same parts on any machine, and the same rest after a crash."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.plan import (
    PART_AUDIO_S_MAX,
    PART_AUDIO_S_MIN,
    PART_FILES_MAX,
    PartPlan,
    pack,
    part_target_s,
)
from sonotheque.core.recording import Recording, RecordingTime, SourceFile

DIGEST = "d" * 32
START = datetime(2024, 5, 1)


def recording(number: int, site: str, day: int | None, audio_s: float) -> Recording:
    start = None if day is None else START + timedelta(days=day)
    return Recording(
        SourceFile(f"{site}/{number:06d}.wav", 1000 + number, number), site, RecordingTime(start), audio_s=audio_s
    )


@st.composite
def recordings(draw: st.DrawFn) -> list[Recording]:
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "é/ =x", "unknown"]),
                st.none() | st.integers(0, 3),
                st.sampled_from([0.0, 1.0, 59.9, 60.0, 299.0, 300.0, 3600.0, 86_400.0]),
            ),
            max_size=60,
        )
    )
    return [recording(i, *place) for i, place in enumerate(places)]


targets = st.sampled_from([300.0, 600.0, 7200.0])


@given(recordings(), targets)
def test_every_recording_is_in_exactly_one_part(found: list[Recording], target_s: float) -> None:
    packed = [r for part in pack(found, DIGEST, target_s) for r in part.recordings]
    assert sorted(packed, key=lambda r: r.source.path) == sorted(found, key=lambda r: r.source.path)


@given(recordings(), targets)
def test_a_part_holds_one_site_and_date_in_path_order(found: list[Recording], target_s: float) -> None:
    for part in pack(found, DIGEST, target_s):
        assert part.recordings
        assert {r.site for r in part.recordings} == {part.site}
        assert {str(r.time.local_date) for r in part.recordings} == {str(part.date)}
        paths = [r.source.path for r in part.recordings]
        assert paths == sorted(paths)


@given(recordings(), targets)
def test_a_part_closes_as_soon_as_it_is_full(found: list[Recording], target_s: float) -> None:
    parts = list(pack(found, DIGEST, target_s))
    for part in parts:
        assert sum(r.audio_s for r in part.recordings[:-1]) < target_s
    # Only the last part of a place may hold less than the target.
    for part, after in pairwise(parts):
        if (part.site, part.date) == (after.site, after.date):
            assert part.audio_s >= target_s


@given(recordings(), targets, st.randoms(use_true_random=False))
def test_the_order_of_the_inventory_changes_nothing(
    found: list[Recording], target_s: float, chance: random.Random
) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert list(pack(shuffled, DIGEST, target_s)) == list(pack(found, DIGEST, target_s))


@given(recordings(), targets, st.data())
def test_what_is_left_after_a_crash_packs_as_before(
    found: list[Recording], target_s: float, data: st.DataObject
) -> None:
    parts = list(pack(found, DIGEST, target_s))
    committed = data.draw(st.sets(st.sampled_from(parts).map(lambda p: p.part_id)) if parts else st.just(set()))
    left = [p for p in parts if p.part_id not in committed]
    remaining = [r for p in left for r in p.recordings]
    assert list(pack(remaining, DIGEST, target_s)) == left


@given(recordings(), targets)
def test_ids_are_unique_and_follow_from_the_inputs(found: list[Recording], target_s: float) -> None:
    parts = list(pack(found, DIGEST, target_s))
    assert len({p.part_id for p in parts}) == len(parts)
    others = list(pack(found, "e" * 32, target_s))
    assert not {p.part_id for p in parts} & {p.part_id for p in others}


@given(recordings(), targets)
def test_a_plan_survives_json(found: list[Recording], target_s: float) -> None:
    for part in pack(found, DIGEST, target_s):
        again = PartPlan.from_json(part.to_json())
        assert again.to_json() == part.to_json()
        assert next(pack(again.recordings, DIGEST, 1e9)).part_id == part.part_id


@pytest.mark.parametrize("change", ["size", "mtime", "path", "replaces"])
def test_a_changed_file_changes_its_parts_id(change: str) -> None:
    one = recording(1, "a", 0, 60.0)
    size, mtime, path, replaces = 1001, 1, "a/000001.wav", ()
    other = {
        "size": Recording(SourceFile(path, size + 1, mtime), "a", one.time, audio_s=60.0),
        "mtime": Recording(SourceFile(path, size, mtime + 1), "a", one.time, audio_s=60.0),
        "path": Recording(SourceFile("a/other.wav", size, mtime), "a", one.time, audio_s=60.0),
        "replaces": Recording(SourceFile(path, size, mtime), "a", one.time, audio_s=60.0, replaces=("x",)),
    }[change]
    assert one.replaces == replaces
    assert next(pack([one], DIGEST, 300.0)).part_id != next(pack([other], DIGEST, 300.0)).part_id


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (PART_FILES_MAX - 1, [PART_FILES_MAX - 1]),
        (PART_FILES_MAX, [PART_FILES_MAX]),
        (PART_FILES_MAX + 1, [PART_FILES_MAX, 1]),
        (2 * PART_FILES_MAX + 5, [PART_FILES_MAX, PART_FILES_MAX, 5]),
    ],
)
def test_a_part_holds_a_bounded_number_of_files(count: int, sizes: list[int]) -> None:
    found = [recording(i, "a", 0, 0.0) for i in range(count)]
    assert [len(p.recordings) for p in pack(found, DIGEST, 7200.0)] == sizes


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_the_target_grows_with_the_inventory(one_s: float, other_s: float) -> None:
    least, most = sorted((one_s, other_s))
    assert part_target_s(least) <= part_target_s(most)


@given(st.floats(0, 1e12))
def test_the_target_moves_in_powers_of_two_between_its_bounds(inventory_s: float) -> None:
    target = part_target_s(inventory_s)
    assert PART_AUDIO_S_MIN <= target <= PART_AUDIO_S_MAX
    halvings = PART_AUDIO_S_MAX / target
    assert target == PART_AUDIO_S_MIN or halvings == 2 ** round(halvings).bit_length() / 2


@pytest.mark.parametrize(
    ("inventory_s", "target_s"),
    [(0.0, 300.0), (3600.0, 300.0), (32 * 7200.0, 7200.0), (32 * 7200.0 - 1, 3600.0), (1e9, 7200.0)],
)
def test_targets(inventory_s: float, target_s: float) -> None:
    assert part_target_s(inventory_s) == target_s
