"""A disk that fails for a moment costs nothing; one that stays away, and whatever is wrong in a file's bytes, is told."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import embedder.pipeline
from embedder.audio import Window, open_windows, opening, sources
from embedder.audio.findings import from_os_error
from embedder.models import load_model
from embedder.patience import DELAYS_S, Patience, PatientWindows
from embedder.pipeline import AudioFile, EmbedPipeline, FileEnd
from sonotheque.core.outcome import DecodeSummary, StageSeconds, Status
from sonotheque.core.passing import is_gone, is_passing
from sonotheque.core.windows import WindowRule
from tests.cluster.support import write_wav

EIO = OSError(errno.EIO, "Input/output error")


class Stream:
    """Ten windows, of which `upto` come before `error`."""

    def __init__(
        self, upto: int, error: OSError | None = None, status: Status = Status.OK, raises: bool = False
    ) -> None:
        self.upto, self.error, self.status, self.raises = upto, error, status, raises
        self.stages = StageSeconds(decode_s=1.0)

    @property
    def summary(self) -> DecodeSummary:
        if self.error is None:
            return DecodeSummary(self.status, "said")
        found = from_os_error(self.error)
        return DecodeSummary(found.status, found.reason, passing=found.passing)

    def __iter__(self) -> Iterator[Window]:
        for number in range(self.upto):
            yield number, number, np.zeros(1, np.float32)
        if self.raises and self.error:
            raise self.error


def read(*streams: Stream, budget_s: float = 60.0, stop: bool = False) -> tuple[list[int], PatientWindows, int]:
    left = list(streams)
    event = Event()
    if stop:
        event.set()
    windows = PatientWindows(lambda: left.pop(0), Patience(event, (0.0, 0.0), budget_s))
    return [int(start) for start, _, _ in windows], windows, len(left)


WHOLE = list(range(10))


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("before", [0, 1, 9, 10])
def test_reads_on_where_it_broke_off(before: int, raises: bool) -> None:
    got, windows, _ = read(Stream(before, EIO, raises=raises), Stream(10))
    assert got == WHOLE
    assert (windows.summary.status, windows.summary.reason) == (Status.OK, "said")
    assert windows.stages.decode_s >= 1.0


def test_three_tries_and_no_more() -> None:
    got, windows, left = read(Stream(2, EIO), Stream(1, EIO), Stream(5, EIO), Stream(10))
    assert (got, left) == ([0, 1, 2, 3, 4], 1)
    assert windows.summary.status is Status.IO_ERROR
    assert windows.summary.reason == "could not be read: EIO: Input/output error (tried 3 times)"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.EACCES, "Permission denied"), Status.IO_ERROR),
        (OSError(errno.ENOENT, "No such file or directory"), Status.VANISHED),
        (FileNotFoundError("s3://bucket/gone.wav"), Status.VANISHED),
        (PermissionError("Forbidden"), Status.IO_ERROR),
        (OSError(errno.EINVAL, "Invalid argument"), Status.IO_ERROR),
    ],
)
def test_what_no_wait_can_mend_is_told_at_once(error: OSError, status: Status) -> None:
    _, windows, left = read(Stream(0, error), Stream(10))
    assert (windows.summary.status, left) == (status, 1)
    assert "tried" not in windows.summary.reason


@pytest.mark.parametrize("status", [Status.CORRUPT, Status.UNREADABLE, Status.TRUNCATED, Status.EMPTY, Status.CHANGED])
def test_what_is_in_a_file_is_never_tried_again(status: Status) -> None:
    assert read(Stream(3, status=status), Stream(10))[2] == 1


def test_a_stop_ends_the_wait_and_a_budget_all_waits() -> None:
    assert read(Stream(0, EIO), Stream(10), stop=True)[2] == 1
    patience = Patience(Event(), (0.0, 0.02), 0.05)
    assert [patience.wait(2) for _ in range(4)] == [True, True, False, False]
    assert patience.wait(1)
    assert not patience.wait(3)


def test_what_a_try_waited_in_vain_counts_too() -> None:
    patience = Patience(Event(), (0.0, 0.0), 60.0)
    assert patience.wait(1, 50.0)
    assert not patience.wait(1, 50.0)


@pytest.mark.parametrize(
    "name", ["EIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "EAGAIN", "EINTR", "EHOSTUNREACH", "EMFILE"]
)
def test_faults_that_pass(name: str) -> None:
    error = OSError(getattr(errno, name), "x")
    assert is_passing(error)
    assert not is_gone(error)


def test_errors_without_a_number() -> None:
    assert is_passing(TimeoutError("read timed out"))
    assert is_passing(ConnectionResetError("closed"))
    assert is_passing(OSError("the library says so"))
    assert not is_passing(PermissionError("denied"))
    assert is_gone(FileNotFoundError("x"))


# ---- through the pipeline -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(DELAYS_S) == 2
    monkeypatch.setattr(embedder.pipeline, "DELAYS_S", (0.0, 0.0))


def embed(path: Path, info: os.stat_result | None = None) -> tuple[list[int], DecodeSummary]:
    model = load_model("placeholder")
    files = [AudioFile(str(path), (info.st_size, info.st_mtime_ns) if info else None)]
    starts: list[int] = []
    for item in EmbedPipeline(model, WindowRule.for_model(model.spec), top_k=0).run(files):
        if isinstance(item, FileEnd):
            return starts, item.summary
        starts += item.start_samples.tolist()
    raise AssertionError("no end")


@pytest.mark.parametrize("call", ["stat", "open"])
def test_a_call_that_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: None, call: str) -> None:
    path = write_wav(tmp_path / "a.wav", 20.0)
    whole = embed(path)
    assert whole[1].status is Status.OK
    plain, failed = getattr(os, call), [0]

    def fails(name: Any, *args: Any, **more: Any) -> Any:
        if failed[0] < 2 and name == str(path):
            failed[0] += 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return plain(name, *args, **more)

    monkeypatch.setattr(os, call, fails)
    expect = None if call == "stat" else path.stat()  # looking for it here must not be what fails
    assert embed(path, expect) == whole
    assert failed == [2]


def test_a_read_that_fails_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: None) -> None:
    path = write_wav(tmp_path / "a.wav", 60.0)
    whole = embed(path)
    tries: list[int] = []

    def breaks(*args: Any, **more: Any) -> Any:
        tries.append(len(tries))
        return Breaks(open_windows(*args, **more), 7 * len(tries)) if len(tries) < 3 else open_windows(*args, **more)

    monkeypatch.setattr(embedder.pipeline, "open_windows", breaks)
    assert embed(path) == whole
    assert len(tries) == 3


class Breaks:
    """A stream whose disk fails after some windows."""

    def __init__(self, stream: Any, after: int) -> None:
        self._stream, self._after = stream, after
        self.summary = DecodeSummary(Status.IO_ERROR, "could not be read: EIO", passing=True)
        self.stages = StageSeconds()

    def __iter__(self) -> Iterator[Window]:
        for number, window in enumerate(self._stream):
            if number == self._after:
                return
            yield window


class Failing(io.RawIOBase):
    """Bytes whose disk or network fails beyond a position."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data, self._limit, self._position = data, limit, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = {0: 0, 1: self._position, 2: len(self._data)}[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._limit and self._position + len(buffer) > self._limit:
            raise OSError(errno.EIO, "Input/output error")
        piece = self._data[self._position : self._position + len(buffer)]
        memoryview(buffer)[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class Remote:
    """A recording that is read through spans, as an object is."""

    def __init__(self, path: str, limit: int) -> None:
        self._data, self._limit = Path(path).read_bytes(), limit
        self.size_bytes, self.mtime_ns = len(self._data), 1

    def now(self) -> tuple[int, int]:
        return self.size_bytes, self.mtime_ns

    def file(self) -> Any:
        return Failing(self._data, self._limit)

    def span(self, offset: int, size: int, header: bytes = b"") -> sources.ByteSpan:
        return sources.ByteSpan(self.file(), offset, size, header)

    def whole(self) -> sources.ByteSpan:
        return self.span(0, self.size_bytes)


@pytest.mark.parametrize("broken_s", [1.0, 5.0, 7.3, 9.999])
@pytest.mark.parametrize("rate_hz", [48_000, 32_000])
@pytest.mark.parametrize("remote", [False, True])
def test_a_fault_within_a_window_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool, rate_hz: int, broken_s: float
) -> None:
    path, rule = tmp_path / "a.wav", WindowRule(rate_hz, 3 * rate_hz, 3 * rate_hz, rate_hz)
    sound = np.random.default_rng(1).standard_normal(480_000) * 0.1
    sf.write(path, sound.astype(np.float32), 48_000, subtype="PCM_16")

    def heard(stream: Any) -> list[tuple[int, int, bytes]]:
        return [(start, valid, frame.tobytes()) for start, valid, frame in stream]

    clean = heard(open_windows(str(path), rule))
    limits = [44 + round(broken_s * 96_000), 0]
    if remote:
        monkeypatch.setattr(opening, "open_bytes", lambda name, stack: Remote(name, limits.pop(0)))
    else:  # libsndfile reads the descriptor itself and says by a number what the system said
        plain = opening.SequentialSound.read

        def read(sound: Any, *args: Any, **more: Any) -> Any:
            got = plain(sound, *args, **more)
            if limits[0] and 44 + 2 * sound.tell() > limits[0]:
                limits.pop(0)
                raise sf.LibsndfileError(opening.SYSTEM_ERROR)
            return got

        monkeypatch.setattr(opening.SequentialSound, "read", read)
    windows = PatientWindows(lambda: open_windows(str(path), rule), Patience(Event(), (0.0, 0.0)))
    assert heard(windows) == clean
    assert windows.summary.status is Status.OK
    assert len(limits) == (0 if remote else 1)


def test_an_error_of_the_program_below_a_decoder_is_not_the_end_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "a.wav", 20.0)

    class Wrong(Failing):
        def readinto(self, buffer: Any) -> int:
            if self.tell() > 100_000:
                raise RuntimeError("a bug below the decoder")
            return super().readinto(buffer)

    monkeypatch.setattr(Remote, "file", lambda self: Wrong(self._data, 0))
    monkeypatch.setattr(opening, "open_bytes", lambda name, stack: Remote(name, 0))
    with pytest.raises(RuntimeError, match="a bug below"):
        list(open_windows(str(path), WindowRule.for_model(load_model("placeholder").spec)))
