"""Uploads decoded: a few limited processes, a bounded queue before them, and what comes back as windows."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final, TypeVar

from search_api.clip_rules import ClipBounds, require_range
from search_api.uploads.decoded import Decoded, Told, decoded_of
from search_api.uploads.processes import DecoderProcess, Gone, crashed
from sonotheque.core.errors import Invalid, SonothequeError, Unavailable
from store import StoreConfig

CHANNELS_MAX: Final = 8
RATE_MIN_HZ, RATE_MAX_HZ = 1_000, 500_000
FLAGS: Final = ("from_s", "to_s")
_NAME_MAX: Final = 120
_TRIES: Final = 3  # processes that may end before they see anything of an upload
_T = TypeVar("_T")


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
        # As many as there are threads, and never fewer: a place whose process could not be started is None until the next upload.
        self._idle: queue.SimpleQueue[DecoderProcess | None] = queue.SimpleQueue()
        self._all: set[DecoderProcess] = set()
        self._lock = threading.Lock()
        self._inside = 0
        self._closed = False
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the processes; they warm up by themselves. Raises Unavailable if none can be started."""
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
        request = self.request(name, self._config.windows.to_json(), self._config.decode["channels"], from_s, to_s)
        return await self.ask(data, request, lambda told: decoded_of(self._config, name, told))

    def request(
        self, name: str, rule: dict[str, Any], channels: str, from_s: float | None, to_s: float | None
    ) -> dict[str, Any]:
        """Return what a decoder is asked, within this pool's bounds; see :func:`search_api.clip_worker.main`."""
        bounds = asdict(self._bounds)
        return {"name": name, "rule": rule, "channels": channels, "bounds": bounds, "from_s": from_s, "to_s": to_s}

    async def ask(self, data: bytes, request: dict[str, Any], finish: Callable[[Told], _T]) -> _T:
        """Have a sound decoded.

        Parameters
        ----------
        data : bytes
            The file.
        request : dict
            See :meth:`request`.
        finish : callable
            Makes the result of what the decoder answers, in a thread of the pool: a minute of sound is 10 MB, and copying them on the
            event loop would hold up everybody. A KeyError, TypeError or ValueError of it is taken for nonsense of the decoder.

        Raises
        ------
        Invalid, Limit, Unavailable
            As :meth:`decode`.
        """
        return await asyncio.wrap_future(self._submit(data, request, finish))

    def _submit(self, data: bytes, request: dict[str, Any], finish: Callable[[Told], _T]) -> Future[_T]:
        with self._lock:
            if self._closed or self._threads is None:
                raise Unavailable("uploads are not taken: the service is starting or ending")
            if self._inside >= self._most:
                raise Unavailable("too many uploads wait to be decoded; send it again in a moment", kind="overloaded")
            self._inside += 1
            future = self._threads.submit(self._run, data, request, finish)
        # A caller that goes away takes a waiting upload along; one that is being decoded keeps its place to its end.
        future.add_done_callback(self._left)
        return future

    def _left(self, _: Future[Any]) -> None:
        with self._lock:
            self._inside -= 1

    def _run(self, data: bytes, request: dict[str, Any], finish: Callable[[Told], _T]) -> _T:
        told = self._told(data, request)
        try:
            return finish(told)
        except (KeyError, ValueError, TypeError) as error:
            if isinstance(error, SonothequeError):
                raise
            raise crashed(request["name"], "answered nonsense") from error

    def _told(self, data: bytes, request: dict[str, Any]) -> Told:
        try:
            process = self._idle.get(timeout=self._deadline_s)
        except queue.Empty:
            raise Unavailable(
                "no process is free to decode an upload; send it again in a moment", kind="overloaded"
            ) from None
        try:
            for _ in range(_TRIES):
                process = process or self._new()
                try:
                    return process.decode(data, request, self._deadline_s)
                except Gone as gone:
                    if gone.asked:
                        raise crashed(request["name"], str(gone)) from gone
                    why = str(gone)
                self._drop(process)  # it ended before it saw anything of this upload
                process = None
            raise Unavailable(f"uploads cannot be decoded now: a process that does it {why}; send it again in a moment")
        except OSError as error:  # too many open files, say: nothing to do with this upload
            raise Unavailable(f"uploads cannot be decoded now: {error.strerror or error}") from error
        finally:
            self._give_back(process)

    def _give_back(self, process: DecoderProcess | None) -> None:
        """Free a place: with a process that is warm before the next upload, or without one if none can be started now."""
        kept = None
        try:
            if process is not None and process.alive:
                kept = process
            else:
                if process is not None:
                    self._drop(process)
                with contextlib.suppress(Unavailable):
                    kept = self._new()
        finally:
            self._idle.put(kept)

    def _drop(self, process: DecoderProcess) -> None:
        process.kill()
        with self._lock:
            self._all.discard(process)

    def _new(self) -> DecoderProcess:
        try:
            process = DecoderProcess()
        except OSError as error:
            raise Unavailable(
                f"no process can be started to decode uploads ({error.strerror or error}); send it again in a moment"
            ) from error
        with self._lock:
            if not self._closed:
                self._all.add(process)
                return process
        process.kill()
        raise Unavailable("uploads are not taken: the service is ending")


def printable(name: str) -> str:
    """Return what a caller calls an upload, as it may stand in messages: the last part of a path, on one line, not too long."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    text = "".join(character if character.isprintable() else " " for character in last).strip()
    return text[:_NAME_MAX] or "the upload"


__all__ = ["DecodePool", "Decoded", "Told", "printable"]
