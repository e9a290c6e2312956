"""A million recordings in columns: each comes out as it went in, and they stay small."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planning_listing import instead_of_a_disk, listing
from cluster.plan import Packed, pack
from cluster.recordings import Recordings
from cluster.settled import SettledFiles
from embedder.recorders import Describer
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from store import LedgerFile, Part, part_id
from store.ledger import part_id_of
from store.live import resolve_live, resolve_superseded

DIGEST = "d" * 32
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
raw_names = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
moments = st.datetimes(datetime.min, datetime.max)
devices = st.none() | st.dictionaries(
    st.sampled_from(["gain", "battery_v", "recorder"]),
    st.one_of(st.floats(allow_nan=False), st.integers(0, 3), names),
    max_size=3,
)
times = st.builds(
    RecordingTime,
    st.none() | moments,
    st.none() | moments.map(lambda m: m.replace(tzinfo=UTC)),
    st.none() | st.integers(-720, 840),
    st.sampled_from([None, "Europe/London", "UTC"]),
    st.sampled_from(["none", "name", "header"]),
    st.sampled_from([(), ("clock_not_set",), ("several_deployments", "clock_not_set")]),
)
recordings = st.builds(
    Recording,
    # Times from before 1901 and after 2262 are in the directories of real cards; as nanoseconds they are beyond 64 bits.
    st.builds(SourceFile, names | raw_names, st.integers(0, 2**62), st.integers(-(2**65), 2**65)),
    st.sampled_from(["a", "b é", "unknown"]),
    times,
    st.sampled_from([None, "a-spring"]),
    st.floats(0, 1e9),
    devices,
    st.sampled_from([(), ("p" * 32,), ("p" * 32, "q" * 32)]),
)


@settings(max_examples=40)
@given(st.lists(recordings, max_size=12))
def test_what_comes_out_is_what_went_in(found: list[Recording]) -> None:
    listed = Recordings(found)
    assert list(listed) == found
    assert [r.to_json() for r in listed] == [r.to_json() for r in found]  # 1 and 1.0 are equal and differ in a footer
    assert [listed.path(i) for i in range(len(listed))] == [r.source.path for r in found]
    assert list(listed.audio_s) == [r.audio_s for r in found]


@settings(max_examples=100)
@given(st.lists(recordings, max_size=12))
def test_lines_of_a_plan_and_ids_of_parts_are_those_of_the_objects(found: list[Recording]) -> None:
    listed = Recordings(found)
    for index, recording in enumerate(found):
        plain = json.dumps({**recording.to_json(), "part_id": "p1"}, separators=(",", ":"))
        assert listed.line(index, "p1") == plain
    assert part_id_of(DIGEST, map(listed.identity, range(len(found)))) == part_id(DIGEST, found)


@settings(max_examples=40)
@given(st.lists(recordings, max_size=12))
def test_counts_are_those_of_the_objects(found: list[Recording]) -> None:
    listed = Recordings(found)
    assert listed.without_time == sum(r.time.local_start is None for r in found)
    assert listed.without_utc == sum(r.time.local_start is not None and r.time.utc_start is None for r in found)
    assert listed.without_zone == sum(r.time.utc_start is not None and r.time.zone is None for r in found)
    assert listed.without_deployment == sum(r.deployment is None for r in found)
    assert sum(listed.sites().values()) == len(found)
    placed = [(site, date, number) for site, date, numbers in listed.places() for number in numbers]
    assert sorted(number for _, _, number in placed) == list(range(len(found)))
    for site, date, number in placed:
        day = found[number].time.local_date
        assert (site, date) == (found[number].site, day.isoformat() if day else None)


def test_no_field_of_a_recording_is_left_behind() -> None:
    """Whoever gives a recording another field has to give it a column."""
    assert [f.name for f in fields(SourceFile)] == ["path", "size_bytes", "mtime_ns"]
    assert [f.name for f in fields(Recording)] == [
        "source", "site", "time", "deployment", "audio_s", "device", "replaces",
    ]  # fmt: skip
    assert [f.name for f in fields(RecordingTime)] == [
        "local_start", "utc_start", "utc_offset_min", "zone", "source", "issues",
    ]  # fmt: skip


def test_it_is_a_list() -> None:
    one = Recording(SourceFile("a.wav", 1, 2), "a", RecordingTime())
    other = Recording(SourceFile("b.wav", 1, 2), "a", RecordingTime(datetime(2025, 4, 1)))
    listed = Recordings([one, other])
    assert (listed[0], listed[-1], listed[:1], listed[::-1]) == (one, other, [one], [other, one])
    assert one in listed
    assert not Recordings()
    for beyond in (2, -3):
        with pytest.raises(IndexError):
            listed[beyond]


def test_a_utc_start_of_another_zone_is_the_same_moment() -> None:
    start = datetime(2025, 4, 1, 6, tzinfo=timezone(timedelta(hours=2)))
    (back,) = Recordings([Recording(SourceFile("a.wav", 1, 2), "a", RecordingTime(None, start))])
    assert back.time.utc_start == start
    assert back.time.to_json()["utc_start"] == "2025-04-01T04:00:00Z"


# ---- a season, smaller ------------------------------------------------------------------------------------------------


def described(files: int) -> Recordings:
    describer = Describer(zone="Europe/London")
    with instead_of_a_disk(files):
        found = (SourceFile(f.path[8:], f.size_bytes, f.mtime_ns) for f in listing("/season", files))
        return Recordings(describer.describe("/season", source) for source in found)


def test_a_planned_file_takes_little_memory() -> None:
    """As objects it was 1,200 bytes; 10^6 of them have to go into a gigabyte beside everything else."""
    list(described(3_000))  # what is imported, and what is kept however many files there are, is not counted
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        listed = described(3_000)
        packed = Packed(listed)
        for _ in packed.pack(DIGEST, 7200.0):
            pass
        held, peak = (value - before for value in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert len(packed) == 50
    assert held / len(listed) < 400
    assert peak / len(listed) < 800


def test_parts_made_again_are_the_same() -> None:
    listed = described(600)
    packed = Packed(listed)
    first = list(packed.pack(DIGEST, 1800.0))
    assert list(packed) == first == list(pack(list(listed), DIGEST, 1800.0))
    assert [o.part_id for o in packed.outlines] == [p.part_id for p in first]
    assert len(first) > 20


# ---- settled files ----------------------------------------------------------------------------------------------------


def test_settled_files_are_those_of_the_ledger() -> None:
    entries = [LedgerFile(f"{i}.wav", 1, 2, i, (), "ok", 1, 60.0, float(i)) for i in range(5)]
    parts = {name: Part(name, "a", None, f"embeddings/{name}", None, 0, None, 0, DIGEST, ()) for name in ("one", "two")}
    settled = SettledFiles(parts)
    for i, entry in enumerate(entries):
        settled.append(("two" if i % 2 else "one", entry))
    assert len(settled) == 5
    assert [s.entry for s in settled] == entries
    assert (settled[1].part_id, settled[1].embeddings) == ("two", "embeddings/two")
    assert [s.entry.path for s in settled[3:]] == ["3.wav", "4.wav"]
    assert list(settled.audio_s()) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert list(settled.by_part()) == [
        ("embeddings/one", {"0.wav", "2.wav", "4.wav"}),
        ("embeddings/two", {"1.wav", "3.wav"}),
    ]


held = st.lists(st.tuples(st.integers(0, 4), st.sets(st.sampled_from("abcdef"), max_size=2)), max_size=4)


@given(st.lists(held, max_size=6))
def test_what_is_superseded_is_the_same_with_and_without_what_is_live(
    contents: list[list[tuple[int, set[str]]]],
) -> None:
    parts = []
    for name, content in zip("abcdef", contents, strict=False):
        entries = {
            number: LedgerFile(f"{number}.wav", 1, 2, number, tuple(sorted(replaces)), "ok", 1, 60.0)
            for number, replaces in content
        }
        parts.append(Part(name, "s", None, name, None, 0, None, 0, DIGEST, tuple(entries.values())))
    assert resolve_superseded(parts) == resolve_live(parts)[1]
