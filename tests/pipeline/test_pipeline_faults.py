"""What the pipeline does when the model, a decoder or the reader of its rows misbehaves; and how far it runs ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedder.pipeline
from embedder.pipeline import AudioFile, DecodeStalled, EmbedPipeline, FileEnd, Rows
from sonotheque.core.errors import SonothequeError, Unavailable
from sonotheque.core.outcome import Status
from tests.pipeline.fakes import RULE, FakeModel, sound_file


def threads_now() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(("decode-", "infer"))}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threads_now()
    yield
    deadline = time.monotonic() + 20
    while threads_now() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not threads_now() - before


class CountedStream:
    """A stream of windows that tells of each."""

    def __init__(self, stream: Any, count: Callable[[], None]) -> None:
        self._stream, self._count = stream, count

    def __iter__(self) -> Iterator[Any]:
        for window in self._stream:
            self._count()
            yield window

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Counting:
    """Counts the windows that decoders have made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = 0
        self.opened: list[str] = []
        self._lock = threading.Lock()
        plain = embedder.pipeline.open_windows

        def counted(path: str, *args: Any, **options: Any) -> Any:
            stream = plain(path, *args, **options)
            with self._lock:
                self.opened.append(path)
            return CountedStream(stream, self.count)

        monkeypatch.setattr(embedder.pipeline, "open_windows", counted)

    def count(self) -> None:
        with self._lock:
            self.frames += 1

    def settled(self) -> int:
        """Return the count once it has stopped rising."""
        last = -1
        while last != self.frames:
            last = self.frames
            time.sleep(0.3)
        return last


@pytest.mark.parametrize(
    ("n_files", "windows", "decoders", "most_frames"),
    [
        # 3 files ahead, one each decoder's own, and the one the model waits in; a queue of 16 and one in hand each.
        pytest.param(200, 1, 1, 10, id="many files of one window"),
        pytest.param(200, 1, 3, 12, id="many files, three decoders"),
        pytest.param(1, 400, 1, 24, id="one long file"),
        pytest.param(40, 60, 2, 6 * 17 + 4, id="many long files"),
    ],
)
def test_decoders_run_ahead_by_a_bounded_number_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_files: int, windows: int, decoders: int, most_frames: int
) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", windows, i) for i in range(n_files)]
    counting = Counting(monkeypatch)
    go_on = threading.Event()
    model = FakeModel(batch_size=4, before=lambda frames: go_on.wait(60) and None)
    events = EmbedPipeline(model, RULE, decoders=decoders).run(files)
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.extend(events))
    reader.start()
    assert 4 <= counting.settled() <= most_frames + 4  # a batch of 4 is in the model
    assert len(counting.opened) <= 4 + decoders + 3 + 1
    go_on.set()
    reader.join(60)
    assert sum(len(e.start_samples) for e in got if isinstance(e, Rows)) == n_files * windows


def test_a_slow_reader_bounds_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [sound_file(tmp_path / "long.wav", 400, 1)]
    counting = Counting(monkeypatch)
    model = FakeModel(batch_size=4)
    events = EmbedPipeline(model, RULE).run(files)
    next(events)
    counting.settled()
    # One batch read, four in the queue, one in hand, and what happened between: far from the hundred there are.
    assert len(model.calls) <= 8
    assert sum(len(e.start_samples) for e in events if isinstance(e, Rows)) == 396


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_reader_that_stops_early_leaves_no_thread(tmp_path: Path, taken: int) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 40, i) for i in range(12)]
    events = EmbedPipeline(FakeModel(batch_size=2), RULE, decoders=3).run(files)
    for _ in range(taken):
        next(events)
    events.close()  # type: ignore[attr-defined]  # the autouse fixture does the rest


def test_a_reader_that_raises_leaves_no_thread(tmp_path: Path) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 40, i) for i in range(12)]

    def read() -> None:
        for _ in EmbedPipeline(FakeModel(batch_size=2), RULE, decoders=2).run(files):
            raise KeyError("the writer failed")

    with pytest.raises(KeyError):
        read()


def bad_windows(bad: set[float], value: float) -> Callable[[np.ndarray, np.ndarray], None]:
    def spoil(frames: np.ndarray, vectors: np.ndarray) -> None:
        for i, frame in enumerate(frames):
            if float(frame[0]) in bad:
                vectors[i, 1] = value

    return spoil


def first_samples(file: AudioFile) -> list[float]:
    events = EmbedPipeline(FakeModel(), RULE).run([file])
    return [float(v) for e in events if isinstance(e, Rows) for v in e.embeddings[:, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_vectors_that_are_not_finite_are_left_out(tmp_path: Path, value: float) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 6, i) for i in range(3)]
    bad = {first_samples(files[1])[2], first_samples(files[1])[4]}
    events = list(EmbedPipeline(FakeModel(spoil=bad_windows(bad, value)), RULE).run(files))
    rows = {
        i: [s for e in events if isinstance(e, Rows) and e.file_index == i for s in e.start_samples] for i in range(3)
    }
    assert [len(r) for r in rows.values()] == [6, 4, 6]
    assert not {2 * 1600, 4 * 1600} & set(rows[1])
    assert all(np.isfinite(e.embeddings).all() for e in events if isinstance(e, Rows))
    ends = [e.summary for e in events if isinstance(e, FileEnd)]
    assert [e.status for e in ends] == [Status.OK, Status.NONFINITE, Status.OK]
    assert "2 of 6 windows" in ends[1].reason


def test_a_file_all_of_whose_vectors_are_bad_failed(tmp_path: Path) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 5, i) for i in range(2)]
    spoil = bad_windows(set(first_samples(files[0])), np.nan)
    events = list(EmbedPipeline(FakeModel(spoil=spoil), RULE).run(files))
    assert {e.file_index for e in events if isinstance(e, Rows)} == {1}
    assert [e.summary.status for e in events if isinstance(e, FileEnd)] == [Status.MODEL_ERROR, Status.OK]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (RuntimeError("the graph is broken"), RuntimeError),
        (ValueError("a wrong shape"), ValueError),
        (MemoryError(), MemoryError),
        (OSError(5, "the weights are gone"), OSError),
        (Unavailable("the engine went away"), SonothequeError),
        pytest.param(
            TypeError("a bug"),
            RuntimeError,
            marks=pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
        ),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
def test_a_model_error_reaches_the_reader(tmp_path: Path, error: Exception, seen: type[Exception]) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 10, i) for i in range(4)]
    calls = 0

    def before(frames: np.ndarray) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise error

    events = EmbedPipeline(FakeModel(before=before), RULE).run(files)
    got = []
    with pytest.raises(seen):
        got.extend(e for e in events)
    assert calls == 3


def test_a_stuck_decoder_is_told_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 3, i) for i in range(5)]
    release = threading.Event()
    plain = embedder.pipeline.open_windows

    def stuck(path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("2.wav"):
            release.wait(60)
        return plain(path, *args, **options)

    monkeypatch.setattr(embedder.pipeline, "open_windows", stuck)
    got: list[Rows | FileEnd] = []
    try:
        with pytest.raises(DecodeStalled) as caught:
            for event in EmbedPipeline(FakeModel(batch_size=2), RULE, stall_s=0.5, decoders=2).run(files):
                got.append(event)
    finally:
        release.set()
    assert caught.value.file_index == 2
    # What was yielded stays right: whole files before the stuck one, in order.
    assert {e.file_index for e in got} <= {0, 1}


def test_a_decoder_that_raises_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 3, i) for i in range(3)]
    plain = embedder.pipeline.open_windows

    def broken(path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("1.wav"):
            raise ValueError("a bug in the decoder")
        return plain(path, *args, **options)

    monkeypatch.setattr(embedder.pipeline, "open_windows", broken)
    events = list(EmbedPipeline(FakeModel(), RULE).run(files))
    ends = [e.summary for e in events if isinstance(e, FileEnd)]
    assert [e.status for e in ends] == [Status.OK, Status.UNREADABLE, Status.OK]
    assert "a bug in the decoder" in ends[1].reason


@pytest.mark.parametrize("decoders", [1, 3])
def test_an_error_of_the_program_is_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders: int) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 3, i) for i in range(3)]
    error = Unavailable("no such library", kind="engine_missing")
    plain = embedder.pipeline.open_windows

    def missing(path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("1.wav"):
            raise error
        return plain(path, *args, **options)

    monkeypatch.setattr(embedder.pipeline, "open_windows", missing)
    events: list[Rows | FileEnd] = []
    with pytest.raises(Unavailable) as caught:
        events.extend(EmbedPipeline(FakeModel(), RULE, decoders=decoders).run(files))
    assert caught.value is error
