"""Clips are kept by their content, go when they are old or too much, and are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from search_api.uploads import ClipShelf
from sonotheque.core.errors import NotFound, Unavailable

FACTS = {"duration_s": 2.0, "sample_rate_hz": 16_000, "channels": 1, "windows": 1}


class Clock:
    tick = 1.0

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def shelf_in(folder, **more):
    clock = Clock()
    return ClipShelf(folder / "clips", clock=clock, **more), clock


def test_kept_and_read_back(tmp_path):
    shelf, _ = shelf_in(tmp_path)
    clip = shelf.keep(b"sound", "a.wav", FACTS)
    assert clip.clip_id == hashlib.sha256(b"sound").hexdigest()[:32]
    assert shelf.get(clip.clip_id) == clip
    assert shelf.read(clip.clip_id) == b"sound"
    assert clip.to_json() == {**FACTS, "clip_id": clip.clip_id, "name": "a.wav", "bytes": 5}
    with open(shelf.path(clip.clip_id), "rb") as file:
        assert file.read() == b"sound"
    assert os.stat(shelf.path(clip.clip_id)).st_mode & 0o077 == 0
    assert shelf.keep(b"sound", "b.wav", FACTS).clip_id == clip.clip_id
    assert shelf.get(clip.clip_id).name == "b.wav"
    assert len(os.listdir(tmp_path / "clips")) == 2
    assert ClipShelf(tmp_path / "clips", clock=Clock()).get(clip.clip_id).name == "b.wav"


@pytest.mark.parametrize(
    "clip_id",
    [
        "",
        "..",
        "../../etc/passwd",
        "0" * 31,
        "0" * 33,
        "A" * 32,
        "0" * 31 + "/",
        "0" * 32 + "\n",
        "g" * 32,
        "0" * 31 + "\x00",
        "٠" * 32,
    ],
)
def test_ids_that_are_none(tmp_path, clip_id):
    shelf, _ = shelf_in(tmp_path)
    for ask in (shelf.get, shelf.read, shelf.path):
        with pytest.raises(NotFound, match="32 hexadecimal digits"):
            ask(clip_id)
    assert not (tmp_path / "clips").exists()


def test_a_clip_that_is_not_there(tmp_path):
    shelf, _ = shelf_in(tmp_path)
    with pytest.raises(NotFound, match="upload it again"):
        shelf.read("0" * 32)


def test_old_ones_go_and_a_use_makes_them_young(tmp_path):
    shelf, clock = shelf_in(tmp_path, age_max_s=1000.0)
    one, two = shelf.keep(b"one", "1", FACTS), shelf.keep(b"two", "2", FACTS)
    clock.now += 600
    shelf.get(one.clip_id)
    clock.now += 600
    assert shelf.read(one.clip_id) == b"one"
    with pytest.raises(NotFound):
        shelf.get(two.clip_id)
    shelf.keep(b"three", "3", FACTS)
    assert not any(name.startswith(two.clip_id) for name in os.listdir(tmp_path / "clips"))


def test_too_much_goes_by_last_use_and_the_newest_stays_whatever_its_size(tmp_path):
    size = 100 + len(json.dumps({**FACTS, "clip_id": "0" * 32, "name": "x", "bytes": 100}))
    shelf, _ = shelf_in(tmp_path, bytes_max=3 * size + 10)
    kept = [shelf.keep(bytes([n]) * 100, "x", FACTS) for n in range(3)]
    shelf.get(kept[0].clip_id)
    shelf.keep(b"d" * 100, "x", FACTS)
    assert shelf.get(kept[0].clip_id) and shelf.get(kept[2].clip_id)
    with pytest.raises(NotFound):
        shelf.get(kept[1].clip_id)
    big = shelf.keep(b"e" * 10_000, "x", FACTS)
    assert shelf.read(big.clip_id) == b"e" * 10_000
    assert len(os.listdir(tmp_path / "clips")) == 2


@pytest.mark.parametrize(
    "damage", ["link", "linked facts", "cut", "longer", "no facts", "bad facts", "other facts", "folder"]
)
def test_what_was_changed_on_the_disk_is_gone_and_never_read(tmp_path, damage):
    shelf, _ = shelf_in(tmp_path)
    clip, other = shelf.keep(b"sound", "a", FACTS), shelf.keep(b"other", "b", FACTS)
    sound = tmp_path / "clips" / f"{clip.clip_id}.sound"
    facts = sound.with_suffix(".json")
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345")
    if damage == "link":
        sound.unlink()
        sound.symlink_to(secret)
    elif damage == "linked facts":
        (tmp_path / "copy").write_bytes(facts.read_bytes())
        facts.unlink()
        facts.symlink_to(tmp_path / "copy")
    elif damage == "cut":
        sound.write_bytes(b"sou")
    elif damage == "longer":
        sound.write_bytes(b"sound and more")
    elif damage == "no facts":
        facts.unlink()
    elif damage == "bad facts":
        facts.write_text("[1, 2")
    elif damage == "other facts":
        facts.write_bytes(facts.with_name(f"{other.clip_id}.json").read_bytes())
    else:
        sound.unlink()
        sound.mkdir()
    with pytest.raises(NotFound):
        shelf.read(clip.clip_id)
    assert shelf.read(other.clip_id) == b"other"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "clips").write_text("a file is in the way")
    with pytest.raises(Unavailable) as caught:
        ClipShelf(tmp_path / "clips").keep(b"x", "a", FACTS)
    assert caught.value.kind == "read_only"


def test_killed_at_any_moment_clips_are_whole_or_not_there(tmp_path):
    code = f"""
import sys
from search_api.uploads import ClipShelf
shelf = ClipShelf({str(tmp_path / "clips")!r})
print("ready", flush=True)
n = 0
while True:
    n += 1
    shelf.keep(str(n).encode() * 40_000, str(n), {FACTS!r})
"""
    for moment in (0.02, 0.05, 0.11):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
        shelf = ClipShelf(tmp_path / "clips")
        found = [name[:32] for name in os.listdir(tmp_path / "clips") if name.endswith(".json")]
        assert found
        for clip_id in found:
            assert hashlib.sha256(shelf.read(clip_id)).hexdigest()[:32] == clip_id
    left = [name for name in os.listdir(tmp_path / "clips") if name.endswith(".part")]
    later = ClipShelf(tmp_path / "clips", clock=lambda: time.time() + 7200)
    later.keep(b"one more", "x", FACTS)
    assert not any(name in os.listdir(tmp_path / "clips") for name in left)


def test_many_at_once(tmp_path):
    shelf = ClipShelf(tmp_path / "clips", bytes_max=20_000)
    wrong: list[str] = []

    def work(seed: int) -> None:
        for n in range(20):
            data = f"{(seed + n) % 7}".encode() * 1_000
            clip = shelf.keep(data, "x", FACTS)
            try:
                if shelf.read(clip.clip_id) != data:
                    wrong.append("other bytes")
            except NotFound:
                wrong.append("gone")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class ShelfTwin(RuleBasedStateMachine):
    """The twin is a list in order of use."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.clock.tick = 0.0  # time passes between the steps alone: the twin does not know how often the shelf looks
        self.most, self.age = 2_000, 500.0
        self.shelf = ClipShelf(Path(self.folder.name) / "clips", self.most, self.age, self.clock)
        self.twin: list[tuple[str, bytes, int, float]] = []  # id, bytes, size on disk, last use

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(data=st.sampled_from([bytes([n]) * (n * 97 % 400 + 1) for n in range(12)]), name=st.sampled_from("ab"))
    def keep(self, data, name):
        self.clock.now += 1.0
        clip = self.shelf.keep(data, name, FACTS)
        size = len(data) + len(json.dumps(clip.to_json()).encode())
        now = self.clock.now
        self.twin = [row for row in self.twin if row[0] != clip.clip_id] + [(clip.clip_id, data, size, now)]
        total = sum(row[2] for row in self.twin)
        for row in self.twin[:-1]:
            if total > self.most or row[3] < now - self.age:
                self.twin.remove(row)
                total -= row[2]

    @precondition(lambda self: self.twin)
    @rule(choice=st.integers(0, 11))
    def use(self, choice):
        self.clock.now += 1.0
        row = self.twin[choice % len(self.twin)]
        if row[3] < self.clock.now - self.age:
            return  # too old: told to be gone, but not swept yet
        assert self.shelf.read(row[0]) == row[1]
        self.twin.remove(row)
        self.twin.append((*row[:3], self.clock.now))

    @rule(seconds=st.integers(1, 300))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def the_same_are_there(self):
        on_disk = {n[:32] for n in os.listdir(self.shelf._folder)} if self.shelf._folder.exists() else set()
        assert {row[0] for row in self.twin} == on_disk


TestShelfTwin = ShelfTwin.TestCase
TestShelfTwin.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
