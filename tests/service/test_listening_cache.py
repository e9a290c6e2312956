"""What is kept: bounded, whole or not at all, made once."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.listening import AudioWish, Gallery, PictureWish, drawing, encoding
from search_api.listening.cache import DiskCache, MemoryCache, OneAtATime
from sonotheque.core.errors import Damaged
from tests.service import listening_kit as kit

KEYS = [f"{number:02x}" * 16 for number in range(40)]


@given(
    st.integers(2, 60),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=30)), max_size=60),
)
def test_memory_is_a_plain_list_of_what_was_used_last(most, steps):
    cache, plain = MemoryCache(most), OrderedDict()
    for key, blob in steps:
        if blob is None:
            found = plain.get(key)
            if found is not None:
                plain.move_to_end(key)
            assert cache.get(key) == found
            continue
        cache.put(key, blob)
        if 2 * len(blob) <= most:
            plain.pop(key, None)
            plain[key] = blob
            while sum(map(len, plain.values())) > most:
                plain.popitem(last=False)
        assert cache.held == sum(map(len, plain.values())) <= most
    assert {key: cache.get(key) for key in "abcdef"} == {key: plain.get(key) for key in "abcdef"}


def test_a_blob_outlives_the_process(tmp_path):
    DiskCache(tmp_path / "p", 10_000).put(KEYS[1], b"picture")
    assert DiskCache(tmp_path / "p", 10_000).get(KEYS[1]) == b"picture"
    assert DiskCache(tmp_path / "p", 10_000).get(KEYS[2]) is None


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_the_disk_holds_what_was_used_last(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    for key in KEYS[:9]:
        cache.put(key, bytes(1_000))
    assert cache.get(KEYS[0])
    for key in KEYS[9:20]:
        cache.put(key, bytes(1_000))
        assert cache.get(KEYS[0])
    assert cache.held <= 10_000 and sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= 10_000
    assert cache.get(KEYS[19]) and not cache.get(KEYS[1])


def test_what_is_there_from_before_counts_the_oldest_first(tmp_path):
    first = DiskCache(tmp_path, 100_000)
    for number, key in enumerate(KEYS[:8]):
        first.put(key, bytes(1_000))
        path = tmp_path / key[:2] / key
        os.utime(path, (1_000 + (number * 37) % 8, 1_000 + (number * 37) % 8))
    second = DiskCache(tmp_path, 5_000)
    second.put(KEYS[20], b"new")
    by_age = sorted(KEYS[:8], key=lambda key: (KEYS.index(key) * 37) % 8)
    assert files(tmp_path) == sorted([*by_age[-4:], KEYS[20]])


def test_a_look_keeps_a_blob_young_for_the_next_process(tmp_path):
    DiskCache(tmp_path, 9_000).put(KEYS[1], b"x")
    path = tmp_path / KEYS[1][:2] / KEYS[1]
    os.utime(path, (1_000, 1_000))
    DiskCache(tmp_path, 9_000).get(KEYS[1])
    assert path.stat().st_mtime > time.time() - 60


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "other"])
def test_a_file_that_is_not_whole_is_not_there(tmp_path, harm):
    cache = DiskCache(tmp_path, 10_000)
    cache.put(KEYS[3], b"picture" * 20)
    path = tmp_path / KEYS[3][:2] / KEYS[3]
    data = path.read_bytes()
    harmed = {"cut": data[:-1], "flip": data[:-1] + b"X", "empty": b"", "other": b"\x89PNG"}[harm]
    path.write_bytes(harmed)
    assert cache.get(KEYS[3]) is None
    cache.put(KEYS[3], b"again")
    assert cache.get(KEYS[3]) == b"again"


def test_what_a_killed_process_left_goes(tmp_path):
    (tmp_path / "aa").mkdir()
    old, young = tmp_path / "aa" / ".old.tmp", tmp_path / "aa" / ".young.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1_000, 1_000))
    DiskCache(tmp_path, 10_000).put(KEYS[1], b"x")
    assert not old.exists() and young.exists()


def test_a_disk_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "p", 10_000)
    cache.put(KEYS[1], b"x")
    assert cache.get(KEYS[1]) is None
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "file" / "p")
    assert gallery.picture(kit.held(kit.noise(0.2))).data


def test_files_that_vanish_are_no_trouble(tmp_path):
    cache = DiskCache(tmp_path, 5_000)
    for key in KEYS[:4]:
        cache.put(key, bytes(1_000))
        (tmp_path / key[:2] / key).unlink()
    for key in KEYS[4:12]:
        cache.put(key, bytes(1_000))
    assert cache.get(KEYS[11])


def test_many_who_ask_share_one_making():
    once, made, started, go = OneAtATime(), [], threading.Event(), threading.Event()

    def how():
        made.append(1)
        started.set()
        assert go.wait(10)
        return b"it"

    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(once.make("k", how))) for _ in range(8)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    assert once.make("other", lambda: b"that") == b"that"  # is not held up
    go.set()
    for thread in threads:
        thread.join(10)
    assert got == [b"it"] * 8 and made == [1]
    assert once.make("k", lambda: b"anew") == b"anew"


def test_a_failure_is_everybodys_and_is_not_kept():
    once, started, go, told = OneAtATime(), threading.Event(), threading.Event(), []

    def how():
        started.set()
        assert go.wait(10)
        raise Damaged("broken")

    def ask():
        try:
            once.make("k", how)
        except Damaged as error:
            told.append(error.message)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert told == ["broken"] * 4
    assert once.make("k", lambda: b"fine") == b"fine"


def test_a_gallery_draws_once(tmp_path, monkeypatch):
    calls: list[str] = []
    draw, encode = drawing.draw, encoding.encode
    monkeypatch.setattr(drawing, "draw", lambda *a, **k: calls.append("draw") or draw(*a, **k))
    monkeypatch.setattr(encoding, "encode", lambda *a: calls.append("encode") or encode(*a))
    gallery, piece = Gallery(kit.locator(tmp_path), tmp_path), kit.held(kit.noise(1))
    barrier = threading.Barrier(6)
    got: list[bytes | None] = []

    def ask(number):
        barrier.wait(10)
        got.append(gallery.picture(piece).data if number % 2 else gallery.audio(piece).data)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(calls) == ["draw", "encode"] and len(got) == 6 and len(set(got)) == 2
    Gallery(kit.locator(tmp_path), tmp_path).picture(piece)  # from the disk
    assert calls.count("draw") == 1


def test_another_version_of_the_program_draws_anew(tmp_path, monkeypatch):
    piece = kit.held(kit.noise(0.2))
    before = Gallery(kit.locator(tmp_path), tmp_path).picture(piece).etag
    monkeypatch.setattr(drawing, "VERSION", drawing.VERSION + 1)
    assert Gallery(kit.locator(tmp_path), tmp_path).picture(piece).etag != before


def test_every_wish_has_its_own_tag(tmp_path):
    gallery, piece = Gallery(kit.locator(tmp_path), tmp_path), kit.held(kit.noise(3), start_s=1.0, end_s=2.0)
    wishes = [
        {},
        {"width": 401},
        {"height": 221},
        {"margin_s": 0.5},
        {"scale": "mel"},
        {"colormap": "gray"},
        {"range_db": 60},
        {"min_hz": 100},
        {"max_hz": 4_000},
        {"reference": "background"},
    ]
    tags = {gallery.picture(piece, PictureWish(**wish)).etag for wish in wishes}
    assert len(tags) == len(wishes)
    assert gallery.audio(piece, AudioWish()).etag not in tags
    # The band by default and the same band asked for are one picture.
    assert gallery.picture(piece, PictureWish(min_hz=0, max_hz=8_000)).etag in tags
