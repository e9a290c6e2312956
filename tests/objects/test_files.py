"""An object as a file, and the cache of its blocks: against the bytes themselves."""

from __future__ import annotations

import io
import os
from concurrent.futures import Future
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.remote import RemoteError, blocks
from embedder.remote.blocks import Block, BlockCache, cache_bytes
from embedder.remote.files import RangeFile
from sonotheque.core.errors import Invalid

DATA = np.random.default_rng(3).bytes(1_000)
URL = "s3://bucket/a.wav"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Blocks come from DATA; what was asked for is listed."""
    asked: list[tuple[int, int]] = []

    def fetch(url: str, start: int, stop: int, version: str = "") -> bytes:
        asked.append((start, stop))
        return DATA[start:stop]

    monkeypatch.setattr(blocks, "fetch", fetch)
    monkeypatch.setattr(blocks, "_OF_PROCESS", {})
    return asked


Move = st.tuples(st.sampled_from(["read", "seek", "end", "step"]), st.integers(0, 1_100))


@settings(max_examples=40)
@given(moves=st.lists(Move, max_size=12), block=st.integers(1, 1_200), ahead=st.integers(0, 3))
def test_it_reads_as_the_bytes_do(moves: list[tuple[str, int]], block: int, ahead: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "fetch", lambda url, start, stop, version="": DATA[start:stop])
        patch.setattr(blocks, "_OF_PROCESS", {})
        ours, theirs = RangeFile(URL, len(DATA), block_bytes=block, ahead=ahead), io.BytesIO(DATA)
        for move, number in moves:
            for file in (ours, theirs):
                if move == "seek":
                    file.seek(number)
                elif move == "end":
                    file.seek(-min(number, len(DATA)), os.SEEK_END)
                elif move == "step":
                    file.seek(number, os.SEEK_CUR)
            if move == "read":
                assert ours.read(number) == theirs.read(number)
            assert ours.tell() == theirs.tell()
        assert ours.read() == theirs.read()
        blocks.shared_cache()._threads.shutdown()


def test_each_block_is_fetched_once(fetched: list[tuple[int, int]]) -> None:
    file = RangeFile(URL, 1_000, block_bytes=300, ahead=2)
    assert b"".join(iter(lambda: file.read(70), b"")) == DATA
    assert RangeFile(URL, 1_000, block_bytes=300, ahead=2).read() == DATA  # by another reader, from the cache
    assert sorted(fetched) == [(0, 300), (300, 600), (600, 900), (900, 1_000)]


def test_a_look_at_a_header_fetches_little(fetched: list[tuple[int, int]]) -> None:
    file = RangeFile(URL, 1_000, block_bytes=100, ahead=0)
    file.read(44)
    file.seek(-50, os.SEEK_END)
    file.read()
    assert fetched == [(0, 100), (900, 1_000)]


def test_the_cache_keeps_within_its_bound(fetched: list[tuple[int, int]]) -> None:
    cache = BlockCache(350)
    for start in (0, 100, 200, 300, 400):
        assert cache.read(Block(URL, "", start, start + 100)) == DATA[start : start + 100]
        assert cache.held_bytes <= 350
    cache.read(Block(URL, "", 400, 500))
    assert len(fetched) == 5  # the newest is there
    cache.read(Block(URL, "", 0, 100))
    assert len(fetched) == 6  # the oldest is not
    cache.read(Block(URL, "", 0, 1_000))  # larger than all of it: given, and alone
    assert cache.held_bytes == 1_000


def test_another_version_is_another_block(fetched: list[tuple[int, int]]) -> None:
    cache = BlockCache(1_000)
    cache.read(Block(URL, "old", 0, 10))
    cache.read(Block(URL, "new", 0, 10))
    assert len(fetched) == 2


def test_an_error_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [RemoteError("passing", URL, "away"), DATA[:10]]

    def fetch(*_: object) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, RemoteError):
            raise answer
        return answer

    monkeypatch.setattr(blocks, "fetch", fetch)
    monkeypatch.setattr(blocks, "_OF_PROCESS", {})
    file = RangeFile(URL, 10)
    with pytest.raises(RemoteError, match="away"):
        file.read(4)
    assert file.error is not None
    assert file.tell() == 0
    assert file.read() == DATA[:10]
    assert blocks.shared_cache().held_bytes == 10


def test_what_is_read_ahead_comes_while_the_first_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    came = Event()

    def fetch(url: str, start: int, stop: int, version: str = "") -> bytes:
        if start:
            came.set()
        return DATA[start:stop]

    monkeypatch.setattr(blocks, "fetch", fetch)
    monkeypatch.setattr(blocks, "_OF_PROCESS", {})
    RangeFile(URL, 1_000, block_bytes=100, ahead=1).read(10)
    assert came.wait(10)


def test_read_ahead_leaves_room_for_others(fetched: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BlockCache(400)
    monkeypatch.setattr(blocks, "_OF_PROCESS", {os.getpid(): cache})
    begun: list[Block] = []
    begin = cache.begin

    def noting(block: Block) -> Future[bytes]:
        begun.append(block)
        return begin(block)

    monkeypatch.setattr(cache, "begin", noting)
    RangeFile(URL, 1_000, block_bytes=100, ahead=50).read(10)
    assert {block.start for block in begun} == {0, 100, 200}


def test_an_object_that_became_shorter_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "fetch", lambda url, start, stop, version="": DATA[start : min(stop, 500)])
    monkeypatch.setattr(blocks, "_OF_PROCESS", {})
    assert RangeFile(URL, 1_000, block_bytes=300).read() == DATA[:500]


@pytest.mark.parametrize("wrong", ["lots", "-1", "64M", "1e9", "0", "4194303"])
def test_a_wrong_bound_is_named(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blocks.CACHE_BYTES, wrong)
    with pytest.raises(Invalid, match=f"SONOTHEQUE_CACHE_BYTES={wrong}"):
        cache_bytes()


def test_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(blocks.CACHE_BYTES, raising=False)
    assert cache_bytes() == 64 << 20
    monkeypatch.setenv(blocks.CACHE_BYTES, "8388608")
    assert cache_bytes() == 8 << 20


def test_no_library_of_a_store_is_loaded_for_a_disk(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, embedder.audio, embedder.recorders, cluster.roots, search_api.locating; "
        "sys.exit(any(name in sys.modules for name in ('fsspec', 's3fs', 'botocore', 'gcsfs', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_seeking_before_the_beginning_is_an_error() -> None:
    file = RangeFile(URL, 10)
    with pytest.raises(ValueError, match="before the beginning"):
        file.seek(-1)


def test_a_block_that_makes_room_still_reaches_who_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Event()

    def fetch(url: str, start: int, stop: int, version: str = "") -> bytes:
        held.wait(10)
        return DATA[start:stop]

    monkeypatch.setattr(blocks, "fetch", fetch)
    cache = BlockCache(100)
    begun = [
        cache.begin(Block(URL, "", start, start + 10)) for start in range(0, 1_000, 10)
    ]  # more than threads and room
    held.set()
    assert [future.result(10) for future in begun] == [DATA[start : start + 10] for start in range(0, 1_000, 10)]
    assert cache.held_bytes == 100
    assert cache.read(Block(URL, "", 0, 10), begun[0]) == DATA[:10]
