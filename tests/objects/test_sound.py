"""Sound from an object store is the sound of the file on disk, window for window and byte for byte, and so is what is found wrong."""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from embedder.audio import FoundFile, Problem, find_audio, open_header, open_windows
from embedder.recorders import Describer
from embedder.remote import RangeFile, asking, blocks, look_at
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.outcome import Status
from sonotheque.core.recording import SourceFile
from tests.audio.damage import DAMAGE, RULE, get, sound, write
from tests.objects.kit import Bucket, Fault, ask_anew

# Every format, and the damages for which a file is read in another way; all others with the slow tests.
_QUICK = [
    *("wav_16", "wav_24", "wav_ima_adpcm", "wav_stereo", "rf64", "w64", "aiff", "flac_16", "mp3", "vorbis", "opus"),
    *(
        "mp3_vbr_without_length",
        "flac_total_0",
        "wav_streamed",
        "wav_size_0",
        "wav_rifx_size_0",
        "wav_cut",
        "vorbis_cut",
    ),
    *("flac_rot", "opus_rot", "zero_bytes", "text"),
]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_anew(monkeypatch)


def heard(path: str, **options: Any) -> tuple[Any, ...]:
    """Return the digest of all windows with their places, and what was found."""
    stream = open_windows(path, RULE, **options)
    digest = hashlib.sha256()
    for start, valid, frame in stream:
        digest.update(f"{start} {valid}".encode() + frame.tobytes())
    found = stream.summary
    if found.status in (Status.VANISHED, Status.IO_ERROR):
        found = type(found)(found.status, "")
    return stream.n_windows, digest.hexdigest(), astuple(found)


def unlike(bucket: Bucket, folder: Path, names: list[str]) -> list[Any]:
    """Return what is heard otherwise from the bucket than from the disk."""
    differ = []
    for name in names:
        (folder / name).mkdir()
        path = DAMAGE[name].make(folder / name)
        bucket.put(name, get(path))
        here, there = heard(path), heard(f"{bucket.url}/{name}")
        if here != there:
            differ.append((name, here, there))
    return differ


def test_every_format_sounds_the_same(bucket: Bucket, tmp_path: Path) -> None:
    assert unlike(bucket, tmp_path, _QUICK) == []


@pytest.mark.slow
def test_every_damage_is_found_the_same(bucket: Bucket, tmp_path: Path) -> None:
    assert unlike(bucket, tmp_path, list(DAMAGE)) == []


class TestWhenItBreaks:
    @pytest.fixture
    def path(self, tmp_path: Path, bucket: Bucket) -> Path:
        path = Path(write(tmp_path / "a.wav", sound(30.0)))  # 2.9 MB: three blocks
        bucket.put("a.wav", path.read_bytes())
        return path

    @pytest.mark.parametrize("kind", ["drop_body", "reset", "status"])
    def test_the_sound_goes_on(self, kind: str, path: Path, bucket: Bucket) -> None:
        fault = Fault(kind, method="GET", contains="a.wav", after_bytes=333_333, skip=1, times=4)  # type: ignore[arg-type]
        bucket.server.faults.add(fault)
        assert heard(f"{bucket.url}/a.wav") == heard(str(path))
        assert fault.hits > 1

    def test_no_byte_is_fetched_twice(self, path: Path, bucket: Bucket) -> None:
        heard(f"{bucket.url}/a.wav")
        ranges = [one.range for one in bucket.server.faults.seen if one.method == "GET"]
        assert len(ranges) == len(set(ranges)) == 3

    def test_a_store_that_stays_away_is_a_fault_that_passes(self, path: Path, bucket: Bucket) -> None:
        bucket.server.faults.add(Fault("status", method="GET", contains="a.wav", skip=1, times=-1))
        stream = open_windows(f"{bucket.url}/a.wav", RULE)
        list(stream)
        assert (stream.summary.status, stream.summary.passing) == (Status.IO_ERROR, True)
        assert "SlowDown" in stream.summary.reason

    @pytest.mark.parametrize("name", ["flac_16", "vorbis", "mp3_vbr_without_length"])
    def test_it_is_never_taken_for_damage(self, name: str, tmp_path: Path, bucket: Bucket, monkeypatch: Any) -> None:
        monkeypatch.setattr(RangeFile.__init__, "__kwdefaults__", {"block_bytes": 1 << 14, "ahead": 0})
        bucket.put("a", get(DAMAGE[name].make(tmp_path)))
        fault = bucket.server.faults.add(Fault("status", method="GET", contains="/a", skip=3, times=-1))
        stream = open_windows(f"{bucket.url}/a", RULE)
        list(stream)
        assert stream.summary.status is Status.IO_ERROR
        assert fault.hits

    def test_one_that_is_replaced_while_it_is_read(self, path: Path, bucket: Bucket, monkeypatch: Any) -> None:
        monkeypatch.setattr(RangeFile.__init__, "__kwdefaults__", {"block_bytes": 1 << 20, "ahead": 0})
        stream = open_windows(f"{bucket.url}/a.wav", RULE)
        windows = iter(stream)
        next(windows)
        bucket.put("a.wav", path.read_bytes()[::-1])
        list(windows)
        assert stream.summary.status is Status.CHANGED

    def test_one_that_is_not_what_was_planned(self, path: Path, bucket: Bucket) -> None:
        url = f"{bucket.url}/a.wav"
        facts = look_at(url)
        planned = (facts.size_bytes, facts.mtime_ns)
        assert heard(url, expect=planned)[0] == 10
        bucket.put("a.wav", path.read_bytes()[::-1])  # of the same size, and as likely as not within the same second
        assert heard(url, expect=planned)[2][0] is Status.CHANGED

    def test_one_that_is_gone(self, bucket: Bucket) -> None:
        assert heard(f"{bucket.url}/gone.wav")[2][0] is Status.VANISHED

    def test_one_that_is_refused(self, path: Path, bucket: Bucket) -> None:
        bucket.server.faults.add(Fault("status", contains="a.wav", code=403, error="AccessDenied", times=-1))
        stream = open_windows(f"{bucket.url}/a.wav", RULE)
        list(stream)
        assert (stream.summary.status, stream.summary.passing) == (Status.IO_ERROR, False)
        assert "AccessDenied" in stream.summary.reason


class TestFinding:
    def test_what_a_walk_of_the_folder_would_find(self, bucket: Bucket, tmp_path: Path) -> None:
        names = [
            "b.wav",
            "a/x.flac",
            "a.wav",
            "a/notes.txt",
            ".hidden.wav",
            ".trash/c.wav",
            "a/.x/y.wav",
            "a/Z.MP3",
            "ä é.ogg",
            "c?d#.wav",
        ]
        for name in names:
            path = tmp_path / "rec" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        bucket.put_folder(tmp_path / "rec", "rec")
        bucket.put("rec/a/", b"")  # what consoles make of a new folder
        bucket.put("record/other.wav", b"x")
        root = str(tmp_path / "rec")
        here = sorted((file.path[len(root) :], file.size_bytes) for file in find_audio(root))
        there = [(file.path[len(f"{bucket.url}/rec") :], file.size_bytes) for file in find_audio(f"{bucket.url}/rec")]
        assert sorted(there) == here
        assert len(here) == 6

    def test_one_object_whatever_it_is_called(self, bucket: Bucket) -> None:
        bucket.put("notes.txt", b"abc")
        (found,) = find_audio(f"{bucket.url}/notes.txt")
        facts = look_at(f"{bucket.url}/notes.txt")
        assert found == FoundFile(f"{bucket.url}/notes.txt", 3, facts.mtime_ns)

    def test_keys_that_can_be_no_path(self, bucket: Bucket) -> None:
        for key in ("a//b.wav", "a/../b.wav", "a/b.wav"):
            bucket.put(key, b"x")
        problems: list[Problem] = []
        assert [file.path for file in find_audio(bucket.url, problems)] == [f"{bucket.url}/a/b.wav"]
        assert sorted(problem.path for problem in problems) == [f"{bucket.url}/a/../b.wav", f"{bucket.url}/a//b.wav"]

    def test_what_is_not_there(self, bucket: Bucket) -> None:
        with pytest.raises(NotFound, match="nothing at this address"):
            list(find_audio(f"{bucket.url}/season"))


class TestHeaders:
    @pytest.mark.parametrize(
        "name", ["wav_long_header", "flac_16", "vorbis", "mp3", "mp3_vbr_without_length", "aiff", "wav_size_0", "text"]
    )
    def test_a_recording_is_described_as_on_disk(self, name: str, bucket: Bucket, tmp_path: Path) -> None:
        path = Path(DAMAGE[name].make(tmp_path))
        key = f"site_1/{path.name}"
        bucket.put(key, path.read_bytes())
        source = SourceFile(path.name, path.stat().st_size, 0)
        here = Describer(opened=open_header).describe(str(tmp_path), source)
        there = Describer(opened=open_header).describe(f"{bucket.url}/site_1", source)
        assert (here.audio_s, here.time, here.device) == (there.audio_s, there.time, there.device)
        fetched = sum(
            int(one.range.split("-")[1]) - int(one.range[6:].split("-")[0]) + 1 for one in bucket.server.faults.seen
        )
        assert fetched <= max(3 << 16, path.stat().st_size // 2) or name.startswith(("mp3", "text"))

    def test_a_store_that_does_not_answer_ends_the_plan(self, bucket: Bucket, tmp_path: Path) -> None:
        for number, name in enumerate(("wav_16", "mp3", "vorbis")):
            path = Path(DAMAGE[name].make(tmp_path))
            bucket.put(path.name, path.read_bytes())
            bucket.server.faults.add(Fault("status", method="GET", contains=path.name, skip=number % 2, times=-1))
            source = SourceFile(path.name, path.stat().st_size, 0)
            with pytest.raises(Unavailable, match="SlowDown"):
                Describer(opened=open_header).describe(bucket.url, source)

    def test_one_object_that_is_gone_or_refused_does_not(self, bucket: Bucket) -> None:
        assert Describer(opened=open_header).describe(bucket.url, SourceFile("gone.wav", 100, 0)).audio_s == 0.0
        bucket.server.faults.add(Fault("status", code=403, error="AccessDenied", times=-1))
        assert Describer(opened=open_header).describe(bucket.url, SourceFile("shut.wav", 100, 0)).audio_s == 0.0


def test_the_cache_may_be_small(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blocks.CACHE_BYTES, str(4 << 20))
    path = Path(write(tmp_path / "a.wav", sound(70.0)))
    bucket.put("a.wav", path.read_bytes())
    assert heard(f"{bucket.url}/a.wav") == heard(str(path))
    assert blocks.shared_cache().held_bytes <= 4 << 20


def test_a_library_that_is_missing_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_DOORS", asking._Doors())
    monkeypatch.setitem(__import__("sys").modules, "embedder.remote.s3", None)
    with pytest.raises(Unavailable, match=r"pip install 'sonotheque\[objects\]'") as caught:
        list(find_audio(f"{bucket.url}/season"))
    assert caught.value.kind == "engine_missing"


def test_a_wrong_bound_of_the_cache_is_named_before_anything_is_read(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(blocks.CACHE_BYTES, "much")
    bucket.put("a.wav", b"x" * 100)
    with pytest.raises(Invalid, match="SONOTHEQUE_CACHE_BYTES"):
        heard(f"{bucket.url}/a.wav")
