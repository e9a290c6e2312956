"""Uploads decoded: a few limited processes, a bounded queue before them, and what comes back as windows."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_api.clip_queries import clip_windows, refusal
from search_api.clip_rules import ClipBounds, clip_notes, require_range
from search_api.queries import QueryWindow
from search_api.uploads.processes import DecoderProcess, Gone, Window, crashed
from sonotheque.core.errors import Invalid, SonothequeError, Unavailable
from sonotheque.core.outcome import DecodeSummary, Outcome, Status
from store import StoreConfig

CHANNELS_MAX: Final = 8
RATE_MIN_HZ, RATE_MAX_HZ = 1_000, 500_000
FLAGS: Final = ("from_s", "to_s")
_NAME_MAX: Final = 120


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A sound as the model's windows.

    Attributes
    ----------
    frames : float32, (n, window_samples)
    windows : tuple of QueryWindow
        Where each lies in the sound.
    duration_s : float
        Of what was decoded: the sound, or its range and what lies around it.
    sample_rate_hz, channels : int
        Of the file.
    summary : DecodeSummary
    ranged : (float, float) or None
        Where the range began, and seconds of sound from there on.
    notes : tuple of str
        What a user should know of the sound.
    """

    frames: NDArray[np.float32]
    windows: tuple[QueryWindow, ...]
    duration_s: float
    sample_rate_hz: int
    channels: int
    summary: DecodeSummary
    ranged: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


class DecodePool:
    """Processes that decode.

    Parameters
    ----------
    config : StoreConfig
        Of the store: its windows and how channels become one.
    processes : int
    decoded_s : float
        Seconds of sound that one upload may hold.
    deadline_s : float
        Seconds that decoding one may take.
    waiting : int
        Uploads that may wait for a process; one more is refused.
    """

    def __init__(
        self, config: StoreConfig, *, processes: int, decoded_s: float, deadline_s: float, waiting: int = 64
    ) -> None:
        self._config, self._deadline_s = config, deadline_s
        self._bounds = ClipBounds(decoded_s, CHANNELS_MAX, RATE_MIN_HZ, RATE_MAX_HZ, FLAGS)
        self._count, self._most = processes, processes + waiting
        self._idle: queue.SimpleQueue[DecoderProcess] = queue.SimpleQueue()
        self._all: set[DecoderProcess] = set()
        self._lock = threading.Lock()
        self._inside = 0
        self._closed = False
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the processes; they warm up by themselves."""
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="sonotheque-decode")
        for _ in range(self._count):
            self._idle.put(self._new())

    def wait_ready(self) -> None:
        """Wait until all processes take sounds; raises Unavailable if one does not start."""
        with self._lock:
            waiting = list(self._all)
        for process in waiting:
            try:
                process.wait_ready()
            except Gone as gone:
                raise Unavailable(f"a process that decodes uploads does not start: it {gone}") from gone

    def close(self) -> None:
        """End the processes, busy or not."""
        with self._lock:
            self._closed = True
            ending, self._all = self._all, set()
        for process in ending:
            process.kill()
        if self._threads:
            self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def pids(self) -> list[int]:
        """Of the processes that there are now."""
        with self._lock:
            return sorted(process.pid for process in self._all)

    async def decode(
        self, data: bytes, name: str = "the upload", from_s: float | None = None, to_s: float | None = None
    ) -> Decoded:
        """Return a sound's windows, exactly as the archive's own recordings are decoded.

        Parameters
        ----------
        data : bytes
            A sound file.
        name : str
            What it is called in messages.
        from_s, to_s : float, optional
            Only this range, see :func:`search_api.clip_sound.open_clip`.

        Raises
        ------
        Invalid
            ``unsupported_audio`` if no decoder can read it or one is brought down by it; also if it is too short or the range cannot be.
        Limit
            If it holds more sound, or takes longer, than an upload may.
        Unavailable
            ``overloaded`` if too many wait.
        """
        name = printable(name)
        require_range(name, from_s, to_s, FLAGS)
        if not data:
            raise Invalid(f"{name} has 0 bytes: it holds no sound")
        request = {
            "name": name,
            "rule": self._config.windows.to_json(),
            "channels": self._config.decode["channels"],
            "bounds": asdict(self._bounds),
            "from_s": from_s,
            "to_s": to_s,
        }
        windows, told = await asyncio.wrap_future(self._submit(data, request))
        try:
            return self._decoded(name, windows, told)
        except (KeyError, ValueError, TypeError) as error:
            if isinstance(error, SonothequeError):
                raise
            raise crashed(name, "answered nonsense") from error

    def _submit(self, data: bytes, request: dict[str, Any]) -> Future[tuple[list[Window], dict[str, Any]]]:
        with self._lock:
            if self._closed or self._threads is None:
                raise Unavailable("uploads are not taken: the service is starting or ending")
            if self._inside >= self._most:
                raise Unavailable("too many uploads wait to be decoded; send it again in a moment", kind="overloaded")
            self._inside += 1
            future = self._threads.submit(self._run, data, request)
        # A caller that goes away takes a waiting upload along; one that is being decoded keeps its place to its end.
        future.add_done_callback(self._left)
        return future

    def _left(self, _: Future[Any]) -> None:
        with self._lock:
            self._inside -= 1

    def _run(self, data: bytes, request: dict[str, Any]) -> tuple[list[Window], dict[str, Any]]:
        until = time.monotonic() + self._deadline_s
        process = self._idle.get()
        try:
            while True:
                try:
                    return process.decode(data, request, self._deadline_s)
                except Gone as gone:
                    if gone.asked or time.monotonic() > until:
                        raise crashed(request["name"], str(gone)) from gone
                process = self._replaced(process)  # it ended before it saw anything of this upload
        finally:
            self._idle.put(process if process.alive else self._replaced(process))

    def _replaced(self, process: DecoderProcess) -> DecoderProcess:
        process.kill()
        with self._lock:
            self._all.discard(process)
        return self._new()

    def _new(self) -> DecoderProcess:
        with self._lock:
            if self._closed:
                raise Unavailable("uploads are not taken: the service is ending")
            process = DecoderProcess()
            self._all.add(process)
        return process

    def _decoded(self, name: str, windows: list[Window], told: dict[str, Any]) -> Decoded:
        config = self._config
        left_s = told["left_s"]
        summary = DecodeSummary(
            Status(told["status"]),
            told["reason"],
            told["sample_rate_hz"],
            told["channels"],
            told["declared_frames"],
            told["decoded_frames"],
            told["duration_s"],
            told["container"],
            told["codec"],
        )
        ranged = None if left_s is None else (float(told["first_s"]), float(left_s))
        if not windows or summary.outcome is not Outcome.DONE:
            raise refusal(name, config, summary, ranged)
        starts = np.array([start for start, _, _ in windows], np.int64)
        valid = np.array([valid for _, valid, _ in windows], np.int64)
        return Decoded(
            np.stack([frame for _, _, frame in windows]),
            clip_windows(config, starts, valid, float(told["first_s"])),
            summary.duration_s,
            summary.sample_rate_hz,
            summary.channels,
            summary,
            ranged,
            (*told["notes"], *clip_notes(name, summary)),
        )


def printable(name: str) -> str:
    """Return what a caller calls an upload, as it may stand in messages: the last part of a path, on one line, not too long."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    text = "".join(character if character.isprintable() else " " for character in last).strip()
    return text[:_NAME_MAX] or "the upload"


__all__ = ["DecodePool", "Decoded", "printable"]
